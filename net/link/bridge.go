package link

import (
	"errors"
	"net"
	"net/netip"

	"golang.org/x/sys/unix"

	"github.com/containercloud/cc/fault"
)

// Bridge is a bridge as it must be.
type Bridge struct {
	Name  string
	Alias string // for people who read `ip link`
	MAC   net.HardwareAddr
	MTU   int
	Addrs []netip.Prefix // the gateways' addresses, with the networks' lengths
}

// Not in x/sys: linux/if_link.h.
const (
	iflaBrForwardDelay  = 1
	iflaBrStpState      = 5
	iflaBrMcastSnooping = 23
)

// SetBridge makes the bridge as it must be, whether it is there or not, and returns its index. A new one has
// no ports: made says so.
func (h *Host) SetBridge(want Bridge) (index int, made bool, err error) {
	err = h.with(func(s *socket) error {
		index, made, err = s.setBridge(want)
		return err
	})
	return index, made, fault.Wrap(err, "cannot make bridge %s", want.Name)
}

func (s *socket) setBridge(want Bridge) (index int, made bool, err error) {
	have, err := s.link(want.Name)
	if fault.Is(err, fault.NotFound) {
		if err := s.do(addBridge(want)); err != nil && !errors.Is(err, unix.EEXIST) {
			return 0, false, err
		}
		made = true
		have, err = s.link(want.Name)
	}
	if err != nil {
		return 0, made, err
	}
	if have.Kind != "bridge" {
		return 0, made, fault.New(fault.Exists, "link %s is there and no bridge", want.Name)
	}
	return have.Index, made, s.adjustBridge(have, want)
}

func (s *socket) adjustBridge(have Link, want Bridge) error {
	bridgeSysctls(want)
	if err := s.setAddrs(have.Index, want.Addrs); err != nil {
		return err
	}
	if have.Up && have.MTU == want.MTU && have.Alias == want.Alias && have.MAC.String() == want.MAC.String() {
		return nil
	}
	m := newMessage("set up the bridge", unix.RTM_NEWLINK, 0, ifinfomsg(have.Index, unix.IFF_UP, unix.IFF_UP))
	m.u32(unix.IFLA_MTU, uint32(want.MTU))
	m.attr(unix.IFLA_ADDRESS, want.MAC)
	m.attr(unix.IFLA_IFALIAS, []byte(want.Alias))
	return s.do(m)
}

func addBridge(want Bridge) *message {
	m := newMessage("add the bridge", unix.RTM_NEWLINK, unix.NLM_F_CREATE|unix.NLM_F_EXCL, ifinfomsg(0, 0, 0))
	m.str(unix.IFLA_IFNAME, want.Name)
	m.attr(unix.IFLA_ADDRESS, want.MAC)
	m.nest(unix.IFLA_LINKINFO, func() {
		m.str(unix.IFLA_INFO_KIND, "bridge")
		m.nest(unix.IFLA_INFO_DATA, func() {
			m.u32(iflaBrForwardDelay, 0)
			m.u32(iflaBrStpState, 0)
			m.u8(iflaBrMcastSnooping, 0) // without a querier it would stop multicast between containers
		})
	})
	return m
}

// bridgeSysctls narrows what the host does on the bridge, before it is up. What is missing on a kernel, or
// read-only where the daemon runs in a container itself, the packet rules cover as well.
func bridgeSysctls(want Bridge) {
	v6 := "1"
	for _, a := range want.Addrs {
		if a.Addr().Is6() {
			v6 = "0"
		}
	}
	for _, c := range [][2]string{
		{"ipv6/conf/" + want.Name + "/disable_ipv6", v6},
		{"ipv6/conf/" + want.Name + "/accept_ra", "0"},
		{"ipv6/conf/" + want.Name + "/accept_redirects", "0"},
		{"ipv4/conf/" + want.Name + "/accept_redirects", "0"},
		{"ipv4/conf/" + want.Name + "/send_redirects", "0"},
		{"ipv4/conf/" + want.Name + "/arp_ignore", "1"}, // answer for the gateway only, not for the host's other addresses
		{"ipv4/conf/" + want.Name + "/rp_filter", "1"},
		{"ipv4/conf/" + want.Name + "/route_localnet", "0"},
	} {
		_ = Sysctl("net/"+c[0], c[1])
	}
}

