package ipam

import (
	"fmt"
	"net/netip"
	"sync"
	"testing"

	"github.com/containercloud/cc/fault"
)

func addr(s string) netip.Addr { return netip.MustParseAddr(s) }

func pool(t testing.TB, prefix string) *Pool {
	t.Helper()
	p := netip.MustParsePrefix(prefix)
	x, err := New(p, First(p))
	if err != nil {
		t.Fatal(err)
	}
	return x
}

func take(t *testing.T, p *Pool, owner, want string) {
	t.Helper()
	if a, err := p.Take(owner); err != nil || a != addr(want) {
		t.Errorf("took %s, %v, want %s", a, err, want)
	}
}

func TestEnds(t *testing.T) {
	for _, c := range []struct{ prefix, first, last string }{
		{"10.1.0.0/24", "10.1.0.1", "10.1.0.254"},
		{"10.1.0.0/30", "10.1.0.1", "10.1.0.2"},
		{"10.0.0.0/8", "10.0.0.1", "10.255.255.254"},
		{"172.16.64.0/18", "172.16.64.1", "172.16.127.254"},
		{"fd00:1::/64", "fd00:1::1", "fd00:1::ffff:ffff:ffff:ffff"},
		{"fd00:1::/121", "fd00:1::1", "fd00:1::7f"},
	} {
		p := netip.MustParsePrefix(c.prefix)
		if First(p) != addr(c.first) || Last(p) != addr(c.last) {
			t.Errorf("%s: %s to %s", p, First(p), Last(p))
		}
	}
}

func TestFreshFirstThenLongestFree(t *testing.T) {
	p := pool(t, "10.1.0.0/29") // .1 is the gateway; .2 to .6
	take(t, p, "a", "10.1.0.2")
	take(t, p, "b", "10.1.0.3")
	p.Release(addr("10.1.0.2"))
	take(t, p, "c", "10.1.0.4")
	p.Release(addr("10.1.0.3"))
	p.Release(addr("10.1.0.3"))
	take(t, p, "d", "10.1.0.5")
	take(t, p, "e", "10.1.0.6")
	take(t, p, "f", "10.1.0.2")
	p.Release(addr("10.1.0.2"))
	take(t, p, "g", "10.1.0.3")
	take(t, p, "h", "10.1.0.2")
	_, err := p.Take("i")
	if !fault.Is(err, fault.NoSpace) || fault.HintOf(err) == "" {
		t.Errorf("%v", err)
	}
	if len(p.used) != 5 {
		t.Errorf("%d in use", len(p.used))
	}
}

func TestStatic(t *testing.T) {
	p := pool(t, "10.1.0.0/24")
	for _, c := range []struct {
		a    string
		kind fault.Kind
	}{
		{"10.1.0.1", fault.AddrInUse},
		{"10.1.0.0", fault.AddrUnusable},
		{"10.1.0.255", fault.AddrUnusable},
		{"10.1.1.5", fault.AddrUnusable},
		{"fd00::1", fault.AddrUnusable},
	} {
		if err := p.TakeAddr(addr(c.a), "x"); !fault.Is(err, c.kind) {
			t.Errorf("%s: %v", c.a, err)
		}
	}
	if err := p.TakeAddr(addr("10.1.0.2"), "x"); err != nil {
		t.Error(err)
	}
	if err := p.TakeAddr(addr("10.1.0.2"), "y"); !fault.Is(err, fault.AddrInUse) || err.Error() != "address 10.1.0.2 is in use by x" {
		t.Errorf("%v", err)
	}
	take(t, p, "a", "10.1.0.3")
	for range 3 { // a static address that comes and goes must not stand in line many times
		p.Release(addr("10.1.0.2"))
		if err := p.TakeAddr(addr("10.1.0.2"), "x"); err != nil {
			t.Error(err)
		}
	}
	if len(p.freed) != 0 {
		t.Errorf("%v", p.freed)
	}
}

