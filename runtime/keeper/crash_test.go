package keeper_test

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/containercloud/cc/runtime/keeper"
	"github.com/containercloud/cc/runtime/logs"
)

// box is a kept process with both logs; the test has the write ends.
type box struct {
	child
	id       string
	dir      string
	out, err *os.File
}

func (b *bed) box(c *keeper.Client, id string) *box {
	b.t.Helper()
	x := &box{id: id, dir: b.t.TempDir(), child: b.spawn(c, "slot/"+id, allNamespaces, keeper.IDMap{})}
	d, err := os.Open(x.dir)
	if err != nil {
		b.t.Fatal(err)
	}
	defer d.Close()
	var outR, errR *os.File
	if outR, x.out, err = logs.Pipe(0, 0); err != nil {
		b.t.Fatal(err)
	}
	if errR, x.err, err = logs.Pipe(0, 0); err != nil {
		b.t.Fatal(err)
	}
	hold, _ := os.Open("/dev/null")
	err = c.Adopt(b.ctx, "slot/"+id, keeper.Adoption{ID: id, Dir: d, LogDir: d, Stdout: outR, Stderr: errR,
		Hold: map[string]*os.File{id + "/mnt": hold}})
	if err != nil {
		b.t.Fatal(err)
	}
	outR.Close()
	errR.Close()
	hold.Close()
	return x
}

func (x *box) end(code byte) {
	x.out.Close()
	x.err.Close()
	x.exit(code)
}

func (x *box) log(t testing.TB, name string) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(x.dir, name))
	if err != nil {
		t.Error(err)
	}
	return string(b)
}

// tells reports whether an exit has the code it should. A kernel before 6.15 may not know it when the process is not the
// keeper's child any more.
func tells(t testing.TB, e keeper.Exit, code int) bool {
	t.Helper()
	if !e.Known && !remembersExits() {
		t.Logf("the status of %s is unknown: needs PIDFD_INFO_EXIT, Linux 6.15", e.ID)
		return true
	}
	return e.Known && e.Status.ExitStatus() == code
}

// remembersExits asks the kernel for the status of a process that has been reaped.
var remembersExits = sync.OnceValue(func() bool {
	fd := -1
	cmd := exec.Command("true")
	cmd.SysProcAttr = &unix.SysProcAttr{PidFD: &fd}
	if cmd.Run() != nil {
		return false
	}
	defer unix.Close(fd)
	info := unix.PidfdInfo{Mask: unix.PIDFD_INFO_EXIT}
	return unix.IoctlPidfdInfo(fd, &info) == nil && info.Mask&unix.PIDFD_INFO_EXIT != 0
})

// killKeeper kills it as the OOM killer would, and waits until it is gone.
func killKeeper(t testing.TB, pid int) {
	t.Helper()
	fd, err := unix.PidfdOpen(pid, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	if err := unix.PidfdSendSignal(fd, unix.SIGKILL, nil, 0); err != nil {
		t.Fatal(err)
	}
	unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, -1)
}

// lines writes lines until told to stop, and says how many there were.
func lines(f *os.File, prefix string) (stop func() int) {
	quit, done := make(chan struct{}), make(chan int)
	go func() {
		n := 0
		defer func() { done <- n }()
		for {
			select {
			case <-quit:
				return
			default:
			}
			if _, err := fmt.Fprintf(f, "%s %d\n", prefix, n); err != nil {
				return
			}
			n++
			if n%64 == 0 {
				time.Sleep(time.Millisecond)
			}
		}
	}()
	return func() int { close(quit); return <-done }
}

func checkLines(t testing.TB, text, prefix string, n int) {
	t.Helper()
	var want bytes.Buffer
	for i := range n {
		fmt.Fprintf(&want, "%s %d\n", prefix, i)
	}
	if text != want.String() {
		t.Errorf("the log differs: %d bytes, want %d (%d lines)", len(text), want.Len(), n)
	}
}

func TestKeeperKilled(t *testing.T) {
	b := newBed(t)
	c := b.client()
	boxes := []*box{b.box(c, "one"), b.box(c, "two"), b.box(c, "three")}
	slot := b.spawn(c, "slot/idle", allNamespaces, keeper.IDMap{})
	stop := lines(boxes[0].out, "out")
	time.Sleep(30 * time.Millisecond)
	old := c.PID()
	killKeeper(t, old)
	boxes[1].end(42) // while there is no keeper
	time.Sleep(30 * time.Millisecond)
	n := stop()
	fmt.Fprintln(boxes[0].err, "still here")
	boxes[0].end(41)
	exits := map[string]keeper.Exit{}
	for range 2 {
		e := b.next(c)
		exits[e.ID] = e
	}
	if c.PID() == old {
		t.Error("no new keeper")
	}
	for id, code := range map[string]int{"one": 41, "two": 42} {
		e := exits[id]
		if !e.Kept || !tells(t, e, code) {
			t.Errorf("%s: %+v", id, e)
		}
	}
	checkLines(t, boxes[0].log(t, "stdout"), "out", n)
	if got := boxes[0].log(t, "stderr"); got != "still here\n" {
		t.Errorf("%q", got)
	}
	if rec, err := keeper.ReadExit(boxes[1].dir); err != nil || !tells(t, rec, 42) {
		t.Errorf("%+v %v", rec, err)
	}
	if f, err := c.Fetch(b.ctx, "three/mnt"); err != nil {
		t.Error("a held descriptor is lost:", err)
	} else {
		f.Close()
	}
	list, err := c.List(b.ctx)
	if err != nil || len(list) != 4 {
		t.Errorf("%+v %v", list, err)
	}
	slot.exit(5)
	if e := b.next(c); e.ID != "slot/idle" || !tells(t, e, 5) {
		t.Errorf("%+v", e)
	}
	boxes[2].end(0)
	b.next(c)
}

