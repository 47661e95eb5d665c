package vpc_test

import (
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/containercloud/cc/fault"
	"github.com/containercloud/cc/net/link/linktest"
	"github.com/containercloud/cc/net/vpc"
)

// outside is a machine next to the host, with the host as a router to 10.0.0.0/8: it can try.
func outside(t *testing.T) *linktest.NS {
	t.Helper()
	ns := linktest.New(t)
	linktest.Host(t, "ip", "link", "add", "up0", "type", "veth", "peer", "name", "up1")
	t.Cleanup(func() { linktest.Host(t, "ip", "link", "del", "up0") })
	pid := ns.Keep(t)
	linktest.Host(t, "ip", "link", "set", "up1", "netns", pid)
	linktest.Host(t, "ip", "addr", "add", "198.51.100.1/24", "dev", "up0")
	linktest.Host(t, "ip", "link", "set", "up0", "up")
	ns.Run(t, "ip", "addr", "add", "198.51.100.2/24", "dev", "up1")
	ns.Run(t, "ip", "link", "set", "up1", "up")
	ns.Run(t, "ip", "link", "set", "lo", "up")
	ns.Run(t, "ip", "route", "add", "10.0.0.0/8", "via", "198.51.100.1")
	for end := time.Now().Add(soon); linktest.Ping("198.51.100.2", 100*time.Millisecond) != nil; { // its carrier takes a moment
		if time.Now().After(end) {
			t.Fatal("the outside does not come up")
		}
	}
	return ns
}

func caller(t *testing.T, ch <-chan string) string {
	t.Helper()
	select {
	case who := <-ch:
		return who
	case <-time.After(5 * time.Second):
		t.Fatal("nobody called")
		return ""
	}
}

func TestNAT(t *testing.T) {
	c := start(t, "cc")
	v := c.vpc(t, "foo", "10.1.0.0/24")
	a, b := c.container(t, "foo", "a"), c.container(t, "foo", "b")
	out := outside(t)
	callers := out.Serve(t, "198.51.100.2:80")
	dial := func(want string) {
		t.Helper()
		conn, err := a.Dial("198.51.100.2:80", soon)
		if err != nil {
			t.Fatal(err)
		}
		conn.Close()
		if who := caller(t, callers); who != want {
			t.Errorf("seen from outside as %s, want %s", who, want)
		}
	}
	dial("198.51.100.1")

	// A neighbour of the host reaches nobody, not even at the gateway's address from behind.
	got := a.Serve(t, a.ip()+":80")
	inside := b.Serve(t, "0.0.0.0:81")
	for _, addr := range []string{a.ip() + ":80", b.ip() + ":81"} {
		if _, err := out.Dial(addr, never); err == nil {
			t.Errorf("outside reaches %s", addr)
		}
	}
	if out.Ping(a.ip(), never) == nil {
		t.Error("outside pings a container")
	}

	// Within the VPC addresses stay what they are; live changes.
	conn, err := b.Dial(a.ip()+":80", soon)
	if err != nil {
		t.Fatal(err)
	}
	conn.Close()
	if who := caller(t, got); who != b.ip() {
		t.Errorf("within the vpc seen as %s", who)
	}
	set(t, v, func(s *vpc.Spec) { s.NAT = false })
	dial(a.ip())
	set(t, v, func(s *vpc.Spec) { s.NAT = true })
	dial("198.51.100.1")
	if len(inside) != 0 {
		t.Errorf("somebody reached b: %s", <-inside)
	}

	// Metadata beyond the host, and a VPC that is no more, are not reached by the default route either.
	out.Run(t, "ip", "addr", "add", "169.254.169.254/32", "dev", "lo")
	out.Run(t, "ip", "addr", "add", "10.9.0.5/32", "dev", "lo")
	linktest.Host(t, "ip", "route", "add", "169.254.169.254", "via", "198.51.100.2")
	linktest.Host(t, "ip", "route", "add", "10.9.0.5", "via", "198.51.100.2")
	if err := a.Ping("10.9.0.5", soon); err != nil {
		t.Errorf("a host beyond: %v", err)
	}
	if a.Ping("169.254.169.254", never) == nil {
		t.Error("a container reaches metadata beyond the host")
	}
}

