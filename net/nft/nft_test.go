package nft

import (
	"flag"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/containercloud/cc/net/link"
	"github.com/containercloud/cc/net/link/linktest"
	"github.com/containercloud/cc/object"
)

var update = flag.Bool("update", false, "write the golden files")

func TestMain(m *testing.M) { linktest.Main(m) }

func golden(t *testing.T, name, got string) {
	t.Helper()
	file := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("%s differs (-update writes it):\n%s", name, got)
	}
}

// check compares the kernel with what must be and repairs it.
func check(t *Table) (repaired bool, err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.repairLocked()
}

func TestGolden(t *testing.T) {
	golden(t, "ruleset.nft", newRuleset(object.Mark("cc"), link.MarkOf("cc")).String())
}

func open(t testing.TB, instance string) *Table {
	t.Helper()
	x, err := Open(instance, slog.New(slog.NewTextHandler(t.Output(), nil)))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { x.Teardown(); x.Close() })
	return x
}

func listed(t testing.TB) string {
	t.Helper()
	if _, err := exec.LookPath("nft"); err != nil {
		t.Skip("SKIP: no nft(8) here to list rules with (package nftables)")
	}
	return linktest.Host(t, "nft", "list", "ruleset")
}

var (
	netA = Network{Bridge: "cc-xxxxbaaaaaaa", Nets: []netip.Prefix{netip.MustParsePrefix("10.1.0.0/24")}, NAT: true}
	netB = Network{Bridge: "cc-xxxxbbbbbbbb", Nets: []netip.Prefix{netip.MustParsePrefix("10.2.0.0/16")}, Isolate: true}
)

func port(i int) Port {
	a := netip.AddrFrom4([4]byte{10, 2, byte(i >> 8), byte(i)})
	return Port{Name: fmt.Sprintf("cc-xxxxv%07d", i), MAC: net.HardwareAddr{2, 0, 0, 0, byte(i >> 8), byte(i)}, Addrs: []netip.Addr{a}}
}

// TestKernelSaysTheSame compares what nft(8) reads out of the kernel with the golden file, which is what we say
// that we give it.
func TestKernelSaysTheSame(t *testing.T) {
	x := open(t, "cc")
	if err := x.Set([]Network{netA, netB}, []Port{port(7), port(8)}); err != nil {
		t.Fatal(err)
	}
	golden(t, "kernel.nft", listed(t))
	if repaired, err := check(x); repaired || err != nil {
		t.Errorf("a ruleset just made is taken for wrong: %v", err)
	}
	ports, err := x.Ports()
	if err != nil || len(ports) != 2 {
		t.Fatalf("%v, %v", ports, err)
	}
	for _, p := range ports {
		if w := port(int(p.MAC[5])); p.Name != w.Name || p.MAC.String() != w.MAC.String() || p.Addrs[0] != w.Addrs[0] {
			t.Errorf("%+v", p)
		}
	}
}

// TestTextIsTrue feeds the golden file to nft(8): the kernel must then hold what our own way there makes.
func TestTextIsTrue(t *testing.T) {
	listed(t)
	linktest.Host(t, "nft", "-f", "testdata/ruleset.nft")
	text := listed(t)
	linktest.Host(t, "nft", "flush", "ruleset")
	x := open(t, "cc")
	if err := x.rebuildLocked(); err != nil {
		t.Fatal(err)
	}
	if now := listed(t); now != text {
		t.Errorf("from the text:\n%s\nfrom us:\n%s", text, now)
	}
}

func TestElementsComeAndGo(t *testing.T) {
	before := listed(t)
	linktest.Host(t, "nft", "add table ip foreign; add chain ip foreign c { type filter hook forward priority 0; policy drop; }; add rule ip foreign c counter accept")
	defer linktest.Host(t, "nft", "delete table ip foreign")
	foreign := listed(t)
	x := open(t, "cc")
	step := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		if repaired, err := check(x); repaired || err != nil {
			t.Fatalf("the kernel is not as the table remembers: %v\n%s", err, listed(t))
		}
	}
	step(x.DropPort("nobody"))
	step(x.SetNetwork(netA))
	one := listed(t)
	step(x.SetNetwork(netB))
	for i := range 20 {
		step(x.SetPort(port(i)))
	}
	step(x.SetPort(port(3)))
	b := netB
	b.NAT, b.Isolate = true, false
	step(x.SetNetwork(b))
	for i := range 20 {
		step(x.DropPort(port(i).Name))
	}
	step(x.DropPort(port(0).Name))
	step(x.DropNetwork(netB.Bridge))
	if now := listed(t); now != one {
		t.Errorf("left behind:\n%s", now)
	}
	if drops, err := x.ForeignDrops(); err != nil || strings.Join(drops, ",") != "foreign c" {
		t.Errorf("%q, %v", drops, err)
	}
	step(x.DropNetwork(netA.Bridge))
	if now := listed(t); now != foreign || now == before {
		t.Errorf("left behind, or taken from others:\n%s", now)
	}
}

