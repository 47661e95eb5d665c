package link_test

import (
	"fmt"
	"net/netip"
	"os"
	"sort"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/containercloud/cc/fault"
	"github.com/containercloud/cc/net/link"
	"github.com/containercloud/cc/net/link/linktest"
)

func TestMain(m *testing.M) { linktest.Main(m) }

func host(t testing.TB) *link.Host {
	t.Helper()
	h, err := link.Open()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { h.Close() })
	return h
}

var mark = link.MarkOf("linktest")

func bridge(t testing.TB, h *link.Host) (link.Bridge, int) {
	t.Helper()
	b := link.Bridge{Name: mark.Bridge(t.Name()), Alias: "vpc test", MAC: link.MAC(t.Name()), MTU: 1500,
		Addrs: []netip.Prefix{netip.MustParsePrefix("10.77.0.1/16")}}
	i, _, err := h.SetBridge(b)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { h.Delete(b.Name) })
	return b, i
}

func veth(b int, n int) link.Veth {
	a := netip.AddrFrom4([4]byte{10, 77, byte(n >> 8), byte(n)})
	return link.Veth{Name: mark.Port(), Bridge: b, MTU: 1500, MAC: link.MAC(a.String()),
		Addrs: []netip.Prefix{netip.PrefixFrom(a, 16)}, Gateway: []netip.Addr{netip.MustParseAddr("10.77.0.1")}}
}

func TestNames(t *testing.T) {
	a, b := link.MarkOf("cc"), link.MarkOf("other")
	again := link.MarkOf("cc")
	one, two := a.Port(), a.Port()
	if a == b || a.Bridge("x") != again.Bridge("x") || a.Bridge("x") == a.Bridge("y") || one == two {
		t.Error("names are not deterministic or not different")
	}
	for _, n := range []string{a.Bridge("x"), a.Port()} {
		if len(n) != 15 || !strings.HasPrefix(n, "cc-") {
			t.Errorf("name %q", n)
		}
	}
	if !a.IsBridge(a.Bridge("x")) || a.IsBridge(b.Bridge("x")) || a.IsPort(a.Bridge("x")) || !a.IsPort(a.Port()) {
		t.Error("marks do not tell links apart")
	}
	if m := link.MAC("x"); m[0]&3 != 2 || m.String() != link.MAC("x").String() {
		t.Errorf("MAC %s is not unicast and locally administered", m)
	}
}

func TestBridgeIsRepaired(t *testing.T) {
	h := host(t)
	b, index := bridge(t, h)
	check := func() {
		t.Helper()
		if i, _, err := h.SetBridge(b); err != nil || i == 0 {
			t.Fatal(err)
		}
		out := linktest.Host(t, "ip", "-d", "addr", "show", b.Name)
		for _, want := range []string{b.MAC.String(), "mtu 1500", "UP", "inet 10.77.0.1/16 brd 10.77.255.255", "alias vpc test", "stp_state 0", "mcast_snooping 0"} {
			if !strings.Contains(out, want) {
				t.Errorf("no %q in\n%s", want, out)
			}
		}
		if strings.Contains(out, "inet6") || strings.Count(out, "inet ") != 1 {
			t.Errorf("more addresses than wanted:\n%s", out)
		}
	}
	check()
	if again, made, _ := h.SetBridge(b); again != index || made {
		t.Error("a good bridge was made anew")
	}
	linktest.Host(t, "ip", "link", "set", b.Name, "down", "mtu", "1400", "address", "02:00:00:00:00:09")
	linktest.Host(t, "ip", "addr", "add", "10.99.0.1/24", "dev", b.Name)
	linktest.Host(t, "ip", "addr", "del", "10.77.0.1/16", "dev", b.Name)
	check()
	linktest.Host(t, "ip", "link", "del", b.Name)
	check()
	if got, _ := os.ReadFile("/proc/sys/net/ipv4/conf/" + b.Name + "/arp_ignore"); string(got) != "1\n" {
		t.Errorf("arp_ignore %q", got)
	}
	other := mark.Bridge("other")
	linktest.Host(t, "ip", "link", "add", other, "type", "veth")
	defer linktest.Host(t, "ip", "link", "del", other)
	b.Name = other
	if _, _, err := h.SetBridge(b); !fault.Is(err, fault.Exists) {
		t.Errorf("a veth taken for a bridge: %v", err)
	}
}