// setAddrs makes the addresses of a link exactly these; link-local ones of IPv6 are the kernel's.
func (s *socket) setAddrs(index int, want []netip.Prefix) error {
	var have []netip.Prefix
	m := newMessage("list addresses", unix.RTM_GETADDR, unix.NLM_F_DUMP, make([]byte, unix.SizeofIfAddrmsg))
	err := s.get(m, func(b []byte) {
		if p, ok := parseAddr(b, index); ok && !p.Addr().IsLinkLocalUnicast() {
			have = append(have, p)
		}
	})
	if err != nil {
		return err
	}
	var msgs []*message
	for _, p := range have {
		if !contains(want, p) {
			msgs = append(msgs, addrMessage("remove address "+p.String(), unix.RTM_DELADDR, 0, index, p))
		}
	}
	for _, p := range want {
		if !contains(have, p) {
			msgs = append(msgs, addrMessage("add address "+p.String(), unix.RTM_NEWADDR, unix.NLM_F_CREATE|unix.NLM_F_REPLACE, index, p))
		}
	}
	if len(msgs) == 0 {
		return nil
	}
	return s.do(msgs...)
}

func contains(list []netip.Prefix, p netip.Prefix) bool {
	for _, q := range list {
		if p == q {
			return true
		}
	}
	return false
}

func parseAddr(b []byte, index int) (p netip.Prefix, ok bool) {
	if len(b) < unix.SizeofIfAddrmsg || int(ne.Uint32(b[4:])) != index {
		return p, false
	}
	for typ, v := range attrs(b[unix.SizeofIfAddrmsg:]) {
		a, good := netip.AddrFromSlice(v)
		if good && (typ == unix.IFA_LOCAL || typ == unix.IFA_ADDRESS && !ok) {
			p, ok = netip.PrefixFrom(a, int(b[1])), true
		}
	}
	return p, ok
}

func addrMessage(what string, typ, flags uint16, index int, p netip.Prefix) *message {
	b := make([]byte, unix.SizeofIfAddrmsg)
	b[0], b[1] = family(p.Addr()), byte(p.Bits())
	ne.PutUint32(b[4:], uint32(index))
	m := newMessage(what, typ, flags, b)
	m.attr(unix.IFA_LOCAL, p.Addr().AsSlice())
	m.attr(unix.IFA_ADDRESS, p.Addr().AsSlice())
	if p.Addr().Is4() && typ == unix.RTM_NEWADDR {
		m.attr(unix.IFA_BROADCAST, broadcast(p))
	}
	if p.Addr().Is6() {
		m.u32(unix.IFA_FLAGS, unix.IFA_F_NODAD)
	}
	return m
}

func family(a netip.Addr) byte {
	if a.Is4() {
		return unix.AF_INET
	}
	return unix.AF_INET6
}

func broadcast(p netip.Prefix) []byte {
	a := p.Addr().As4()
	host := ^uint32(0) >> p.Bits()
	for i := range a {
		a[i] |= byte(host >> (24 - 8*i))
	}
	return a[:]
}

// Delete removes a link by name; one that is gone is no error. It waits 10 to 30 ms in the kernel.
func (h *Host) Delete(name string) error {
	m := newMessage("delete link "+name, unix.RTM_DELLINK, 0, ifinfomsg(0, 0, 0))
	m.str(unix.IFLA_IFNAME, name)
	err := h.with(func(s *socket) error { return s.do(m) })
	if errors.Is(err, unix.ENODEV) {
		return nil
	}
	return err
}

// SetMaster puts a port that lost its bridge on one again.
func (h *Host) SetMaster(port string, bridge int) error {
	m := newMessage("put link "+port+" on its bridge", unix.RTM_NEWLINK, 0, ifinfomsg(0, unix.IFF_UP, unix.IFF_UP))
	m.str(unix.IFLA_IFNAME, port)
	m.u32(unix.IFLA_MASTER, uint32(bridge))
	return h.with(func(s *socket) error { return s.do(m) })
}
