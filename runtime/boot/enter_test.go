package boot

import (
	"bufio"
	"encoding/json"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/containercloud/cc/runtime/seccomp"
)

// running starts a container that lives until the test ends.
func running(t testing.TB, o SlotOptions, lower string, change func(*Config)) *Slot {
	t.Helper()
	spawner(t)
	s := newSlot(t, o)
	c := config(t, rootOf(t, lower, o.IDs), "sleep", "100")
	if change != nil {
		change(&c)
	}
	must(t, launch(testContext(t), s, c))
	return s
}

func target(s *Slot) Target {
	return Target{ID: "enter/" + s.o.ID, PidFD: s.PidFD(), IDs: s.o.IDs, HostNet: s.o.HostNet}
}

func enterConfig(t testing.TB, args ...string) EnterConfig {
	t.Helper()
	filter, err := seccomp.Default(DefaultCapabilities()...)
	must(t, err)
	return EnterConfig{NoNewPrivs: true, Capabilities: DefaultCapabilities(), Seccomp: filter,
		Process: Process{Args: args, Env: []string{"PATH=/usr/bin:/bin"}}}
}

func enterRun(t testing.TB, tg Target, change func(*EnterConfig), args ...string) outcome {
	t.Helper()
	c := enterConfig(t, args...)
	r, w, err := os.Pipe()
	must(t, err)
	c.Stdio = [3]*os.File{nil, w, w}
	if change != nil {
		change(&c)
	}
	child, err := Enter(testContext(t), spawner(t), tg, c)
	must(t, err)
	w.Close()
	out, err := io.ReadAll(r)
	must(t, err)
	defer child.PidFD.Close()
	return outcome{string(out), waitExit(t, child)}
}

func TestEnter(t *testing.T) {
	both(t, func(t *testing.T, o SlotOptions) {
		s := running(t, o, image(t), nil)
		got := enterRun(t, target(s), func(c *EnterConfig) {
			c.Process.UID, c.Process.GID, c.Process.Groups, c.Process.Dir = 1000, 1001, []uint32{27}, "/tmp/new"
			c.Rlimits = []Rlimit{{unix.RLIMIT_NOFILE, 77, 88}}
			c.OOMScoreAdj = 200
		}, "sh", "-c", "id -u; id -g; id -G; pwd; hostname; cat /proc/1/comm; ulimit -n; cat /proc/self/oom_score_adj; grep -E '^(Cap|NoNew|Seccomp:)' /proc/self/status; exit 4")
		want := `1000
1001
1001 27
/tmp/new
box
sleep
77
200
CapInh:	0000000000000000
CapPrm:	0000000000000000
CapEff:	0000000000000000
CapBnd:	00000000800405fb
CapAmb:	0000000000000000
NoNewPrivs:	1
Seccomp:	2
`
		if got.out != want || got.status.ExitStatus() != 4 {
			t.Errorf("got %q, status %#x", got.out, got.status)
		}
		for _, kind := range []string{"user", "mnt", "pid", "net", "ipc", "uts", "cgroup"} {
			if got := enterRun(t, target(s), nil, "sh", "-c", "readlink /proc/self/ns/"+kind+"; readlink /proc/1/ns/"+kind); len(strings.Fields(got.out)) != 2 || strings.Fields(got.out)[0] != strings.Fields(got.out)[1] {
				t.Errorf("%s namespace: %q", kind, got.out)
			}
		}
	})
}

func TestEnterErrors(t *testing.T) {
	s := running(t, SlotOptions{IDs: mapped}, image(t), nil)
	for what, want := range map[string]syscall.Errno{"nothing": unix.ENOENT, "/etc/passwd": unix.EACCES} {
		_, err := Enter(testContext(t), spawner(t), target(s), enterConfig(t, what))
		var op *OpError
		if !errors.As(err, &op) || op.Op != "execve" || op.Errno != want {
			t.Errorf("%s: %v", what, err)
		}
	}
	must(t, unix.PidfdSendSignal(pidfdOf(s.child), unix.SIGKILL, nil, 0))
	waitExit(t, s.child)
	var op *OpError
	if _, err := Enter(testContext(t), spawner(t), target(s), enterConfig(t, "true")); !errors.As(err, &op) || op.Op != "setns" {
		t.Errorf("an ended container: %v", err)
	}
}