// Nothing of a new keeper differs from the old one's for new children.
func TestSpawnAfterKeeperKilled(t *testing.T) {
	b := newBed(t)
	c := b.client()
	for range 3 {
		killKeeper(t, c.PID())
		var ch child
		var err error
		for range 100 { // the spawn that meets the death may fail, the next does not
			if ch, err = trySpawn(b.ctx, c, "a", allNamespaces, keeper.IDMap{}); err == nil {
				break
			}
		}
		if err != nil {
			t.Fatal(err)
		}
		ch.exit(3)
		if e := b.next(c); !e.Known || e.Status.ExitStatus() != 3 {
			t.Errorf("%+v", e)
		}
	}
}

// Both die: a new ccd opens the process by pid and start time.
func TestBothDied(t *testing.T) {
	b := newBed(t)
	c := b.connect()
	x := b.box(c, "one")
	list, _ := c.List(b.ctx)
	start := list[0].Start
	c.Close()
	killKeeper(t, c.PID())

	c = b.client()
	if list, err := c.List(b.ctx); err != nil || len(list) != 0 {
		t.Fatalf("%v %v", list, err)
	}
	if _, err := keeper.Open(x.PID, start+1); err == nil {
		t.Error("another process was taken for it")
	}
	fd, err := keeper.Open(x.PID, start)
	if err != nil {
		t.Fatal(err)
	}
	defer fd.Close()
	if err := c.Watch(b.ctx, "one", x.PID, fd); err != nil {
		t.Fatal(err)
	}
	d, _ := os.Open(x.dir)
	defer d.Close()
	if err := c.Adopt(b.ctx, "one", keeper.Adoption{Dir: d}); err != nil {
		t.Fatal(err)
	}
	x.end(17)
	if e := b.next(c); e.ID != "one" || !tells(t, e, 17) || !e.Kept {
		t.Errorf("%+v", e)
	}
}

// A child that is already dead and reaped when it is named.
func TestWatchClaimsAStray(t *testing.T) {
	b := newBed(t)
	c := b.client()
	// Our own child is not the keeper's: its status can be known only by the kernel's memory of it.
	cmd := exec.Command("sh", "-c", "exit 33")
	cmd.SysProcAttr = &unix.SysProcAttr{}
	fd := -1
	cmd.SysProcAttr.PidFD = &fd
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	cmd.Wait()
	f := os.NewFile(uintptr(fd), "pidfd")
	defer f.Close()
	if err := c.Watch(b.ctx, "late", cmd.Process.Pid, f); err != nil {
		t.Fatal(err)
	}
	e := b.next(c)
	if e.ID != "late" || !tells(t, e, 33) {
		t.Errorf("%+v", e)
	}
	own, _ := unix.PidfdOpen(os.Getpid(), 0)
	self := os.NewFile(uintptr(own), "pidfd")
	defer self.Close()
	if err := c.Watch(b.ctx, "fake", 1, self); err == nil {
		t.Error("a pidfd of another process was taken")
	}
	null, _ := os.Open("/dev/null")
	defer null.Close()
	if err := c.Watch(b.ctx, "fake", 1, null); err == nil {
		t.Error("a file that is no pidfd was taken")
	}
}

