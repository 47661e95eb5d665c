package link

import (
	"errors"
	"net"
	"net/netip"
	"slices"

	"github.com/vishvananda/netlink"
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

// SetBridge makes the bridge as it must be, whether it is there or not, and returns its index. A new one has
// no ports: made says so.
func (h *Host) SetBridge(want Bridge) (index int, made bool, err error) {
	index, made, err = h.setBridge(want)
	return index, made, fault.Wrap(err, "cannot make bridge %s", want.Name)
}

func (h *Host) setBridge(want Bridge) (index int, made bool, err error) {
	have, err := h.Link(want.Name)
	if fault.Is(err, fault.NotFound) {
		if err := addBridge(want); err != nil && !errors.Is(err, unix.EEXIST) {
			return 0, false, err
		}
		made = true
		have, err = h.Link(want.Name)
	}
	if err != nil {
		return 0, made, err
	}
	if have.Kind != "bridge" {
		return 0, made, fault.New(fault.Exists, "link %s is there and no bridge", want.Name)
	}
	return have.Index, made, adjustBridge(have, want)
}

func addBridge(want Bridge) error {
	b := &netlink.Bridge{LinkAttrs: netlink.NewLinkAttrs()}
	b.Name, b.HardwareAddr = want.Name, want.MAC
	b.MulticastSnooping = new(bool) // off: without a querier it would stop multicast between containers
	return netlink.LinkAdd(b)
}

func adjustBridge(have Link, want Bridge) error {
	bridgeSysctls(want)
	b := byIndex(have.Index)
	if err := setAddrs(b, want.Addrs); err != nil {
		return err
	}
	for _, c := range []struct {
		what string
		same bool
		set  func() error
	}{
		{"MTU", have.MTU == want.MTU, func() error { return netlink.LinkSetMTU(b, want.MTU) }},
		{"MAC", have.MAC.String() == want.MAC.String(), func() error { return netlink.LinkSetHardwareAddr(b, want.MAC) }},
		{"alias", have.Alias == want.Alias, func() error { return netlink.LinkSetAlias(b, want.Alias) }},
		{"state", have.Up, func() error { return netlink.LinkSetUp(b) }},
	} {
		if c.same {
			continue
		}
		if err := c.set(); err != nil {
			return fault.Wrap(err, "cannot set its %s", c.what)
		}
	}
	return nil
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
func setAddrs(l netlink.Link, want []netip.Prefix) error {
	list, err := netlink.AddrList(l, netlink.FAMILY_ALL)
	if err := whole(err); err != nil {
		return fault.Wrap(err, "cannot list addresses")
	}
	var have []netip.Prefix
	for _, a := range list {
		p := prefix(a.IPNet)
		if p.Addr().IsLinkLocalUnicast() {
			continue
		}
		have = append(have, p)
		if !slices.Contains(want, p) {
			if err := netlink.AddrDel(l, &a); err != nil {
				return fault.Wrap(err, "cannot remove address %s", p)
			}
		}
	}
	for _, p := range want {
		if slices.Contains(have, p) {
			continue
		}
		a := &netlink.Addr{IPNet: &net.IPNet{IP: p.Addr().AsSlice(), Mask: net.CIDRMask(p.Bits(), p.Addr().BitLen())}}
		if p.Addr().Is6() {
			a.Flags = unix.IFA_F_NODAD
		}
		if err := netlink.AddrReplace(l, a); err != nil {
			return fault.Wrap(err, "cannot add address %s", p)
		}
	}
	return nil
}

// Delete removes a link by name; one that is gone is no error. It waits 10 to 30 ms in the kernel.
func (h *Host) Delete(name string) error {
	l, err := h.Link(name)
	if err == nil {
		err = netlink.LinkDel(byIndex(l.Index))
	}
	if fault.Is(err, fault.NotFound) || errors.Is(err, unix.ENODEV) {
		return nil
	}
	return fault.Wrap(err, "cannot delete link %s", name)
}

// SetMaster puts a port that lost its bridge on one again.
func (h *Host) SetMaster(port string, bridge int) error {
	l, err := h.Link(port)
	if err != nil {
		return err
	}
	p := byIndex(l.Index)
	return fault.Wrap(errors.Join(netlink.LinkSetMasterByIndex(p, bridge), netlink.LinkSetUp(p)), "cannot put link %s on its bridge", port)
}
