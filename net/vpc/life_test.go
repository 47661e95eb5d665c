package vpc_test

import (
	"bufio"
	"context"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/containercloud/cc/fault"
	"github.com/containercloud/cc/net/link/linktest"
	"github.com/containercloud/cc/net/vpc"
	"github.com/containercloud/cc/object"
	"github.com/containercloud/cc/store"
)

// kernel is what all instances together have in the host's namespace.
func kernel(t testing.TB) string {
	t.Helper()
	out := linktest.Host(t, "nft", "list", "ruleset")
	for _, l := range strings.Split(linktest.Host(t, "ip", "-br", "link"), "\n") {
		if f := strings.Fields(l); len(f) > 0 {
			out += f[0] + "\n"
		}
	}
	return out + linktest.Host(t, "ip", "route") + linktest.Host(t, "bridge", "fdb")
}

// waitKernel waits for the kernel's own clearing away.
func waitKernel(t *testing.T, want string) {
	t.Helper()
	got := kernel(t)
	for end := time.Now().Add(30 * time.Second); got != want && time.Now().Before(end); got = kernel(t) {
		time.Sleep(5 * time.Millisecond)
	}
	if got != want {
		t.Errorf("left behind:\n%s\nbefore:\n%s", got, want)
	}
}

func (c container) held() vpc.Held {
	return vpc.Held{Attachment: *c.Attachment, Container: c.id, Name: "name-" + c.ip(), Since: time.Now()}
}

func TestNothingStays(t *testing.T) {
	linktest.Host(t, "nft", "add table inet mine; add set inet mine s { type ipv4_addr; }; add element inet mine s { 10.1.0.2 }")
	defer linktest.Host(t, "nft", "delete table inet mine")
	before := kernel(t)
	c := start(t, "cc")
	v, w := c.vpc(t, "foo", "10.1.0.0/24"), c.vpc(t, "bar", "10.2.0.0/24")
	a, b := c.container(t, "foo", "a"), c.container(t, "bar", "b")
	if kernel(t) == before {
		t.Error("nothing was made")
	}
	err := c.Delete(t.Context(), v)
	want(t, err, fault.Busy, "container/a")
	for _, x := range []container{a, b} {
		if err := c.Release(t.Context(), x.Attachment); err != nil {
			t.Error(err)
		}
		x.Close()
	}
	for _, x := range []*vpc.VPC{v, w} {
		if err := c.Delete(t.Context(), x); err != nil {
			t.Error(err)
		}
		want(t, c.Delete(t.Context(), x), fault.NotFound, "deleted")
		want(t, x.Update(t.Context(), func(s *vpc.Spec) error { s.NAT = false; return nil }), fault.NotFound, "deleted")
	}
	waitKernel(t, before)
	if items, _, _ := c.store.List(t.Context(), ""); len(items) != 0 {
		t.Errorf("in the store: %v", items)
	}
}

func TestRestart(t *testing.T) {
	before := kernel(t)
	c, other := start(t, "cc"), start(t, "two")
	v := c.vpc(t, "foo", "10.1.0.0/24", func(s *vpc.Spec) { s.MTU = 1400 })
	other.vpc(t, "foo", "10.9.0.0/24")
	o1, o2 := other.container(t, "foo", "o1"), other.container(t, "foo", "o2")
	a, b, gone := c.container(t, "foo", "a"), c.container(t, "foo", "b"), c.container(t, "foo", "gone")
	warm := linktest.New(t)
	if _, err := c.Attach(t.Context(), "foo", warm.File, vpc.AttachOptions{}); err != nil {
		t.Fatal(err)
	}
	id := v.Meta().ID
	stop, lost := make(chan struct{}), make(chan int)
	go func() { // pings all the time: no restart may cost a packet
		n := 0
		for {
			select {
			case <-stop:
				lost <- n
				return
			default:
				if a.Ping(b.ip(), soon) != nil {
					n++
				}
			}
		}
	}()
	for range 3 {
		c.close(t)
		c.open(t)
		if err := c.Restore(t.Context(), []vpc.Held{a.held(), b.held()}); err != nil {
			t.Fatal(err)
		}
	}
	close(stop)
	if n := <-lost; n > 0 {
		t.Errorf("%d pings were lost over restarts", n)
	}
	v, err := c.Get(string(id))
	if err != nil {
		t.Fatal(err)
	}
	if s := v.Spec(); s.MTU != 1400 || s.CIDR.String() != "10.1.0.0/24" || v.Status().State != vpc.Ready {
		t.Errorf("%+v %+v", s, v.Status())
	}
	if u := v.UsedBy(); !slices.Equal(u, []string{"container/name-" + a.ip(), "container/name-" + b.ip()}) {
		t.Errorf("used by %v", u)
	}
	if a.Ping(gone.ip(), never) == nil {
		t.Error("a container that nobody holds still has its network")
	}
	_, err = c.Attach(t.Context(), "foo", linktest.New(t).File, vpc.AttachOptions{IP: a.IP.Addr(), Owner: "x"})
	want(t, err, fault.AddrInUse, "name-"+a.ip())
	d := c.container(t, "foo", "d")
	if err := d.Ping(a.ip(), soon); err != nil {
		t.Error(err)
	}
	if err := o1.Ping(o2.ip(), soon); err != nil {
		t.Errorf("the other instance: %v", err)
	}
	for _, x := range []container{a, b, gone, d, o1, o2} {
		x.Close()
	}
	warm.Close()
	for _, x := range []*cloud{c, other} {
		if err := x.Down(context.Background()); err != nil {
			t.Error(err)
		}
	}
	waitKernel(t, before)
}