func TestUpgrade(t *testing.T) {
	b := newBed(t)
	b.o.Binary = built(t)
	c := b.connect()
	x, y := b.box(c, "one"), b.box(c, "two")
	stop := lines(x.out, "out")
	pid := c.PID()
	exe, _ := os.ReadFile(b.o.Binary)
	for i := range 3 {
		newer := filepath.Join(t.TempDir(), "cc-keeper")
		if err := os.WriteFile(newer, append(exe, byte(i)), 0o755); err != nil {
			t.Fatal(err)
		}
		time.Sleep(10 * time.Millisecond)
		c.Close()
		b.o.Binary = newer
		c = b.connect()
		if has, err := os.ReadFile(fmt.Sprintf("/proc/%d/exe", c.PID())); err != nil || len(has) != len(exe)+1 || has[len(exe)] != byte(i) {
			t.Fatalf("the keeper did not become build %d: %d bytes, %v", i, len(has), err)
		}
	}
	n := stop()
	list, err := c.List(b.ctx)
	if err != nil || len(list) != 2 || !list[0].Child || !list[0].Stdout || c.PID() != pid {
		t.Errorf("%+v %v", list, err)
	}
	x.end(11)
	if e := b.next(c); e.ID != "one" || !e.Known || e.Status.ExitStatus() != 11 {
		t.Errorf("%+v", e)
	}
	checkLines(t, x.log(t, "stdout"), "out", n)
	c.Close()
	b.o.Binary = "/etc/passwd" // no program: the keeper that there is goes on
	c = b.client()
	if c.PID() != pid {
		t.Errorf("keeper %d in place of %d", c.PID(), pid)
	}
	z := b.spawn(c, "three", allNamespaces, keeper.IDMap{})
	z.exit(1)
	y.end(2)
	b.next(c)
	b.next(c)
	if f, err := c.Fetch(b.ctx, "two/mnt"); err != nil {
		t.Error(err)
	} else {
		f.Close()
	}
	leaks(t, pid, 20)
}

// A client of a newer build replaces the keeper's program by the way.
func TestConnectUpgrades(t *testing.T) {
	b := newBed(t)
	b.o.Binary = built(t)
	c := b.connect()
	x := b.box(c, "one")
	c.Close()
	exe, _ := os.ReadFile(b.o.Binary)
	b.o.Binary = filepath.Join(t.TempDir(), "cc-keeper")
	if err := os.WriteFile(b.o.Binary, append(exe, 'x'), 0o755); err != nil {
		t.Fatal(err)
	}
	pid := c.PID()
	c = b.client()
	if c.PID() != pid {
		t.Error("another keeper instead of an upgrade")
	}
	cmdline, _ := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
	fields := strings.Split(string(cmdline), "\x00")
	if len(fields) < 3 || fields[0] != "cc-keeper" {
		t.Errorf("%q", cmdline)
	}
	x.end(4)
	if e := b.next(c); e.ID != "one" || e.Status.ExitStatus() != 4 {
		t.Errorf("%+v", e)
	}
}

// What ends ccd's session, terminal or service does not end the keeper.
func TestSignalsDoNotEndTheKeeper(t *testing.T) {
	b := newBed(t)
	c := b.client()
	x := b.box(c, "one")
	for _, sig := range []unix.Signal{unix.SIGHUP, unix.SIGINT, unix.SIGQUIT, unix.SIGTERM, unix.SIGPIPE} {
		if err := unix.Kill(c.PID(), sig); err != nil {
			t.Fatal(err)
		}
	}
	time.Sleep(20 * time.Millisecond)
	pid := c.PID()
	if sid, err := unix.Getsid(pid); err != nil || sid != pid {
		t.Errorf("session %d %v", sid, err)
	}
	x.end(6)
	if e := b.next(c); e.Status.ExitStatus() != 6 || c.PID() != pid {
		t.Errorf("%+v, keeper %d then %d", e, pid, c.PID())
	}
}

func leaks(t testing.TB, pid, most int) {
	t.Helper()
	dir := fmt.Sprintf("/proc/%d/fd", pid)
	var fds []os.DirEntry
	for range 200 { // logs are closed behind the news of an end
		var err error
		if fds, err = os.ReadDir(dir); err != nil {
			t.Error(err)
			return
		}
		if len(fds) <= most {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	for _, fd := range fds {
		target, _ := os.Readlink(filepath.Join(dir, fd.Name()))
		t.Log(fd.Name(), target)
	}
	t.Errorf("the keeper has %d descriptors", len(fds))
}

func TestShutdownKillsEverything(t *testing.T) {
	b := newBed(t)
	c := b.connect()
	x := b.box(c, "one")
	y := b.spawn(c, "slot/a", allNamespaces, keeper.IDMap{})
	pid := c.PID()
	ctx, cancel := context.WithTimeout(b.ctx, 20*time.Second)
	defer cancel()
	if err := c.Shutdown(ctx); err != nil {
		t.Fatal(err)
	}
	for _, p := range []child{x.child, y} {
		n, _ := unix.Poll([]unix.PollFd{{Fd: int32(p.PidFD.Fd()), Events: unix.POLLIN}}, 0)
		if n != 1 {
			t.Errorf("%d lives", p.PID)
		}
	}
	if rec, err := keeper.ReadExit(x.dir); err != nil || rec.Status.Signal() != unix.SIGKILL {
		t.Errorf("%+v %v", rec, err)
	}
	fd, err := unix.PidfdOpen(pid, 0)
	if err == nil {
		unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, 5000)
		unix.Close(fd)
	}
	x.out.Close()
	x.err.Close()
}
