package container

import (
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/containercloud/cc/fault"
)

func itoa(n int) string { return strconv.Itoa(n) }

func TestRestartOnFailure(t *testing.T) {
	c := newCloud(t)
	x := c.run(t, "x", func(s *Spec) { s.Restart = Restart{OnFailure, 2} }, "sh", "-c", "echo run; exit 4")
	waitFor(t, "the last end", func() bool { st := x.Status(); return st.State == Exited && st.Restarts == 2 })
	if got := output(t, x, "stdout"); got != "run\nrun\nrun\n" {
		t.Errorf("%q", got)
	}
	if e := exit(t, x); e.Code != 4 {
		t.Errorf("%+v", e)
	}
	y := c.run(t, "y", func(s *Spec) { s.Restart = Restart{Policy: OnFailure} }, "true")
	exit(t, y)
	if st := y.Status(); st.Restarts != 0 || st.State != Exited {
		t.Errorf("%+v", st)
	}
}

func TestAStopIsRemembered(t *testing.T) {
	c := newCloud(t)
	x := c.run(t, "x", func(s *Spec) { s.Restart = Restart{Policy: Always} }, "sh", "-c", "exit 1")
	if err := x.Wait(ctxFor(t), Restarting); err != nil {
		t.Fatal(err)
	}
	if err := x.Stop(ctxFor(t), -1); err != nil {
		t.Fatal(err)
	}
	exit(t, x)
	n := x.Status().Restarts
	time.Sleep(300 * time.Millisecond)
	if st := x.Status(); st.State != Exited || st.Restarts != n || st.Wanted {
		t.Errorf("%+v", st)
	}
	y := c.run(t, "y", func(s *Spec) { s.Restart = Restart{Policy: Always} }, "sleep", "1000")
	if err := y.Stop(ctxFor(t), -1); err != nil {
		t.Fatal(err)
	}
	exit(t, y)
	if st := y.Status(); st.Wanted || st.State != Exited {
		t.Errorf("%+v", st)
	}
}

func TestPolicyNoEndsRestarting(t *testing.T) {
	c := newCloud(t)
	x := c.run(t, "x", func(s *Spec) { s.Restart = Restart{Policy: Always} }, "sh", "-c", "exit 1")
	waitFor(t, "a long back-off", func() bool { return x.Status().Restarts >= 2 && x.State() == Restarting })
	if err := x.Update(ctxFor(t), func(s *Spec) error { s.Restart = Restart{Policy: No}; return nil }); err != nil {
		t.Fatal(err)
	}
	exit(t, x)
}

func TestRestartVerb(t *testing.T) {
	c := newCloud(t)
	x := c.run(t, "x", nil, "sh", "-c", "echo up; sleep 1000")
	waitFor(t, "output", func() bool { return output(t, x, "stdout") == "up\n" })
	first := x.Status().PID
	if err := x.Restart(ctxFor(t)); err != nil {
		t.Fatal(err)
	}
	waitFor(t, "the second run", func() bool { return output(t, x, "stdout") == "up\nup\n" })
	if err := x.Wait(ctxFor(t), Running); err != nil {
		t.Fatal(err)
	}
	if st := x.Status(); st.State != Running || st.PID == first || st.Restarts != 0 {
		t.Errorf("%+v", st)
	}
}

func TestTTL(t *testing.T) {
	c := newCloud(t)
	x := c.run(t, "x", func(s *Spec) { s.TTL = 0 }, "true")
	if err := x.Wait(ctxFor(t), Gone); err != nil {
		t.Fatal(err)
	}
	y := c.run(t, "y", nil, "true")
	exit(t, y)
	if err := y.Update(ctxFor(t), func(s *Spec) error { s.TTL = 10 * time.Millisecond; return nil }); err != nil {
		t.Fatal(err)
	}
	if err := y.Wait(ctxFor(t), Gone); err != nil {
		t.Fatal(err)
	}
	z := c.run(t, "z", func(s *Spec) { s.TTL = 0; s.Restart = Restart{OnFailure, 1} }, "false")
	if err := z.Wait(ctxFor(t), Gone); err != nil {
		t.Fatal(err)
	}
	if st := z.Status(); st.Restarts != 1 {
		t.Errorf("deleted before its policy was through: %+v", st)
	}
}

func TestUpdateRefusesWhole(t *testing.T) {
	c := newCloud(t)
	x, err := c.Create(ctxFor(t), "x", 1000, 1000, nil)
	if err != nil {
		t.Fatal(err)
	}
	before, version := x.Spec(), x.Meta().Version
	err = x.Update(ctxFor(t), func(s *Spec) error { s.Memory = 1 << 30; s.UserNS = UserNSHost; return nil })
	if !fault.Is(err, fault.Denied) || !strings.Contains(err.Error(), "userns") {
		t.Errorf("%v", err)
	}
	if x.Spec().Memory != before.Memory || x.Meta().Version != version {
		t.Error("half of an update stays")
	}
	if err := x.Update(ctxFor(t), func(s *Spec) error { s.Memory = 1 << 30; return nil }); err != nil {
		t.Fatal(err)
	}
	if x.Meta().Version != version+1 {
		t.Error(x.Meta().Version)
	}
}

func TestAutomaticNames(t *testing.T) {
	c := newCloud(t)
	x := c.run(t, "", nil, "true")
	y := c.run(t, "", nil, "true")
	if len(x.Meta().Name) != 8 || x.Meta().Name == y.Meta().Name {
		t.Errorf("%s %s", x.Meta().Name, y.Meta().Name)
	}
}
