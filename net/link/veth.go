package link

import (
	"crypto/sha256"
	"errors"
	"net"
	"net/netip"
	"os"

	"golang.org/x/sys/unix"

	"github.com/containercloud/cc/fault"
)

// Veth is the link between a bridge and a container.
type Veth struct {
	Name    string // of the host's end
	Bridge  int    // index
	MTU     int
	MAC     net.HardwareAddr // of the container's end
	Addrs   []netip.Prefix
	Gateway []netip.Addr
}

// Inside is what the container's end is called.
const Inside = "eth0"

// vethInfoPeer is VETH_INFO_PEER of linux/veth.h.
const vethInfoPeer = 1

// Attach makes the veth and what it needs in the container's namespace: address, route, up. Loopback, and what
// all containers may do, is the business of whoever made the namespace. When it returns, packets flow. On an error the host's end may be there: Delete it, not on anybody's way.
func (h *Host) Attach(netns *os.File, v Veth) error {
	s, err := h.enter(netns)
	if err != nil {
		return err
	}
	defer s.close()
	up := linkUp("set up "+v.Name, 0)
	up.str(unix.IFLA_IFNAME, v.Name)
	if err := h.with(func(hs *socket) error { return hs.do(addVeth(netns, v), noLinkLocal(v.Name), up) }); err != nil {
		return err
	}
	eth, err := s.find(Inside, 0)
	if err != nil {
		return err
	}
	if err := s.do(configure(eth, v)...); err != nil {
		return err
	}
	return h.with(func(hs *socket) error { return hs.carry(v) })
}

// carry makes packets flow now: the port first, which tells its bridge. A bridge drops what it sends itself until its own
// carrier is up, which the first port brings.
func (s *socket) carry(v Veth) error {
	if _, err := s.find(v.Name, 0); err != nil {
		return err
	}
	_, err := s.find("of the bridge", v.Bridge)
	return err
}

// enter opens a socket in the namespace.
func (h *Host) enter(netns *os.File) (s *socket, err error) {
	err = h.inside(netns, func() error {
		s, err = openSocket()
		return err
	})
	return s, err
}

func addVeth(netns *os.File, v Veth) *message {
	m := newMessage("add veth "+v.Name, unix.RTM_NEWLINK, unix.NLM_F_CREATE|unix.NLM_F_EXCL, ifinfomsg(0, 0, 0))
	end := func(name string, mac net.HardwareAddr) {
		m.str(unix.IFLA_IFNAME, name)
		m.attr(unix.IFLA_ADDRESS, mac)
		m.u32(unix.IFLA_MTU, uint32(v.MTU))
		m.u32(unix.IFLA_NUM_TX_QUEUES, 1) // the default, one per processor, waits for RCU per queue
		m.u32(unix.IFLA_NUM_RX_QUEUES, 1)
	}
	end(v.Name, hostMAC(v.Name))
	m.u32(unix.IFLA_MASTER, uint32(v.Bridge))
	m.nest(unix.IFLA_LINKINFO, func() {
		m.str(unix.IFLA_INFO_KIND, "veth")
		m.nest(unix.IFLA_INFO_DATA, func() {
			m.nest(vethInfoPeer, func() {
				m.raw(ifinfomsg(0, 0, 0)) // IFF_UP here is refused: ENOTCONN
				end(Inside, v.MAC)
				m.u32(unix.IFLA_NET_NS_FD, uint32(netns.Fd()))
			})
		})
	})
	return m
}

// configure is the batch inside the namespace.
func configure(index int, v Veth) []*message {
	var msgs []*message
	for _, a := range v.Addrs {
		msgs = append(msgs, addrMessage("add address "+a.String(), unix.RTM_NEWADDR, unix.NLM_F_CREATE|unix.NLM_F_EXCL, index, a))
	}
	msgs = append(msgs, noLinkLocal(Inside), linkUp("set up "+Inside, index))
	for _, g := range v.Gateway {
		msgs = append(msgs, defaultRoute(index, g))
	}
	return msgs
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

// noLinkLocal keeps the kernel from giving the link an IPv6 address of its own, and from all that follows from
// one: a VPC has none, or gives its own, and a port of a bridge needs none. It is 40 us cheaper than
// net.ipv6.conf.default.disable_ipv6 and leaves ::1 alone too. It must come before the link is up.
func noLinkLocal(name string) *message {
	m := newMessage("set up IPv6", unix.RTM_NEWLINK, 0, ifinfomsg(0, 0, 0))
	m.str(unix.IFLA_IFNAME, name)
	m.nest(unix.IFLA_AF_SPEC, func() {
		m.nest(unix.AF_INET6, func() { m.u8(unix.IFLA_INET6_ADDR_GEN_MODE, 1 /* IN6_ADDR_GEN_MODE_NONE */) })
	})
	return m
}

func linkUp(what string, index int) *message {
	return newMessage(what, unix.RTM_NEWLINK, 0, ifinfomsg(index, unix.IFF_UP, unix.IFF_UP))
}

func defaultRoute(index int, gateway netip.Addr) *message {
	b := make([]byte, unix.SizeofRtMsg)
	b[0] = family(gateway)
	b[4], b[5], b[6], b[7] = unix.RT_TABLE_MAIN, unix.RTPROT_BOOT, unix.RT_SCOPE_UNIVERSE, unix.RTN_UNICAST
	m := newMessage("add the default route", unix.RTM_NEWROUTE, unix.NLM_F_CREATE|unix.NLM_F_EXCL, b)
	m.attr(unix.RTA_GATEWAY, gateway.AsSlice())
	m.u32(unix.RTA_OIF, uint32(index))
	return m
}

// DeletePorts removes many veths in one go: they are put in a group of links, and the kernel waits once for
// the group and not once for each.
func (h *Host) DeletePorts(mark Mark, names []string) error {
	if len(names) < 2 {
		for _, name := range names {
			return h.Delete(name)
		}
		return nil
	}
	sum := sha256.Sum256([]byte(mark))
	group := ne.Uint32(sum[:]) | 1<<30
	return h.with(func(s *socket) error {
		for _, name := range names {
			m := newMessage("mark link "+name, unix.RTM_NEWLINK, 0, ifinfomsg(0, 0, 0))
			m.str(unix.IFLA_IFNAME, name)
			m.u32(unix.IFLA_GROUP, group)
			if err := s.do(m); err != nil && !errors.Is(err, unix.ENODEV) {
				return err
			}
		}
		if err := h.onlyPorts(mark, group); err != nil {
			return err
		}
		m := newMessage("delete links", unix.RTM_DELLINK, 0, ifinfomsg(0, 0, 0))
		m.u32(unix.IFLA_GROUP, group)
		if err := s.do(m); err != nil && !errors.Is(err, unix.ENODEV) {
			return err
		}
		return nil
	})
}

// onlyPorts makes sure that nobody else uses the group.
func (h *Host) onlyPorts(mark Mark, group uint32) error {
	links, err := h.Links()
	for _, l := range links {
		if l.Group == group && !mark.IsPort(l.Name) {
			return fault.New(fault.Exists, "cannot delete links by group %d: link %s is in it", group, l.Name)
		}
	}
	return err
}