// TestRepair breaks the rules in every way that nft(8) can; each time they must come back without a call.
func TestRepair(t *testing.T) {
	x, other := open(t, "cc"), open(t, "other")
	if err := x.Set([]Network{netA, netB}, []Port{port(1), port(2)}); err != nil {
		t.Fatal(err)
	}
	if err := other.Set([]Network{{Bridge: "cc-yyyyb", Nets: []netip.Prefix{netip.MustParsePrefix("10.9.0.0/24")}}}, nil); err != nil {
		t.Fatal(err)
	}
	good := listed(t)
	for _, damage := range []string{
		"flush ruleset",
		"delete table inet cc",
		"delete table bridge cc",
		"flush chain inet cc enter",
		"flush table bridge cc",
		"insert rule inet cc input accept",
		"add rule bridge cc port accept",
		"flush set bridge cc senders4",
		"add element inet cc nat4 { 10.2.0.0/16 }",
		"add chain inet cc more",
		"add chain inet cc forward { policy drop; }",
	} {
		linktest.Host(t, "nft", damage)
		now := ""
		for end := time.Now().Add(20 * time.Second); sorted(now) != sorted(good) && time.Now().Before(end); time.Sleep(time.Millisecond) {
			now = listed(t)
		}
		if sorted(now) != sorted(good) {
			t.Fatalf("after %q:\n%s", damage, now)
		}
	}
}

// sorted makes listings comparable: tables made anew stand behind others, elements have no order.
func sorted(s string) string {
	words := strings.FieldsFunc(s, func(r rune) bool { return strings.ContainsRune(" \n\t,", r) })
	for i := range words {
		for j := i; j > 0 && words[j] < words[j-1]; j-- {
			words[j], words[j-1] = words[j-1], words[j]
		}
	}
	return strings.Join(words, " ")
}

// TestAdopt opens a second time, as a daemon does after a crash: what is right stays untouched.
func TestAdopt(t *testing.T) {
	x := open(t, "cc")
	var ports []Port
	for i := range 1200 {
		ports = append(ports, port(i))
	}
	if err := x.Set([]Network{netA, netB}, ports); err != nil {
		t.Fatal(err)
	}
	handles := func() string { return linktest.Host(t, "nft", "-a", "list", "table", "inet", "cc") }
	before := handles()
	x.Close()
	y := open(t, "cc")
	found, err := y.Ports()
	if err != nil || len(found) != len(ports) {
		t.Fatalf("%d ports, %v", len(found), err)
	}
	if err := y.Set([]Network{netA, netB}, found); err != nil {
		t.Fatal(err)
	}
	if handles() != before {
		t.Error("good rules were made anew")
	}
	if err := y.Set([]Network{netA, netB}, found[:10]); err != nil {
		t.Fatal(err)
	}
	if now, _ := y.Ports(); len(now) != 10 {
		t.Errorf("%d ports", len(now))
	}
}

func TestConcurrent(t *testing.T) {
	x := open(t, "cc")
	if err := x.Set([]Network{netB}, nil); err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	for w := range 8 {
		wg.Go(func() {
			for i := range 50 {
				p := port(w*50 + i)
				if err := x.SetPort(p); err != nil {
					t.Error(err)
				}
				if i%2 == 0 {
					if err := x.DropPort(p.Name); err != nil {
						t.Error(err)
					}
				}
			}
		})
	}
	for range 5 {
		linktest.Host(t, "nft", "flush ruleset")
	}
	wg.Wait()
	if _, err := check(x); err != nil {
		t.Error(err)
	}
	if ports, _ := x.Ports(); len(ports) != 8*25 {
		t.Errorf("%d ports", len(ports))
	}
}

func BenchmarkPort(b *testing.B) {
	for _, others := range []int{10, 5000} {
		b.Run(fmt.Sprintf("others=%d", others), func(b *testing.B) {
			x := open(b, "cc")
			var ports []Port
			for i := range others {
				ports = append(ports, port(i))
			}
			if err := x.Set([]Network{netB}, ports); err != nil {
				b.Fatal(err)
			}
			p := port(20000)
			for b.Loop() {
				if err := x.SetPort(p); err != nil {
					b.Fatal(err)
				}
				if err := x.DropPort(p.Name); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(b.Elapsed().Microseconds())/float64(2*b.N), "us/change")
		})
	}
}
