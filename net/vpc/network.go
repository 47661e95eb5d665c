package vpc

import (
	"context"
	"net/netip"
	"slices"

	"github.com/containercloud/cc/fault"
	"github.com/containercloud/cc/net/ipam"
	"github.com/containercloud/cc/net/link"
	"github.com/containercloud/cc/net/nft"
)

// ensure makes sure that the network can be used: at once when it is ready.
func (v *VPC) ensure(ctx context.Context) error {
	v.mu.Lock()
	err, state := v.usableLocked(), v.state
	v.mu.Unlock()
	switch {
	case state == Failed: // also one without addresses: what failed may be making them
		return v.remake(ctx)
	case err != nil || state == Ready:
		return err
	}
	return v.remake(ctx)
}

// remake makes the kernel's objects as the spec says, again.
func (v *VPC) remake(ctx context.Context) error {
	if err := v.lock(ctx); err != nil {
		return err
	}
	defer v.unlock()
	return v.apply()
}

// apply brings pool, rules and bridge to the spec. It needs the turn. Rules come first: no link is ever up
// without them.
func (v *VPC) apply() error {
	spec, err := v.setPool()
	switch {
	case fault.Is(err, fault.NotFound): // deleted while somebody waited for the turn
		return err
	case err != nil:
	case !spec.CIDR.IsValid():
		err = v.unmake()
		if err == nil {
			v.setState(Defined, "")
			return nil
		}
	default:
		err = v.make(spec)
	}
	if err != nil {
		v.failures.Add(err)
		v.setState(Failed, err.Error())
		return err
	}
	v.setState(Ready, "")
	return nil
}

// setPool makes the pool fit the spec.
func (v *VPC) setPool() (Spec, error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	spec := v.spec.clone()
	if v.state == Gone {
		return spec, fault.New(fault.NotFound, "no vpc %s: it is deleted", v.name)
	}
	if !spec.CIDR.IsValid() {
		v.pool = nil
		return spec, nil
	}
	if v.pool == nil || !v.pool.Is(spec.CIDR, spec.Gateway) {
		pool, err := ipam.New(spec.CIDR, spec.Gateway)
		if err != nil {
			return spec, err
		}
		v.pool = pool
	}
	return spec, v.pool.Reserve(spec.reservations())
}

func (v *VPC) make(spec Spec) error {
	if err := v.m.rules.SetNetwork(v.network(spec)); err != nil {
		return err
	}
	index, made, err := v.m.links.SetBridge(v.wanted(spec))
	if err != nil {
		return err
	}
	v.mu.Lock()
	v.index = index
	var ports []string
	for _, l := range v.leases {
		ports = append(ports, l.link)
	}
	v.mu.Unlock()
	if made { // somebody removed the one that they were on
		for _, p := range ports {
			if err := v.m.links.SetMaster(p, index); err != nil {
				v.m.conf.Log.Warn("a container's link is not on its bridge", "vpc", v.name, "error", err)
			}
		}
	}
	if spec.NAT {
		v.m.forward(v)
	}
	v.m.noteDrops()
	return nil
}

func (v *VPC) network(spec Spec) nft.Network {
	return nft.Network{Bridge: v.bridge, Nets: []netip.Prefix{spec.CIDR}, NAT: spec.NAT, Isolate: spec.Isolate}
}

func (v *VPC) wanted(spec Spec) link.Bridge {
	return link.Bridge{
		Name: v.bridge, Alias: "vpc " + v.name + " of " + v.m.conf.Instance, MTU: spec.MTU,
		MAC:   link.MAC(v.m.conf.Instance, string(v.id)),
		Addrs: []netip.Prefix{netip.PrefixFrom(spec.Gateway, spec.CIDR.Bits())},
	}
}

// unmake removes bridge and rules, in this order.
func (v *VPC) unmake() error {
	if err := v.m.links.Delete(v.bridge); err != nil {
		return err
	}
	return v.m.rules.DropNetwork(v.bridge)
}

// forward lets the host pass packets on, which NAT is nothing without.
func (m *Manager) forward(v *VPC) {
	if link.Forwarding() {
		return
	}
	if err := link.Sysctl("net/ipv4/ip_forward", "1"); err != nil {
		err = fault.Wrap(err, "cannot let the host forward packets for vpc %s", v.name)
		v.failures.Add(err)
		m.conf.Log.Error("no NAT", "error", err)
		return
	}
	m.conf.Log.Info("the host forwards IPv4 packets from now on, between all its links: net.ipv4.ip_forward=1", "vpc", v.name)
}

// noteDrops remembers other people's chains that drop forwarded packets: we do not touch them, so a person must know.
func (m *Manager) noteDrops() {
	drops, err := m.rules.ForeignDrops()
	if err != nil {
		m.conf.Log.Warn("cannot see whether other packet rules are in the way", "error", err)
		return
	}
	var notes []string
	for _, d := range drops {
		note := "nftables chain " + d + " drops forwarded packets by policy"
		if link.BridgeNetfilter() {
			note += ", also those within a vpc: net.bridge.bridge-nf-call-iptables=1"
		}
		notes = append(notes, note)
	}
	m.mu.Lock()
	same := slices.Equal(notes, m.notes)
	m.notes = notes
	m.mu.Unlock()
	if !same && len(notes) > 0 {
		m.conf.Log.Warn("packets of vpcs may be dropped by rules of others; let them pass there", "rules", notes)
	}
}
