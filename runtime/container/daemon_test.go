package container

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/containercloud/cc/runtime/keeper"
)

// victim is a daemon in a process of its own, which does what it reads until it is killed.
func victim() {
	var p place
	if err := json.Unmarshal([]byte(os.Getenv("CONTAINER_TEST_PLACE")), &p); err != nil {
		panic(err)
	}
	c, err := p.open()
	if err != nil {
		fmt.Println("no daemon:", err)
		return
	}
	fmt.Println("ready")
	in := bufio.NewScanner(os.Stdin)
	for in.Scan() {
		var o order
		if err := json.Unmarshal(in.Bytes(), &o); err != nil {
			panic(err)
		}
		if err := o.do(c); err != nil {
			fmt.Println("error:", err)
			continue
		}
		fmt.Println("ok")
	}
}

// order is one thing for a victim to do.
type order struct {
	Verb, Name string
	Args       []string
	Spec       map[string]json.RawMessage // over the default
}

func (o order) do(c *cloud) error {
	ctx := context.Background()
	change := func(s *Spec) error {
		s.Image, s.Args = "bb", o.Args
		b, err := json.Marshal(o.Spec)
		if err == nil && len(o.Spec) > 0 {
			err = json.Unmarshal(b, s)
		}
		return err
	}
	if o.Verb == "run" {
		_, err := c.Run(ctx, o.Name, 0, 0, change)
		return err
	}
	if o.Verb == "create" {
		_, err := c.Create(ctx, o.Name, 0, 0, change)
		return err
	}
	x, err := c.Get(o.Name)
	if err != nil {
		return err
	}
	switch o.Verb {
	case "start":
		return x.Start(ctx)
	case "stop":
		return x.Stop(ctx, -1)
	case "delete":
		return c.Delete(ctx, x, true)
	case "pause":
		return x.Pause(ctx)
	case "exec":
		s, err := x.Exec(0, 0)
		if err != nil {
			return err
		}
		return s.Run(ctx, ExecSpec{Args: o.Args})
	case "warm":
		for !x.Status().Warm {
			time.Sleep(time.Millisecond)
		}
		return nil
	case "mark": // the half of a start before the program runs
		if err := x.lock(ctx); err != nil { // until it is armed
			return err
		}
		defer x.unlock()
		return x.mark(x.body)
	case "exited":
		return x.Wait(ctx, Exited)
	}
	return fmt.Errorf("what is %q?", o.Verb)
}

// killable is a victim and its pipes.
type killable struct {
	t   testing.TB
	cmd *exec.Cmd
	in  io.WriteCloser
	out *bufio.Scanner
}

func startVictim(t testing.TB, p place) *killable {
	t.Helper()
	b, _ := json.Marshal(p)
	v := &killable{t: t, cmd: exec.Command("/proc/self/exe")}
	v.cmd.Env = append(os.Environ(), "CONTAINER_TEST_PART=daemon", "CONTAINER_TEST_PLACE="+string(b))
	v.cmd.Stderr = os.Stderr
	v.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	v.in, _ = v.cmd.StdinPipe()
	out, _ := v.cmd.StdoutPipe()
	v.out = bufio.NewScanner(out)
	if err := v.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if got := v.line(); got != "ready" {
		t.Fatal(got)
	}
	return v
}

func (v *killable) line() string {
	if !v.out.Scan() {
		return "gone"
	}
	return v.out.Text()
}

func (v *killable) send(o order) {
	b, _ := json.Marshal(o)
	v.in.Write(append(b, '\n'))
}

func (v *killable) do(o order) {
	v.t.Helper()
	v.send(o)
	if got := v.line(); got != "ok" {
		v.t.Fatalf("%+v: %s", o, got)
	}
}

func (v *killable) kill() {
	v.cmd.Process.Kill()
	v.cmd.Wait()
}

func raw(v any) json.RawMessage { b, _ := json.Marshal(v); return b }

