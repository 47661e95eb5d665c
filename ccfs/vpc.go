package ccfs

import (
	"context"
	"net/netip"
	"strconv"
	"strings"

	"github.com/containercloud/cc/ccfs/tree"
	"github.com/containercloud/cc/fault"
	"github.com/containercloud/cc/net/vpc"
	"github.com/containercloud/cc/object"
	"github.com/containercloud/cc/words"
)

// vpcRows are the settings of a network.
var vpcRows = tree.Settings[vpc.Spec]{
	Rows: []tree.Setting[vpc.Spec]{
		{
			Name: "cidr", Kind: tree.Scalar, When: tree.Fixed, Syntax: "A.B.C.D/BITS",
			Doc:   "The addresses of the network. Writing it makes the network. It must not overlap a route of this host or another vpc.",
			Value: tree.Of(func(s *vpc.Spec) *netip.Prefix { return &s.CIDR }, formatPrefix, parsePrefix),
		}, {
			Name: "gateway", Kind: tree.Scalar, When: tree.Fixed, Syntax: "ADDRESS",
			Doc:   "The address of this host in the network; the first one unless set before cidr.",
			Value: tree.Of(func(s *vpc.Spec) *netip.Addr { return &s.Gateway }, formatAddr, parseAddr),
		}, {
			Name: "mtu", Kind: tree.Scalar, When: tree.AtStart, Syntax: "BYTES", Default: "1500",
			Doc:   "The largest packet; containers get it when they start.",
			Value: tree.Of(func(s *vpc.Spec) *int { return &s.MTU }, strconv.Itoa, parseMTU),
		}, {
			Name: "nat", Kind: tree.Scalar, When: tree.Live, Syntax: "on|off", Default: "on",
			Doc:   "Containers reach the world under this host's address.",
			Value: tree.SwitchOf(func(s *vpc.Spec) *bool { return &s.NAT }),
		}, {
			Name: "isolate", Kind: tree.Scalar, When: tree.Live, Syntax: "on|off", Default: "off",
			Doc:   "Containers of this network cannot reach each other.",
			Value: tree.SwitchOf(func(s *vpc.Spec) *bool { return &s.Isolate }),
		}, {
			Name: "reserve", Kind: tree.Table, When: tree.Live, Syntax: "ADDRESS CONTAINER|MAC|-",
			Doc:   "Addresses kept for a container by name, for a hardware address, or out of use.",
			Value: tree.Of(func(s *vpc.Spec) *[]vpc.Reservation { return &s.Reserve }, formatReserve, parseReserve),
		},
	},
	Spec: func(o tree.Object) vpc.Spec { return o.(*vpc.VPC).Spec() },
	Update: func(r *tree.Request, o tree.Object, change func(*vpc.Spec) error) error {
		checked := func(s *vpc.Spec) error {
			old := s.CIDR
			if err := change(s); err != nil {
				return err
			}
			return s.CheckGrants(old, r.Caller.UID)
		}
		return asWritten(checked, func(change func(*vpc.Spec) error) error { return o.(*vpc.VPC).Update(r, change) })
	},
}

// vpcs is /cc/vpc.
func (c *Cloud) vpcs() *tree.Dir {
	return &tree.Dir{
		Name: "vpc", Mode: 0o1775,
		Doc: "Private networks: mkdir vpc/foo; echo 10.1.0.0/24 > vpc/foo/cidr. chgrp GROUP of this directory and its ctl lets a group make them, with private addresses only.",
		Files: []tree.File{
			{
				Name: "ctl", Kind: tree.Ctl, Mode: 0o660, Doc: "`create` makes a network in one line.",
				Verbs: []tree.Verb{{
					Name: "create", Args: "name=NAME cidr=PREFIX [SETTING=VALUE]...", Doc: "Make a network; all or nothing. label=K=V may repeat.",
					Run: c.createVPC,
				}},
			}, {
				Name: "index", Kind: tree.Table, Mode: 0o444, Volatile: true, Syntax: "NAME ID STATE CIDR GATEWAY CONTAINERS CREATED",
				Doc:  "One line a network; `-` is nothing.",
				Read: c.vpcIndex,
			},
		},
		Objects: &tree.Collection{
			Noun:   "vpc",
			Layout: c.vpcLayout(),
			List:   func(*tree.Request) ([]tree.Object, error) { return asObjects(c.Networks.List()), nil },
			Find:   func(_ *tree.Request, name string) (tree.Object, error) { return asObject(c.Networks.Get(name)) },
			Make: func(r *tree.Request, name string) (tree.Object, error) {
				return asObject(c.Networks.Create(r, name, r.Caller.UID, r.Caller.GID))
			},
			Remove: func(r *tree.Request, o tree.Object) error { return c.deleteVPC(r, o.(*vpc.VPC)) },
			Busy: func(_ *tree.Request, o tree.Object) error {
				if users := o.(*vpc.VPC).UsedBy(); len(users) > 0 {
					return fault.New(fault.Busy, "cannot delete vpc %s: used by %s", o.Meta().Name, strings.Join(users, " "))
				}
				return nil
			},
			Defined: func(_ *tree.Request, o tree.Object) bool { return !o.(*vpc.VPC).Spec().CIDR.IsValid() },
		},
	}
}

