package treetest

import (
	"maps"
	"net/netip"
	"slices"
	"strings"

	"github.com/containercloud/cc/ccfs/tree"
	"github.com/containercloud/cc/fault"
	"github.com/containercloud/cc/words"
)

// net is like a VPC: it exists on the wire from the moment its cidr is set.
type net struct {
	thing
	spec    netSpec
	members map[string]string // links in member/
}

type netSpec struct {
	CIDR    string
	MTU     int64
	NAT     bool
	Reserve map[string]string
	Rules   string
	Note    string
}

var netSettings = []tree.Setting[netSpec]{
	{
		Name: "cidr", When: tree.Fixed, Syntax: "A.B.C.D/N", Doc: "The network's addresses. Setting it makes the network.",
		Value: tree.TextOf(func(s *netSpec) *string { return &s.CIDR }, func(text string) error {
			if text == "" {
				return nil
			}
			if _, err := netip.ParsePrefix(text); err != nil {
				return fault.New(fault.Invalid, "%q is not a network", text).WithHint("write it like 10.1.0.0/24")
			}
			return nil
		}),
	},
	{Name: "mtu", When: tree.AtStart, Syntax: "BYTES", Default: "1500", Doc: "Largest packet.",
		Value: tree.IntOf(func(s *netSpec) *int64 { return &s.MTU }, 576, 65535)},
	{Name: "nat", When: tree.Live, Syntax: "on|off", Default: "on", Doc: "Whether boxes reach the world.",
		Value: tree.SwitchOf(func(s *netSpec) *bool { return &s.NAT })},
	{Name: "reserve", Kind: tree.Table, When: tree.Live, Syntax: "IP BOX", Doc: "Fixed addresses.",
		Value: tree.PairsOf(func(s *netSpec) *map[string]string { return &s.Reserve }, func(ip, _ string) error {
			if _, err := netip.ParseAddr(ip); err != nil {
				return fault.New(fault.Invalid, "%q is not an address", ip)
			}
			return nil
		})},
	{Name: "firewall/rules", Kind: tree.Document, When: tree.Live, KeepText: true, Syntax: "allow|deny ...", Doc: "Rules, in order.",
		Get: func(s *netSpec) string { return s.Rules }, Set: setRules},
	{Name: "note", When: tree.Live, Syntax: "TEXT", Doc: "Free text.",
		Value: tree.TextOf(func(s *netSpec) *string { return &s.Note }, nil)},
}

func setRules(s *netSpec, text string) error {
	for line := range strings.Lines(text) {
		ws, err := words.Split(strings.TrimSuffix(line, "\n"))
		if err != nil {
			return err
		}
		if len(ws) > 0 && ws[0] != "allow" && ws[0] != "deny" {
			return fault.New(fault.Invalid, "a rule begins with allow or deny, not %q", ws[0])
		}
	}
	s.Rules = text
	return nil
}

var netRows = tree.Settings[netSpec]{
	Rows: netSettings,
	Spec: func(o tree.Object) netSpec {
		n := o.(*net)
		n.mu.Lock()
		defer n.mu.Unlock()
		return n.spec
	},
	Update: func(_ *tree.Request, o tree.Object, change func(*netSpec) error) error {
		return o.(*net).update(change)
	},
}

func (n *net) update(change func(*netSpec) error) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	next := n.spec
	if err := change(&next); err != nil {
		return err
	}
	if n.spec.CIDR != "" && next.CIDR != n.spec.CIDR {
		return fault.New(fault.Fixed, "cidr is fixed once set")
	}
	n.spec = next
	n.meta.Version++
	return nil
}

func (n *net) state() string {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.spec.CIDR == "" {
		return "defined"
	}
	return "ready"
}

// users are the boxes in the net.
func (n *net) users() []string {
	_, name := n.Identity()
	var list []string
	n.s.mu.Lock()
	defer n.s.mu.Unlock()
	for box, b := range n.s.boxes {
		if b.netName() == name {
			list = append(list, "box/"+box)
		}
	}
	slices.Sort(list)
	return list
}

