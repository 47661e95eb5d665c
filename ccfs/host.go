package ccfs

import (
	"context"
	"net"
	"runtime"
	"strconv"
	"strings"
	"sync"

	"golang.org/x/sys/unix"

	"github.com/containercloud/cc/ccfs/tree"
	"github.com/containercloud/cc/fault"
	"github.com/containercloud/cc/object"
	"github.com/containercloud/cc/runtime/container"
	"github.com/containercloud/cc/words"
)

// HostSpec are the settings of a host.
type HostSpec struct {
	Zone string `json:"zone,omitempty"`
}

// Host is this host as an object of the tree.
type Host struct {
	keep     func(ctx context.Context, meta object.Meta, spec HostSpec) error
	failures object.Failures

	change sync.Mutex // held over one change, until it is durable

	mu   sync.Mutex
	meta object.Meta
	spec HostSpec
}

// NewHost makes the object of what was kept; keep makes a change durable before it counts.
func NewHost(meta object.Meta, spec HostSpec, keep func(context.Context, object.Meta, HostSpec) error) *Host {
	return &Host{keep: keep, meta: meta, spec: spec}
}

// Meta is a copy.
func (h *Host) Meta() object.Meta {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.meta.Clone()
}

// Failures is the host's error file.
func (h *Host) Failures() *object.Failures { return &h.failures }

// SetMeta changes owner, modes or labels, durably.
func (h *Host) SetMeta(ctx context.Context, change func(*object.Meta) error) error {
	return h.update(ctx, func(m *object.Meta, _ *HostSpec) error { return change(m) })
}

