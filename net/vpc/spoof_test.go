package vpc_test

import (
	"encoding/binary"
	"net"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/containercloud/cc/net/link/linktest"
	"github.com/containercloud/cc/net/vpc"
)

var magic = []byte("cc-spoof-test-magic-0451")

func mac(s string) net.HardwareAddr {
	m, err := net.ParseMAC(s)
	if err != nil {
		panic(err)
	}
	return m
}

var everybody = mac("ff:ff:ff:ff:ff:ff")

func ethernet(dst, src net.HardwareAddr, typ uint16, payload []byte) []byte {
	f := append(append([]byte{}, dst...), src...)
	return append(binary.BigEndian.AppendUint16(f, typ), payload...)
}

// ipv4 is a UDP datagram with the magic.
func ipv4(src, dst string, sport, dport uint16) []byte {
	n := 20 + 8 + len(magic)
	h := []byte{0x45, 0, byte(n >> 8), byte(n), 0, 1, 0, 0, 64, 17, 0, 0}
	h = append(h, netip.MustParseAddr(src).AsSlice()...)
	h = append(h, netip.MustParseAddr(dst).AsSlice()...)
	var sum uint32
	for i := 0; i < 20; i += 2 {
		sum += uint32(h[i])<<8 | uint32(h[i+1])
	}
	for sum > 0xffff {
		sum = sum>>16 + sum&0xffff
	}
	binary.BigEndian.PutUint16(h[10:], ^uint16(sum))
	for _, v := range []uint16{sport, dport, uint16(8 + len(magic)), 0} {
		h = binary.BigEndian.AppendUint16(h, v)
	}
	return append(h, magic...)
}

func arp(op uint16, sha net.HardwareAddr, spa string, tha net.HardwareAddr, tpa string) []byte {
	b := []byte{0, 1, 8, 0, 6, 4, byte(op >> 8), byte(op)}
	b = append(append(b, sha...), netip.MustParseAddr(spa).AsSlice()...)
	b = append(append(b, tha...), netip.MustParseAddr(tpa).AsSlice()...)
	return append(b, magic...) // padding, which nobody looks at
}

// routerAdvertisement is RFC 4861, 4.2, to all nodes, from a link-local address.
func routerAdvertisement(src net.HardwareAddr) []byte {
	body := append([]byte{134, 0, 0, 0, 64, 0, 0x07, 0x08, 0, 0, 0, 0, 0, 0, 0, 0, 1, 1}, src...)
	body = append(body, magic...)
	h := []byte{0x60, 0, 0, 0, byte(len(body) >> 8), byte(len(body)), 58, 255}
	h = append(h, netip.MustParseAddr("fe80::bad").AsSlice()...)
	h = append(h, netip.MustParseAddr("ff02::1").AsSlice()...)
	return ethernet(mac("33:33:00:00:00:01"), src, 0x86dd, append(h, body...))
}

