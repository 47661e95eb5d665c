// Package ipam decides which address of a network belongs to whom. It is pure: it touches no kernel and no
// disk, and knows nothing of containers beyond a name.
//
// Fresh addresses are given in order, and one that was given back is used again only when no fresh one is
// left or very many rest, the longest free first: neighbours and peers have had time to forget its last owner.
package ipam

import (
	"net/netip"
	"slices"
	"sync"

	"github.com/containercloud/cc/fault"
)

// resting is how many addresses rest at most before the longest free one is used again: a network of millions
// of addresses must not make the pool remember millions.
const resting = 4096

// Pool is one network's addresses, of IPv4 or IPv6. Its methods are safe for concurrent use.
type Pool struct {
	prefix  netip.Prefix
	gateway netip.Addr
	last    netip.Addr // the last that may be given

	mu       sync.Mutex
	next     netip.Addr            // no address from here on was ever given by Take; invalid when there is none
	freed    []netip.Addr          // none of them used or reserved
	used     map[netip.Addr]string // to its holder
	reserved map[netip.Addr]string // to the one name that may have it; "" for nobody
}

// New makes the pool of a network. The network's own address, the broadcast address of IPv4 and the gateway
// are never given.
func New(prefix netip.Prefix, gateway netip.Addr) (*Pool, error) {
	if err := CheckGateway(prefix, gateway); err != nil {
		return nil, err
	}
	p := &Pool{prefix: prefix, gateway: gateway, last: Last(prefix), used: map[netip.Addr]string{}, reserved: map[netip.Addr]string{}}
	p.next = First(prefix)
	return p, nil
}

// First is the first address of a network that a machine may have.
func First(p netip.Prefix) netip.Addr { return p.Masked().Addr().Next() }

// Last is the last one: for IPv4 the one before the broadcast address.
func Last(p netip.Prefix) netip.Addr {
	b := p.Addr().AsSlice()
	for i := range b {
		switch host := (i+1)*8 - p.Bits(); {
		case host >= 8:
			b[i] = 0xff
		case host > 0:
			b[i] |= 0xff >> (8 - host)
		}
	}
	a, _ := netip.AddrFromSlice(b)
	if a.Is4() {
		return a.Prev()
	}
	return a
}

// CheckGateway refuses a gateway that is no machine's address in the network.
func CheckGateway(p netip.Prefix, gateway netip.Addr) error {
	if !inside(p, gateway) {
		return fault.New(fault.AddrUnusable, "gateway %s is not an address of a machine in %s", gateway, p).
			WithHint("use one from %s to %s", First(p), Last(p))
	}
	return nil
}

func inside(p netip.Prefix, a netip.Addr) bool {
	return p.Contains(a) && !a.Less(First(p)) && !Last(p).Less(a)
}

