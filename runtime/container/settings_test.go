package container

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestInitReapsAndPassesSignals(t *testing.T) {
	c := newCloud(t)
	x := c.run(t, "x", func(s *Spec) { s.Init = true }, "sh", "-c", "trap 'exit 7' TERM; sh -c 'sleep 0.01 & exit 0'; echo up; while :; do sleep 0.01; done")
	waitFor(t, "output", func() bool { return output(t, x, "stdout") == "up\n" })
	waitFor(t, "the orphan to be reaped", func() bool {
		list, _ := x.Procs()
		for _, p := range list {
			if p.State == "Z" {
				return false
			}
		}
		return true
	})
	if err := x.Stop(ctxFor(t), -1); err != nil {
		t.Fatal(err)
	}
	if e := exit(t, x); e.Code != 7 {
		t.Errorf("%+v", e)
	}
}

func TestCapabilitiesAndUsers(t *testing.T) {
	c := newCloud(t)
	caps := "grep CapEff /proc/self/status | cut -f2; id -u; id -g; echo $HOME"
	for _, k := range []struct {
		change func(*Spec)
		want   string
	}{
		{nil, "00000000800405fb\n0\n0\n/root\n"},
		{func(s *Spec) { s.Capability = []string{"none"} }, "0000000000000000\n0\n0\n/root\n"},
		{func(s *Spec) { s.Capability = []string{"none", "+NET_ADMIN"} }, "0000000000001000\n0\n0\n/root\n"},
		{func(s *Spec) { s.User = "app" }, "0000000000000000\n1000\n1000\n/home/app\n"},
		{func(s *Spec) { s.User = "5:6" }, "0000000000000000\n5\n6\n/\n"},
	} {
		if out, _ := c.sh(t, k.change, caps); out != k.want {
			t.Errorf("%q, want %q", out, k.want)
		}
	}
}

func TestSeccompUnconfined(t *testing.T) {
	c := newCloud(t)
	out, _ := c.sh(t, func(s *Spec) { s.Seccomp = SeccompUnconfined }, "grep Seccomp: /proc/self/status")
	if out != "Seccomp:\t0\n" {
		t.Errorf("%q", out)
	}
}

func TestDirectLog(t *testing.T) {
	c := newCloud(t)
	out, e := c.sh(t, func(s *Spec) { s.LogPolicy = LogDirect }, "echo a; echo b >&2; echo c")
	if out != "a\nc\nb\n" || e.Code != 0 {
		t.Errorf("%q %+v", out, e)
	}
}

func TestLoopbackWithoutVPC(t *testing.T) {
	c := newCloud(t)
	out, _ := c.sh(t, nil, "(echo hello | nc -l -p 80 &); for i in 1 2 3 4 5 6 7 8 9; do nc 127.0.0.1 80 2>/dev/null && break; sleep 0.05; done; cat /proc/net/dev | wc -l")
	if out != "hello\n3\n" {
		t.Errorf("%q", out)
	}
}

func TestCold(t *testing.T) {
	c := newCloud(t, func(p *place) { p.Warm = 0 })
	if _, err := c.net.vpc(ctxFor(t), "foo", "10.177.20.0/24"); err != nil {
		t.Fatal(err)
	}
	out, e := c.sh(t, func(s *Spec) { s.VPC = "foo" }, "hostname -i | cut -d. -f1-3")
	if out != "10.177.20\n" || e.Code != 0 {
		t.Errorf("%q %+v", out, e)
	}
	x, err := c.Create(ctxFor(t), "x", 0, 0, func(s *Spec) error { s.Image, s.Args = "bb", []string{"true"}; return nil })
	if err != nil {
		t.Fatal(err)
	}
	time.Sleep(50 * time.Millisecond)
	if x.Status().Warm {
		t.Error("armed though Warm is 0")
	}
	if len(c.left()) > 20 {
		t.Errorf("%v", c.left())
	}
}

func TestANewImageBeginsAFreshLayer(t *testing.T) {
	c := newCloud(t)
	if _, err := c.images.Import(ctxFor(t), strings.NewReader(string(busybox())[:]), "bb2", nil); err != nil {
		t.Fatal(err)
	}
	x := c.run(t, "x", nil, "sh", "-c", "ls /mine /app/mine 2>/dev/null; echo > /mine; echo > /app/mine")
	exit(t, x)
	again := func() string {
		t.Helper()
		if err := x.Start(ctxFor(t)); err != nil {
			t.Fatal(err)
		}
		exit(t, x)
		return output(t, x, "stdout")
	}
	if got := again(); got != "/app/mine\n/mine\n" {
		t.Errorf("%q", got)
	}
	if err := x.Update(ctxFor(t), func(s *Spec) error { s.UserNS = UserNSHost; return nil }); err != nil {
		t.Fatal(err)
	}
	if got := again(); got != "/app/mine\n/mine\n/app/mine\n" {
		t.Errorf("%q", got)
	}
}

func TestTheHostWasRestarted(t *testing.T) {
	p := newPlace(t)
	c := succeed(t, p)
	c.run(t, "always", func(s *Spec) { s.Restart = Restart{Policy: Always} }, "sleep", "1000")
	c.run(t, "once", nil, "sleep", "1000")
	c.run(t, "soon", func(s *Spec) { s.TTL = 100 * time.Millisecond }, "sleep", "1000")
	var files []string
	for _, n := range []string{"always", "once", "soon"} {
		files = append(files, filepath.Join(get(t, c, n).dir, statusFile))
	}
	c.leave(t)
	k, err := p.connect(ctxFor(t), nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := k.Shutdown(ctxFor(t)); err != nil { // kills all, as a restart does
		t.Fatal(err)
	}
	id, _ := os.ReadFile("/proc/sys/kernel/random/boot_id")
	for _, f := range files {
		b, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		b = []byte(strings.ReplaceAll(string(b), strings.TrimSpace(string(id)), "another-boot"))
		if err := os.WriteFile(f, b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	c = succeed(t, p)
	defer c.end(t)
	if st := get(t, c, "once").Status(); st.State != Exited || st.Exit == nil || st.Exit.Code != -1 || st.Reason != "the host was restarted" {
		t.Errorf("%+v", st)
	}
	if err := get(t, c, "always").Wait(ctxFor(t), Running); err != nil {
		t.Error(err)
	}
	waitFor(t, "the ttl", func() bool { _, err := c.Get("soon"); return err != nil })
}

func TestDrainImage(t *testing.T) {
	c := newCloud(t)
	x := c.run(t, "x", nil, "true")
	exit(t, x)
	digest := x.Status().Digest
	c.run(t, "y", nil, "true")
	c.settle(t)
	exit(t, get(t, c, "y"))
	for _, n := range []string{"x", "y"} {
		if err := c.Delete(ctxFor(t), get(t, c, n), false); err != nil {
			t.Fatal(err)
		}
	}
	c.DrainImage(digest)
	if by := c.images.UsedBy(digest); len(by) != 0 {
		t.Errorf("still used by %v", by)
	}
}

func TestNotes(t *testing.T) {
	c := newCloud(t)
	x := c.run(t, "x", func(s *Spec) { s.Disk = 1 << 30 }, "true")
	if st := x.Status(); len(st.Notes) != 1 || !strings.Contains(st.Notes[0], "volumes") {
		t.Errorf("%q", st.Notes)
	}
}