func TestIsolate(t *testing.T) {
	c := start(t, "cc")
	v := c.vpc(t, "foo", "10.1.0.0/24", func(s *vpc.Spec) { s.Isolate = true })
	c.vpc(t, "bar", "10.2.0.0/24")
	a, b := c.container(t, "foo", "a"), c.container(t, "foo", "b")
	x, y := c.container(t, "bar", "x"), c.container(t, "bar", "y")
	out := outside(t)
	out.Serve(t, "198.51.100.2:80")
	if a.Ping(b.ip(), never) == nil {
		t.Error("a reaches b")
	}
	// Neither by the gateway's link address, with the neighbour's IP: the host must not route it back in.
	gw := strings.TrimSpace(linktest.Host(t, "cat", "/sys/class/net/"+v.Status().Bridge+"/address"))
	a.Run(t, "ip", "neigh", "replace", b.ip(), "lladdr", gw, "dev", "eth0")
	b.Run(t, "ip", "neigh", "replace", a.ip(), "lladdr", gw, "dev", "eth0")
	if a.Ping(b.ip(), never) == nil {
		t.Error("a reaches b by way of the host")
	}
	if conn, err := a.Dial("198.51.100.2:80", soon); err != nil {
		t.Errorf("an isolated container does not get out: %v", err)
	} else {
		conn.Close()
	}
	if err := x.Ping(y.ip(), soon); err != nil {
		t.Errorf("another vpc is isolated too: %v", err)
	}
	a.Run(t, "ip", "neigh", "del", b.ip(), "dev", "eth0")
	b.Run(t, "ip", "neigh", "del", a.ip(), "dev", "eth0")
	set(t, v, func(s *vpc.Spec) { s.Isolate = false })
	if err := a.Ping(b.ip(), soon); err != nil {
		t.Errorf("after isolate off: %v", err)
	}
}

// TestBridgeNetfilter runs what is bridged through the inet tables too, as docker's hosts do, or not.
func TestBridgeNetfilter(t *testing.T) {
	const sysctl = "/proc/sys/net/bridge/bridge-nf-call-iptables"
	for _, value := range []string{"0", "1"} {
		t.Run(value, func(t *testing.T) {
			if err := os.WriteFile(sysctl, []byte(value), 0); err != nil {
				t.Skipf("SKIP: this kernel has no br_netfilter: %v", err)
			}
			c := start(t, "cc")
			v := c.vpc(t, "foo", "10.1.0.0/24")
			a, b := c.container(t, "foo", "a"), c.container(t, "foo", "b")
			got := a.Serve(t, a.ip()+":80")
			conn, err := b.Dial(a.ip()+":80", soon)
			if err != nil {
				t.Fatal(err)
			}
			conn.Close()
			if who := caller(t, got); who != b.ip() {
				t.Errorf("within the vpc seen as %s", who)
			}
			set(t, v, func(s *vpc.Spec) { s.Isolate = true })
			if _, err := b.Dial(a.ip()+":80", never); err == nil {
				t.Error("not isolated")
			}
		})
	}
}

func TestForeignForwardDrop(t *testing.T) {
	linktest.Host(t, "nft", "add table ip docker; add chain ip docker FORWARD { type filter hook forward priority 0; policy drop; }")
	defer linktest.Host(t, "nft", "delete table ip docker")
	c := start(t, "cc")
	v := c.vpc(t, "foo", "10.1.0.0/24")
	if notes := strings.Join(v.Status().Notes, ";"); !strings.Contains(notes, "docker FORWARD") {
		t.Errorf("notes %q", notes)
	}
}

func TestOverlapWithHost(t *testing.T) {
	outside(t)
	linktest.Host(t, "ip", "route", "add", "10.50.0.0/16", "via", "198.51.100.2")
	linktest.Host(t, "ip", "route", "add", "0.0.0.0/1", "via", "198.51.100.2")
	linktest.Host(t, "ip", "route", "add", "default", "via", "198.51.100.2")
	linktest.Host(t, "ip", "addr", "add", "10.60.0.7/32", "dev", "lo")
	defer linktest.Host(t, "ip", "addr", "del", "10.60.0.7/32", "dev", "lo")
	c, other := start(t, "cc"), start(t, "other")
	c.vpc(t, "foo", "10.1.0.0/24")
	v, err := c.Create(t.Context(), "bar", 0, 0)
	if err != nil {
		t.Fatal(err)
	}
	try := func(v *vpc.VPC, cidr, part string) {
		t.Helper()
		err := v.Update(t.Context(), func(s *vpc.Spec) error { s.CIDR = netip.MustParsePrefix(cidr); return nil })
		want(t, err, fault.AddrInUse, part)
		if hint := fault.HintOf(err); !strings.Contains(hint, "is free") || v.Spec().CIDR.IsValid() {
			t.Errorf("hint %q, spec %+v", hint, v.Spec())
		}
	}
	try(v, "198.51.100.0/25", "overlaps the host's route to 198.51.100.0/24 on up0")
	try(v, "10.50.7.0/24", "overlaps the host's route to 10.50.0.0/16 on up0")
	try(v, "10.60.0.0/24", "overlaps the host's route to 10.60.0.7/32 on lo")
	try(v, "10.1.0.128/25", "overlaps vpc foo (10.1.0.0/24)")
	err = v.Update(t.Context(), func(s *vpc.Spec) error { s.CIDR = netip.MustParsePrefix("10.0.0.0/8"); return nil })
	want(t, err, fault.AddrInUse, "overlaps") // and no private network of that size is free to hint at
	w, err := other.Create(t.Context(), "foo", 0, 0)
	if err != nil {
		t.Fatal(err)
	}
	try(w, "10.1.0.0/16", "overlaps the host's route to 10.1.0.") // another instance's bridge is the host's
	set(t, v, func(s *vpc.Spec) { s.CIDR = netip.MustParsePrefix("10.1.1.0/24") })
}