func (n *net) busy() error {
	if users := n.users(); len(users) > 0 {
		return fault.New(fault.Busy, "%s is in it", users[0]).WithHint("see usedby")
	}
	return nil
}

func (s *Sample) netCollection() *tree.Collection {
	d := &tree.Dir{Doc: "One net."}
	netRows.Fill(d)
	tree.Common{
		Verbs: []tree.Verb{
			{Name: "delete", Doc: "Ends the net.", Run: func(r *tree.Request, _ words.Message) error { return s.removeNet(r.Object.(*net)) }},
		},
		State:     func(r *tree.Request) string { return r.Object.(*net).state() },
		UsedBy:    func(r *tree.Request) []string { return r.Object.(*net).users() },
		Events:    &s.log,
		EventName: func(r *tree.Request) string { return "net/" + r.Object.Meta().Name },
		States:    []string{"ready"},
	}.Fill(d)
	member := d.Sub("member")
	member.Doc = "Links to boxes."
	member.Entries = members{}
	return &tree.Collection{
		Noun: "net", Layout: d,
		List: func(*tree.Request) ([]tree.Object, error) { return list(s, s.nets), nil },
		Find: func(_ *tree.Request, name string) (tree.Object, error) { return find(s, s.nets, name) },
		Make: func(r *tree.Request, name string) (tree.Object, error) {
			n := &net{spec: netSpec{MTU: 1500, NAT: true}, members: map[string]string{}}
			n.init(s, name, r.Caller.UID, r.Caller.GID)
			s.mu.Lock()
			defer s.mu.Unlock()
			s.nets[name] = n
			s.log.Add("created", "net/"+name, string(n.meta.ID))
			return n, nil
		},
		Remove:  func(_ *tree.Request, o tree.Object) error { return s.removeNet(o.(*net)) },
		Busy:    func(_ *tree.Request, o tree.Object) error { return o.(*net).busy() },
		Defined: func(_ *tree.Request, o tree.Object) bool { return o.(*net).state() == "defined" },
	}
}

func (s *Sample) removeNet(n *net) error {
	if err := n.busy(); err != nil {
		return err
	}
	id, name := n.Identity()
	s.mu.Lock()
	if s.nets[name] == n {
		delete(s.nets, name)
	}
	s.mu.Unlock()
	s.log.Add("deleted", "net/"+name, string(id))
	s.Tree.Removed(id)
	s.Tree.ChangedNames("net", name)
	return nil
}

// members is net/NAME/member: links, added by ln -s and removed by rm.
type members struct{}

func (members) Entry(r *tree.Request, name string) (tree.Entry, error) {
	n := r.Object.(*net)
	n.mu.Lock()
	defer n.mu.Unlock()
	if to, ok := n.members[name]; ok {
		return tree.Entry{Name: name, Link: to}, nil
	}
	return tree.Entry{}, fault.New(fault.NotFound, "no member %s", name)
}

func (m members) Entries(r *tree.Request, _ string) ([]tree.Entry, error) {
	n := r.Object.(*net)
	n.mu.Lock()
	defer n.mu.Unlock()
	var out []tree.Entry
	for _, name := range slices.Sorted(maps.Keys(n.members)) {
		out = append(out, tree.Entry{Name: name, Link: n.members[name]})
	}
	return out, nil
}

func (members) Link(r *tree.Request, name, target string) error {
	box, ok := strings.CutPrefix(target, "../../../box/")
	if !ok {
		return fault.New(fault.Invalid, "%q is not a box", target).WithHint("ln -s ../../../box/NAME")
	}
	n := r.Object.(*net)
	if _, err := find(n.s, n.s.boxes, box); err != nil {
		return err
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	n.members[name] = target
	n.meta.Version++
	return nil
}

func (members) Unlink(r *tree.Request, name string) error {
	n := r.Object.(*net)
	n.mu.Lock()
	defer n.mu.Unlock()
	delete(n.members, name)
	n.meta.Version++
	return nil
}
