// Package link makes the links of a host's container networks: bridges and veths, over rtnetlink.
//
// A veth is made where it belongs, by one message: its far end in the container's namespace, its near end on
// the bridge. Moving or deleting one instead costs 10 to 30 ms, because the kernel waits for all its
// processors (rcu_barrier); so veths are left to die with their namespace, where the kernel does many at once.
//
// Every link carries the instance's Mark in its name and can be found by it.
package link

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"runtime"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/containercloud/cc/fault"
)

// Host is the network namespace that the daemon lives in. Its methods are safe for concurrent use.
type Host struct {
	ns   *os.File
	free chan *socket
}

// Open takes hold of the caller's network namespace.
func Open() (*Host, error) {
	ns, err := os.Open("/proc/thread-self/ns/net")
	if err != nil {
		return nil, fault.Wrap(err, "cannot open the host's network namespace")
	}
	return &Host{ns: ns, free: make(chan *socket, 8)}, nil
}

// Close releases the sockets; what they made stays.
func (h *Host) Close() error {
	for {
		select {
		case s := <-h.free:
			s.close()
		default:
			return h.ns.Close()
		}
	}
}

// with lends a socket of the host's namespace. One that failed is not used again: answers may be left in it.
func (h *Host) with(fn func(*socket) error) (err error) {
	var s *socket
	select {
	case s = <-h.free:
	default:
		if s, err = openSocket(64 << 10); err != nil {
			return err
		}
	}
	if err = fn(s); err != nil {
		s.close()
		return err
	}
	select {
	case h.free <- s:
	default:
		s.close()
	}
	return nil
}

// inside runs fn on the calling thread, which is in the namespace for as long as fn runs.
func (h *Host) inside(netns *os.File, fn func() error) error {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if unix.Gettid() == unix.Getpid() {
		// Never the main thread: it is what others see as the process's namespace in /proc/PID/ns.
		done := make(chan error)
		go func() { done <- h.inside(netns, fn) }()
		return <-done
	}
	if err := unix.Setns(int(netns.Fd()), unix.CLONE_NEWNET); err != nil {
		return fault.Wrap(err, "cannot enter the container's network namespace")
	}
	err := fn()
	if e := unix.Setns(int(h.ns.Fd()), unix.CLONE_NEWNET); e != nil {
		runtime.LockOSThread() // once more: the thread must end with this goroutine and never be used again
		panic(fmt.Sprintf("cannot return to the host's network namespace: %v", e))
	}
	return err
}

// Link is one network interface of the host.
type Link struct {
	Index, Master int
	Name, Kind    string
	Alias         string
	MAC           net.HardwareAddr
	MTU           int
	Up            bool
	Group         uint32
}

func parseLink(b []byte) (l Link) {
	if len(b) < unix.SizeofIfInfomsg {
		return l
	}
	l.Index = int(int32(ne.Uint32(b[4:])))
	l.Up = ne.Uint32(b[8:])&unix.IFF_UP != 0
	for typ, v := range attrs(b[unix.SizeofIfInfomsg:]) {
		switch typ {
		case unix.IFLA_IFNAME:
			l.Name = cstring(v)
		case unix.IFLA_IFALIAS:
			l.Alias = cstring(v)
		case unix.IFLA_ADDRESS:
			l.MAC = append(net.HardwareAddr(nil), v...)
		case unix.IFLA_MTU:
			l.MTU = int(ne.Uint32(v))
		case unix.IFLA_MASTER:
			l.Master = int(ne.Uint32(v))
		case unix.IFLA_GROUP:
			l.Group = ne.Uint32(v)
		case unix.IFLA_LINKINFO:
			for typ, v := range attrs(v) {
				if typ == unix.IFLA_INFO_KIND {
					l.Kind = cstring(v)
				}
			}
		}
	}
	return l
}

