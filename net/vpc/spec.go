package vpc

import (
	"net"
	"net/netip"
	"slices"

	"github.com/containercloud/cc/fault"
	"github.com/containercloud/cc/net/ipam"
	"github.com/containercloud/cc/object"
)

// Spec is what somebody wants a VPC to be.
type Spec struct {
	CIDR    netip.Prefix  `json:"cidr"`    // its addresses; fixed once set
	Gateway netip.Addr    `json:"gateway"` // the host's address in it; the first unless said otherwise
	MTU     int           `json:"mtu"`     // bytes; containers get it when they are attached
	NAT     bool          `json:"nat"`     // packets that leave have the host's address
	Isolate bool          `json:"isolate"` // its containers do not see each other
	Reserve []Reservation `json:"reserve,omitempty"`
}

// Reservation keeps an address for one container, or for something else that we do not attach.
type Reservation struct {
	IP        netip.Addr       `json:"ip"`
	Container string           `json:"container,omitempty"` // name
	MAC       net.HardwareAddr `json:"mac,omitempty"`
}

// MTUs that a bridge takes and IPv4 works with (RFC 791: 68; here what every host must be able to receive).
const (
	DefaultMTU = 1500
	MinMTU     = 576
	MaxMTU     = 65535
)

// Default is a new VPC's spec.
func Default() Spec { return Spec{MTU: DefaultMTU, NAT: true} }

func (s Spec) clone() Spec {
	s.Reserve = slices.Clone(s.Reserve)
	return s
}

func (s Spec) equal(o Spec) bool {
	return s.CIDR == o.CIDR && s.Gateway == o.Gateway && s.MTU == o.MTU && s.NAT == o.NAT && s.Isolate == o.Isolate &&
		slices.EqualFunc(s.Reserve, o.Reserve, func(a, b Reservation) bool {
			return a.IP == b.IP && a.Container == b.Container && a.MAC.String() == b.MAC.String()
		})
}

// complete fills in what follows from the rest and checks the whole.
func (s *Spec) complete() error {
	if s.MTU == 0 {
		s.MTU = DefaultMTU
	}
	if s.MTU < MinMTU || s.MTU > MaxMTU {
		return fault.New(fault.Range, "mtu %d is not between %d and %d", s.MTU, MinMTU, MaxMTU)
	}
	if s.CIDR.IsValid() {
		if err := checkCIDR(s.CIDR); err != nil {
			return err
		}
		if !s.Gateway.IsValid() {
			s.Gateway = ipam.First(s.CIDR)
		}
		if err := ipam.CheckGateway(s.CIDR, s.Gateway); err != nil {
			return err
		}
	}
	return s.checkReserve()
}

// The networks that no VPC can be, with the reason that people are told (RFC 6890).
var special = []struct {
	prefix netip.Prefix
	why    string
}{
	{netip.MustParsePrefix("0.0.0.0/8"), "means this host"},
	{netip.MustParsePrefix("127.0.0.0/8"), "is every host's loopback"},
	{netip.MustParsePrefix("169.254.0.0/16"), "is link-local, where clouds have their metadata"},
	{netip.MustParsePrefix("224.0.0.0/4"), "is multicast"},
	{netip.MustParsePrefix("240.0.0.0/4"), "is reserved"},
}

func checkCIDR(p netip.Prefix) error {
	switch {
	case !p.Addr().Is4():
		return fault.New(fault.Unsupported, "network %s is not IPv4", p).WithHint("IPv6 is not in this release")
	case p != p.Masked():
		return fault.New(fault.Invalid, "%s is an address in the network %s", p, p.Masked()).WithHint("write %s", p.Masked())
	case p.Bits() > 30:
		return fault.New(fault.Range, "network %s has no room for a gateway and a container", p).WithHint("use /30 or larger: a smaller number")
	case p.Bits() < 8:
		return fault.New(fault.Range, "network %s is too large", p).WithHint("use /8 or smaller: a larger number")
	}
	for _, s := range special {
		if s.prefix.Overlaps(p) {
			return fault.New(fault.AddrUnusable, "network %s cannot be used: %s %s", p, s.prefix, s.why).
				WithHint("use a private one, as 10.1.0.0/24")
		}
	}
	return nil
}

// The networks that are everybody's to use inside (RFC 1918, RFC 6598).
var private = []netip.Prefix{
	netip.MustParsePrefix("10.0.0.0/8"),
	netip.MustParsePrefix("172.16.0.0/12"),
	netip.MustParsePrefix("192.168.0.0/16"),
	netip.MustParsePrefix("100.64.0.0/10"),
}

// CheckGrants refuses a network that a user put into a spec whose cidr was old, and only the host's owner may give: a public one would
// take what the whole host sends there.
func (s *Spec) CheckGrants(old netip.Prefix, uid uint32) error {
	if uid == 0 || !s.CIDR.IsValid() || s.CIDR == old {
		return nil
	}
	for _, p := range private {
		if p.Overlaps(s.CIDR) && p.Bits() <= s.CIDR.Bits() {
			return nil
		}
	}
	return fault.New(fault.Denied, "network %s is not a private one: it is for the host's owner only", s.CIDR).WithHint("use one as 10.1.0.0/24")
}

func (s *Spec) checkReserve() error {
	seen := map[netip.Addr]bool{}
	for _, r := range s.Reserve {
		switch {
		case !r.IP.IsValid():
			return fault.New(fault.Invalid, "a reservation without an address")
		case seen[r.IP]:
			return fault.New(fault.Invalid, "address %s is reserved twice", r.IP)
		case s.CIDR.IsValid() && r.IP == s.Gateway:
			return fault.New(fault.AddrInUse, "address %s is the gateway's", r.IP)
		case s.CIDR.IsValid() && ipam.CheckGateway(s.CIDR, r.IP) != nil:
			return fault.New(fault.AddrUnusable, "address %s is not one of a machine in %s", r.IP, s.CIDR).
				WithHint("use one from %s to %s", ipam.First(s.CIDR), ipam.Last(s.CIDR))
		}
		if r.Container != "" {
			if err := object.CheckName(r.Container); err != nil {
				return err
			}
		}
		seen[r.IP] = true
	}
	return nil
}

// change checks what may not change, or only while nobody is attached.
func (s Spec) change(to Spec, attached bool) error {
	if to.CIDR.IsValid() && !to.Gateway.IsValid() {
		to.Gateway = ipam.First(to.CIDR)
	}
	switch {
	case s.CIDR.IsValid() && to.CIDR.IsValid() && s.CIDR != to.CIDR:
		return fault.New(fault.Fixed, "its cidr is %s and cannot change", s.CIDR).WithHint("make another vpc, and start its containers there")
	case s.CIDR.IsValid() && !to.CIDR.IsValid() && attached:
		return fault.New(fault.Busy, "its network is in use").WithHint("see usedby")
	case s.CIDR.IsValid() && to.CIDR.IsValid() && s.Gateway != to.Gateway && attached:
		return fault.New(fault.Busy, "containers that are attached know %s as their gateway", s.Gateway).WithHint("see usedby")
	}
	return nil
}

func (s Spec) reservations() map[netip.Addr]string {
	m := make(map[netip.Addr]string, len(s.Reserve))
	for _, r := range s.Reserve {
		m[r.IP] = r.Container
	}
	return m
}
