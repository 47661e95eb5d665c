package vpc_test

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/containercloud/cc/fault"
	"github.com/containercloud/cc/net/link/linktest"
	"github.com/containercloud/cc/net/vpc"
	"github.com/containercloud/cc/object"
)

func cidr(s string) func(*vpc.Spec) error {
	return func(x *vpc.Spec) error { x.CIDR = netip.MustParsePrefix(s); return nil }
}

func TestBadInput(t *testing.T) {
	c := start(t, "cc")
	for _, name := range []string{"", "A", "-a", "a b", "a/b", "..", strings.Repeat("a", 64), "a\n"} {
		_, err := c.Create(t.Context(), name, 0, 0)
		want(t, err, fault.Invalid, "")
	}
	v := c.vpc(t, "foo", "10.1.0.0/24")
	_, err := c.Create(t.Context(), "foo", 0, 0)
	want(t, err, fault.Exists, "foo")
	w, err := c.Create(t.Context(), "bar", 0, 0)
	if err != nil {
		t.Fatal(err)
	}
	for _, x := range []struct {
		v    *vpc.VPC
		kind fault.Kind
		part string
		f    func(*vpc.Spec) error
	}{
		{v, fault.Fixed, "10.1.0.0/24", cidr("10.2.0.0/24")},
		{w, fault.Invalid, "10.3.0.0/24", cidr("10.3.0.7/24")},
		{w, fault.Range, "no room", cidr("10.3.0.0/31")},
		{w, fault.Range, "no room", cidr("10.3.0.0/32")},
		{w, fault.Range, "too large", cidr("10.0.0.0/7")},
		{w, fault.Range, "too large", cidr("0.0.0.0/0")},
		{w, fault.Unsupported, "IPv4", cidr("fd00::/64")},
		{w, fault.AddrUnusable, "loopback", cidr("127.1.0.0/16")},
		{w, fault.AddrUnusable, "metadata", cidr("169.254.7.0/24")},
		{w, fault.AddrUnusable, "multicast", cidr("224.0.0.0/24")},
		{w, fault.AddrUnusable, "reserved", cidr("255.255.255.0/24")},
		{w, fault.AddrUnusable, "this host", cidr("0.1.0.0/16")},
		{w, fault.AddrInUse, "vpc foo", cidr("10.1.0.0/16")},
		{w, fault.AddrInUse, "vpc foo", cidr("10.1.0.0/30")},
		{v, fault.AddrUnusable, "gateway", func(s *vpc.Spec) error { s.Gateway = netip.MustParseAddr("10.2.0.1"); return nil }},
		{v, fault.AddrUnusable, "gateway", func(s *vpc.Spec) error { s.Gateway = netip.MustParseAddr("10.1.0.255"); return nil }},
		{v, fault.Range, "mtu", func(s *vpc.Spec) error { s.MTU = 100; return nil }},
		{v, fault.Range, "mtu", func(s *vpc.Spec) error { s.MTU = 100000; return nil }},
		{v, fault.AddrUnusable, "10.9.0.1", func(s *vpc.Spec) error {
			s.Reserve = []vpc.Reservation{{IP: netip.MustParseAddr("10.9.0.1")}}
			return nil
		}},
		{v, fault.AddrInUse, "gateway", func(s *vpc.Spec) error {
			s.Reserve = []vpc.Reservation{{IP: netip.MustParseAddr("10.1.0.1")}}
			return nil
		}},
		{v, fault.Invalid, "twice", func(s *vpc.Spec) error {
			s.Reserve = []vpc.Reservation{{IP: netip.MustParseAddr("10.1.0.3")}, {IP: netip.MustParseAddr("10.1.0.3")}}
			return nil
		}},
		{v, fault.Invalid, "Bad Name", func(s *vpc.Spec) error {
			s.Reserve = []vpc.Reservation{{IP: netip.MustParseAddr("10.1.0.3"), Container: "Bad Name"}}
			return nil
		}},
		{v, fault.Denied, "no", func(*vpc.Spec) error { return fault.New(fault.Denied, "no") }},
	} {
		before, version := x.v.Spec(), x.v.Meta().Version
		err := x.v.Update(t.Context(), x.f)
		want(t, err, x.kind, x.part)
		if after := x.v.Spec(); fmt.Sprint(after) != fmt.Sprint(before) || x.v.Meta().Version != version {
			t.Errorf("%v changed the vpc to %+v", err, after)
		}
	}
	if hint := fault.HintOf(w.Update(t.Context(), cidr("fd00::/64"))); hint != "IPv6 is not in this release" {
		t.Errorf("IPv6: %q", hint)
	}
	for _, name := range []string{"nothing", "bar"} {
		_, err := c.Attach(t.Context(), name, linktest.New(t).File, vpc.AttachOptions{})
		if k := fault.KindOf(err); k != fault.NotFound && k != fault.AddrUnusable || fault.HintOf(err) == "" {
			t.Errorf("%v", err)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := v.Update(ctx, func(s *vpc.Spec) error { s.NAT = false; return nil }); err == nil || !v.Spec().NAT {
		t.Error("a cancelled write changed something")
	}
}

func TestSpecLives(t *testing.T) {
	c := start(t, "cc")
	v := c.vpc(t, "foo", "10.1.0.0/24")
	if s := v.Spec(); s.Gateway.String() != "10.1.0.1" || !s.NAT || s.Isolate || s.MTU != 1500 {
		t.Errorf("%+v", s)
	}
	if m := v.Meta(); m.Version != 2 || m.Name != "foo" || m.UID != 0 {
		t.Errorf("%+v", m)
	}
	if err := v.SetMeta(t.Context(), func(m *object.Meta) error {
		m.Labels, m.Name, m.UID = map[string]string{"team": "a"}, "another", 7
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	set(t, v, func(s *vpc.Spec) {
		s.Gateway, s.MTU = netip.MustParseAddr("10.1.0.254"), 9000
		s.Reserve = []vpc.Reservation{{IP: netip.MustParseAddr("10.1.0.50"), Container: "db"}}
	})
	out := linktest.Host(t, "ip", "addr", "show", v.Status().Bridge)
	if !strings.Contains(out, "10.1.0.254/24") || strings.Contains(out, "10.1.0.1/24") || !strings.Contains(out, "mtu 9000") {
		t.Errorf("%s", out)
	}
	a := c.container(t, "foo", "a")
	if a.ip() != "10.1.0.1" || a.Gateway.String() != "10.1.0.254" || a.MTU != 9000 {
		t.Errorf("%+v", a.Attachment)
	}
	if out := a.Run(t, "ip", "link", "show", "eth0"); !strings.Contains(out, "mtu 9000") {
		t.Errorf("%s", out)
	}
	err := v.Update(t.Context(), func(s *vpc.Spec) error { s.Gateway = netip.MustParseAddr("10.1.0.9"); return nil })
	want(t, err, fault.Busy, "10.1.0.254")
	err = v.Update(t.Context(), func(s *vpc.Spec) error { s.CIDR = netip.Prefix{}; return nil })
	want(t, err, fault.Busy, "in use")
	c.close(t)
	c.open(t)
	if err := c.Restore(t.Context(), []vpc.Held{a.held()}); err != nil {
		t.Fatal(err)
	}
	v, err = c.Get("foo")
	if err != nil {
		t.Fatal(err)
	}
	if m := v.Meta(); m.Labels["team"] != "a" || m.UID != 7 || m.Version != 4 || m.Name != "foo" {
		t.Errorf("%+v", m)
	}
	if db := c.container(t, "foo", "db"); db.ip() != "10.1.0.50" {
		t.Errorf("db got %s", db.ip())
	}
	if ip, ok := c.Reserved("foo", "db"); !ok || ip.String() != "10.1.0.50" {
		t.Errorf("%s", ip)
	}
}

func TestUnset(t *testing.T) {
	before := kernel(t)
	c := start(t, "cc")
	v := c.vpc(t, "foo", "10.1.0.0/24")
	set(t, v, func(s *vpc.Spec) { s.CIDR, s.Gateway = netip.Prefix{}, netip.Addr{} })
	if v.Status().State != vpc.Defined {
		t.Errorf("%+v", v.Status())
	}
	waitKernel(t, before)
	set(t, v, func(s *vpc.Spec) { s.CIDR = netip.MustParsePrefix("10.7.0.0/16") })
	if a := c.container(t, "foo", "a"); a.ip() != "10.7.0.2" {
		t.Errorf("%s", a.ip())
	}
}

func TestFailedAndAgain(t *testing.T) {
	c := start(t, "cc")
	v, err := c.Create(t.Context(), "foo", 0, 0)
	if err != nil {
		t.Fatal(err)
	}
	set(t, v, func(s *vpc.Spec) { s.CIDR = netip.MustParsePrefix("10.1.0.0/24") })
	bridge := v.Status().Bridge
	c.close(t)
	linktest.Host(t, "ip", "link", "del", bridge)
	linktest.Host(t, "ip", "link", "add", bridge, "type", "veth") // somebody sits on the name
	c.open(t)
	v, _ = c.Get("foo")
	if s := v.Status(); s.State != vpc.Failed || !strings.Contains(s.Reason, "no bridge") || len(v.Failures().List()) == 0 {
		t.Errorf("%+v", s)
	}
	_, err = c.Attach(t.Context(), "foo", linktest.New(t).File, vpc.AttachOptions{})
	want(t, err, fault.Exists, "no bridge")
	linktest.Host(t, "ip", "link", "del", bridge)
	c.container(t, "foo", "a")
	if s := v.Status(); s.State != vpc.Ready || s.Reason != "" || s.Leases != 1 {
		t.Errorf("%+v", s)
	}
}

func TestLeases(t *testing.T) {
	c := start(t, "cc")
	v := c.vpc(t, "foo", "10.1.0.0/29") // .2 to .6
	var changes sync.Map
	c.OnChange(func(v *vpc.VPC) { changes.Store(v.Meta().Name, true) })
	warm := func() *vpc.Attachment {
		t.Helper()
		a, err := c.Attach(t.Context(), "foo", linktest.New(t).File, vpc.AttachOptions{})
		if err != nil {
			t.Fatal(err)
		}
		return a
	}
	w1, w2 := warm(), warm()
	if u := v.UsedBy(); len(u) != 0 || v.Status().Warm != 2 {
		t.Errorf("warm parts use the network: %v", u)
	}
	id := object.NewID()
	if err := c.Assign(t.Context(), w1, id, "web"); err != nil {
		t.Fatal(err)
	}
	if u := v.UsedBy(); !slices.Equal(u, []string{"container/web"}) {
		t.Errorf("%v", u)
	}
	if _, ok := changes.Load("foo"); !ok {
		t.Error("no change was told")
	}
	l := v.Leases()
	if len(l) != 2 || l[0].IP != w1.IP.Addr() || l[0].Container != "web" || l[1].Container != "" || l[0].MAC.String() != w1.MAC.String() || l[0].Since.IsZero() {
		t.Errorf("%+v", l)
	}

	// A static address that a warm part has: the part loses it, and learns so.
	static := linktest.New(t)
	s, err := c.Attach(t.Context(), "foo", static.File, vpc.AttachOptions{IP: w2.IP.Addr(), Owner: "static-id", Name: "static"})
	if err != nil {
		t.Fatal(err)
	}
	want(t, c.Assign(t.Context(), w2, object.NewID(), "x"), fault.Stale, "another container")
	if err := c.Release(t.Context(), w2); err != nil {
		t.Error(err)
	}
	if err := (container{static, s, ""}).Ping(w1.IP.Addr().String(), soon); err != nil {
		t.Error(err)
	}
	_, err = c.Attach(t.Context(), "foo", linktest.New(t).File, vpc.AttachOptions{IP: w1.IP.Addr(), Owner: "other"})
	want(t, err, fault.AddrInUse, "container web")

	// A container that starts again before its last run was cleared away keeps its address.
	again := linktest.New(t)
	s2, err := c.Attach(t.Context(), "foo", again.File, vpc.AttachOptions{IP: s.IP.Addr(), Owner: "static-id", Name: "static"})
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Release(t.Context(), s); err != nil { // late
		t.Error(err)
	}
	d := c.container(t, "foo", "d")
	if err := (container{again, s2, "static-id"}).Ping(d.ip(), soon); err != nil {
		t.Errorf("the second run is silenced by the end of the first: %v", err)
	}

	// A full network takes from warm parts, and says so when there is none.
	w3, w4 := warm(), warm()
	_, err = c.Attach(t.Context(), "foo", linktest.New(t).File, vpc.AttachOptions{})
	want(t, err, fault.NoSpace, "10.1.0.0/29")
	e := c.container(t, "foo", "e")
	if e.ip() != w3.IP.Addr().String() {
		t.Errorf("%s was not taken from the oldest warm part", e.ip())
	}
	c.container(t, "foo", "f")
	_, err = c.Attach(t.Context(), "foo", linktest.New(t).File, vpc.AttachOptions{Owner: "g"})
	want(t, err, fault.NoSpace, "10.1.0.0/29")
	want(t, c.Assign(t.Context(), w4, object.NewID(), "x"), fault.Stale, "")
	for range 2 {
		if err := c.Release(t.Context(), e.Attachment); err != nil {
			t.Error(err)
		}
	}
	if h := c.container(t, "foo", "h"); h.ip() != e.ip() {
		t.Errorf("%s", h.ip())
	}
	c.SetUsers(func(name string) []string { return []string{"service/" + name} })
	if u := v.UsedBy(); len(u) != 6 || !slices.Contains(u, "service/foo") {
		t.Errorf("%v", u)
	}
}

// TestMany attaches 500 at once, from many sides, while the network is changed; all must reach the first.
func TestMany(t *testing.T) {
	before := kernel(t)
	c := start(t, "cc")
	v := c.vpc(t, "foo", "10.1.0.0/22")
	one := c.container(t, "foo", "one")
	const n = 500
	list := make([]container, n)
	work := make(chan int)
	var wg sync.WaitGroup
	for range 16 {
		wg.Go(func() {
			for i := range work {
				ns := linktest.New(t)
				a, err := c.Attach(t.Context(), "foo", ns.File, vpc.AttachOptions{Owner: fmt.Sprint(i)})
				if err != nil {
					t.Error(err)
					continue
				}
				list[i] = container{ns, a, ""}
				if err := list[i].Ping(one.ip(), first); err != nil {
					t.Errorf("%s: the first packet: %v", list[i].ip(), err)
				}
			}
		})
	}
	for i := range n {
		if i%50 == 25 {
			set(t, v, func(s *vpc.Spec) { s.NAT = !s.NAT })
		}
		work <- i
	}
	close(work)
	wg.Wait()
	if t.Failed() {
		return
	}
	ips := map[string]bool{}
	for _, x := range list {
		ips[x.ip()] = true
	}
	if len(ips) != n || len(v.Leases()) != n+1 {
		t.Errorf("%d addresses, %d leases", len(ips), len(v.Leases()))
	}
	for _, x := range append(list, one) {
		if err := c.Release(t.Context(), x.Attachment); err != nil {
			t.Error(err)
		}
		x.Close()
	}
	if err := c.Delete(t.Context(), v); err != nil {
		t.Error(err)
	}
	waitKernel(t, before)
}