func TestReservations(t *testing.T) {
	p := pool(t, "10.1.0.0/29")
	if err := p.Reserve(map[netip.Addr]string{addr("10.9.0.1"): "x"}); !fault.Is(err, fault.AddrUnusable) {
		t.Errorf("%v", err)
	}
	if err := p.Reserve(map[netip.Addr]string{addr("10.1.0.2"): "db", addr("10.1.0.3"): ""}); err != nil {
		t.Fatal(err)
	}
	take(t, p, "a", "10.1.0.4")
	if err := p.TakeAddr(addr("10.1.0.2"), "b"); !fault.Is(err, fault.AddrInUse) {
		t.Errorf("%v", err)
	}
	if err := p.TakeAddr(addr("10.1.0.3"), ""); !fault.Is(err, fault.AddrInUse) {
		t.Errorf("%v", err)
	}
	if a, ok := p.ReservedFor("db"); !ok || a != addr("10.1.0.2") {
		t.Errorf("%v", a)
	}
	take(t, p, "db", "10.1.0.2")
	take(t, p, "db", "10.1.0.5") // its second
	p.Release(addr("10.1.0.2"))
	take(t, p, "b", "10.1.0.6")
	if _, err := p.Take("c"); !fault.Is(err, fault.NoSpace) {
		t.Errorf("%v", err)
	}
	if err := p.Reserve(nil); err != nil {
		t.Error(err)
	}
	got := map[netip.Addr]bool{}
	for range 2 {
		a, err := p.Take("c")
		if err != nil {
			t.Error(err)
		}
		got[a] = true
	}
	if !got[addr("10.1.0.2")] || !got[addr("10.1.0.3")] {
		t.Errorf("%v", got)
	}
}

func TestAdopt(t *testing.T) {
	p := pool(t, "10.1.0.0/24")
	if err := p.Reserve(map[netip.Addr]string{addr("10.1.0.2"): "other"}); err != nil {
		t.Fatal(err)
	}
	if err := p.Adopt(addr("10.1.0.2"), "a"); err != nil {
		t.Errorf("what is so already must be taken: %v", err)
	}
	if err := p.Adopt(addr("10.1.0.2"), "b"); !fault.Is(err, fault.AddrInUse) {
		t.Errorf("%v", err)
	}
	p.Rename(addr("10.1.0.2"), "c")
	if err := p.TakeAddr(addr("10.1.0.2"), "d"); err == nil || err.Error() != "address 10.1.0.2 is in use by c" {
		t.Errorf("%v", err)
	}
	take(t, p, "e", "10.1.0.3")
}

func TestGateway(t *testing.T) {
	p := netip.MustParsePrefix("10.1.0.0/24")
	if _, err := New(p, addr("10.2.0.1")); !fault.Is(err, fault.AddrUnusable) {
		t.Errorf("%v", err)
	}
	x, err := New(p, Last(p))
	if err != nil {
		t.Fatal(err)
	}
	take(t, x, "a", "10.1.0.1")
}

func TestIPv6(t *testing.T) {
	p := pool(t, "fd00:1::/64")
	for i := range 1000 {
		take(t, p, "a", fmt.Sprintf("fd00:1::%x", i+2))
	}
}

func TestConcurrent(t *testing.T) {
	p := pool(t, "10.1.0.0/22") // 1021 addresses
	var mu sync.Mutex
	holders := map[netip.Addr]bool{}
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 2000 {
				a, err := p.Take("x")
				if err != nil {
					t.Error(err)
					return
				}
				mu.Lock()
				if holders[a] {
					t.Errorf("%s given twice", a)
				}
				holders[a] = true
				mu.Unlock()
				mu.Lock()
				delete(holders, a)
				mu.Unlock()
				p.Release(a)
			}
		})
	}
	wg.Wait()
}

func BenchmarkTake(b *testing.B) {
	p := pool(b, "10.0.0.0/8")
	for b.Loop() {
		a, err := p.Take("x")
		if err != nil {
			b.Fatal(err)
		}
		p.Release(a)
	}
}
