package container

import (
	"net/netip"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/containercloud/cc/fault"
)

func TestRunPrintsAndExits(t *testing.T) {
	c := newCloud(t)
	out, e := c.sh(t, nil, "echo hello; echo oops >&2; exit 3")
	if out != "hello\noops\n" || e.Code != 3 || e.Signal != "" {
		t.Errorf("%q %+v", out, e)
	}
}

func TestCreateArmsAndStarts(t *testing.T) {
	c := newCloud(t)
	x, err := c.Create(ctxFor(t), "web", 0, 0, func(s *Spec) error {
		s.Image, s.Args = "bb", []string{"echo", "armed"}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	waitFor(t, "arming", func() bool { return x.Status().Warm })
	if st := x.Status(); st.State != Defined {
		t.Errorf("%+v", st)
	}
	if err := x.Update(ctxFor(t), func(s *Spec) error { s.Args[1] = "changed"; return nil }); err != nil {
		t.Fatal(err)
	}
	if x.Status().Warm {
		t.Error("still armed after a change")
	}
	waitFor(t, "arming again", func() bool { return x.Status().Warm })
	if err := x.Start(ctxFor(t)); err != nil {
		t.Fatal(err)
	}
	if e := exit(t, x); e.Code != 0 {
		t.Errorf("%+v", e)
	}
	if got := output(t, x, "stdout"); got != "changed\n" {
		t.Errorf("%q", got)
	}
}

func TestExitCodesAndSignals(t *testing.T) {
	c := newCloud(t)
	for script, want := range map[string]Exit{
		"exit 0":                                {Code: 0},
		"exit 42":                               {Code: 42},
		"exit 255":                              {Code: 255},
		"kill -9 $$":                            {Code: 0}, // the first process of a namespace cannot kill itself
		"sleep 100 & kill $!; wait $!; exit $?": {Code: 143},
	} {
		_, e := c.sh(t, nil, script)
		e.Time = time.Time{}
		if e != want {
			t.Errorf("%s: %+v, want %+v", script, e, want)
		}
	}
}

func TestStartFailsWithASentence(t *testing.T) {
	c := newCloud(t)
	for _, k := range []struct {
		change func(*Spec)
		kind   fault.Kind
		text   string
	}{
		{func(s *Spec) { s.Args = []string{"/no/such"} }, fault.NotFound, "execve /no/such"},
		{func(s *Spec) { s.Args = []string{"nosuch"} }, fault.NotFound, "execve nosuch"},
		{func(s *Spec) { s.Args = []string{"/etc/passwd"} }, fault.Denied, "execve /etc/passwd"},
		{func(s *Spec) { s.Image = "absent" }, fault.NotFound, "absent"},
		{func(s *Spec) { s.User = "nobody-here" }, fault.NotFound, "nobody-here"},
		{func(s *Spec) { s.IP = netip.MustParseAddr("10.1.0.9") }, fault.Invalid, "it has the ip 10.1.0.9 and no vpc"},
	} {
		x, err := c.Create(ctxFor(t), "bad", 0, 0, func(s *Spec) error {
			s.Image, s.Args = "bb", []string{"true"}
			k.change(s)
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		err = x.Start(ctxFor(t))
		if !fault.Is(err, k.kind) || !strings.Contains(err.Error(), k.text) || !strings.HasPrefix(err.Error(), "cannot start container bad: ") {
			t.Errorf("%s: kind %v: %v", k.text, fault.KindOf(err), err)
		}
		if st := x.Status(); st.State != Failed || st.Reason == "" {
			t.Errorf("%+v", st)
		}
		if err := c.Delete(ctxFor(t), x, false); err != nil {
			t.Error(err)
		}
		if _, err := c.Run(ctxFor(t), "bad", 0, 0, func(s *Spec) error {
			s.Image, s.Args = "bb", []string{"true"}
			k.change(s)
			return nil
		}); err == nil {
			t.Error("run succeeded")
		}
		if _, err := c.Get("bad"); !fault.Is(err, fault.NotFound) {
			t.Error("a run that failed left a container")
		}
	}
}

func TestStop(t *testing.T) {
	c := newCloud(t)
	polite := c.run(t, "polite", nil, "sh", "-c", "trap 'exit 7' TERM; echo up; while :; do sleep 0.01; done")
	waitFor(t, "output", func() bool { return output(t, polite, "stdout") != "" })
	if err := polite.Stop(ctxFor(t), -1); err != nil {
		t.Fatal(err)
	}
	if e := exit(t, polite); e.Code != 7 {
		t.Errorf("%+v", e)
	}
	deaf := c.run(t, "deaf", func(s *Spec) { s.StopTimeout = time.Hour }, "sleep", "1000")
	if err := deaf.Stop(ctxFor(t), -1); err != nil {
		t.Fatal(err)
	}
	if e := exit(t, deaf); e.Signal != "SIGKILL" || e.Code != 137 {
		t.Errorf("%+v", e)
	}
	stubborn := c.run(t, "stubborn", nil, "sh", "-c", "trap : TERM; echo up; while :; do sleep 0.01; done")
	waitFor(t, "output", func() bool { return output(t, stubborn, "stdout") != "" })
	if err := stubborn.Stop(ctxFor(t), 50*time.Millisecond); err != nil {
		t.Fatal(err)
	}
	if e := exit(t, stubborn); e.Signal != "SIGKILL" {
		t.Errorf("%+v", e)
	}
	if err := stubborn.Stop(ctxFor(t), -1); err != nil {
		t.Errorf("stop of what is stopped: %v", err)
	}
}

func TestKillAndSignal(t *testing.T) {
	c := newCloud(t)
	x := c.run(t, "x", func(s *Spec) { s.Restart = Restart{Policy: Always} }, "sh", "-c", "trap 'echo usr1' USR1; echo up; while :; do sleep 0.01; done")
	waitFor(t, "output", func() bool { return output(t, x, "stdout") != "" })
	if err := x.Signal(syscall.SIGUSR1); err != nil {
		t.Fatal(err)
	}
	waitFor(t, "the trap", func() bool { return output(t, x, "stdout") == "up\nusr1\n" })
	if err := x.Kill(ctxFor(t), syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	if e := exit(t, x); e.Signal != "SIGKILL" {
		t.Errorf("%+v", e)
	}
	if err := x.Signal(syscall.SIGUSR1); !fault.Is(err, fault.Busy) {
		t.Errorf("%v", err)
	}
}

func TestPauseResume(t *testing.T) {
	c := newCloud(t)
	x := c.run(t, "x", nil, "sh", "-c", "while :; do echo tick; sleep 0.01; done")
	waitFor(t, "output", func() bool { return output(t, x, "stdout") != "" })
	if err := x.Pause(ctxFor(t)); err != nil {
		t.Fatal(err)
	}
	time.Sleep(50 * time.Millisecond)
	a := output(t, x, "stdout")
	time.Sleep(50 * time.Millisecond)
	if b := output(t, x, "stdout"); a != b || x.State() != Paused {
		t.Errorf("it goes on while %s", x.State())
	}
	if err := x.Pause(ctxFor(t)); !fault.Is(err, fault.Busy) {
		t.Errorf("%v", err)
	}
	if err := x.Resume(ctxFor(t)); err != nil {
		t.Fatal(err)
	}
	waitFor(t, "more output", func() bool { return len(output(t, x, "stdout")) > len(a) })
	if err := x.Pause(ctxFor(t)); err != nil {
		t.Fatal(err)
	}
	if err := x.Stop(ctxFor(t), -1); err != nil {
		t.Fatal(err)
	}
	exit(t, x)
}

func TestDelete(t *testing.T) {
	c := newCloud(t)
	x := c.run(t, "x", nil, "sleep", "1000")
	if err := c.Delete(ctxFor(t), x, false); !fault.Is(err, fault.Busy) {
		t.Errorf("%v", err)
	}
	if err := c.Delete(ctxFor(t), x, true); err != nil {
		t.Fatal(err)
	}
	if x.State() != Gone {
		t.Error(x.State())
	}
	if err := x.Start(ctxFor(t)); !fault.Is(err, fault.NotFound) {
		t.Errorf("%v", err)
	}
	if err := x.Wait(ctxFor(t), Gone); err != nil {
		t.Error(err)
	}
	if err := c.Delete(ctxFor(t), x, true); !fault.Is(err, fault.NotFound) {
		t.Errorf("%v", err)
	}
	c.run(t, "x", nil, "true") // the name is free
}

func TestStartAgainKeepsFiles(t *testing.T) {
	c := newCloud(t)
	x := c.run(t, "x", nil, "sh", "-c", "cat /kept /app/kept 2>/dev/null; echo a >> /kept; echo b >> /app/kept")
	exit(t, x)
	for range 2 {
		if err := x.Start(ctxFor(t)); err != nil {
			t.Fatal(err)
		}
		exit(t, x)
	}
	if got := output(t, x, "stdout"); got != "a\nb\na\na\nb\nb\n" {
		t.Errorf("%q", got)
	}
}

func TestRename(t *testing.T) {
	c := newCloud(t)
	x := c.run(t, "a", nil, "sleep", "1000")
	c.run(t, "b", nil, "sleep", "1000")
	if err := c.Rename(ctxFor(t), x, "b"); !fault.Is(err, fault.Exists) {
		t.Errorf("%v", err)
	}
	if err := c.Rename(ctxFor(t), x, "new"); !fault.Is(err, fault.Exists) {
		t.Errorf("a reserved name: %v", err)
	}
	if err := c.Rename(ctxFor(t), x, "z"); err != nil {
		t.Fatal(err)
	}
	if got, err := c.Get("z"); err != nil || got != x || x.Meta().Name != "z" {
		t.Errorf("%v %v", got, err)
	}
	if _, err := c.Get("a"); !fault.Is(err, fault.NotFound) {
		t.Errorf("%v", err)
	}
	if got, err := c.Get(string(x.Meta().ID)[:8]); err != nil || got != x {
		t.Errorf("%v %v", got, err)
	}
}
