package container

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"
)

// BenchmarkStart puts what we do and what the others do into one loop, so that the ratios hold whatever else the machine does.
// Everything of ours has a VPC, limits, capabilities, seccomp, an overlay and logs; times are to the exit as the API shows it.
//
//	go test -run - -bench Start -benchtime 100x ./runtime/container
func BenchmarkStart(b *testing.B) {
	c := newCloud(b, func(p *place) { p.Warm = 8 })
	cold := newCloud(b, func(p *place) { p.Warm = 0 })
	for i, x := range []*cloud{c, cold} {
		if _, err := x.net.vpc(ctxFor(b), "foo", fmt.Sprintf("10.177.%d.0/24", 100+i)); err != nil {
			b.Fatal(err)
		}
	}
	spec := func(s *Spec) error {
		s.Image, s.Args, s.VPC, s.Memory, s.CPUMax = "bb", []string{"echo", "hello"}, "foo", 64<<20, 1000
		return nil
	}
	run := func(c *cloud) func() time.Duration {
		return func() time.Duration {
			begin := time.Now()
			x, err := c.Run(ctxFor(b), "", 0, 0, spec)
			if err != nil {
				b.Fatal(err)
			}
			exit(b, x)
			took := time.Since(begin)
			c.Delete(ctxFor(b), x, true)
			return took
		}
	}
	armed := func() time.Duration {
		x, err := c.Create(ctxFor(b), "", 0, 0, spec)
		if err != nil {
			b.Fatal(err)
		}
		waitFor(b, "arming", func() bool { return x.Status().Warm })
		c.settle(b)
		begin := time.Now()
		if err := x.Start(ctxFor(b)); err != nil {
			b.Fatal(err)
		}
		exit(b, x)
		took := time.Since(begin)
		c.Delete(ctxFor(b), x, true)
		return took
	}
	long := c.run(b, "long", nil, "sleep", "100000")
	execute := func() time.Duration {
		s, err := long.Exec(0, 0)
		if err != nil {
			b.Fatal(err)
		}
		defer s.Close()
		begin := time.Now()
		if err := s.Run(ctxFor(b), ExecSpec{Args: []string{"echo", "hello"}}); err != nil {
			b.Fatal(err)
		}
		s.Wait(ctxFor(b))
		return time.Since(begin)
	}
	contest(b, []contestant{
		{"unshare", program("unshare", "-fmpniuC", "--mount-proc", "/bin/true")},
		{"crun", crun(b)},
		{"armed", armed},
		{"run", run(c)},
		{"cold", run(cold)},
		{"exec", execute},
	}, c)
}

type contestant struct {
	name string
	run  func() time.Duration
}

// contest lets everybody take turns, and reports medians in ms and as multiples of the first.
func contest(b *testing.B, list []contestant, c *cloud) {
	times := make([][]time.Duration, len(list))
	for range 5 {
		for _, x := range list {
			if x.run != nil {
				x.run()
			}
		}
	}
	b.ResetTimer()
	for range b.N {
		for i, x := range list {
			if x.run != nil {
				c.settle(b)
				times[i] = append(times[i], x.run())
			}
		}
	}
	b.StopTimer()
	var base time.Duration
	for i, x := range list {
		if x.run == nil {
			continue
		}
		slices.Sort(times[i])
		mid := times[i][len(times[i])/2]
		if i == 0 {
			base = mid
		}
		b.ReportMetric(float64(mid.Microseconds())/1000, x.name+"-ms")
		b.ReportMetric(float64(times[i][len(times[i])*99/100].Microseconds())/1000, x.name+"-p99-ms")
		b.ReportMetric(float64(mid)/float64(base), x.name+"/unshare")
	}
}

func program(name string, args ...string) func() time.Duration {
	return func() time.Duration {
		begin := time.Now()
		if out, err := exec.Command(name, args...).CombinedOutput(); err != nil {
			panic(fmt.Sprint(name, err, string(out)))
		}
		return time.Since(begin)
	}
}

