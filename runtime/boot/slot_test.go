package boot

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"github.com/containercloud/cc/fault"
	"github.com/containercloud/cc/runtime/seccomp"
)

// mapped is the id map the tests use.
var mapped = IDMap{Base: 231072, Size: 65536}

// image makes the directory of a root file system with a busybox in it.
func image(t testing.TB) string {
	t.Helper()
	dir := t.TempDir()
	for _, d := range []string{"bin", "etc", "tmp", "root", "lib", "dev", "proc", "sys"} {
		if err := os.Mkdir(filepath.Join(dir, d), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	b, err := os.ReadFile("/bin/busybox")
	if err != nil {
		t.Skip("needs /bin/busybox (package busybox-static): ", err)
	}
	must(t, os.WriteFile(dir+"/bin/busybox", b, 0o755))
	for _, a := range []string{"sh", "echo", "cat", "true", "false", "id", "ls", "mount", "umount", "sleep", "grep", "readlink", "tty", "env",
		"stat", "hostname", "kill", "ping", "dd", "touch", "mkdir", "rm", "ln", "chroot", "ps", "unshare", "head", "tr", "sed"} {
		must(t, os.Symlink("busybox", dir+"/bin/"+a))
	}
	must(t, os.WriteFile(dir+"/etc/passwd", []byte("root:x:0:0::/root:/bin/sh\n"), 0o644))
	return dir
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// rootOf makes an overlay over lower. Its own files are a fresh directory.
func rootOf(t testing.TB, lower string, ids IDMap) *os.File {
	t.Helper()
	dir := t.TempDir()
	must(t, os.Mkdir(dir+"/upper", 0o755))
	must(t, os.Mkdir(dir+"/work", 0o755))
	open := func(p string) *os.File {
		f, err := os.OpenFile(p, unix.O_PATH|unix.O_DIRECTORY, 0)
		must(t, err)
		t.Cleanup(func() { f.Close() })
		return f
	}
	m, err := Overlay([]*os.File{open(lower)}, open(dir+"/upper"), open(dir+"/work"), OverlayOptions{Volatile: true, IDs: ids})
	must(t, err)
	t.Cleanup(func() { m.Close() })
	return m
}

func testContext(t testing.TB) context.Context {
	ctx, stop := context.WithTimeout(context.Background(), 20*time.Second)
	t.Cleanup(stop)
	return ctx
}

func newSlot(t testing.TB, o SlotOptions) *Slot {
	t.Helper()
	if o.ID == "" {
		o.ID = "slot/" + t.Name()
	}
	s, err := NewSlot(testContext(t), spawner(t), o)
	must(t, err)
	t.Cleanup(func() {
		unix.PidfdSendSignal(pidfdOf(s.child), unix.SIGKILL, nil, 0)
		s.Close()
	})
	return s
}

// outcome is what a program in a container left.
type outcome struct {
	out    string
	status unix.WaitStatus
}

func config(t testing.TB, root *os.File, args ...string) Config {
	t.Helper()
	filter, err := seccomp.Default(DefaultCapabilities()...)
	must(t, err)
	return Config{Root: root, Hostname: "box", NoNewPrivs: true, Capabilities: DefaultCapabilities(), Seccomp: filter,
		Process: Process{Args: args, Env: []string{"PATH=/usr/bin:/bin", "HOME=/root"}}}
}

// run starts a container and waits for its end. change may alter what it is made of.
func run(t testing.TB, o SlotOptions, change func(*Config), args ...string) outcome {
	t.Helper()
	return runIn(t, o, image(t), change, args...)
}

func runIn(t testing.TB, o SlotOptions, lower string, change func(*Config), args ...string) outcome {
	t.Helper()
	spawner(t)
	s := newSlot(t, o)
	c := config(t, rootOf(t, lower, o.IDs), args...)
	r, w, err := os.Pipe()
	must(t, err)
	c.Stdio = [3]*os.File{nil, w, w}
	if change != nil {
		change(&c)
	}
	if err := s.Arm(testContext(t), c); err != nil {
		t.Fatal(err)
	}
	if err := s.Start(testContext(t)); err != nil {
		t.Fatal(err)
	}
	w.Close()
	out, err := io.ReadAll(r)
	must(t, err)
	return outcome{string(out), waitExit(t, s.child)}
}

// both runs a test with a user namespace and without.
func both(t *testing.T, f func(t *testing.T, o SlotOptions)) {
	t.Run("mapped", func(t *testing.T) { f(t, SlotOptions{IDs: mapped}) })
	t.Run("host", func(t *testing.T) { f(t, SlotOptions{}) })
}

func TestEcho(t *testing.T) {
	both(t, func(t *testing.T, o SlotOptions) {
		got := run(t, o, nil, "echo", "hello")
		if got.out != "hello\n" || got.status.ExitStatus() != 0 {
			t.Errorf("got %q, status %#x", got.out, got.status)
		}
	})
}

// launch is Arm and Start.
func launch(ctx context.Context, s *Slot, c Config) error {
	if err := s.Arm(ctx, c); err != nil {
		return err
	}
	return s.Start(ctx)
}

func TestExitStatus(t *testing.T) {
	for script, want := range map[string]unix.WaitStatus{"exit 0": 0, "exit 3": 3 << 8, "kill -9 $$; exit 1": 1 << 8, "exit 255": 255 << 8} {
		if got := run(t, SlotOptions{IDs: mapped}, nil, "sh", "-c", script); got.status != want {
			t.Errorf("%s: status %#x, want %#x", script, got.status, want)
		}
	}
}

// What execve says must reach the caller apart from every other failure: 127 and 126 depend on it.
func TestExecErrors(t *testing.T) {
	lower := image(t)
	must(t, os.WriteFile(lower+"/bin/plain", []byte("x"), 0o644))
	must(t, os.WriteFile(lower+"/bin/noexec", []byte("no format"), 0o755))
	must(t, os.Mkdir(lower+"/bin/dir", 0o755))
	for what, want := range map[string]syscall.Errno{
		"nothing": unix.ENOENT, "/bin/nothing": unix.ENOENT, "plain": unix.EACCES, "/bin/plain": unix.EACCES,
		"noexec": unix.ENOEXEC, "/bin/dir": unix.EACCES, "dir": unix.EACCES, "/etc/passwd/x": unix.ENOTDIR,
	} {
		s := newSlot(t, SlotOptions{IDs: mapped, ID: "slot/" + what})
		err := launch(testContext(t), s, config(t, rootOf(t, lower, mapped), what))
		var op *OpError
		if !errors.As(err, &op) || op.Op != "execve" || op.Errno != want {
			t.Errorf("%s: %v, want %v from execve", what, err, want)
		}
	}
}

// An image may lack the directories that everything needs.
func TestBareImage(t *testing.T) {
	both(t, func(t *testing.T, o SlotOptions) {
		lower := image(t)
		for _, d := range []string{"dev", "proc", "sys", "etc", "tmp", "root"} {
			must(t, os.RemoveAll(lower+"/"+d))
		}
		if got := runIn(t, o, lower, nil, "sh", "-c", "cat /proc/self/comm; ls /sys /dev > /dev/null && echo ok"); got.out != "cat\nok\n" {
			t.Errorf("got %q", got.out)
		}
	})
}

// A failure before is another op's.
func TestOpError(t *testing.T) {
	s := newSlot(t, SlotOptions{IDs: mapped})
	c := config(t, rootOf(t, image(t), mapped), "true")
	c.Mounts = []Mount{{Target: "/bin/busybox/x"}}
	var op *OpError
	if err := s.Arm(testContext(t), c); !errors.As(err, &op) || op.Op == "execve" || op.Errno != unix.ENOTDIR {
		t.Errorf("got %v", err)
	}
}

// Trap 10 of the research: a daemon that ends starts nothing.
func TestNoStartAtEOF(t *testing.T) {
	lower := image(t)
	dir := t.TempDir()
	must(t, os.Chmod(dir, 0o777))
	for _, init := range []bool{false, true} {
		s := newSlot(t, SlotOptions{})
		c := config(t, rootOf(t, lower, IDMap{}), "touch", "/data/started")
		c.Init = init
		c.Mounts = []Mount{{Target: "/data", Source: cloned(t, dir, IDMap{})}}
		must(t, s.Arm(testContext(t), c))
		must(t, s.wire.close())
		if st := waitExit(t, s.child); st.ExitStatus() == 0 {
			t.Errorf("status %#x: something ran", st)
		}
		if _, err := os.Stat(dir + "/started"); err == nil {
			t.Error("an armed container started when its daemon ended")
		}
	}
}

func TestClose(t *testing.T) {
	for _, arm := range []bool{false, true} {
		s := newSlot(t, SlotOptions{IDs: mapped})
		if arm {
			must(t, s.Arm(testContext(t), config(t, rootOf(t, image(t), mapped), "sleep", "100")))
		}
		must(t, s.Close())
		must(t, s.Close())
		waitExit(t, s.child)
	}
}

func TestArmTwice(t *testing.T) {
	s := newSlot(t, SlotOptions{IDs: mapped})
	c := config(t, rootOf(t, image(t), mapped), "true")
	must(t, s.Arm(testContext(t), c))
	if err := s.Arm(testContext(t), c); !fault.Is(err, fault.Busy) {
		t.Errorf("second Arm: %v", err)
	}
	must(t, s.Start(testContext(t)))
	if err := s.Start(testContext(t)); !fault.Is(err, fault.Busy) {
		t.Errorf("second Start: %v", err)
	}
}

func TestInit(t *testing.T) {
	both(t, func(t *testing.T, o SlotOptions) {
		got := run(t, o, func(c *Config) { c.Init = true }, "sh", "-c", "echo $$; cat /proc/1/comm; (sleep 0.01 &); sleep 0.05; grep -l '^State:.Z' /proc/[0-9]*/status; exit 6")
		if got.out != "2\nccinit\n" || got.status.ExitStatus() != 6 {
			t.Errorf("got %q, status %#x", got.out, got.status)
		}
		got = run(t, o, func(c *Config) { c.Init = true }, "sh", "-c", "kill -9 $$")
		if got.status.ExitStatus() != 137 {
			t.Errorf("killed: status %#x", got.status)
		}
	})
}

func TestProcess(t *testing.T) {
	both(t, func(t *testing.T, o SlotOptions) {
		got := run(t, o, func(c *Config) {
			c.Process.UID, c.Process.GID, c.Process.Groups = 1000, 1001, []uint32{5, 27}
			c.Process.Dir, c.Process.Env = "/srv/made/here", []string{"PATH=/bin", "A=b c"}
		}, "sh", "-c", "id -u; id -g; id -G; pwd; echo $A; umask; hostname; echo hi > /dev/stdout")
		if want := "1000\n1001\n1001 5 27\n/srv/made/here\nb c\n0022\nbox\nhi\n"; got.out != want {
			t.Errorf("got %q, want %q", got.out, want)
		}
	})
}

func TestCapabilities(t *testing.T) {
	both(t, func(t *testing.T, o SlotOptions) {
		o.Capabilities = append(DefaultCapabilities(), "NET_RAW")
		check := func(change func(*Config), want map[string]string) {
			t.Helper()
			got := probeIn[map[string]string](t, o, image(t), change, "status")
			for k, v := range want {
				if got[k] != v {
					t.Errorf("%s is %s, want %s", k, got[k], v)
				}
			}
		}
		check(func(c *Config) { c.Capabilities = []string{"CHOWN", "CAP_NET_RAW"} },
			map[string]string{"CapEff": "0000000000002001", "CapPrm": "0000000000002001", "CapBnd": "0000000000002001", "CapInh": "0000000000000000", "CapAmb": "0000000000000000", "NoNewPrivs": "1", "Seccomp": "2"})
		check(func(c *Config) { c.Capabilities, c.Process.UID = []string{"CHOWN", "NET_BIND_SERVICE"}, 33 },
			map[string]string{"CapEff": "0000000000000000", "CapPrm": "0000000000000000", "CapBnd": "0000000000000401", "CapInh": "0000000000000000"})
		check(func(c *Config) {
			c.Capabilities, c.Ambient, c.Process.UID = []string{"CHOWN", "NET_BIND_SERVICE"}, []string{"NET_BIND_SERVICE"}, 33
		}, map[string]string{"CapEff": "0000000000000400", "CapAmb": "0000000000000400", "CapBnd": "0000000000000401"})
		check(func(c *Config) { c.NoNewPrivs = false }, map[string]string{"NoNewPrivs": "0", "Seccomp": "2", "CapEff": "00000000800405fb"})
		check(func(c *Config) { c.NoNewPrivs, c.Process.UID = false, 7 }, map[string]string{"NoNewPrivs": "0", "Seccomp": "2", "CapEff": "0000000000000000", "CapPrm": "0000000000000000"})
		check(func(c *Config) { c.Seccomp = nil; c.Capabilities = nil }, map[string]string{"Seccomp": "0", "CapEff": "0000000000000000", "CapBnd": "0000000000000000"})
	})
	s := newSlot(t, SlotOptions{})
	c := config(t, rootOf(t, image(t), IDMap{}), "true")
	c.Capabilities = []string{"SYS_ADMIN"}
	if err := s.Arm(testContext(t), c); !fault.Is(err, fault.Invalid) {
		t.Errorf("a capability beyond the slot's: %v", err)
	}
}

func TestLimits(t *testing.T) {
	both(t, func(t *testing.T, o SlotOptions) {
		got := run(t, o, func(c *Config) {
			c.Rlimits = []Rlimit{{unix.RLIMIT_NOFILE, 100, 200}, {unix.RLIMIT_CORE, 0, 0}, {unix.RLIMIT_NPROC, 1 << 40, 1 << 40}}
			c.OOMScoreAdj = 300
		}, "sh", "-c", "ulimit -n; ulimit -Hn; ulimit -c; cat /proc/self/oom_score_adj; echo ok")
		if !strings.HasPrefix(got.out, "100\n200\n0\n300\nok\n") {
			t.Errorf("got %q", got.out)
		}
	})
	s := newSlot(t, SlotOptions{})
	c := config(t, rootOf(t, image(t), IDMap{}), "true")
	c.Rlimits = []Rlimit{{unix.RLIMIT_NOFILE, 5, 4}}
	if err := s.Arm(testContext(t), c); !fault.Is(err, fault.Invalid) {
		t.Errorf("soft above hard: %v", err)
	}
}

func TestLargeArguments(t *testing.T) {
	got := probeIn[[]int](t, SlotOptions{IDs: mapped}, image(t), func(c *Config) {
		for i := range 2000 {
			c.Process.Env = append(c.Process.Env, fmt.Sprintf("V%d=%s", i, strings.Repeat("e", 100)))
		}
		c.Process.Args = append(c.Process.Args, strings.Repeat("a", 100000), strings.Repeat("b", 100000))
	}, "args")
	if fmt.Sprint(got) != "[2 200000 2003]" {
		t.Errorf("got %v", got)
	}
	s := newSlot(t, SlotOptions{IDs: mapped})
	c := config(t, rootOf(t, image(t), mapped), "true", strings.Repeat("x", 5<<20))
	if err := s.Arm(testContext(t), c); !errors.Is(err, unix.E2BIG) {
		t.Errorf("5 MiB of arguments: %v", err)
	}
}

func TestPing(t *testing.T) {
	both(t, func(t *testing.T, o SlotOptions) {
		for _, uid := range []uint32{0, 1000} {
			got := probeIn[string](t, o, image(t), func(c *Config) { c.Process.UID = uid }, "ping")
			if got != "pong" {
				t.Errorf("as %d: %s", uid, got)
			}
		}
	})
}

func TestHostNetwork(t *testing.T) {
	both(t, func(t *testing.T, o SlotOptions) {
		o.HostNet = true
		got := run(t, o, nil, "sh", "-c", "readlink /proc/self/ns/net; ls /sys/class/net; touch /sys/x || echo ro")
		here, err := os.Readlink("/proc/self/ns/net")
		must(t, err)
		_ = here
		if !strings.Contains(got.out, "lo\n") || !strings.Contains(got.out, "ro\n") {
			t.Errorf("got %q, here %s", got.out, here)
		}
	})
}

func TestNamespaces(t *testing.T) {
	s := newSlot(t, SlotOptions{IDs: mapped})
	for kind, open := range map[string]func() (*os.File, error){"net": s.NetNS, "mnt": s.MountNS} {
		f, err := open()
		must(t, err)
		defer f.Close()
		link, err := os.Readlink(fmt.Sprintf("/proc/%d/ns/%s", s.PID(), kind))
		must(t, err)
		mine, err := os.Readlink(fmt.Sprintf("/proc/self/fd/%d", f.Fd()))
		if err != nil || mine != link {
			t.Errorf("%s: %s, want %s (%v)", kind, mine, link, err)
		}
	}
}

func TestCgroup(t *testing.T) {
	both(t, func(t *testing.T, o SlotOptions) {
		for _, own := range []bool{false, true} {
			o := o
			if own {
				withGroups(t, &o)
			} else {
				o.Cgroup = testGroup(t)
			}
			testCgroup(t, o)
		}
	})
}

func testCgroup(t *testing.T, o SlotOptions) {
	t.Helper()
	got := run(t, o, nil, "sh", "-c", "cat /proc/self/cgroup; ls /sys/fs/cgroup/memory/memory.limit_in_bytes /sys/fs/cgroup/cgroup.procs; echo 1 > /sys/fs/cgroup/memory/memory.limit_in_bytes")
	if len(thisHost().groups) > 0 && (!strings.Contains(got.out, ":memory:/\n") || !strings.Contains(got.out, "\n/sys/fs/cgroup/memory/memory.limit_in_bytes\n") || !strings.Contains(got.out, "Read-only file system")) {
		t.Errorf("got %q", got.out)
	}
}

func itoa(n int) string { return fmt.Sprint(n) }

// no_new_privs decides whether a setuid program of the image works.
func TestSetuid(t *testing.T) {
	both(t, func(t *testing.T, o SlotOptions) {
		lower := image(t)
		withProbe(t, lower)
		copyFile(t, "/proc/self/exe", lower+"/bin/suid")
		must(t, unix.Chmod(lower+"/bin/suid", 0o4755))
		for _, noNew := range []bool{false, true} {
			got := runIn(t, o, lower, func(c *Config) {
				c.NoNewPrivs, c.Process.UID = noNew, 1000
				c.Process.Env = append(c.Process.Env, "BOOT_TEST_PART=probe")
			}, "/bin/suid", "status")
			var status map[string]string
			must(t, json.Unmarshal([]byte(got.out), &status))
			want := map[bool]string{false: "1000 0 0 0", true: "1000 1000 1000 1000"}[noNew]
			if status["Uid"] != want || status["Seccomp"] != "2" {
				t.Errorf("no_new_privs %v: uids %s, want %s; seccomp %s", noNew, status["Uid"], want, status["Seccomp"])
			}
		}
	})
}

// A profile that refuses what a waiting process must do is loaded after the wait; one that refuses the start itself is refused.
func TestCustomProfile(t *testing.T) {
	refuse := func(names ...string) []unix.SockFilter {
		prog, err := seccomp.Compile(&specs.LinuxSeccomp{
			DefaultAction: specs.ActAllow, Syscalls: []specs.LinuxSyscall{{Names: names, Action: specs.ActErrno}},
		})
		must(t, err)
		return prog
	}
	got := run(t, SlotOptions{IDs: mapped}, func(c *Config) { c.Seccomp = refuse("read") }, "sh", "-c", "head -c1 /etc/passwd || echo refused")
	if !strings.Contains(got.out, "refused") {
		t.Errorf("got %q", got.out)
	}
	s := running(t, SlotOptions{IDs: mapped}, image(t), nil)
	got = enterRun(t, target(s), func(c *EnterConfig) { c.Seccomp = refuse("clone", "sendmsg", "mkdir") }, "mkdir", "/tmp/x")
	if !strings.Contains(got.out, "Operation not permitted") {
		t.Errorf("got %q", got.out)
	}
	for _, names := range []string{"execve", "write"} {
		s := newSlot(t, SlotOptions{IDs: mapped})
		c := config(t, rootOf(t, image(t), mapped), "true")
		c.Seccomp = refuse(names)
		if err := s.Arm(testContext(t), c); !fault.Is(err, fault.Invalid) {
			t.Errorf("a profile without %s: %v", names, err)
		}
	}
}
