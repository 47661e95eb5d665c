package vpc

import (
	"net"
	"net/netip"
	"slices"
	"time"

	"github.com/containercloud/cc/fault"
	"github.com/containercloud/cc/net/link"
	"github.com/containercloud/cc/net/nft"
	"github.com/containercloud/cc/object"
)

// lease is an address in use, and the port that has it.
type lease struct {
	ip        netip.Addr
	mac       net.HardwareAddr
	link      string
	owner     string    // whose Attach it was; "" for a warm part
	container object.ID // since Assign
	name      string    // of the container
	since     time.Time
	found     bool // in the kernel by Open, and claimed by nobody yet
}

// warm reports whether no container has the lease: it may be taken away for one.
func (l *lease) warm() bool { return l.owner == "" && l.container == "" }

func (l *lease) holds(owner string) bool {
	return owner != "" && (l.owner == owner || string(l.container) == owner)
}

func (l *lease) port() nft.Port {
	return nft.Port{Name: l.link, MAC: l.mac, Addrs: []netip.Addr{l.ip}}
}

// who names the holder for messages, and for the pool.
func (l *lease) who() string {
	switch {
	case l.name != "":
		return "container " + l.name
	case l.owner != "":
		return "container " + l.owner
	}
	return "a warm part"
}

// attachedLocked reports whether the network cannot lose its addresses: warm parts, too, know the gateway.
func (v *VPC) attachedLocked() bool { return len(v.leases) > 0 }

func (v *VPC) usersLocked() (paths []string) {
	for _, l := range v.leases {
		switch {
		case l.name != "":
			paths = append(paths, "container/"+l.name)
		case l.owner != "":
			paths = append(paths, "container/"+l.owner)
		}
	}
	return paths
}

// Leases are the addresses in use, in order.
func (v *VPC) Leases() []Lease {
	v.mu.Lock()
	defer v.mu.Unlock()
	list := make([]Lease, 0, len(v.leases))
	for _, l := range v.leases {
		list = append(list, Lease{IP: l.ip, MAC: l.mac, Container: l.name, Since: l.since})
	}
	slices.SortFunc(list, func(a, b Lease) int { return a.IP.Compare(b.IP) })
	return list
}

// take makes a lease. gone is the lease that had to give way: its port must be silenced before the new one
// may speak. A container's own old lease gives way (it is started again before the last run's parts are
// cleared away), and so does a warm part's, for a certain address or when there is no other.
func (v *VPC) take(o AttachOptions) (l, gone *lease, err error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if err := v.usableLocked(); err != nil {
		return nil, nil, err
	}
	l = &lease{ip: o.IP, link: v.m.mark.Port(), owner: o.Owner, since: time.Now().UTC()}
	if o.IP.IsValid() {
		gone, err = v.takeAddrLocked(o)
	} else {
		l.ip, gone, err = v.takeAnyLocked(o)
	}
	if err != nil {
		return nil, nil, err
	}
	v.pool.Rename(l.ip, l.who())
	l.mac = link.MAC(v.m.conf.Instance, string(v.id), l.ip.String())
	v.leases[l.ip] = l
	return l, gone, nil
}

func (v *VPC) usableLocked() error {
	switch {
	case v.state == Gone:
		return fault.New(fault.NotFound, "no vpc %s: it is deleted", v.name)
	case v.pool == nil:
		return fault.New(fault.AddrUnusable, "vpc %s has no addresses", v.name).WithHint("echo 10.1.0.0/24 > vpc/%s/cidr", v.name)
	}
	return nil
}

func (v *VPC) takeAddrLocked(o AttachOptions) (gone *lease, err error) {
	if old := v.leases[o.IP]; old != nil && (old.warm() || old.holds(o.Owner)) {
		v.dropLocked(old)
		gone = old
	}
	if err := v.pool.TakeAddr(o.IP, o.reserveName()); err != nil {
		if gone != nil {
			v.leases[gone.ip] = gone
			_ = v.pool.Adopt(gone.ip, gone.who())
		}
		return nil, err
	}
	return gone, nil
}

func (v *VPC) takeAnyLocked(o AttachOptions) (ip netip.Addr, gone *lease, err error) {
	ip, err = v.pool.Take(o.reserveName())
	if err == nil || !fault.Is(err, fault.NoSpace) || o.Owner == "" {
		return ip, nil, err
	}
	for _, l := range v.leases {
		if l.warm() && (gone == nil || l.since.Before(gone.since)) {
			gone = l
		}
	}
	if gone == nil {
		return ip, nil, err
	}
	v.dropLocked(gone)
	ip, err = v.pool.Take(o.reserveName())
	return ip, gone, err
}

// dropLocked forgets a lease whose port is silent, or will be before the address speaks again.
func (v *VPC) dropLocked(l *lease) {
	if v.leases[l.ip] == l {
		delete(v.leases, l.ip)
		v.pool.Release(l.ip)
	}
}

// find is the lease of an attachment, while it is that attachment's.
func (v *VPC) findLocked(a *Attachment) *lease {
	if l := v.leases[a.IP.Addr()]; l != nil && l.link == a.Link {
		return l
	}
	return nil
}
