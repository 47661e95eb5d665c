package vpc

import (
	"context"
	"net"
	"net/netip"
	"os"

	"github.com/containercloud/cc/fault"
	"github.com/containercloud/cc/net/link"
	"github.com/containercloud/cc/object"
)

// AttachOptions say what is wanted of an attachment.
type AttachOptions struct {
	IP    netip.Addr // a certain address, or any
	Owner string     // the container's id; "" for a warm part, which may lose its address to a container
	Name  string     // the container's name, for what is reserved for it
}

// reserveName is under which name reserved addresses are looked for.
func (o AttachOptions) reserveName() string {
	if o.Name != "" {
		return o.Name
	}
	return o.Owner
}

// Attachment is a container's place in a network. It can be written to a record and be Held later.
type Attachment struct {
	VPC     string           `json:"vpc"`    // name
	VPCID   object.ID        `json:"vpc_id"` // a vpc made anew under the name is another
	IP      netip.Prefix     `json:"ip"`     // with the network's length
	MAC     net.HardwareAddr `json:"mac"`
	Gateway netip.Addr       `json:"gateway"`
	Link    string           `json:"link"` // the host's end
	MTU     int              `json:"mtu"`
}

// Attach gives the namespace an address in the network and makes loopback, eth0 and the default route in it.
// Packets flow when it returns. On an error nothing is left but a link that is being removed.
func (m *Manager) Attach(ctx context.Context, vpcName string, netns *os.File, o AttachOptions) (*Attachment, error) {
	v, err := m.Get(vpcName)
	if err != nil {
		return nil, fault.Wrap(err, "cannot attach to vpc %s", vpcName)
	}
	a, err := v.attach(ctx, netns, o)
	return a, fault.Wrap(err, "cannot attach to vpc %s", v.name)
}

func (v *VPC) attach(ctx context.Context, netns *os.File, o AttachOptions) (*Attachment, error) {
	if err := v.ensure(ctx); err != nil {
		return nil, err
	}
	l, gone, err := v.take(o)
	if err != nil {
		return nil, err
	}
	if gone != nil {
		v.m.conf.Log.Info("address taken from a part without a container", "vpc", v.name, "ip", gone.ip, "for", o.Owner)
		if err := v.m.rules.DropPort(gone.link); err != nil {
			v.giveBack(l)
			return nil, err
		}
	}
	a, err := v.connect(ctx, netns, l)
	if err == nil && !v.has(l) {
		err = fault.New(fault.Again, "its address was taken away")
	}
	if err != nil {
		_ = v.m.rules.DropPort(l.link)
		v.giveBack(l)
		v.m.clear(l.link)
		return nil, err
	}
	return a, nil
}

// connect brings the lease into the kernel: rules, then the link.
func (v *VPC) connect(ctx context.Context, netns *os.File, l *lease) (*Attachment, error) {
	if err := v.m.rules.SetPort(l.port()); err != nil {
		return nil, err
	}
	v.mu.Lock()
	spec, index := v.spec, v.index
	v.mu.Unlock()
	ip := netip.PrefixFrom(l.ip, spec.CIDR.Bits())
	veth := link.Veth{
		Name: l.link, Bridge: index, MTU: spec.MTU, MAC: l.mac,
		Addrs: []netip.Prefix{ip}, Gateway: []netip.Addr{spec.Gateway},
	}
	err := v.m.links.Attach(netns, veth)
	if err != nil && v.lost(index) { // somebody removed the bridge
		if err = v.remake(ctx); err == nil {
			v.mu.Lock()
			veth.Bridge = v.index
			v.mu.Unlock()
			err = v.m.links.Attach(netns, veth)
		}
	}
	if err != nil {
		return nil, err
	}
	return &Attachment{VPC: v.name, VPCID: v.id, IP: ip, MAC: l.mac, Gateway: spec.Gateway, Link: l.link, MTU: spec.MTU}, nil
}

// lost reports whether the bridge with that index is no more.
func (v *VPC) lost(index int) bool {
	l, err := v.m.links.Link(v.bridge)
	return fault.Is(err, fault.NotFound) || err == nil && l.Index != index
}

func (v *VPC) has(l *lease) bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.leases[l.ip] == l
}

func (v *VPC) giveBack(l *lease) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.dropLocked(l)
}

// of finds the network of an attachment.
func (m *Manager) of(a *Attachment) *VPC {
	m.mu.Lock()
	defer m.mu.Unlock()
	if v := m.byID[a.VPCID]; v != nil {
		return v
	}
	return m.byName[a.VPC]
}

// Assign makes an attachment a container's, under its name of now. fault.Stale says that the attachment is no
// longer good: its address went to another container, or the network is deleted.
func (m *Manager) Assign(_ context.Context, a *Attachment, container object.ID, name string) error {
	v := m.of(a)
	if v == nil {
		return fault.New(fault.Stale, "cannot use an address of vpc %s: it is deleted", a.VPC)
	}
	v.mu.Lock()
	l := v.findLocked(a)
	if l != nil {
		l.container, l.name = container, name
		v.pool.Rename(l.ip, l.who())
	}
	v.mu.Unlock()
	if l == nil {
		return fault.New(fault.Stale, "address %s of vpc %s was given to another container meanwhile", a.IP.Addr(), a.VPC)
	}
	m.notify(v)
	return nil
}

// Release gives the address back. The port is silent when it returns; its link goes with its namespace. An
// attachment that is not there, or no more, is no error.
func (m *Manager) Release(_ context.Context, a *Attachment) error {
	err := m.rules.DropPort(a.Link)
	v := m.of(a)
	if v == nil {
		return err
	}
	v.mu.Lock()
	l := v.findLocked(a)
	if l != nil {
		v.dropLocked(l)
	}
	v.mu.Unlock()
	if l != nil && !l.warm() {
		m.notify(v)
	}
	return err
}

// Reserved is the address that the network keeps for a container's name.
func (m *Manager) Reserved(vpcName, container string) (netip.Addr, bool) {
	v, err := m.Get(vpcName)
	if err != nil {
		return netip.Addr{}, false
	}
	v.mu.Lock()
	pool := v.pool
	v.mu.Unlock()
	if pool == nil {
		return netip.Addr{}, false
	}
	return pool.ReservedFor(container)
}