// Reserve replaces the reservations: each address goes to no other than the named one, "" to nobody. Who
// holds such an address already keeps it.
func (p *Pool) Reserve(list map[netip.Addr]string) error {
	for a := range list {
		if err := p.check(a); err != nil {
			return err
		}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	for a := range p.reserved {
		if _, still := list[a]; !still && p.free(a) && !slices.Contains(p.freed, a) {
			p.putLocked(a) // it was passed over
		}
	}
	p.reserved = make(map[netip.Addr]string, len(list))
	for a, who := range list {
		p.reserved[a] = who
	}
	p.freed = slices.DeleteFunc(p.freed, func(a netip.Addr) bool { _, kept := list[a]; return kept })
	return nil
}

// check refuses addresses that nobody may have.
func (p *Pool) check(a netip.Addr) error {
	switch {
	case !inside(p.prefix, a):
		return fault.New(fault.AddrUnusable, "address %s is not one of a machine in %s", a, p.prefix).
			WithHint("use one from %s to %s", First(p.prefix), p.last)
	case a == p.gateway:
		return fault.New(fault.AddrInUse, "address %s is the network's gateway", a)
	}
	return nil
}

// Take gives an address to owner: the one reserved for it if there is, else the next fresh one, else the one
// that was given back longest ago. fault.NoSpace says that there is none.
func (p *Pool) Take(owner string) (netip.Addr, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for a, who := range p.reserved {
		if who == owner && who != "" && p.free(a) {
			p.useLocked(a, owner)
			return a, nil
		}
	}
	for a := p.next; a.IsValid() && len(p.freed) <= resting; a = p.next {
		if p.next = a.Next(); !inside(p.prefix, p.next) {
			p.next = netip.Addr{}
		}
		if p.mayTake(a) {
			p.used[a] = owner
			return a, nil
		}
	}
	if len(p.freed) > 0 {
		a := p.freed[0]
		p.freed = p.freed[1:]
		p.used[a] = owner
		return a, nil
	}
	return netip.Addr{}, fault.New(fault.NoSpace, "no free address in %s: %d are in use, %d reserved", p.prefix, len(p.used), len(p.reserved)).
		WithHint("delete containers, or use a larger network")
}

func (p *Pool) free(a netip.Addr) bool {
	_, used := p.used[a]
	return !used
}

func (p *Pool) mayTake(a netip.Addr) bool {
	_, reserved := p.reserved[a]
	return a != p.gateway && !reserved && p.free(a)
}

// TakeAddr gives that very address to owner: fault.AddrInUse when somebody has it or it is kept for another,
// fault.AddrUnusable when it is none of the network's.
func (p *Pool) TakeAddr(a netip.Addr, owner string) error {
	if err := p.check(a); err != nil {
		return err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if holder, used := p.used[a]; used {
		return fault.New(fault.AddrInUse, "address %s is in use by %s", a, name(holder))
	}
	if who, reserved := p.reserved[a]; reserved && (who != owner || who == "") {
		return fault.New(fault.AddrInUse, "address %s is reserved for %s", a, name(who))
	}
	p.useLocked(a, owner)
	return nil
}

func name(owner string) string {
	if owner == "" {
		return "nobody in particular"
	}
	return owner
}

// Adopt notes that owner has the address, whatever is reserved: it is so already.
func (p *Pool) Adopt(a netip.Addr, owner string) error {
	if err := p.check(a); err != nil {
		return err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if holder, used := p.used[a]; used && holder != owner {
		return fault.New(fault.AddrInUse, "address %s is in use by %s", a, name(holder))
	}
	p.useLocked(a, owner)
	return nil
}

// Rename notes another holder of an address in use.
func (p *Pool) Rename(a netip.Addr, owner string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if _, used := p.used[a]; used {
		p.used[a] = owner
	}
}

// Release takes an address back; one that nobody has is no error.
func (p *Pool) Release(a netip.Addr) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if _, used := p.used[a]; !used {
		return
	}
	delete(p.used, a)
	if _, reserved := p.reserved[a]; !reserved {
		p.putLocked(a)
	}
}

// putLocked puts an address at the end of those that were given back; one from next on comes up by itself.
func (p *Pool) putLocked(a netip.Addr) {
	if a.Less(p.nextLocked()) {
		p.freed = append(p.freed, a)
	}
}

// useLocked notes a holder of an address that was asked for by itself.
func (p *Pool) useLocked(a netip.Addr, owner string) {
	p.used[a] = owner
	if i := slices.Index(p.freed, a); i >= 0 {
		p.freed = slices.Delete(p.freed, i, i+1)
	}
}

// nextLocked is next, or an address behind the network when all were given.
func (p *Pool) nextLocked() netip.Addr {
	if p.next.IsValid() {
		return p.next
	}
	return p.last.Next()
}

// ReservedFor finds the address that is kept for a name.
func (p *Pool) ReservedFor(owner string) (netip.Addr, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for a, who := range p.reserved {
		if who == owner && who != "" {
			return a, true
		}
	}
	return netip.Addr{}, false
}

// Is reports whether the pool is that network's, with that gateway.
func (p *Pool) Is(prefix netip.Prefix, gateway netip.Addr) bool {
	return p.prefix == prefix && p.gateway == gateway
}
