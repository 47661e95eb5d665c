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

	"github.com/vishvananda/netlink"
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
		if s, err = openSocket(); err != nil {
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

func toLink(x netlink.Link) Link {
	a := x.Attrs()
	l := Link{Index: a.Index, Master: a.MasterIndex, Name: a.Name, Kind: x.Type(), Alias: a.Alias, MAC: a.HardwareAddr,
		MTU: a.MTU, Up: a.RawFlags&unix.IFF_UP != 0, Group: a.Group}
	if l.Kind == "device" { // the library's word for none
		l.Kind = ""
	}
	return l
}

// byIndex names a link to the library.
func byIndex(i int) netlink.Link { return &netlink.Device{LinkAttrs: netlink.LinkAttrs{Index: i}} }

// whole drops the library's warning that something changed while a list was read: others always make links here,
// and what is decided by a list is decided about our own.
func whole(err error) error {
	if errors.Is(err, netlink.ErrDumpInterrupted) {
		return nil
	}
	return err
}

// Links lists all links of the host.
func (h *Host) Links() (list []Link, err error) {
	links, err := netlink.LinkList()
	for _, l := range links {
		list = append(list, toLink(l))
	}
	return list, fault.Wrap(whole(err), "cannot list links")
}

// Link finds one by name; fault.NotFound when there is none.
func (h *Host) Link(name string) (Link, error) {
	l, err := netlink.LinkByName(name)
	if errors.As(err, new(netlink.LinkNotFoundError)) || errors.Is(err, unix.ENODEV) {
		return Link{}, fault.New(fault.NotFound, "no link %s", name)
	}
	if err != nil {
		return Link{}, fault.Wrap(err, "cannot find link %s", name)
	}
	return toLink(l), nil
}

// Route is a destination that the host already reaches somehow.
type Route struct {
	Dst  netip.Prefix
	Link int // index, 0 when there are several
}

// Routes lists the host's unicast routes and own addresses of both families, default routes too.
func (h *Host) Routes() (list []Route, err error) {
	for _, family := range []int{netlink.FAMILY_V4, netlink.FAMILY_V6} {
		routes, err := netlink.RouteListFiltered(family, &netlink.Route{Table: unix.RT_TABLE_UNSPEC}, netlink.RT_FILTER_TABLE)
		if err := whole(err); err != nil && !errors.Is(err, unix.EAFNOSUPPORT) && !errors.Is(err, unix.EOPNOTSUPP) {
			return nil, fault.Wrap(err, "cannot list routes")
		}
		for _, r := range routes {
			if r.Type != unix.RTN_UNICAST && r.Type != unix.RTN_LOCAL {
				continue
			}
			dst := netip.PrefixFrom(netip.IPv4Unspecified(), 0)
			if family == netlink.FAMILY_V6 {
				dst = netip.PrefixFrom(netip.IPv6Unspecified(), 0)
			}
			if r.Dst != nil {
				dst = prefix(r.Dst)
			}
			list = append(list, Route{dst, r.LinkIndex})
		}
	}
	return list, nil
}

func prefix(n *net.IPNet) netip.Prefix {
	a, _ := netip.AddrFromSlice(n.IP)
	bits, size := n.Mask.Size()
	if size == 32 {
		a = a.Unmap()
	}
	return netip.PrefixFrom(a, bits)
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
