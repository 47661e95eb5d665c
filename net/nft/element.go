package nft

import (
	"encoding/binary"
	"net"
	"net/netip"
	"strings"

	"github.com/google/nftables"

	"github.com/containercloud/cc/fault"
)

// Network is a VPC as the rules see it.
type Network struct {
	Bridge  string
	Nets    []netip.Prefix
	NAT     bool // what leaves the VPCs gets the host's address
	Isolate bool // its containers do not see each other
}

// Port is a container's place on a bridge: what it may call itself.
type Port struct {
	Name  string // the host's end of the veth
	MAC   net.HardwareAddr
	Addrs []netip.Addr
}

// change is what happens to one set.
type change struct {
	set  *nftables.Set
	list []nftables.SetElement
}

// elements are the set elements of a network.
func (r *ruleset) networkElements(n Network) []change {
	name := ifnameKey(n.Bridge)
	list := []change{{r.same, []nftables.SetElement{{Key: append(name, name...)}}}}
	nets := intervals(n.Nets)
	list = append(list, change{r.nets, nets})
	if n.NAT {
		list = append(list, change{r.nat, nets})
	}
	if n.Isolate {
		list = append(list, change{r.isolated, nets}, change{r.isolatedFrames, nets})
	}
	return list
}

// portElements are the set elements of a port: one for each of its addresses.
func (r *ruleset) portElements(p Port) []change {
	c := change{set: r.senders}
	for _, a := range p.Addrs {
		if a.Is4() {
			c.list = append(c.list, nftables.SetElement{Key: portKey(p.Name, p.MAC, a)})
		}
	}
	return []change{c}
}

func ifnameKey(name string) []byte {
	b := make([]byte, 16)
	copy(b, name)
	return b
}

// portKey is keyPort's layout: name in 16 bytes, MAC in 8, address in 4.
func portKey(name string, mac net.HardwareAddr, a netip.Addr) []byte {
	b := ifnameKey(name)
	b = append(b, mac[:6]...)
	b = append(b, 0, 0)
	return append(b, a.AsSlice()...)
}

func parsePort(key []byte) (Port, error) {
	if len(key) != int(keyPort.Bytes) {
		return Port{}, fault.New(fault.Internal, "a key of %d bytes among the senders", len(key))
	}
	a, _ := netip.AddrFromSlice(key[24:28])
	return Port{
		Name:  strings.TrimRight(string(key[:16]), "\x00"),
		MAC:   append(net.HardwareAddr(nil), key[16:22]...),
		Addrs: []netip.Addr{a},
	}, nil
}

// intervals are the IPv4 prefixes as an interval set holds them: first address, and the one behind the last.
func intervals(list []netip.Prefix) (elements []nftables.SetElement) {
	for _, p := range list {
		if !p.Addr().Is4() {
			continue
		}
		first := p.Masked().Addr().As4()
		var end [4]byte
		binary.BigEndian.PutUint32(end[:], binary.BigEndian.Uint32(first[:])+uint32(uint64(1)<<(32-p.Bits())))
		elements = append(elements, nftables.SetElement{Key: first[:]})
		if end != [4]byte{} { // a network at the end of all addresses has nothing behind it
			elements = append(elements, nftables.SetElement{Key: end[:], IntervalEnd: true})
		}
	}
	return elements
}