func (h *Host) update(ctx context.Context, change func(*object.Meta, *HostSpec) error) error {
	h.change.Lock()
	defer h.change.Unlock()
	meta, spec := h.Meta(), h.settings()
	if err := change(&meta, &spec); err != nil {
		return err
	}
	meta.Version++
	if err := h.keep(ctx, meta, spec); err != nil {
		return err
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.meta, h.spec = meta, spec
	return nil
}

func (h *Host) settings() HostSpec {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.spec
}

var hostRows = tree.Settings[HostSpec]{
	Rows: []tree.Setting[HostSpec]{{
		Name: "zone", Kind: tree.Scalar, When: tree.Live, Syntax: "NAME", Doc: "Where the machine stands: those of one zone fail together.",
		Value: tree.TextOf(func(s *HostSpec) *string { return &s.Zone }, func(name string) error {
			if name == "" {
				return nil
			}
			return object.CheckName(name)
		}),
	}},
	Spec: func(o tree.Object) HostSpec { return o.(*Host).settings() },
	Update: func(r *tree.Request, o tree.Object, change func(*HostSpec) error) error {
		return o.(*Host).update(r, func(_ *object.Meta, s *HostSpec) error { return change(s) })
	},
}

// hosts is /cc/host.
func (c *Cloud) hosts() *tree.Dir {
	return &tree.Dir{
		Name: "host", Mode: 0o555, Doc: "The machines of the cloud: this one.",
		Objects: &tree.Collection{
			Noun:   "host",
			Layout: c.hostLayout(),
			List:   func(*tree.Request) ([]tree.Object, error) { return []tree.Object{c.Host}, nil },
			Find: func(_ *tree.Request, name string) (tree.Object, error) {
				if m := c.Host.Meta(); name != m.Name && name != string(m.ID) {
					return nil, fault.New(fault.NotFound, "no host %q", name)
				}
				return c.Host, nil
			},
			Busy: func(_ *tree.Request, o tree.Object) error {
				return fault.New(fault.Busy, "cannot remove host %s: this daemon runs on it", o.Meta().Name).
					WithHint("a setting goes back to its default by echo default > FILE")
			},
		},
	}
}

func (c *Cloud) hostLayout() *tree.Dir {
	state := func(name, syntax, doc string, read func() []byte) tree.File {
		return tree.File{
			Name: name, Kind: tree.Table, Mode: 0o444, Volatile: true, Syntax: syntax, Doc: doc,
			Read: func(*tree.Request) ([]byte, error) { return read(), nil },
		}
	}
	d := &tree.Dir{
		Doc: "One machine.",
		Files: []tree.File{
			state("address", "ADDRESS (one a line)", "Its addresses, without those of its vpcs.", hostAddresses),
			state("capacity", "KEY VALUE", "Processors, bytes of memory.", c.hostCapacity),
			state("used", "KEY VALUE", "Bytes of memory in use, load, containers that run.", c.hostUsed),
		},
		Dirs: []*tree.Dir{{
			Name: "containers", Mode: 0o555, Doc: "Links to the containers on this host.",
			Entries: hostContainers{c},
		}},
	}
	hostRows.Fill(d)
	tree.Common{
		State:     func(*tree.Request) string { return "ready" },
		UsedBy:    func(*tree.Request) []string { return nil },
		Metrics:   func(*tree.Request) ([]byte, error) { return prometheus(c.hostSamples()), nil },
		Events:    c.Events,
		EventName: func(*tree.Request) string { return "host/" + c.Host.Meta().Name },
	}.Fill(d)
	return d
}

// hostContainers lists a link for each container.
type hostContainers struct{ c *Cloud }

func (h hostContainers) Entry(_ *tree.Request, path string) (tree.Entry, error) {
	x, err := h.c.Containers.Get(path)
	if err != nil || x.Meta().Name != path {
		return tree.Entry{}, fault.New(fault.NotFound, "no container %q on this host", path)
	}
	return containerLink(path), nil
}

func (h hostContainers) Entries(*tree.Request, string) ([]tree.Entry, error) {
	var list []tree.Entry
	for _, x := range h.c.Containers.List() {
		list = append(list, containerLink(x.Meta().Name))
	}
	return list, nil
}

func containerLink(name string) tree.Entry {
	return tree.Entry{Name: name, Link: "../../../container/" + name}
}

func hostAddresses() []byte {
	var b strings.Builder
	links, _ := net.Interfaces()
	for _, l := range links {
		if l.Flags&net.FlagLoopback != 0 || strings.HasPrefix(l.Name, "cc-") {
			continue
		}
		addrs, _ := l.Addrs()
		for _, a := range addrs {
			if n, ok := a.(*net.IPNet); ok && n.IP.IsGlobalUnicast() {
				b.WriteString(n.IP.String() + "\n")
			}
		}
	}
	return []byte(b.String())
}

// hostUse is a host's capacity and what of it is in use.
type hostUse struct {
	cpus, running int
	memory, used  uint64 // bytes
	load          float64
}

func (c *Cloud) hostUse() hostUse {
	var info unix.Sysinfo_t
	_ = unix.Sysinfo(&info)
	u := hostUse{
		cpus:   runtime.NumCPU(),
		memory: info.Totalram * uint64(info.Unit),
		used:   (info.Totalram - info.Freeram - info.Bufferram) * uint64(info.Unit),
		load:   float64(info.Loads[0]) / 65536,
	}
	for _, x := range c.Containers.List() {
		if x.State().Alive() {
			u.running++
		}
	}
	return u
}

func (c *Cloud) hostCapacity() []byte {
	u := c.hostUse()
	return pairs([]words.Opt{
		{Key: "cpus", Value: strconv.Itoa(u.cpus)},
		{Key: "memory", Value: strconv.FormatUint(u.memory, 10)},
	})
}

func (c *Cloud) hostUsed() []byte {
	u := c.hostUse()
	return pairs([]words.Opt{
		{Key: "memory", Value: strconv.FormatUint(u.used, 10)},
		{Key: "load", Value: strconv.FormatFloat(u.load, 'f', 2, 64)},
		{Key: "containers", Value: strconv.Itoa(u.running)},
	})
}

func (c *Cloud) hostSamples() []container.Sample {
	u := c.hostUse()
	gauge := func(name, help string, value float64) container.Sample {
		return container.Sample{Name: name, Help: help, Type: "gauge", Value: value, Labels: [][2]string{{"host", c.Host.Meta().Name}}}
	}
	return []container.Sample{
		gauge("cc_host_cpus", "Processors.", float64(u.cpus)),
		gauge("cc_host_memory_bytes", "Memory.", float64(u.memory)),
		gauge("cc_host_memory_used_bytes", "Memory in use.", float64(u.used)),
		gauge("cc_host_load1", "Load of the last minute.", u.load),
		gauge("cc_host_containers", "Containers that run.", float64(u.running)),
	}
}
