package vpc_test

import (
	"net/netip"
	"os"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/containercloud/cc/net/link/linktest"
)

func conntrack(t *testing.T, name string) int {
	t.Helper()
	b, err := os.ReadFile("/proc/sys/net/netfilter/nf_conntrack_" + name)
	if err != nil {
		t.Skipf("SKIP: this kernel shows no connection tracking: %v", err)
	}
	n, err := strconv.Atoi(strings.TrimSpace(string(b)))
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// TestConnectionsUsedUp fills the host's table of connections from one container. The kernel makes room by what nobody answered,
// so others notice nothing; a rule that counted connections by container would cost more with each of them.
func TestConnectionsUsedUp(t *testing.T) {
	c := start(t, "cc")
	c.vpc(t, "foo", "10.1.0.0/24")
	bad, other := c.container(t, "foo", "bad"), c.container(t, "foo", "other")
	out := outside(t)
	out.Serve(t, "198.51.100.2:80")
	most := conntrack(t, "max")
	if most > 1<<19 {
		t.Skipf("SKIP: to fill a table of %d connections takes too long", most)
	}
	linktest.Host(t, "ip", "route", "add", "203.0.113.0/24", "via", "198.51.100.2")
	if err := bad.Do(func() error { return floodPorts("203.0.113.7", most+most/8) }); err != nil { // where nobody answers
		t.Fatal(err)
	}
	if n := conntrack(t, "count"); n < most*9/10 {
		t.Fatalf("the table holds %d of %d connections: this test proves nothing", n, most)
	}
	for range 20 {
		conn, err := other.Dial("198.51.100.2:80", soon)
		if err != nil {
			t.Fatalf("a neighbour does not get out: %v", err)
		}
		conn.Close()
	}
	if err := linktest.Ping(other.ip(), soon); err != nil {
		t.Errorf("the host does not reach a container: %v", err)
	}
}

// floodPorts sends n datagrams to an address, each of another connection.
func floodPorts(addr string, n int) error {
	to := &unix.SockaddrInet4{Addr: netip.MustParseAddr(addr).As4()}
	for n > 0 {
		fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			return err
		}
		for to.Port = 1; to.Port < 1<<16 && n > 0; to.Port++ {
			_ = unix.Sendto(fd, []byte{0}, 0, to) // what the queue drops is made up for by the eighth too much
			n--
		}
		unix.Close(fd)
	}
	return nil
}