func TestAttach(t *testing.T) {
	h := host(t)
	_, index := bridge(t, h)
	v := veth(index, 5)
	ns := linktest.New(t)
	if err := h.Attach(ns.File, v); err != nil {
		t.Fatal(err)
	}
	out := ns.Run(t, "ip", "-d", "addr")
	for _, want := range []string{"eth0", v.MAC.String(), "inet 10.77.0.5/16 brd 10.77.255.255", "127.0.0.1/8", "numtxqueues 1 "} {
		if !strings.Contains(out, want) {
			t.Errorf("no %q in\n%s", want, out)
		}
	}
	if strings.Contains(out, "inet6 fe80") || !strings.Contains(out, "inet6 ::1") {
		t.Errorf("IPv6 on eth0, or none on lo:\n%s", out)
	}
	if out := ns.Run(t, "ip", "route"); !strings.Contains(out, "default via 10.77.0.1 dev eth0") {
		t.Errorf("routes:\n%s", out)
	}
	// Nobody may ping without a capability by default; and the first packet must not be lost.
	if err := ns.Ping("10.77.0.1", 900*time.Millisecond); err != nil {
		t.Error(err)
	}
	if l, err := h.Link(v.Name); err != nil || l.Master != index || !l.Up || l.Kind != "veth" {
		t.Errorf("%+v, %v", l, err)
	}
	if out := linktest.Host(t, "ip", "-6", "addr", "show", "dev", v.Name); out != "" {
		t.Errorf("IPv6 on the host's end:\n%s", out)
	}
	if err := h.Attach(ns.File, veth(index, 6)); err == nil {
		t.Error("two eth0 in one namespace")
	}
	ns.Close()
	gone(t, h, v.Name)
	if _, err := h.Link("nothing"); !fault.Is(err, fault.NotFound) {
		t.Errorf("%v", err)
	}
}

func gone(t *testing.T, h *link.Host, name string) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); time.Now().Before(end); time.Sleep(time.Millisecond) {
		if _, err := h.Link(name); fault.Is(err, fault.NotFound) {
			return
		}
	}
	t.Errorf("link %s stays", name)
}

// TestManyAtOnce attaches in parallel, removes half in one group, and lets the others die with their namespaces.
func TestManyAtOnce(t *testing.T) {
	h := host(t)
	_, index := bridge(t, h)
	const n = 60
	var names [n]string
	var nss [n]*linktest.NS
	var wg sync.WaitGroup
	for i := range n {
		nss[i] = linktest.New(t)
		v := veth(index, i+2)
		names[i] = v.Name
		wg.Go(func() {
			if err := h.Attach(nss[i].File, v); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	count := func() (c int) {
		links, err := h.Links()
		if err != nil {
			t.Fatal(err)
		}
		for _, l := range links {
			if mark.IsPort(l.Name) {
				c++
			}
		}
		return c
	}
	if c := count(); c != n {
		t.Errorf("%d links", c)
	}
	if err := nss[0].Ping("10.77.0.40", 5*time.Second); err != nil {
		t.Error(err)
	}
	if err := h.DeletePorts(mark, append(names[:n/2:n/2], mark.Port())); err != nil {
		t.Error(err)
	}
	if c := count(); c != n/2 {
		t.Errorf("%d links after half went", c)
	}
	for _, ns := range nss {
		ns.Close()
	}
	for _, name := range names {
		gone(t, h, name)
	}
}

func TestRoutes(t *testing.T) {
	h := host(t)
	linktest.Host(t, "ip", "link", "add", "dummy7", "type", "veth", "peer", "name", "dummy8")
	linktest.Host(t, "ip", "link", "set", "dummy8", "up")
	defer linktest.Host(t, "ip", "link", "del", "dummy7")
	linktest.Host(t, "ip", "addr", "add", "192.0.2.9/24", "dev", "dummy7")
	linktest.Host(t, "ip", "link", "set", "dummy7", "up")
	linktest.Host(t, "ip", "route", "add", "default", "via", "192.0.2.1")
	linktest.Host(t, "ip", "-6", "route", "add", "fd01::/64", "dev", "dummy7")
	list, err := h.Routes()
	if err != nil {
		t.Fatal(err)
	}
	var have []string
	for _, r := range list {
		have = append(have, r.Dst.String())
	}
	for _, want := range []string{"192.0.2.0/24", "192.0.2.9/32", "0.0.0.0/0", "fd01::/64"} {
		if !strings.Contains(" "+strings.Join(have, " ")+" ", " "+want+" ") {
			t.Errorf("no %s in %v", want, have)
		}
	}
}

func BenchmarkAttach(b *testing.B) {
	h := host(b)
	_, index := bridge(b, h)
	nss := make([]*os.File, b.N)
	for i := range nss {
		f, err := linktest.Make()
		if err != nil {
			b.Fatal(err)
		}
		nss[i] = f
	}
	took := make([]time.Duration, b.N)
	b.ResetTimer()
	for i := range b.N {
		v := veth(index, 2+i%60000)
		start := time.Now()
		if err := h.Attach(nss[i], v); err != nil {
			b.Fatal(err)
		}
		took[i] = time.Since(start)
	}
	b.StopTimer()
	for _, f := range nss {
		f.Close()
	}
	report(b, took)
}

func report(b *testing.B, took []time.Duration) {
	sort.Slice(took, func(i, j int) bool { return took[i] < took[j] })
	for _, p := range []int{0, 50, 90, 99} {
		b.ReportMetric(float64(took[(len(took)-1)*p/100].Microseconds()), fmt.Sprintf("p%d-us", p))
	}
}
