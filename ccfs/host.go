package ccfs

import (
	"context"
	"net"
	"runtime"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/containercloud/cc/ccfs/tree"
	"github.com/containercloud/cc/fault"
	"github.com/containercloud/cc/object"
	"github.com/containercloud/cc/words"
)

// hostObject is this host as an object of the tree. With one host there is nothing to configure.
type hostObject struct {
	meta     object.Meta
	failures object.Failures
}

func (h *hostObject) Meta() object.Meta          { return h.meta }
func (h *hostObject) Failures() *object.Failures { return &h.failures }
func (h *hostObject) SetMeta(context.Context, func(*object.Meta) error) error {
	return fault.New(fault.Fixed, "a host's owner and modes cannot change")
}

// hosts is /cc/host.
func (c *Cloud) hosts() *tree.Dir {
	self := &hostObject{meta: object.Meta{ID: object.ID("host/" + c.Host), Name: c.Host, Created: time.Now().UTC(), Version: 1}}
	return &tree.Dir{
		Name: "host", Mode: 0o555, Doc: "The machines of the cloud: this one.",
		Objects: &tree.Collection{
			Noun:   "host",
			Layout: c.hostLayout(),
			List:   func(*tree.Request) ([]tree.Object, error) { return []tree.Object{self}, nil },
			Find: func(_ *tree.Request, name string) (tree.Object, error) {
				if name != c.Host {
					return nil, fault.New(fault.NotFound, "no host %q", name)
				}
				return self, nil
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
			state("capacity", "KEY VALUE", "Processors, bytes of memory.", hostCapacity),
			state("used", "KEY VALUE", "Bytes of memory in use, load, containers that run.", c.hostUsed),
		},
		Dirs: []*tree.Dir{{
			Name: "containers", Mode: 0o555, Doc: "Links to the containers on this host.",
			Entries: hostContainers{c},
		}},
	}
	tree.Common{
		State:     func(*tree.Request) string { return "ready" },
		UsedBy:    func(*tree.Request) []string { return nil },
		Events:    c.Events,
		EventName: func(*tree.Request) string { return "host/" + c.Host },
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

func hostCapacity() []byte {
	var info unix.Sysinfo_t
	_ = unix.Sysinfo(&info)
	return pairs([]words.Opt{
		{Key: "cpus", Value: strconv.Itoa(runtime.NumCPU())},
		{Key: "memory", Value: strconv.FormatUint(info.Totalram*uint64(info.Unit), 10)},
	})
}

func (c *Cloud) hostUsed() []byte {
	var info unix.Sysinfo_t
	_ = unix.Sysinfo(&info)
	running := 0
	for _, x := range c.Containers.List() {
		if x.State().Alive() {
			running++
		}
	}
	used := (info.Totalram - info.Freeram - info.Bufferram) * uint64(info.Unit)
	return pairs([]words.Opt{
		{Key: "memory", Value: strconv.FormatUint(used, 10)},
		{Key: "load", Value: strconv.FormatFloat(float64(info.Loads[0])/65536, 'f', 2, 64)},
		{Key: "containers", Value: strconv.Itoa(running)},
	})
}
