package vpc

import (
	"encoding/binary"
	"fmt"
	"net/netip"

	"github.com/containercloud/cc/fault"
	"github.com/containercloud/cc/net/link"
)

// taken is a network that a VPC must not overlap, and whose it is.
type taken struct {
	prefix netip.Prefix
	whose  string
}

// shortest is the length below which a route says "all the rest" and not "this network": default routes, and
// the halves 0/1 and 128/1 by which VPN clients take precedence over them.
const shortest = 8

// overlap refuses a network that one of the taken overlaps, naming it and a network that is free.
func overlap(p netip.Prefix, list []taken) error {
	for _, t := range list {
		if t.prefix.Overlaps(p) {
			err := fault.New(fault.AddrInUse, "network %s overlaps %s", p, t.whose)
			if free := suggest(p.Bits(), list); free.IsValid() {
				return err.WithHint("%s is free", free)
			}
			return err
		}
	}
	return nil
}

// suggest finds a free private network of that length (RFC 1918).
func suggest(bits int, list []taken) netip.Prefix {
	for _, pool := range []string{"10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16"} {
		all := netip.MustParsePrefix(pool)
		if bits < all.Bits() {
			continue
		}
		step := min(bits, 16) // 10.0, 10.1 ...: people remember those
		for p := netip.PrefixFrom(all.Addr(), max(step, all.Bits())); all.Contains(p.Addr()); p = after(p) {
			try := netip.PrefixFrom(p.Addr(), bits)
			if free(try, list) {
				return try
			}
		}
	}
	return netip.Prefix{}
}

func free(p netip.Prefix, list []taken) bool {
	for _, t := range list {
		if t.prefix.Overlaps(p) {
			return false
		}
	}
	return true
}

// after is the network behind p of the same length.
func after(p netip.Prefix) netip.Prefix {
	a := p.Addr().As4()
	binary.BigEndian.PutUint32(a[:], binary.BigEndian.Uint32(a[:])+uint32(uint64(1)<<(32-p.Bits())))
	return netip.PrefixFrom(netip.AddrFrom4(a), p.Bits())
}

// hostNetworks are the networks and addresses that the host reaches by itself: all but those of our bridges,
// which are in the VPCs' specs.
func hostNetworks(links []link.Link, routes []link.Route, mark link.Mark) (list []taken) {
	names := make(map[int]string, len(links))
	for _, l := range links {
		names[l.Index] = l.Name
	}
	for _, r := range routes {
		name := names[r.Link]
		if r.Dst.Bits() < shortest || mark.IsBridge(name) {
			continue
		}
		whose := fmt.Sprintf("the host's route to %s", r.Dst)
		if name != "" {
			whose += " on " + name
		}
		list = append(list, taken{r.Dst, whose})
	}
	return list
}