func (c *Cloud) deleteVPC(ctx context.Context, v *vpc.VPC) error {
	c.Containers.DrainVPC(v.Meta().Name)
	return c.Networks.Delete(ctx, v)
}

func (c *Cloud) createVPC(r *tree.Request, m words.Message) error {
	name, ok := m.Take("name")
	if !ok || len(m.Args) > 0 || m.HasCmd {
		return fault.New(fault.Invalid, "cannot create vpc: no name given").WithHint("create name=foo cidr=10.1.0.0/24")
	}
	labels, err := tree.TakeLabels(&m)
	if err != nil {
		return fault.Wrap(err, "cannot create vpc %s", name)
	}
	v, err := c.Networks.Create(r, name, r.Caller.UID, r.Caller.GID)
	if err != nil {
		return err
	}
	if labels != nil {
		err = v.SetMeta(r, func(m *object.Meta) error { m.Labels = labels; return nil })
	}
	if err == nil { // with its cidr the network is on the wire
		err = vpcRows.Update(r, v, func(s *vpc.Spec) error { return vpcRows.SetOpts(s, m.Opts) })
	}
	if err != nil {
		_ = c.Networks.Delete(context.WithoutCancel(r), v)
		return fault.Wrap(err, "cannot create vpc %s", name)
	}
	r.Reply(name + " " + string(v.Meta().ID) + "\n")
	return nil
}

func theVPC(r *tree.Request) *vpc.VPC { return r.Object.(*vpc.VPC) }

func (c *Cloud) vpcLayout() *tree.Dir {
	d := &tree.Dir{
		Doc: "One network.",
		Files: []tree.File{{
			Name: "lease", Kind: tree.Table, Mode: 0o444, Volatile: true, Syntax: "IP MAC CONTAINER SINCE",
			Doc:  "Addresses in use. Addresses of warm parts, which no container has yet, show `-`.",
			Read: leases,
		}},
	}
	vpcRows.Fill(d)
	tree.Common{
		Verbs: []tree.Verb{{
			Name: "delete", Doc: "Delete the network; it must not be in use.",
			Run: func(r *tree.Request, m words.Message) error {
				if err := noMore(m, 0); err != nil {
					return err
				}
				if err := r.MayRemove("delete"); err != nil {
					return err
				}
				return c.deleteVPC(r, theVPC(r))
			},
		}},
		State:     func(r *tree.Request) string { return string(theVPC(r).Status().State) },
		Status:    vpcStatus,
		UsedBy:    func(r *tree.Request) []string { return theVPC(r).UsedBy() },
		Metrics:   vpcMetrics,
		Events:    c.Events,
		EventName: func(r *tree.Request) string { return "vpc/" + theVPC(r).Meta().Name },
		States:    []string{"ready", "gone"},
	}.Fill(d)
	return d
}

func leases(r *tree.Request) ([]byte, error) {
	var b strings.Builder
	for _, l := range theVPC(r).Leases() {
		b.WriteString(row(l.IP.String(), l.MAC.String(), l.Container, stamp(l.Since)))
	}
	return []byte(b.String()), nil
}

func (c *Cloud) vpcIndex(*tree.Request) ([]byte, error) {
	var b strings.Builder
	for _, v := range c.Networks.List() {
		m, s := v.Meta(), v.Spec()
		b.WriteString(row(m.Name, string(m.ID), string(v.Status().State), formatPrefix(s.CIDR), formatAddr(s.Gateway),
			strconv.Itoa(len(v.UsedBy())), stamp(m.Created)))
	}
	return []byte(b.String()), nil
}

func formatPrefix(p netip.Prefix) string {
	if !p.IsValid() {
		return ""
	}
	return p.String()
}

func parsePrefix(v string) (netip.Prefix, error) {
	if v == "" {
		return netip.Prefix{}, nil
	}
	p, err := netip.ParsePrefix(v)
	if err != nil {
		return netip.Prefix{}, fault.New(fault.Invalid, "%q is no network", v).WithHint("an address and its bits, as 10.1.0.0/24")
	}
	return p, nil
}

func parseMTU(v string) (int, error) {
	n, err := strconv.ParseUint(v, 10, 31)
	if err != nil || n == 0 {
		return 0, fault.New(fault.Invalid, "%q is no mtu", v).WithHint("bytes, as 1500")
	}
	return int(n), nil
}
