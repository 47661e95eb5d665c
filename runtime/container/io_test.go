package container

import (
	"context"
	"io"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/containercloud/cc/fault"
)

func write(t testing.TB, s Stream, text string) {
	t.Helper()
	if n, err := s.Write(ctxFor(t), []byte(text)); err != nil || n != len(text) {
		t.Fatalf("%d %v", n, err)
	}
}

// readAll reads a stream to its end.
func readAll(t testing.TB, s Stream) string {
	t.Helper()
	var b strings.Builder
	p := make([]byte, 4096)
	for {
		n, err := s.Read(ctxFor(t), p, false)
		b.Write(p[:n])
		if err == io.EOF {
			return b.String()
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}

func TestStdin(t *testing.T) {
	c := newCloud(t)
	x := c.run(t, "x", nil, "cat")
	for _, line := range []string{"one\n", "two\n"} { // each `echo > stdin` opens and closes
		in, err := x.Stdin()
		if err != nil {
			t.Fatal(err)
		}
		write(t, in, line)
		in.Close()
	}
	waitFor(t, "the echo", func() bool { return output(t, x, "stdout") == "one\ntwo\n" })
	if err := x.CloseStdin(ctxFor(t)); err != nil {
		t.Fatal(err)
	}
	if e := exit(t, x); e.Code != 0 {
		t.Errorf("%+v", e)
	}
	off := c.run(t, "off", func(s *Spec) { s.StdinOpen = false }, "cat")
	if e := exit(t, off); e.Code != 0 {
		t.Errorf("%+v", e)
	}
}

func TestStdinEndsWithItsContext(t *testing.T) {
	c := newCloud(t)
	x := c.run(t, "x", nil, "sleep", "1000")
	in, err := x.Stdin()
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	ctx, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
	defer cancel()
	if _, err := in.Write(ctx, make([]byte, 1<<20)); !fault.Is(err, fault.Timeout) { // nobody reads
		t.Errorf("%v", err)
	}
}

func TestTerminal(t *testing.T) {
	c := newCloud(t)
	x := c.run(t, "x", func(s *Spec) { s.TTY = Terminal{100, 30} }, "sh", "-c", "tty; stty size; echo $TERM; read a; echo got $a; stty size; cat; echo end")
	waitFor(t, "the prompt", func() bool { return strings.Contains(output(t, x, "stdout"), "xterm") })
	if err := x.Resize(120, 40); err != nil {
		t.Fatal(err)
	}
	in, err := x.Stdin()
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	write(t, in, "line\n")
	waitFor(t, "the answer", func() bool { return strings.Contains(output(t, x, "stdout"), "40 120") })
	if err := x.CloseStdin(ctxFor(t)); err != nil {
		t.Fatal(err)
	}
	if e := exit(t, x); e.Code != 0 {
		t.Errorf("%+v", e)
	}
	got := strings.ReplaceAll(output(t, x, "stdout"), "\r\n", "\n")
	want := "/dev/pts/0\n30 100\nxterm\nline\ngot line\n40 120\nend\n"
	if got != want {
		t.Errorf("%q, want %q", got, want)
	}
}

func TestFollowEndsWithTheContainer(t *testing.T) {
	c := newCloud(t)
	x := c.run(t, "x", nil, "sh", "-c", "echo a; sleep 0.2; echo b")
	v, err := x.Log("stdout")
	if err != nil {
		t.Fatal(err)
	}
	defer v.Close()
	var got []byte
	for {
		err := v.Wait(ctxFor(t), int64(len(got)))
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		p := make([]byte, 100)
		n, err := v.ReadAt(p, int64(len(got)))
		if err != nil && err != io.EOF {
			t.Fatal(err)
		}
		got = append(got, p[:n]...)
	}
	if string(got) != "a\nb\n" {
		t.Errorf("%q", got)
	}
}

func TestExec(t *testing.T) {
	c := newCloud(t)
	x := c.run(t, "x", func(s *Spec) { s.Env = []string{"A=1"}; s.Dir = "/tmp" }, "sleep", "1000")
	for _, k := range []struct {
		spec ExecSpec
		out  string
		code int
	}{
		{ExecSpec{Args: []string{"sh", "-c", "echo $A; pwd; id -u; echo err >&2; exit 5"}}, "1\n/tmp\n0\n|err\n", 5},
		{ExecSpec{Args: []string{"sh", "-c", "echo $A $B; id -u; id -g; id -G; pwd; echo $HOME"}, Env: []string{"B=2"}, User: "app", Dir: "/bin"},
			"1 2\n1000\n1000\n1000 2000\n/bin\n/home/app\n|", 0},
		{ExecSpec{Args: []string{"id", "-u"}, User: "12:34"}, "12\n|", 0},
		{ExecSpec{Args: []string{"cat"}, NoStdin: true}, "|", 0},
		{ExecSpec{Args: []string{"sh", "-c", "kill -TERM $$"}}, "|", 143},
	} {
		s, err := x.Exec(0, 0)
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Run(ctxFor(t), k.spec); err != nil {
			t.Errorf("%v: %v", k.spec.Args, err)
			continue
		}
		e, err := s.Wait(ctxFor(t))
		if err != nil {
			t.Fatal(err)
		}
		o, _ := s.Stdout()
		r, _ := s.Stderr()
		got := readAll(t, o) + "|" + readAll(t, r) // after the end
		if got != k.out || e.Code != k.code {
			t.Errorf("%v: %q %+v", k.spec.Args, got, e)
		}
		if err := s.Run(ctxFor(t), k.spec); !fault.Is(err, fault.Busy) {
			t.Errorf("a second run: %v", err)
		}
		o.Close()
		s.Close()
	}
	if len(x.Sessions()) != 0 {
		t.Error("sessions are left")
	}
}

func TestExecConversation(t *testing.T) {
	c := newCloud(t)
	x := c.run(t, "x", nil, "sleep", "1000")
	s, err := x.Exec(0, 0)
	if err != nil {
		t.Fatal(err)
	}
	out, _ := s.Stdout()
	if _, err := out.Read(ctxFor(t), make([]byte, 1), true); !fault.Is(err, fault.NoData) {
		t.Errorf("%v", err)
	}
	if err := s.Run(ctxFor(t), ExecSpec{Args: []string{"cat"}}); err != nil {
		t.Fatal(err)
	}
	in, _ := s.Stdin()
	write(t, in, "hello\n")
	p := make([]byte, 100)
	if n, err := out.Read(ctxFor(t), p, false); err != nil || string(p[:n]) != "hello\n" {
		t.Errorf("%q %v", p[:n], err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Millisecond)
	defer cancel()
	if _, err := out.Read(ctx, p, false); !fault.Is(err, fault.Timeout) {
		t.Errorf("%v", err)
	}
	in.Close()
	if err := s.CloseStdin(); err != nil {
		t.Fatal(err)
	}
	if e, err := s.Wait(ctxFor(t)); err != nil || e.Code != 0 {
		t.Errorf("%+v %v", e, err)
	}
	if got := readAll(t, out); got != "" {
		t.Errorf("%q", got)
	}
	s.Close()
}

func TestExecFails(t *testing.T) {
	c := newCloud(t)
	x := c.run(t, "x", nil, "sleep", "1000")
	for _, k := range []struct {
		spec ExecSpec
		kind fault.Kind
		text string
	}{
		{ExecSpec{}, fault.Invalid, "no command"},
		{ExecSpec{Args: []string{"nosuch"}}, fault.NotFound, "execve nosuch"},
		{ExecSpec{Args: []string{"true"}, User: "4294967296"}, fault.Range, "4294967296"},
		{ExecSpec{Args: []string{"true"}, User: "nosuch"}, fault.NotFound, "nosuch"},
	} {
		s, err := x.Exec(0, 0)
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Run(ctxFor(t), k.spec); !fault.Is(err, k.kind) || !strings.Contains(err.Error(), k.text) {
			t.Errorf("%v: kind %v: %v", k.spec, fault.KindOf(err), err)
		}
		s.Close()
	}
	if err := x.Stop(ctxFor(t), 0); err != nil {
		t.Fatal(err)
	}
	exit(t, x)
	if _, err := x.Exec(0, 0); !fault.Is(err, fault.Busy) {
		t.Errorf("%v", err)
	}
}

func TestExecIsKilledOnClose(t *testing.T) {
	c := newCloud(t)
	x := c.run(t, "x", nil, "sleep", "1000")
	s, _ := x.Exec(0, 0)
	if err := s.Run(ctxFor(t), ExecSpec{Args: []string{"sh", "-c", "sleep 1000 & sleep 1000"}}); err != nil {
		t.Fatal(err)
	}
	if err := s.Signal(syscall.SIGCONT); err != nil {
		t.Error(err)
	}
	pid := s.Status().PID
	s.Close()
	waitFor(t, "its end", func() bool { _, err := os.Stat("/proc/" + itoa(pid)); return err != nil })
	if _, err := s.Wait(ctxFor(t)); err != nil {
		t.Error(err)
	}
}

func TestExecTerminal(t *testing.T) {
	c := newCloud(t)
	x := c.run(t, "x", nil, "sleep", "1000")
	s, _ := x.Exec(0, 0)
	defer s.Close()
	if err := s.Run(ctxFor(t), ExecSpec{Args: []string{"sh", "-c", "tty; stty size; read a; stty size"}, TTY: Terminal{80, 24}}); err != nil {
		t.Fatal(err)
	}
	if err := s.Resize(90, 25); err != nil {
		t.Fatal(err)
	}
	in, _ := s.Stdin()
	defer in.Close()
	write(t, in, "x\n")
	out, _ := s.Stdout()
	defer out.Close()
	got := strings.ReplaceAll(readAll(t, out), "\r\n", "\n")
	if !strings.Contains(got, "/dev/pts/0\n") || !strings.HasSuffix(got, "25 90\n") {
		t.Errorf("%q", got)
	}
	if e, err := s.Wait(ctxFor(t)); err != nil || e.Code != 0 {
		t.Errorf("%+v %v", e, err)
	}
}
