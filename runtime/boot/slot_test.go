package boot

import (
	"context"
	"io"
	"os"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/containercloud/cc/runtime/seccomp"
)

// mapped is the id map the tests use.
var mapped = IDMap{Base: 231072, Size: 65536}

// image makes the directory of a root file system with a busybox in it.
func image(t testing.TB) string {
	t.Helper()
	dir := t.TempDir()
	for _, d := range []string{"bin", "etc", "tmp", "root", "lib"} {
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
	return outcome{string(out), waitExit(t, s.PidFD())}
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

func TestLook(t *testing.T) {
	both(t, func(t *testing.T, o SlotOptions) {
		got := run(t, o, nil, "sh", "-c", "cat /proc/self/status /proc/self/mountinfo; ls -l /dev /proc/self/fd /; id; pwd; cat /proc/self/cgroup; cat /proc/self/limits; hostname; ping -c1 127.0.0.1")
		t.Log(got.out)
	})
}
