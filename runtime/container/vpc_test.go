package container

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/containercloud/cc/fault"
)

func TestInAVPC(t *testing.T) {
	c := newCloud(t)
	v, err := c.net.vpc(ctxFor(t), "foo", "10.177.1.0/24")
	if err != nil {
		t.Fatal(err)
	}
	server := c.run(t, "server", func(s *Spec) { s.VPC = "foo"; s.IP = netip.MustParseAddr("10.177.1.77") }, "sh", "-c", "echo hello | nc -l -p 80")
	if st := server.Status(); st.IP.String() != "10.177.1.77/24" || st.VPC != "foo" || st.MAC == "" {
		t.Errorf("%+v", st)
	}
	out, e := c.sh(t, func(s *Spec) { s.VPC = "foo" }, "for i in 1 2 3 4 5 6 7 8 9; do nc 10.177.1.77 80 && break; sleep 0.1; done; hostname -i")
	if e.Code != 0 || !strings.HasPrefix(out, "hello\n10.177.1.") {
		t.Errorf("%q %+v", out, e)
	}
	exit(t, server)
	if err := server.Start(ctxFor(t)); err != nil { // its address is free again, or this fails
		t.Fatal(err)
	}
	if _, err := c.Run(ctxFor(t), "second", 0, 0, func(s *Spec) error {
		s.Image, s.Args, s.VPC, s.IP = "bb", []string{"true"}, "foo", netip.MustParseAddr("10.177.1.77")
		return nil
	}); !fault.Is(err, fault.AddrInUse) {
		t.Errorf("%v", err)
	}
	if err := c.net.Delete(ctxFor(t), v); !fault.Is(err, fault.Busy) {
		t.Errorf("%v", err)
	}
	if err := c.Delete(ctxFor(t), server, true); err != nil {
		t.Fatal(err)
	}
	c.DrainVPC("foo")
	waitFor(t, "the vpc to be free", func() bool { return c.net.Delete(ctxFor(t), v) == nil })
}

func TestAddressStaysOverRestarts(t *testing.T) {
	c := newCloud(t)
	if _, err := c.net.vpc(ctxFor(t), "foo", "10.177.2.0/24"); err != nil {
		t.Fatal(err)
	}
	x := c.run(t, "x", func(s *Spec) { s.VPC = "foo"; s.Restart = Restart{OnFailure, 2} }, "sh", "-c", "hostname -i; exit 1")
	waitFor(t, "the last end", func() bool { st := x.Status(); return st.State == Exited && st.Restarts == 2 })
	if err := x.Start(ctxFor(t)); err != nil {
		t.Fatal(err)
	}
	if err := x.Stop(ctxFor(t), 0); err != nil {
		t.Fatal(err)
	}
	exit(t, x)
	lines := strings.Fields(output(t, x, "stdout"))
	for _, l := range lines {
		if l != lines[0] {
			t.Errorf("%q", lines)
		}
	}
}

func TestAddressSurvivesTheDaemon(t *testing.T) {
	p := newPlace(t)
	c := succeed(t, p)
	if _, err := c.net.vpc(ctxFor(t), "foo", "10.177.3.0/24"); err != nil {
		t.Fatal(err)
	}
	x := c.run(t, "x", func(s *Spec) { s.VPC = "foo" }, "sh", "-c", "while :; do echo reached | nc -l -p 80; done")
	ip := x.Status().IP
	c.leave(t)
	c = succeed(t, p)
	defer c.end(t)
	if got := get(t, c, "x").Status().IP; got != ip {
		t.Errorf("%v, before %v", got, ip)
	}
	v, err := c.net.Get("foo")
	if err != nil {
		t.Fatal(err)
	}
	leases := v.Leases()
	found := false
	for _, l := range leases {
		found = found || l.IP == ip.Addr()
	}
	if !found {
		t.Errorf("%+v", leases)
	}
	out, _ := c.sh(t, func(s *Spec) { s.VPC = "foo" }, "nc "+ip.Addr().String()+" 80")
	if out != "reached\n" {
		t.Errorf("%q", out)
	}
}
