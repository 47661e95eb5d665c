package keeper_test

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/containercloud/cc/runtime/keeper"
	"github.com/containercloud/cc/runtime/keeper/wire"
)

func rawConn(t testing.TB, b *bed) int {
	t.Helper()
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	if err := unix.Connect(fd, &unix.SockaddrUnix{Name: filepath.Join(b.o.Run, "keeper.sock")}); err != nil {
		t.Fatal(err)
	}
	return fd
}

// Whatever comes over the socket, the keeper goes on.
func TestKeeperSurvivesRubbish(t *testing.T) {
	b := newBed(t)
	c := b.client()
	x := b.box(c, "one")
	rng := rand.New(rand.NewPCG(1, 2))
	null, _ := unix.Open("/dev/null", unix.O_RDWR|unix.O_CLOEXEC, 0)
	defer unix.Close(null)
	for i := range 2000 {
		fd := rawConn(t, b)
		for range 1 + i%3 {
			p := make([]byte, rng.IntN(200))
			for j := range p {
				p[j] = byte(rng.Uint32())
			}
			if len(p) > 8 && i%2 == 0 {
				p[0], p[1], p[2], p[3] = byte(3+rng.IntN(20)), 0, 0, 0 // a request; not Hello, Upgrade
				if p[0] == byte(wire.OpShutdown) || p[0] == byte(wire.OpInit) {
					p[0] = byte(wire.OpAdopt)
				}
			}
			var files []int
			for range rng.IntN(4) {
				files = append(files, null)
			}
			wire.Send(fd, p, files, unix.MSG_DONTWAIT)
		}
		unix.Close(fd)
	}
	y := b.spawn(c, "two", allNamespaces, keeper.IDMap{})
	y.exit(1)
	if e := b.next(c); e.ID != "two" {
		t.Errorf("%+v", e)
	}
	x.end(3)
	if e := b.next(c); e.ID != "one" || e.Status.ExitStatus() != 3 {
		t.Errorf("%+v", e)
	}
	c.Ack("one")
	c.Forget(b.ctx, "one")
	c.Drop(b.ctx, "") // rubbish may have made some
	time.Sleep(50 * time.Millisecond)
	leaks(t, c.PID(), 20)
}

// A client that asks and never reads is cut off; the others do not notice.
func TestClientThatDoesNotRead(t *testing.T) {
	b := newBed(t)
	c := b.client()
	fd := rawConn(t, b)
	defer unix.Close(fd)
	p, _ := wire.Packet(wire.Header{Op: wire.OpList, Seq: 1}, wire.Text{}.Encode())
	for range 20000 {
		if err := wire.Send(fd, p, nil, unix.MSG_DONTWAIT); err != nil && err != unix.EAGAIN {
			break
		}
	}
	ch := b.spawn(c, "a", allNamespaces, keeper.IDMap{})
	ch.exit(0)
	b.next(c)
}

func TestManyAtOnce(t *testing.T) {
	b := newBed(t)
	c := b.client()
	const workers, each = 8, 25
	var wg sync.WaitGroup
	for w := range workers {
		wg.Add(1)
		go func() {
			defer wg.Done()
			for i := range each {
				id := fmt.Sprint("box-", w, "-", i)
				ch, err := trySpawn(b.ctx, c, "slot/"+id, allNamespaces&^unix.CLONE_NEWNET, keeper.IDMap{})
				if err != nil {
					t.Error(err)
					return
				}
				dir, err := os.Open(t.TempDir())
				if err != nil {
					t.Error(err)
					return
				}
				if err := c.Adopt(b.ctx, "slot/"+id, keeper.Adoption{ID: id, Dir: dir}); err != nil {
					t.Error(err)
				}
				dir.Close()
				ch.exit(byte(w*each+i) % 199)
				ch.PidFD.Close()
			}
		}()
	}
	seen := map[string]bool{}
	for range workers * each {
		e := b.next(c)
		var w, i int
		fmt.Sscanf(e.ID, "box-%d-%d", &w, &i)
		if seen[e.ID] || !e.Kept || e.Status.ExitStatus() != (w*each+i)%199 {
			t.Errorf("%+v", e)
		}
		seen[e.ID] = true
		c.Ack(e.ID)
		if err := c.Forget(b.ctx, e.ID); err != nil {
			t.Error(err)
		}
	}
	wg.Wait()
	leaks(t, c.PID(), 20)
}