func TestEnterTerminal(t *testing.T) {
	both(t, func(t *testing.T, o SlotOptions) {
		lower := image(t)
		withProbe(t, lower)
		s := running(t, o, lower, nil)
		master, slave, err := OpenTerminal(s.Devpts(), o.IDs, 5, 30, 90)
		must(t, err)
		defer master.Close()
		c := enterConfig(t, "/bin/probe", "tty")
		c.Process.Env = append(c.Process.Env, "BOOT_TEST_PART=probe")
		c.Process.UID = 5
		c.TTY, c.Stdio = true, [3]*os.File{slave, slave, slave}
		child, err := Enter(testContext(t), spawner(t), target(s), c)
		must(t, err)
		defer child.PidFD.Close()
		slave.Close()
		line, err := bufio.NewReader(master).ReadString('\n')
		must(t, err)
		var got map[string]string
		must(t, json.Unmarshal([]byte(line), &got))
		for k, want := range map[string]string{"0": "/dev/pts/0", "tty": "open", "size": "90x30", "leader": "true"} {
			if got[k] != want {
				t.Errorf("%s: %q, want %q", k, got[k], want)
			}
		}
		waitExit(t, child)
	})
}

// The keeper is the parent: an exec's orphans and status do not go to the container's first process.
func TestEnterParent(t *testing.T) {
	k := spawner(t)
	s := running(t, SlotOptions{IDs: mapped}, image(t), nil)
	child, err := Enter(testContext(t), k, target(s), enterConfig(t, "sleep", "100"))
	must(t, err)
	defer child.PidFD.Close()
	b, err := os.ReadFile("/proc/" + itoa(child.PID) + "/status")
	must(t, err)
	if !strings.Contains(string(b), "\nPPid:\t"+itoa(k.cmd.Process.Pid)+"\n") {
		t.Errorf("the parent is not the keeper (%d):\n%s", k.cmd.Process.Pid, b)
	}
	must(t, unix.PidfdSendSignal(pidfdOf(child), unix.SIGKILL, nil, 0))
	if st := waitExit(t, child); !st.Signaled() {
		t.Errorf("status %#x", st)
	}
}

func newStem(t testing.TB) *Stem {
	t.Helper()
	s, err := NewStem(testContext(t), spawner(t), "stem/"+t.Name())
	must(t, err)
	t.Cleanup(func() { s.Close() })
	return s
}

// A helper that was forked from a stem does what one that was spawned does, and the stem is then as before.
func TestStem(t *testing.T) {
	both(t, func(t *testing.T, o SlotOptions) {
		s := running(t, o, image(t), nil)
		tg := target(s)
		forked := tg
		forked.Stem = newStem(t)
		for _, k := range []struct {
			change func(*EnterConfig)
			args   []string
		}{
			{nil, []string{"sh", "-c", "for f in 0 1 2 3 4 5 6 7 8 9; do test -e /proc/$$/fd/$f && echo $f; done; ulimit -n; cat /proc/self/oom_score_adj /proc/self/limits; cut -d' ' -f 2- /proc/self/cgroup; " +
				"for n in user mnt pid net ipc uts cgroup; do readlink /proc/self/ns/$n; done; grep -E '^(Cap|NoNew|Seccomp:|SigBlk|SigIgn|SigCgt|Umask|Groups)' /proc/self/status; exit 4"}},
			{func(c *EnterConfig) {
				c.Process.UID, c.Process.GID, c.Process.Groups, c.Process.Dir = 1000, 1001, []uint32{27}, "/tmp/n"
			}, []string{"sh", "-c", "id; pwd"}},
			{func(c *EnterConfig) { c.Rlimits = []Rlimit{{unix.RLIMIT_CORE, 7, 8}} }, []string{"sh", "-c", "ulimit -c"}},
			{func(c *EnterConfig) { c.OOMScoreAdj = 300 }, []string{"cat", "/proc/self/oom_score_adj"}},
			{nil, []string{"echo", strings.Repeat("x", 100_000)}},
		} {
			want, got := enterRun(t, tg, k.change, k.args...), enterRun(t, forked, k.change, k.args...)
			if got != want || want.out == "" {
				t.Errorf("%.60v: forked %q, status %#x; spawned %q, status %#x", k.args, got.out, got.status, want.out, want.status)
			}
		}
		open := 0
		for range 1000 { // it closes what came with a message when it has forked
			list, err := os.ReadDir("/proc/" + itoa(forked.Stem.child.PID) + "/fd")
			must(t, err)
			if open = len(list); open == 4 {
				break
			}
			time.Sleep(time.Millisecond)
		}
		if open != 4 {
			t.Errorf("the stem has %d descriptors", open)
		}
		_, err := Enter(testContext(t), spawner(t), forked, enterConfig(t, "nothing"))
		var op *OpError
		if !errors.As(err, &op) || op.Op != "execve" || op.Errno != unix.ENOENT {
			t.Errorf("no such program: %v", err)
		}
		gone := running(t, SlotOptions{ID: t.Name() + "/gone", IDs: o.IDs}, image(t), nil)
		ended := target(gone)
		ended.Stem = forked.Stem
		must(t, unix.PidfdSendSignal(pidfdOf(gone.child), unix.SIGKILL, nil, 0))
		waitExit(t, gone.child)
		if _, err := Enter(testContext(t), spawner(t), ended, enterConfig(t, "true")); !errors.As(err, &op) || op.Op != "setns" {
			t.Errorf("an ended container: %v", err)
		}
		if forked.Stem.Ended() {
			t.Error("the stem has ended with the container")
		}
		must(t, unix.PidfdSendSignal(pidfdOf(forked.Stem.child), unix.SIGKILL, nil, 0))
		waitExit(t, forked.Stem.child)
		if got := enterRun(t, forked, nil, "echo", "still"); got.out != "still\n" || !forked.Stem.Ended() {
			t.Errorf("with a dead stem: %q, which has ended: %v", got.out, forked.Stem.Ended())
		}
	})
}