// succeed opens the next daemon on a place.
func succeed(t testing.TB, p place) *cloud {
	t.Helper()
	c, err := p.open()
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func get(t testing.TB, c *cloud, name string) *Container {
	t.Helper()
	x, err := c.Get(name)
	if err != nil {
		t.Fatal(err)
	}
	return x
}

func TestContainersOutliveTheDaemon(t *testing.T) {
	p := newPlace(t)
	v := startVictim(t, p)
	v.do(order{Verb: "run", Name: "lives", Args: []string{"sh", "-c", "i=0; while :; do echo $i; i=$((i+1)); sleep 0.01; done"}})
	v.do(order{Verb: "run", Name: "ends", Args: []string{"sh", "-c", "sleep 0.2; echo last; exit 9"}})
	v.do(order{Verb: "run", Name: "ended", Args: []string{"sh", "-c", "exit 8"}})
	v.do(order{Verb: "exited", Name: "ended"})
	v.do(order{Verb: "run", Name: "cat", Args: []string{"cat"}})
	v.do(order{Verb: "run", Name: "tty", Args: []string{"cat"}, Spec: map[string]json.RawMessage{"tty": raw("80x24")}})
	v.do(order{Verb: "run", Name: "paused", Args: []string{"sleep", "1000"}})
	v.do(order{Verb: "pause", Name: "paused"})
	v.do(order{Verb: "create", Name: "armed", Args: []string{"echo", "hi"}})
	v.do(order{Verb: "warm", Name: "armed"})
	v.do(order{Verb: "run", Name: "always", Args: []string{"sleep", "0.1"}, Spec: map[string]json.RawMessage{"restart": raw("always")}})
	v.do(order{Verb: "exec", Name: "lives", Args: []string{"sleep", "12345"}})
	v.kill()
	time.Sleep(400 * time.Millisecond)
	c := succeed(t, p)
	defer c.end(t)

	if st := get(t, c, "lives").Status(); st.State != Running || st.PID == 0 || st.Started.IsZero() {
		t.Errorf("lives: %+v", st)
	}
	if st := get(t, c, "ends").Status(); st.State != Exited || st.Exit == nil || st.Exit.Code != 9 {
		t.Errorf("ends: %+v", st)
	}
	if got := output(t, get(t, c, "ends"), "stdout"); got != "last\n" {
		t.Errorf("%q", got)
	}
	if st := get(t, c, "ended").Status(); st.State != Exited || st.Exit == nil || st.Exit.Code != 8 {
		t.Errorf("ended: %+v", st)
	}
	if st := get(t, c, "armed").Status(); st.State != Defined {
		t.Errorf("armed: %+v", st)
	}
	if st := get(t, c, "paused").Status(); st.State != Paused {
		t.Errorf("paused: %+v", st)
	}
	if err := get(t, c, "always").Wait(ctxFor(t), Running); err != nil {
		t.Errorf("always: %v %+v", err, get(t, c, "always").Status())
	}
	lives := output(t, get(t, c, "lives"), "stdout")
	waitFor(t, "more output", func() bool { return len(output(t, get(t, c, "lives"), "stdout")) > len(lives) })
	for i, line := range strings.Split(strings.TrimSpace(lives), "\n") {
		if line != itoa(i) {
			t.Fatalf("line %d of the log is %q", i, line)
		}
	}
	for _, name := range []string{"cat", "tty"} {
		x := get(t, c, name)
		in, err := x.Stdin()
		if err != nil {
			t.Fatal(name, err)
		}
		write(t, in, "again\n")
		in.Close()
		waitFor(t, name, func() bool { return strings.Contains(output(t, x, "stdout"), "again") })
		if err := x.CloseStdin(ctxFor(t)); err != nil {
			t.Fatal(err)
		}
		if e := exit(t, x); e.Code != 0 {
			t.Errorf("%s: %+v", name, e)
		}
	}
	waitFor(t, "the end of the exec session", func() bool { return len(pidsOf(t, "sleep 12345")) == 0 })
	s, err := get(t, c, "lives").Exec(0, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if err := s.Run(ctxFor(t), ExecSpec{Args: []string{"tty"}, TTY: Terminal{80, 24}}); err != nil {
		t.Fatal(err)
	}
	if e, err := s.Wait(ctxFor(t)); err != nil || e.Code != 0 {
		t.Errorf("%+v %v", e, err)
	}
	if err := get(t, c, "paused").Resume(ctxFor(t)); err != nil {
		t.Error(err)
	}
	if err := get(t, c, "armed").Start(ctxFor(t)); err != nil {
		t.Error(err)
	}
	exit(t, get(t, c, "armed"))
}

// pidsOf finds processes by their command line.
func pidsOf(t testing.TB, cmdline string) (pids []int) {
	t.Helper()
	dirs, _ := filepath.Glob("/proc/[0-9]*/cmdline")
	for _, d := range dirs {
		b, _ := os.ReadFile(d)
		if strings.TrimSpace(strings.ReplaceAll(string(b), "\x00", " ")) == cmdline {
			pid, _ := strconv.Atoi(filepath.Base(filepath.Dir(d)))
			pids = append(pids, pid)
		}
	}
	return pids
}

// A start whose half the daemon did not live to do is none: nothing of the program has run.
func TestDaemonKilledBetweenMarkAndStart(t *testing.T) {
	p := newPlace(t)
	v := startVictim(t, p)
	specs := map[string]map[string]json.RawMessage{
		"once":   nil,
		"init":   {"init": raw(true)},
		"always": {"restart": raw("always")},
	}
	for name, spec := range specs {
		v.do(order{Verb: "create", Name: name, Args: []string{"sh", "-c", "echo ran; sleep 1000"}, Spec: spec})
		v.do(order{Verb: "warm", Name: name})
		v.do(order{Verb: "mark", Name: name})
	}
	v.kill()
	c := succeed(t, p)
	defer c.end(t)
	for _, name := range []string{"once", "init"} {
		x := get(t, c, name)
		if st := x.Status(); st.State != Failed || st.Reason != cutReason || st.Exit != nil || st.PID != 0 {
			t.Errorf("%s: %+v", name, st)
		}
		if got := output(t, x, "stdout"); got != "" {
			t.Errorf("%s printed %q", name, got)
		}
		if err := x.Start(ctxFor(t)); err != nil {
			t.Error(err)
		}
	}
	if err := get(t, c, "always").Wait(ctxFor(t), Running); err != nil {
		t.Errorf("always: %v %+v", err, get(t, c, "always").Status())
	}
}

func TestAGentleEndLeavesContainers(t *testing.T) {
	p := newPlace(t)
	c := succeed(t, p)
	x := c.run(t, "x", nil, "sleep", "1000")
	pid := x.Status().PID
	c.leave(t)
	c = succeed(t, p)
	defer c.end(t)
	if st := get(t, c, "x").Status(); st.State != Running || st.PID != pid {
		t.Errorf("%+v", st)
	}
}

func TestShutdownAndPolicyAlways(t *testing.T) {
	p := newPlace(t)
	c := succeed(t, p)
	c.run(t, "always", func(s *Spec) { s.Restart = Restart{Policy: Always} }, "sleep", "1000")
	c.run(t, "once", nil, "sleep", "1000")
	if err := c.Shutdown(ctxFor(t)); err != nil {
		t.Fatal(err)
	}
	c.net.close()
	c.keeper.Close()
	c.images.Close()
	c = succeed(t, p)
	defer c.end(t)
	if err := get(t, c, "always").Wait(ctxFor(t), Running); err != nil {
		t.Error(err)
	}
	if st := get(t, c, "once").Status(); st.State != Exited {
		t.Errorf("%+v", st)
	}
}

func TestDaemonKilledAtRandom(t *testing.T) {
	p := newPlace(t)
	rounds := 12
	if testing.Short() {
		rounds = 3
	}
	for round := range rounds {
		v := startVictim(t, p)
		for i := range 3 {
			name := fmt.Sprintf("r%d-%d", round, i)
			v.send(order{Verb: "run", Name: name, Args: []string{"sh", "-c", "sleep 1001"}})
			v.send(order{Verb: "create", Name: name + "c", Args: []string{"sleep", "1001"}})
			v.send(order{Verb: "start", Name: name + "c"})
			v.send(order{Verb: "exec", Name: name, Args: []string{"sleep", "999"}})
			v.send(order{Verb: "delete", Name: name + "c"})
		}
		time.Sleep(time.Duration(rand.IntN(60)) * time.Millisecond)
		v.kill()
		c := succeed(t, p)
		for _, x := range c.List() {
			// One that was being killed may have been met alive and ends just now.
			waitFor(t, x.Meta().Name+" to be what it says", func() bool {
				st := x.Status()
				return st.State != Running || unix.Kill(st.PID, 0) == nil
			})
			switch st := x.Status(); st.State {
			case Running:
			case Defined, Failed, Exited:
				if err := c.Delete(ctxFor(t), x, false); err != nil {
					t.Error(err)
				}
			default:
				t.Errorf("%s: %+v", x.Meta().Name, st)
			}
		}
		waitFor(t, "the keeper to have containers only", func() bool { return len(c.strangers(t)) == 0 })
		c.leave(t)
	}
	c := succeed(t, p)
	c.end(t)
	for _, pid := range pidsOf(t, "sleep 1001") {
		b, _ := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
		t.Errorf("process %d is left: PPid %s NSpid %s %s", pid, field(string(b), "PPid:"), field(string(b), "NSpid:"), field(string(b), "State:"))
	}
}

// strangers is what the keeper keeps that is no container.
func (c *cloud) strangers(t testing.TB) (list []keeper.State) {
	kids, err := c.keeper.List(ctxFor(t))
	if err != nil {
		t.Fatal(err)
	}
	for _, k := range kids {
		x, err := c.Get(k.ID)
		if k.Kept && !k.Exited && (err != nil || x.Status().PID != k.PID && !x.Status().Warm) {
			list = append(list, k)
		}
	}
	return list
}

func TestKeeperKilled(t *testing.T) {
	c := newCloud(t)
	x := c.run(t, "x", nil, "sh", "-c", "while :; do echo tick; sleep 0.01; done")
	waitFor(t, "output", func() bool { return output(t, x, "stdout") != "" })
	old := c.keeper.PID()
	unix.Kill(old, unix.SIGKILL)
	waitFor(t, "another keeper", func() bool { return c.keeper.PID() != old })
	n := len(output(t, x, "stdout"))
	waitFor(t, "more output", func() bool { return len(output(t, x, "stdout")) > n })
	if x.State() != Running {
		t.Error(x.State())
	}
	c.run(t, "y", nil, "sleep", "1000")
	if err := x.Kill(ctxFor(t), syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	if err := x.Wait(ctxFor(t), Exited); err != nil {
		t.Error(err)
	}
}

// What neither the daemon nor the keeper lived to hold goes on: the processes, and the logs of programs that printed nothing meanwhile.
func TestDaemonAndKeeperKilled(t *testing.T) {
	p := newPlace(t)
	v := startVictim(t, p)
	program := []string{"sh", "-c", `trap "echo after; echo oops >&2" USR1; trap "exit 6" USR2; echo before; while :; do sleep 0.05; done`}
	specs := map[string]map[string]json.RawMessage{"plain": nil, "init": {"init": raw(true)}}
	for name, spec := range specs {
		v.do(order{Verb: "run", Name: name, Args: program, Spec: spec})
	}
	time.Sleep(300 * time.Millisecond) // they have printed
	v.do(order{Verb: "run", Name: "young", Args: []string{"sleep", "1000"}})
	v.kill()
	dirs, _ := filepath.Glob("/proc/[0-9]*")
	for _, d := range dirs {
		if b, _ := os.ReadFile(d + "/cmdline"); strings.HasPrefix(string(b), "cc-keeper\x00"+p.Run+"\x00") {
			pid, _ := strconv.Atoi(filepath.Base(d))
			unix.Kill(pid, unix.SIGKILL)
			waitFor(t, "the keeper's end", func() bool { return unix.Kill(pid, 0) != nil })
		}
	}
	c := succeed(t, p)
	defer c.end(t)
	if state := get(t, c, "young").State(); state != Running {
		t.Errorf("a container that had just been started is %s", state)
	}
	for name := range specs {
		x := get(t, c, name)
		if err := x.Kill(ctxFor(t), syscall.SIGUSR1); err != nil {
			t.Fatal(name, err)
		}
		waitFor(t, name+" to be logged", func() bool {
			return output(t, x, "stdout") == "before\nafter\n" && output(t, x, "stderr") == "oops\n"
		})
		if err := x.Kill(ctxFor(t), syscall.SIGUSR2); err != nil {
			t.Fatal(name, err)
		}
		if e := exit(t, x); e.Code != 6 && e.Code != -1 { // -1: a kernel that tells nobody but the parent
			t.Errorf("%s: %+v", name, e)
		}
	}
}

func TestDamagedRecordLeavesTheDaemonAlive(t *testing.T) {
	p := newPlace(t)
	c := succeed(t, p)
	c.run(t, "runs", nil, "sleep", "1000")
	c.run(t, "done", nil, "true")
	exit(t, get(t, c, "done"))
	var dirs []string
	for _, name := range []string{"runs", "done"} {
		dirs = append(dirs, get(t, c, name).dir)
	}
	c.leave(t)
	for _, d := range dirs {
		if err := os.WriteFile(filepath.Join(d, specFile), []byte("{"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	c = succeed(t, p)
	defer c.end(t)
	if len(c.List()) != 2 {
		t.Fatal(c.List())
	}
	states := map[State]int{}
	for _, x := range c.List() {
		states[x.State()]++
		if len(x.Failures().List()) == 0 {
			t.Error("no sentence")
		}
	}
	if states[Running] != 1 || states[Failed] != 1 {
		t.Errorf("%v", states)
	}
}

// Whenever the keeper is killed, an exec that is under way ends, and with the code its command had.
func TestKeeperKilledDuringExec(t *testing.T) {
	c := newCloud(t)
	x := c.run(t, "x", nil, "sleep", "1000")
	rounds := 24
	if testing.Short() {
		rounds = 10
	}
	for round := range rounds {
		s, err := x.Exec(0, 0)
		if err != nil {
			t.Fatal(err)
		}
		begun, killed := make(chan struct{}), make(chan struct{})
		go func() {
			defer close(killed)
			<-begun
			time.Sleep(time.Duration(rand.IntN(4000)) * time.Microsecond)
			old := c.keeper.PID()
			unix.Kill(old, unix.SIGKILL)
			waitFor(t, "another keeper", func() bool { return c.keeper.PID() != old })
		}()
		close(begun)
		if err := s.Run(ctxFor(t), ExecSpec{Args: []string{"sh", "-c", []string{"exit 7", "sleep 0.01; exit 7"}[round%2]}}); err != nil {
			t.Errorf("round %d: %v", round, err)
		} else if e, err := s.Wait(ctxFor(t)); err != nil || e.Code != 7 {
			t.Errorf("round %d: %+v %v", round, e, err)
		}
		<-killed
		s.Close()
		if t.Failed() {
			break
		}
	}
	waitFor(t, "the keeper to have the container only", func() bool {
		kids, err := c.keeper.List(ctxFor(t))
		return err == nil && !slices.ContainsFunc(kids, func(k keeper.State) bool { return strings.Contains(k.ID, "/exec/") })
	})
}
