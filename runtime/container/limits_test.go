package container

import (
	"strings"
	"testing"
	"time"

	"github.com/containercloud/cc/fault"
)

func TestOutOfMemory(t *testing.T) {
	c := newCloud(t)
	hog := func(s *Spec) { s.Memory = 16 << 20 }
	x := c.run(t, "first", hog, "tail", "/dev/zero") // the first process is what is killed
	if e := exit(t, x); !e.OOM || e.Signal != "SIGKILL" || e.Code != 137 {
		t.Errorf("%+v", e)
	}
	y := c.run(t, "child", hog, "sh", "-c", "tail /dev/zero; echo $?; sleep 1000")
	waitFor(t, "the kill of the child", func() bool { return output(t, y, "stdout") == "137\n" })
	if y.State() != Running {
		t.Error(y.State())
	}
	waitFor(t, "the event", func() bool {
		events, _ := c.events.Since(0)
		for _, e := range events {
			if e.Kind == "oom" && e.Object == "container/child" {
				return true
			}
		}
		return false
	})
	s, err := y.Stat()
	if err != nil || s.OOMKills == 0 || s.MemoryLimit != 16<<20 {
		t.Errorf("%+v %v", s, err)
	}
}

func TestPidsLimit(t *testing.T) {
	c := newCloud(t)
	x := c.run(t, "x", func(s *Spec) { s.Pids = 12 }, "sh", "-c", "for i in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20; do sleep 1000 & done; echo up; wait")
	waitFor(t, "the refusal", func() bool { return strings.Contains(output(t, x, "stderr"), "can't fork") })
	s, err := x.Stat()
	if err == nil && s.Pids > 12 {
		t.Errorf("%d tasks", s.Pids)
	}
}

func TestLiveLimits(t *testing.T) {
	c := newCloud(t)
	x := c.run(t, "x", nil, "sh", "-c", "while :; do :; done")
	if err := x.Update(ctxFor(t), func(s *Spec) error {
		s.Memory, s.Pids, s.CPUMax, s.CPU = 64<<20, 100, 100, 512
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	s, err := x.Stat()
	if err != nil || s.MemoryLimit != 64<<20 || s.PidsLimit != 100 {
		t.Errorf("%+v %v", s, err)
	}
	waitFor(t, "it to be throttled", func() bool { s, _ := x.Stat(); return s.Throttled > 0 })
	version := x.Meta().Version
	if err := x.Update(ctxFor(t), func(s *Spec) error { s.Memory = 1; return nil }); !fault.Is(err, fault.Range) {
		t.Errorf("%v", err)
	}
	if x.Meta().Version != version || x.Spec().Memory != 64<<20 {
		t.Error("a refused update left something")
	}
	if err := x.Update(ctxFor(t), func(s *Spec) error { s.Memory, s.CPUMax = Max, NoCores; return nil }); err != nil {
		t.Fatal(err)
	}
	if s, _ = x.Stat(); s.MemoryLimit != Max {
		t.Errorf("%+v", s)
	}
}

func TestProcsStatMetrics(t *testing.T) {
	c := newCloud(t)
	x := c.run(t, "x", func(s *Spec) { s.User = "app" }, "sh", "-c", "sleep 1000 & echo up; wait")
	waitFor(t, "output", func() bool { return output(t, x, "stdout") == "up\n" })
	waitFor(t, "two processes", func() bool { l, _ := x.Procs(); return len(l) == 2 && l[1].Args[0] == "sleep" })
	list, err := x.Procs()
	if err != nil {
		t.Fatal(err)
	}
	if p := list[0]; p.PID != 1 || p.PPID != 0 || p.User != "app" || p.UID != 1000 || p.Args[0] != "sh" {
		t.Errorf("%+v", p)
	}
	if p := list[1]; p.PID == 1 || p.PPID != 1 || strings.Join(p.Args, " ") != "sleep 1000" || p.Memory == 0 {
		t.Errorf("%+v", p)
	}
	s, err := x.Stat()
	if err != nil || s.Pids != 2 || s.Memory == 0 || s.PidsLimit != 4096 {
		t.Errorf("%+v %v", s, err)
	}
	samples, err := x.Samples()
	if err != nil {
		t.Fatal(err)
	}
	names := map[string]bool{}
	for _, m := range samples {
		if names[m.Name] || m.Help == "" || m.Type == "" || !strings.HasPrefix(m.Name, "cc_container_") {
			t.Errorf("%+v", m)
		}
		names[m.Name] = true
	}
	if !names["cc_container_memory_bytes"] || names["cc_container_memory_limit_bytes"] {
		t.Errorf("%v", names)
	}
	if err := x.Stop(ctxFor(t), 0); err != nil {
		t.Fatal(err)
	}
	exit(t, x)
	if samples, err = x.Samples(); err != nil || samples[0].Value != 0 {
		t.Errorf("%+v %v", samples, err)
	}
	if list, err := x.Procs(); err != nil || len(list) != 0 {
		t.Errorf("%v %v", list, err)
	}
}

func TestForkBombEnds(t *testing.T) {
	c := newCloud(t)
	x := c.run(t, "x", func(s *Spec) { s.Pids = 200 }, "sh", "-c", "f() { f | f & }; f; f; sleep 1000")
	time.Sleep(100 * time.Millisecond)
	if err := x.Stop(ctxFor(t), 0); err != nil {
		t.Fatal(err)
	}
	exit(t, x)
	if err := c.Delete(ctxFor(t), x, false); err != nil {
		t.Fatal(err)
	}
	c.settle(t)
	names, err := c.groups.Names()
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range names {
		if g, err := c.groups.Find(n); err == nil {
			if l, _ := g.Procs(); len(l) > 1 {
				t.Errorf("cgroup %s still has %d processes", n, len(l))
			}
		}
	}
}

func TestManyAtOnce(t *testing.T) {
	c := newCloud(t)
	if _, err := c.net.vpc(ctxFor(t), "foo", "10.177.9.0/24"); err != nil {
		t.Fatal(err)
	}
	n := 100
	if testing.Short() {
		n = 20
	}
	errs := make(chan error, n)
	for i := range n {
		go func() {
			_, err := c.Run(ctxFor(t), "c"+itoa(i), 0, 0, func(s *Spec) error {
				s.Image, s.Args, s.VPC = "bb", []string{"sleep", "1000"}, "foo"
				return nil
			})
			errs <- err
		}()
	}
	for range n {
		if err := <-errs; err != nil {
			t.Error(err)
		}
	}
	seen := map[string]bool{}
	for _, x := range c.List() {
		st := x.Status()
		if st.State != Running || seen[st.IP.String()] {
			t.Errorf("%+v", st)
		}
		seen[st.IP.String()] = true
	}
	for _, x := range c.List() {
		if err := c.Delete(ctxFor(t), x, true); err != nil {
			t.Error(err)
		}
	}
	c.DrainVPC("foo")
	c.settle(t)
	v, err := c.net.Get("foo")
	if err != nil {
		t.Fatal(err)
	}
	if l := v.Leases(); len(l) != 0 {
		t.Errorf("%d leases are left: %+v", len(l), l[0])
	}
	waitFor(t, "the cgroups to go", func() bool {
		names, err := c.groups.Names()
		return err == nil && len(names) <= 3*c.place.Warm
	})
}