// skipStats is RTEXT_FILTER_SKIP_STATS of linux/rtnetlink.h.
const skipStats = 1 << 3

// Links lists all links of the host.
func (h *Host) Links() (list []Link, err error) {
	m := newMessage("list links", unix.RTM_GETLINK, unix.NLM_F_DUMP, ifinfomsg(0, 0, 0))
	m.u32(unix.IFLA_EXT_MASK, skipStats)
	err = h.with(func(s *socket) error {
		return s.get(m, func(b []byte) { list = append(list, parseLink(b)) })
	})
	return list, err
}

// Link finds one by name; fault.NotFound when there is none.
func (h *Host) Link(name string) (l Link, err error) {
	err = h.with(func(s *socket) error { l, err = s.link(name); return err })
	return l, err
}

// link asks for one link. The kernel brings its carrier up to date for the answer (since 6.8), so a veth
// whose far end has just come up carries traffic when this returns.
func (s *socket) link(name string) (l Link, err error) {
	m := newMessage("find link "+name, unix.RTM_GETLINK, 0, ifinfomsg(0, 0, 0))
	m.u32(unix.IFLA_EXT_MASK, skipStats)
	m.str(unix.IFLA_IFNAME, name)
	err = s.get(m, func(b []byte) { l = parseLink(b) })
	if errors.Is(err, unix.ENODEV) {
		err = fault.New(fault.NotFound, "no link %s", name)
	}
	return l, err
}

// Route is a destination that the host already reaches somehow.
type Route struct {
	Dst  netip.Prefix
	Link int // index, 0 when there are several
}

// Routes lists the host's unicast routes and own addresses of both families, default routes too.
func (h *Host) Routes() (list []Route, err error) {
	for _, family := range []byte{unix.AF_INET, unix.AF_INET6} {
		m := newMessage("list routes", unix.RTM_GETROUTE, unix.NLM_F_DUMP, append([]byte{family}, make([]byte, unix.SizeofRtMsg-1)...))
		err := h.with(func(s *socket) error {
			return s.get(m, func(b []byte) {
				if r, ok := parseRoute(b); ok {
					list = append(list, r)
				}
			})
		})
		if err != nil && !errors.Is(err, unix.EAFNOSUPPORT) && !errors.Is(err, unix.EOPNOTSUPP) {
			return nil, err
		}
	}
	return list, nil
}

func parseRoute(b []byte) (r Route, ok bool) {
	if len(b) < unix.SizeofRtMsg {
		return r, false
	}
	bits, typ := int(b[1]), b[7]
	if typ != unix.RTN_UNICAST && typ != unix.RTN_LOCAL {
		return r, false
	}
	dst := netip.IPv4Unspecified()
	if b[0] == unix.AF_INET6 {
		dst = netip.IPv6Unspecified()
	}
	for typ, v := range attrs(b[unix.SizeofRtMsg:]) {
		switch typ {
		case unix.RTA_DST:
			dst, _ = netip.AddrFromSlice(v)
		case unix.RTA_OIF:
			r.Link = int(ne.Uint32(v))
		}
	}
	r.Dst = netip.PrefixFrom(dst, bits)
	return r, r.Dst.IsValid()
}

// Sysctl sets a value below /proc/sys of the daemon's namespace; path has slashes and no blanks.
func Sysctl(path, value string) error {
	return os.WriteFile("/proc/sys/"+path, []byte(value), 0)
}

// Forwarding reports whether the host passes IPv4 packets on.
func Forwarding() bool { return isOne("net/ipv4/ip_forward") }

// BridgeNetfilter reports whether bridged packets, too, pass the rules of the host's stack, as docker wants it.
func BridgeNetfilter() bool { return isOne("net/bridge/bridge-nf-call-iptables") }

func isOne(sysctl string) bool {
	b, err := os.ReadFile("/proc/sys/" + sysctl)
	return err == nil && strings.TrimSpace(string(b)) == "1"
}