// A helper that is forked is born in the container's cgroup.
func TestStemCgroup(t *testing.T) {
	needRoot(t)
	mount := ""
	for _, dir := range []string{"/sys/fs/cgroup", "/sys/fs/cgroup/unified"} {
		var st unix.Statfs_t
		if unix.Statfs(dir, &st) == nil && st.Type == unix.CGROUP2_SUPER_MAGIC {
			mount = dir
		}
	}
	if mount == "" {
		t.Skip("needs a mounted cgroup2")
	}
	dir := filepath.Join(mount, own(""), "cc-boot-stem-"+itoa(os.Getpid()))
	must(t, os.Mkdir(dir, 0o755))
	defer os.Remove(dir)
	tg := target(running(t, SlotOptions{IDs: mapped}, image(t), nil))
	var err error
	tg.CgroupFile, err = os.Open(dir)
	must(t, err)
	defer tg.CgroupFile.Close()
	tg.Stem = newStem(t)
	child, err := Enter(testContext(t), spawner(t), tg, enterConfig(t, "sleep", "100"))
	must(t, err)
	defer child.PidFD.Close()
	b, err := os.ReadFile("/proc/" + itoa(child.PID) + "/cgroup")
	must(t, err)
	if !strings.Contains(string(b), filepath.Base(dir)+"\n") {
		t.Errorf("it is in\n%s", b)
	}
	must(t, unix.PidfdSendSignal(pidfdOf(child), unix.SIGKILL, nil, 0))
	waitExit(t, child)
}

// BenchmarkEnter measures /bin/true in a running container to its end, against crun exec:
//
//	go test ./runtime/boot -run - -bench Enter -benchtime 100x
func BenchmarkEnter(b *testing.B) {
	lower := image(b)
	o := SlotOptions{IDs: mapped}
	withGroups(b, &o)
	s := running(b, o, lower, nil)
	cr := newCrun(b, lower, nil, "sleep", "1000")
	cmd := cr.command("run", "--detach", cr.id)
	cmd.Stderr = os.Stderr // a pipe would stay open in the container
	must(b, cmd.Run())
	defer func() { cr.command("delete", "--force", cr.id).Run() }()
	null, err := os.OpenFile("/dev/null", os.O_RDWR, 0)
	must(b, err)
	times := map[string][]time.Duration{}
	tg := target(s)
	tg.Tasks = o.Tasks
	if o.CgroupFD > 0 {
		tg.CgroupFile, err = os.Open("/proc/self/fd/" + itoa(o.CgroupFD))
		must(b, err)
		defer tg.CgroupFile.Close()
	}
	forked := tg
	forked.Stem = newStem(b)
	c := enterConfig(b, "true")
	c.Stdio = [3]*os.File{null, null, null}
	for b.Loop() {
		begin := time.Now()
		fork(b, "/usr/bin/crun", []string{"crun", "--root", cr.bundle + "/run", "--cgroup-manager", "cgroupfs", "exec", cr.id, "true"}, null.Fd(), cr.bundle)
		times["crun"] = append(times["crun"], time.Since(begin))
		begin = time.Now()
		child, err := Enter(b.Context(), spawner(b), tg, c)
		must(b, err)
		pollExit(b, child.PidFD)
		times["enter"] = append(times["enter"], time.Since(begin))
		child.PidFD.Close()
		begin = time.Now()
		child, err = Enter(b.Context(), spawner(b), forked, c)
		must(b, err)
		pollExit(b, child.PidFD)
		times["forked"] = append(times["forked"], time.Since(begin))
		child.PidFD.Close()
	}
	report(b, times, "enter", "forked", "crun")
}
