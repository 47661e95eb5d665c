package keeper_test

import (
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/containercloud/cc/runtime/keeper"
)

// BenchmarkSpawn is a spawn through the keeper, answer received, against `unshare` of the same namespaces.
func BenchmarkSpawn(b *testing.B) {
	bed := newBed(b)
	bed.o.Binary = built(b)
	c := bed.client()
	go func() {
		for range c.Exits() {
		}
	}()
	for _, k := range []struct {
		name  string
		flags uintptr
	}{
		{"none", 0},
		{"no-net", allNamespaces &^ unix.CLONE_NEWNET},
		{"all", allNamespaces},
		{"all+user", allNamespaces | unix.CLONE_NEWUSER},
	} {
		for _, at := range []int{1, 4} {
			b.Run(fmt.Sprintf("%s/%d", k.name, at), func(b *testing.B) {
				spawnMany(b, bed, c, k.name, k.flags, at)
			})
		}
	}
	b.Run("unshare-true", func(b *testing.B) {
		for b.Loop() {
			exec.Command("unshare", "-fmpniu", "true").Run()
		}
	})
}

func spawnMany(b *testing.B, bed *bed, c *keeper.Client, name string, flags uintptr, at int) {
	var mu sync.Mutex
	var times []time.Duration
	var wg sync.WaitGroup
	jobs := make(chan int)
	for range at {
		wg.Add(1)
		go func() {
			defer wg.Done()
			for i := range jobs {
				begin := time.Now()
				ch, err := trySpawn(bed.ctx, c, fmt.Sprint(name, at, "/", i, "/", b.N), flags, keeper.IDMap{Base: 1e6, Size: 65536})
				if err != nil {
					b.Error(err)
					continue
				}
				mu.Lock()
				times = append(times, time.Since(begin))
				mu.Unlock()
				ch.exit(0)
				ch.sock.Close()
				ch.PidFD.Close()
			}
		}()
	}
	for i := range b.N {
		jobs <- i
	}
	close(jobs)
	wg.Wait()
	slices.Sort(times)
	if len(times) > 0 {
		b.ReportMetric(float64(times[len(times)/2].Microseconds()), "p50-us")
		b.ReportMetric(float64(times[len(times)*99/100].Microseconds()), "p99-us")
	}
}

// BenchmarkCall is the round trip of the smallest request.
func BenchmarkCall(b *testing.B) {
	bed := newBed(b)
	bed.o.Binary = built(b)
	c := bed.client()
	for b.Loop() {
		if err := c.Drop(bed.ctx, "none/"); err != nil {
			b.Fatal(err)
		}
	}
}

// TestFootprint is what the keeper costs with many containers: memory, threads, descriptors.
func TestFootprint(t *testing.T) {
	b := newBed(t)
	b.o.Binary = built(t)
	c := b.client()
	const n = 150
	var list []*box
	for i := range n {
		x := b.box(c, fmt.Sprint("box", i))
		fmt.Fprintln(x.out, "hello")
		list = append(list, x)
	}
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", c.PID()))
	if err != nil {
		t.Fatal(err)
	}
	var rss, threads int
	for line := range strings.Lines(string(status)) {
		fmt.Sscanf(line, "VmRSS: %d kB", &rss)
		fmt.Sscanf(line, "Threads: %d", &threads)
	}
	fds, _ := os.ReadDir(fmt.Sprintf("/proc/%d/fd", c.PID()))
	t.Logf("%d containers: RSS %d KiB, %d threads, %d descriptors", n, rss, threads, len(fds))
	if rss > 8<<10 {
		t.Errorf("RSS %d KiB", rss)
	}
	if threads > 24 {
		t.Errorf("%d threads", threads)
	}
	for _, x := range list {
		x.end(0)
	}
	for range list {
		b.next(c)
	}
	for _, x := range list {
		c.Ack(x.id)
		if err := c.Forget(b.ctx, x.id); err != nil {
			t.Error(err)
		}
	}
	leaks(t, c.PID(), 24) // fifteen with every drain worker running; a leak would be one for each of 150
}

// BenchmarkConnect is what a new ccd needs to know all that the keeper has, 300 containers here.
func BenchmarkConnect(b *testing.B) {
	bed := newBed(b)
	bed.o.Binary = built(b)
	c := bed.client()
	var list []*box
	for i := range 300 {
		list = append(list, bed.box(c, fmt.Sprint("box", i)))
	}
	for b.Loop() {
		bed.connect().Close()
	}
	b.StopTimer()
	for _, x := range list {
		x.end(0)
	}
}
