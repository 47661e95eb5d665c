package vpc_test

import (
	"context"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/containercloud/cc/event"
	"github.com/containercloud/cc/fault"
	"github.com/containercloud/cc/net/link/linktest"
	"github.com/containercloud/cc/net/vpc"
	"github.com/containercloud/cc/object"
	"github.com/containercloud/cc/store"
)

func TestMain(m *testing.M) {
	if file := os.Getenv("CC_VPC_VICTIM"); file != "" {
		victim(file)
		return
	}
	linktest.Main(m)
}

// cloud is a daemon's share: a store and the networks.
type cloud struct {
	*vpc.Manager
	store  *store.Bolt
	events event.Log
	file   string
	name   string
}

// start opens an instance; stop closes it and leaves the kernel as it is.
func start(t testing.TB, instance string) *cloud {
	t.Helper()
	c := &cloud{file: filepath.Join(t.TempDir(), "cc.db"), name: instance}
	c.open(t)
	t.Cleanup(func() {
		if err := c.Down(context.Background()); err != nil {
			t.Error(err)
		}
		c.close(t)
	})
	return c
}

func (c *cloud) open(t testing.TB) {
	t.Helper()
	var err error
	if c.store, err = store.Open(c.file); err != nil {
		t.Fatal(err)
	}
	log := slog.New(slog.NewTextHandler(t.Output(), nil))
	if c.Manager, err = vpc.Open(context.Background(), vpc.Config{Instance: c.name, Store: c.store, Events: &c.events, Log: log}); err != nil {
		t.Fatal(err)
	}
}

func (c *cloud) close(t testing.TB) {
	t.Helper()
	if err := c.Close(); err != nil {
		t.Error(err)
	}
	if err := c.store.Close(); err != nil {
		t.Error(err)
	}
}

func (c *cloud) vpc(t testing.TB, name, cidr string, more ...func(*vpc.Spec)) *vpc.VPC {
	t.Helper()
	v, err := c.Create(context.Background(), name, 0, 0)
	if err != nil {
		t.Fatal(err)
	}
	set(t, v, func(s *vpc.Spec) {
		s.CIDR = netip.MustParsePrefix(cidr)
		for _, f := range more {
			f(s)
		}
	})
	if s := v.Status(); s.State != vpc.Ready {
		t.Fatalf("vpc %s: %+v", name, s)
	}
	return v
}

func set(t testing.TB, v *vpc.VPC, change func(*vpc.Spec)) {
	t.Helper()
	if err := v.Update(context.Background(), func(s *vpc.Spec) error { change(s); return nil }); err != nil {
		t.Fatal(err)
	}
}

// container is a namespace in a network.
type container struct {
	*linktest.NS
	*vpc.Attachment
	id object.ID
}

func (c container) ip() string { return c.IP.Addr().String() }

func (c *cloud) container(t testing.TB, network, name string) container {
	t.Helper()
	ns, id := linktest.New(t), object.NewID()
	a, err := c.Attach(context.Background(), network, ns.File, vpc.AttachOptions{Owner: string(id), Name: name})
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Assign(context.Background(), a, id, name); err != nil {
		t.Fatal(err)
	}
	return container{ns, a, id}
}

const (
	soon  = 5 * time.Second        // how long something that must come is waited for
	first = 900 * time.Millisecond // before a lost packet would be sent again
	never = 300 * time.Millisecond // how long something that must not come is waited for
)

func want(t *testing.T, err error, k fault.Kind, part string) {
	t.Helper()
	if !fault.Is(err, k) || !strings.Contains(err.Error(), part) {
		t.Errorf("error %v, want kind %v and %q", err, k, part)
	}
}

func TestReach(t *testing.T) {
	c := start(t, "cc")
	c.vpc(t, "foo", "10.1.0.0/24")
	c.vpc(t, "bar", "10.2.0.0/24")
	a1, a2 := c.container(t, "foo", "a1"), c.container(t, "foo", "a2")
	b1, b2 := c.container(t, "bar", "b1"), c.container(t, "bar", "b2")
	for _, x := range []container{a1, a2, b1, b2} {
		x.Serve(t, x.ip()+":80")
	}
	linktest.Host(t, "ip", "addr", "add", "169.254.169.254/32", "dev", "lo")
	defer linktest.Host(t, "ip", "addr", "del", "169.254.169.254/32", "dev", "lo")
	linktest.ServeHost(t, "0.0.0.0:8080")

	for _, x := range [][2]container{{a1, a2}, {a2, a1}, {b1, b2}, {b2, b1}} {
		if err := x[0].Ping(x[1].ip(), soon); err != nil {
			t.Errorf("within: %v", err)
		}
		if conn, err := x[0].Dial(x[1].ip()+":80", soon); err != nil {
			t.Errorf("within: %v", err)
		} else {
			conn.Close()
		}
	}
	for _, x := range [][2]container{{a1, b1}, {b2, a2}} {
		if x[0].Ping(x[1].ip(), never) == nil {
			t.Errorf("%s reaches %s of another vpc", x[0].ip(), x[1].ip())
		}
		if _, err := x[0].Dial(x[1].ip()+":80", never); err == nil {
			t.Errorf("%s reaches %s of another vpc", x[0].ip(), x[1].ip())
		}
	}
	for _, addr := range []string{"10.1.0.1", "10.2.0.1", "169.254.169.254"} {
		if a1.Ping(addr, never) == nil {
			t.Errorf("a container pings the host at %s", addr)
		}
		if _, err := a1.Dial(addr+":8080", never); err == nil {
			t.Errorf("a container reaches the host at %s", addr)
		}
	}
	if err := linktest.Ping(a1.ip(), soon); err != nil {
		t.Errorf("the host does not reach a container: %v", err)
	}
}