// crun runs the same program without network, overlay, seccomp and log; nil where it cannot run.
func crun(b *testing.B) func() time.Duration {
	dir := b.TempDir()
	root := filepath.Join(dir, "rootfs")
	if out, err := exec.Command("sh", "-c", "mkdir -p "+root+"/bin "+root+"/proc "+root+"/sys "+root+"/dev && cp /bin/busybox "+root+"/bin/echo").CombinedOutput(); err != nil {
		b.Log(string(out))
		return nil
	}
	config := `{"ociVersion":"1.0.0","process":{"user":{"uid":0,"gid":0},"args":["/bin/echo","hello"],"cwd":"/","env":["PATH=/bin"]},"root":{"path":"rootfs"},
	"mounts":[{"destination":"/proc","type":"proc","source":"proc"},{"destination":"/dev","type":"tmpfs","source":"tmpfs"}],
	"linux":{"namespaces":[{"type":"pid"},{"type":"mount"},{"type":"ipc"},{"type":"uts"},{"type":"network"},{"type":"cgroup"}]}}`
	if err := os.WriteFile(filepath.Join(dir, "config.json"), []byte(config), 0o644); err != nil {
		b.Fatal(err)
	}
	script := "umount /sys/fs/cgroup/unified 2>/dev/null; exec sleep 100000"
	ns := exec.Command("unshare", "-m", "sh", "-c", script)
	if err := ns.Start(); err != nil {
		b.Log(err)
		return nil
	}
	b.Cleanup(func() { ns.Process.Kill(); ns.Wait() })
	n := 0
	run := func() ([]byte, error) {
		n++
		cmd := exec.Command("nsenter", "-m", "-t", itoa(ns.Process.Pid), "crun", "--root", filepath.Join(dir, "crun"), "run", "-b", dir, fmt.Sprintf("cct-%d-%d", os.Getpid(), n))
		return cmd.CombinedOutput()
	}
	time.Sleep(200 * time.Millisecond)
	if out, err := run(); err != nil {
		b.Logf("crun cannot run here: %v %s", err, out)
		return nil
	}
	return func() time.Duration {
		begin := time.Now()
		run()
		return time.Since(begin)
	}
}

// BenchmarkLives is whole life cycles (make, start, exit, delete) a second.
func BenchmarkLives(b *testing.B) {
	for _, workers := range []int{1, 8} {
		b.Run(fmt.Sprint(workers), func(b *testing.B) {
			c := newCloud(b, func(p *place) { p.Warm = 16 })
			if _, err := c.net.vpc(ctxFor(b), "foo", "10.177.110.0/24"); err != nil {
				b.Fatal(err)
			}
			work := make(chan struct{})
			var wg sync.WaitGroup
			for range workers {
				wg.Go(func() {
					for range work {
						x, err := c.Run(ctxFor(b), "", 0, 0, func(s *Spec) error {
							s.Image, s.Args, s.VPC = "bb", []string{"true"}, "foo"
							return nil
						})
						if err != nil {
							b.Error(err)
							continue
						}
						exit(b, x)
						c.Delete(ctxFor(b), x, false)
					}
				})
			}
			b.ResetTimer()
			for range b.N {
				work <- struct{}{}
			}
			close(work)
			wg.Wait()
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "lives/s")
		})
	}
}

// BenchmarkAdopt is how long a daemon takes to find 1,000 running containers again, after the one before was killed.
func BenchmarkAdopt(b *testing.B) {
	p := newPlace(b)
	p.Warm = 0
	v := startVictim(b, p)
	const n = 1000
	begin := time.Now()
	for i := range n {
		v.do(order{Verb: "run", Name: "c" + itoa(i), Args: []string{"sleep", "100000"}})
	}
	b.Logf("%d containers in %v", n, time.Since(begin))
	v.kill()
	b.ResetTimer()
	for range b.N {
		c := succeed(b, p)
		b.StopTimer()
		running := 0
		for _, x := range c.List() {
			if x.State() == Running {
				running++
			}
		}
		if running != n {
			b.Errorf("%d of %d run", running, n)
		}
		c.leave(b)
		b.StartTimer()
	}
	b.StopTimer()
	c := succeed(b, p)
	c.end(b)
}