// TestSpoofing sends every kind of lie out of a container with a raw socket, as if it had NET_RAW and NET_ADMIN;
// a neighbour, the bridge's own end and its table must not notice. True frames must arrive.
func TestSpoofing(t *testing.T) {
	c := start(t, "cc")
	v := c.vpc(t, "foo", "10.1.0.0/24")
	bad, neighbour, victim := c.container(t, "foo", "bad"), c.container(t, "foo", "neighbour"), c.container(t, "foo", "victim")
	bridge := v.Status().Bridge
	gateway := mac(strings.Fields(linktest.Host(t, "cat", "/sys/class/net/"+bridge+"/address"))[0])
	sniffers := []*linktest.Sniffer{
		neighbour.Sniff(t, "a neighbour", "eth0", magic),
		victim.Sniff(t, "the victim", "eth0", magic),
		linktest.SniffHost(t, "the host", bridge, magic),
	}
	for _, ns := range []container{bad, neighbour, victim} { // the bridge learns who is where
		if err := linktest.Ping(ns.ip(), soon); err != nil {
			t.Fatal(err)
		}
	}
	me, my, n, vic := bad.MAC, bad.ip(), neighbour.MAC, victim.MAC
	other := mac("02:00:00:00:00:99")
	bpdu := mac("01:80:c2:00:00:00")
	lies := []struct {
		what  string
		frame []byte
	}{
		{"another's IP", ethernet(n, me, 0x0800, ipv4(victim.ip(), neighbour.ip(), 5000, 9))},
		{"the gateway's IP", ethernet(n, me, 0x0800, ipv4("10.1.0.1", neighbour.ip(), 5000, 9))},
		{"an outside IP", ethernet(gateway, me, 0x0800, ipv4("8.8.8.8", "10.1.0.1", 5000, 9))},
		{"no IP", ethernet(everybody, me, 0x0800, ipv4("0.0.0.0", "255.255.255.255", 68, 67))},
		{"an invented MAC", ethernet(n, other, 0x0800, ipv4(my, neighbour.ip(), 5000, 9))},
		{"the victim's MAC", ethernet(n, vic, 0x0800, ipv4(my, neighbour.ip(), 5000, 9))},
		{"the victim's MAC and IP", ethernet(n, vic, 0x0800, ipv4(victim.ip(), neighbour.ip(), 5000, 9))},
		{"the gateway's MAC", ethernet(n, gateway, 0x0800, ipv4(my, neighbour.ip(), 5000, 9))},
		{"ARP: I am the victim", ethernet(everybody, me, 0x0806, arp(2, me, victim.ip(), everybody, neighbour.ip()))},
		{"ARP: I am the gateway", ethernet(n, me, 0x0806, arp(2, me, "10.1.0.1", n, neighbour.ip()))},
		{"ARP: gratuitous", ethernet(everybody, me, 0x0806, arp(1, me, victim.ip(), make([]byte, 6), victim.ip()))},
		{"ARP: my IP is at another MAC", ethernet(everybody, me, 0x0806, arp(2, other, my, everybody, neighbour.ip()))},
		{"ARP: frame from another MAC", ethernet(everybody, other, 0x0806, arp(2, me, my, everybody, neighbour.ip()))},
		{"ARP of another protocol", ethernet(everybody, me, 0x0806, append([]byte{0, 1, 8, 1}, arp(2, me, my, n, neighbour.ip())[4:]...))},
		{"ARP with long addresses", ethernet(everybody, me, 0x0806, append([]byte{0, 1, 8, 0, 8}, arp(2, me, my, n, neighbour.ip())[5:]...))},
		{"a router advertisement", routerAdvertisement(me)},
		{"IPv6", ethernet(n, me, 0x86dd, magic)},
		{"a DHCP answer", ethernet(everybody, me, 0x0800, ipv4(my, "255.255.255.255", 67, 68))},
		{"a VLAN tag", ethernet(n, me, 0x8100, append([]byte{0, 0, 8, 0}, ipv4(my, neighbour.ip(), 5000, 9)...))},
		{"two VLAN tags", ethernet(n, me, 0x88a8, append([]byte{0, 5, 0x81, 0, 0, 6, 8, 0}, ipv4(my, neighbour.ip(), 5000, 9)...))},
		{"PPPoE", ethernet(n, me, 0x8864, magic)},
		{"LLDP", ethernet(mac("01:80:c2:00:00:0e"), me, 0x88cc, magic)},
		{"a BPDU in the victim's name", ethernet(bpdu, vic, 38, magic)},
		{"LLC", ethernet(n, me, uint16(len(magic)), magic)},
		{"a Wake-on-LAN", ethernet(everybody, me, 0x0842, magic)},
	}
	for _, l := range lies {
		for range 3 {
			bad.Send(t, "eth0", l.frame)
		}
		// A true frame behind the lies: when it is there, they would be.
		var before []int64
		for _, s := range sniffers {
			before = append(before, s.Count())
		}
		bad.Send(t, "eth0", ethernet(everybody, me, 0x0800, ipv4(my, "10.1.0.255", 5000, 9)))
		for i, s := range sniffers {
			if !s.Wait(before[i]+1, 5*time.Second) {
				t.Fatalf("%s got no true frame after %q", s.Name(), l.what)
			}
		}
	}
	for _, s := range sniffers {
		if got, want := s.Count(), int64(len(lies)); got != want {
			t.Errorf("%s noticed %d frames, %d were true", s.Name(), got, want)
		}
	}
	for _, line := range strings.Split(linktest.Host(t, "bridge", "fdb", "show", "br", bridge), "\n") {
		switch {
		case strings.Contains(line, other.String()):
			t.Errorf("the bridge learned a lie: %s", line)
		case strings.HasPrefix(line, vic.String()) && !strings.Contains(line, victim.Link):
			t.Errorf("the victim's place was stolen: %s", line)
		}
	}
	if out := linktest.Host(t, "ip", "-6", "addr", "show", "dev", bridge); strings.Contains(out, "inet6") {
		t.Errorf("the host took an address:\n%s", out)
	}
	if out := neighbour.Run(t, "ip", "-6", "route", "show", "default"); out != "" {
		t.Errorf("a neighbour took a route:\n%s", out)
	}
}