// TestRepair takes things away behind the daemon's back.
func TestRepair(t *testing.T) {
	c := start(t, "cc")
	v := c.vpc(t, "foo", "10.1.0.0/24")
	a, b := c.container(t, "foo", "a"), c.container(t, "foo", "b")
	reach := func(what string) {
		t.Helper()
		for end := time.Now().Add(10 * time.Second); ; {
			err := a.Ping(b.ip(), 200*time.Millisecond)
			if err == nil {
				return
			}
			if time.Now().After(end) {
				t.Fatalf("after %s: %v", what, err)
			}
		}
	}
	linktest.Host(t, "ip", "link", "del", v.Status().Bridge)
	reach("deletion of the bridge")
	linktest.Host(t, "nft", "flush ruleset")
	reach("flush of all rules")
	c.close(t)
	linktest.Host(t, "ip", "link", "del", v.Status().Bridge)
	linktest.Host(t, "nft", "flush ruleset")
	c.open(t)
	if err := c.Restore(t.Context(), []vpc.Held{a.held(), b.held()}); err != nil {
		t.Fatal(err)
	}
	reach("loss of everything while the daemon was away")
	c.close(t)
	linktest.Host(t, "ip", "link", "del", a.Link)
	linktest.Host(t, "ip", "link", "add", b.Link[:8]+"zzzzzzz", "type", "veth") // a leftover of ours
	linktest.Host(t, "ip", "link", "add", v.Status().Bridge[:8]+"zzzzzzz", "type", "bridge")
	c.open(t)
	if err := c.Restore(t.Context(), []vpc.Held{a.held(), b.held()}); err != nil {
		t.Fatal(err)
	}
	v, _ = c.Get("foo")
	if f := v.Failures().List(); len(f) != 1 || !strings.Contains(f[0].Text, "gone") {
		t.Errorf("%v", f)
	}
	for end := time.Now().Add(10 * time.Second); strings.Contains(linktest.Host(t, "ip", "link"), "zzzzzzz"); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("leftovers stay")
		}
	}
}

// victim is the child of TestKill: it makes, attaches, releases and deletes until it is killed.
func victim(file string) {
	s, err := store.Open(file)
	if err != nil {
		fmt.Println("error", err)
		return
	}
	m, err := vpc.Open(context.Background(), vpc.Config{Instance: "cc", Store: s})
	if err == nil {
		err = m.Restore(context.Background(), nil)
	}
	if err != nil {
		fmt.Println("error", err)
		return
	}
	fmt.Println("up")
	var wg sync.WaitGroup
	for w := range 4 {
		wg.Go(func() {
			for i := 0; ; i++ {
				if err := victimRound(m, w); err != nil {
					fmt.Println("error", err)
				}
			}
		})
	}
	wg.Wait()
}

func victimRound(m *vpc.Manager, w int) error {
	ctx := context.Background()
	name := fmt.Sprintf("v%d", w)
	v, err := m.Get(name)
	if err != nil {
		if v, err = m.Create(ctx, name, 0, 0); err != nil {
			return err
		}
	}
	if err := v.Update(ctx, func(s *vpc.Spec) error {
		s.CIDR, s.Isolate = netip.PrefixFrom(netip.AddrFrom4([4]byte{10, 100, byte(w), 0}), 24), rand.IntN(2) == 0
		return nil
	}); err != nil {
		return err
	}
	for range rand.IntN(4) {
		ns, err := linktest.Make()
		if err != nil {
			return err
		}
		a, err := m.Attach(ctx, name, ns, vpc.AttachOptions{Owner: string(object.NewID())})
		if err != nil {
			return err
		}
		if err := m.Release(ctx, a); err != nil {
			return err
		}
		ns.Close()
	}
	if rand.IntN(2) == 0 {
		return m.Delete(ctx, v)
	}
	return nil
}

func TestKill(t *testing.T) {
	before := kernel(t)
	file := filepath.Join(t.TempDir(), "cc.db")
	for round := range 25 {
		cmd := exec.Command(os.Args[0])
		cmd.Env = append(os.Environ(), "CC_VPC_VICTIM="+file)
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		lines := bufio.NewScanner(out)
		if lines.Scan(); lines.Text() != "up" {
			t.Fatalf("round %d: %s", round, lines.Text())
		}
		time.Sleep(time.Duration(rand.IntN(60_000)) * time.Microsecond)
		_ = cmd.Process.Kill()
		for lines.Scan() {
			t.Errorf("round %d: the victim said %q", round, lines.Text())
		}
		_ = cmd.Wait()
	}
	c := &cloud{file: file, name: "cc"}
	c.open(t)
	defer c.close(t)
	if err := c.Restore(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	for _, v := range c.List() {
		if s := v.Status(); s.Leases+s.Warm != 0 || v.Spec().CIDR.IsValid() != (s.State == vpc.Ready) {
			t.Errorf("vpc %s: %+v", v.Meta().Name, s)
		}
		if err := c.Delete(t.Context(), v); err != nil {
			t.Error(err)
		}
	}
	waitKernel(t, before)
	if items, _, _ := c.store.List(t.Context(), ""); len(items) != 0 {
		t.Errorf("in the store: %v", items)
	}
}