// TestFromTheFirstMoment lies without a pause while the network is being attached (rules must precede links).
func TestFromTheFirstMoment(t *testing.T) {
	c := start(t, "cc")
	v := c.vpc(t, "foo", "10.1.0.0/24")
	neighbour := c.container(t, "foo", "neighbour")
	sniffers := []*linktest.Sniffer{
		neighbour.Sniff(t, "a neighbour", "eth0", magic),
		linktest.SniffHost(t, "the host", v.Status().Bridge, magic),
	}
	lie := ethernet(everybody, mac("02:00:00:00:00:99"), 0x0800, ipv4("10.1.0.77", "10.1.0.255", 1, 1))
	sent := int64(0)
	for range 30 {
		ns := linktest.New(t)
		var stop atomic.Bool
		counted := make(chan int64)
		go func() { counted <- ns.Flood("eth0", lie, &stop) }()
		a, err := c.Attach(t.Context(), "foo", ns.File, vpc.AttachOptions{})
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(2 * time.Millisecond) // up, and lying
		if err := c.Release(t.Context(), a); err != nil {
			t.Error(err)
		}
		time.Sleep(2 * time.Millisecond) // silenced, and still there
		stop.Store(true)
		sent += <-counted
		ns.Close()
	}
	if sent < 1000 {
		t.Errorf("only %d lies were sent", sent)
	}
	neighbour.Send(t, "eth0", ethernet(everybody, neighbour.MAC, 0x0800, ipv4(neighbour.ip(), "10.1.0.255", 1, 1)))
	if !sniffers[1].Wait(1, 5*time.Second) {
		t.Error("no true frame")
	}
	if a, b := sniffers[0].Count(), sniffers[1].Count(); a != 0 || b != 1 {
		t.Errorf("of %d lies the neighbour saw %d and the host %d", sent, a, b-1)
	}
}

// TestHostLoopback sends to the host's 127.0.0.1 over the link (CVE-2020-8558), also where somebody lets such packets be
// routed, as kube-proxy does.
func TestHostLoopback(t *testing.T) {
	c := start(t, "cc")
	v := c.vpc(t, "foo", "10.1.0.0/24")
	a := c.container(t, "foo", "a")
	bridge := v.Status().Bridge
	gateway := mac(strings.TrimSpace(linktest.Host(t, "cat", "/sys/class/net/"+bridge+"/address")))
	host, err := net.ListenPacket("udp", "127.0.0.1:7777")
	if err != nil {
		t.Fatal(err)
	}
	defer host.Close()
	arrives := func(wait time.Duration) bool {
		a.Send(t, "eth0", ethernet(gateway, a.MAC, 0x0800, ipv4(a.ip(), "127.0.0.1", 5000, 7777)))
		host.SetReadDeadline(time.Now().Add(wait))
		_, _, err := host.ReadFrom(make([]byte, 100))
		return err == nil
	}
	if arrives(never) {
		t.Error("a container reaches the host's loopback")
	}
	linktest.Host(t, "sysctl", "-q", "-w", "net.ipv4.conf."+bridge+".route_localnet=1")
	if arrives(never) {
		t.Error("a container reaches the host's loopback where it is routed")
	}
	c.close(t) // nobody defends the rules any more
	linktest.Host(t, "nft", "delete", "table", "inet", "cc")
	if !arrives(soon) {
		t.Error("without rules nothing arrives either: this test proves nothing")
	}
	c.open(t)
}
