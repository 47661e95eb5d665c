package container

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/containercloud/cc/event"
	"github.com/containercloud/cc/runtime/boot"
	"github.com/containercloud/cc/runtime/cgroup"
	"github.com/containercloud/cc/runtime/image"
	"github.com/containercloud/cc/runtime/keeper"
)

// The test binary plays three parts: the one `go test` starts, which builds cc-keeper and starts the second; the tests, in a
// mount and a network namespace of their own; and a daemon that is there to be killed (daemon_test.go).
func TestMain(m *testing.M) {
	switch os.Getenv("CONTAINER_TEST_PART") {
	case "daemon":
		victim()
		os.Exit(0)
	case "tests":
		os.Exit(m.Run())
	}
	if os.Getuid() != 0 {
		os.Exit(m.Run()) // what needs root says so and is skipped
	}
	dir, err := os.MkdirTemp("", "container-test")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	code := again(dir)
	os.RemoveAll(dir)
	os.Exit(code)
}

// again runs the tests in their own namespaces.
func again(dir string) int {
	build := exec.Command("go", "build", "-o", filepath.Join(dir, "cc-keeper"), "../../cmd/cc-keeper")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	build.Stderr = os.Stderr
	if err := build.Run(); err != nil {
		fmt.Fprintln(os.Stderr, "cannot build cc-keeper:", err)
		return 1
	}
	cmd := exec.Command("/proc/self/exe", os.Args[1:]...)
	cmd.Env = append(os.Environ(), "CONTAINER_TEST_PART=tests", "CONTAINER_TEST_DIR="+dir)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Unshareflags: unix.CLONE_NEWNS | unix.CLONE_NEWNET, Pdeathsig: syscall.SIGKILL}
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return cmd.ProcessState.ExitCode()
}

func needRoot(t testing.TB) {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("needs root: makes namespaces, mounts and cgroups")
	}
}

// place is where a daemon of a test lives; a second daemon can be opened on it.
type place struct {
	State, Run, Instance string
	Warm                 int
}

var places atomic.Int64

func newPlace(t testing.TB) place {
	t.Helper()
	needRoot(t)
	dir := t.TempDir()
	p := place{
		State: filepath.Join(dir, "state"), Run: filepath.Join(dir, "run"),
		Instance: fmt.Sprintf("cct-%d-%d", os.Getpid(), places.Add(1)), Warm: 4,
	}
	for _, d := range []string{p.State, p.Run} {
		if err := os.Mkdir(d, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	t.Cleanup(func() {
		if t.Failed() {
			p.clear()
		}
	})
	return p
}

// clear ends what a test that failed has left.
func (p place) clear() {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	if k, err := p.connect(ctx, nil); err == nil {
		k.Shutdown(ctx)
	}
	if g, err := cgroup.Open(p.Instance); err == nil {
		g.Delete()
	}
}

func (p place) connect(ctx context.Context, log *slog.Logger) (*keeper.Client, error) {
	return keeper.Connect(ctx, keeper.Options{
		Run: p.Run, Instance: p.Instance, Binary: filepath.Join(os.Getenv("CONTAINER_TEST_DIR"), "cc-keeper"), Init: boot.Init(), Log: log,
	})
}

// cloud is one daemon's worth of packages.
type cloud struct {
	*Manager
	place  place
	images *image.Store
	keeper *keeper.Client
	groups *cgroup.Root
	net    *testNet
	events event.Log
}

// open makes a daemon on the place.
func (p place) open() (_ *cloud, err error) {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	c := &cloud{place: p}
	log := slog.New(slog.DiscardHandler)
	if os.Getenv("CC_TEST_LOG") != "" {
		log = slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelDebug}))
	}
	if c.images, err = image.Open(filepath.Join(p.State, "image"), image.Options{Log: log}); err != nil {
		return nil, err
	}
	if _, err = c.images.Find("bb"); err != nil {
		if _, err = c.images.Import(ctx, bytes.NewReader(busybox()), "bb", nil); err != nil {
			return nil, err
		}
	}
	if c.keeper, err = p.connect(ctx, log); err != nil {
		return nil, err
	}
	if c.groups, err = cgroup.Open(p.Instance); err != nil {
		return nil, err
	}
	if c.net, err = openNet(ctx, p, log); err != nil {
		return nil, err
	}
	c.Manager, err = Open(ctx, Config{
		State: p.State, Run: p.Run, Instance: p.Instance, Images: c.images, Keeper: c.keeper, Cgroups: c.groups,
		Networks: c.net.networks(), Events: &c.events, Log: log, Warm: p.Warm,
	})
	return c, err
}

// leave closes the daemon as SIGTERM does: containers go on.
func (c *cloud) leave(t testing.TB) {
	t.Helper()
	if err := errors.Join(c.Manager.Close(), c.net.close(), c.keeper.Close(), c.images.Close()); err != nil {
		t.Error(err)
	}
}

// end removes everything.
func (c *cloud) end(t testing.TB) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	for _, x := range c.List() {
		if err := c.Delete(ctx, x, true); err != nil {
			t.Error(err)
		}
	}
	err := errors.Join(c.Manager.Shutdown(ctx), c.keeper.Shutdown(ctx), c.net.down(ctx), c.images.Close(), c.groups.Delete())
	if err != nil {
		t.Error(err)
	}
}

// newCloud is a daemon that is gone with the test.
func newCloud(t testing.TB, change ...func(*place)) *cloud {
	t.Helper()
	p := newPlace(t)
	for _, f := range change {
		f(&p)
	}
	c, err := p.open()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.end(t) })
	return c
}

// busybox is a root file system of the host's static busybox.
func busybox() []byte {
	program, err := os.ReadFile("/bin/busybox")
	if err != nil {
		panic(err)
	}
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	put := func(h tar.Header, data []byte) {
		h.Size = int64(len(data))
		if err := w.WriteHeader(&h); err != nil {
			panic(err)
		}
		w.Write(data)
	}
	for _, d := range []string{"bin", "etc", "tmp", "root", "dev", "proc", "sys"} {
		mode := int64(0o755)
		if d == "tmp" {
			mode = 0o1777
		}
		put(tar.Header{Name: d + "/", Typeflag: tar.TypeDir, Mode: mode}, nil)
	}
	put(tar.Header{Name: "bin/busybox", Typeflag: tar.TypeReg, Mode: 0o755}, program)
	applets, err := exec.Command("/bin/busybox", "--list").Output()
	if err != nil {
		panic(err)
	}
	for _, a := range strings.Fields(string(applets)) {
		if a != "busybox" {
			put(tar.Header{Name: "bin/" + a, Typeflag: tar.TypeLink, Linkname: "bin/busybox", Mode: 0o755}, nil)
		}
	}
	put(tar.Header{Name: "etc/passwd", Typeflag: tar.TypeReg, Mode: 0o644}, []byte("root:x:0:0:root:/root:/bin/sh\napp:x:1000:1000::/home/app:/bin/sh\n"))
	put(tar.Header{Name: "etc/group", Typeflag: tar.TypeReg, Mode: 0o644}, []byte("root:x:0:\napp:x:1000:\nextra:x:2000:app\n"))
	w.Close()
	return b.Bytes()
}

func ctxFor(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	t.Cleanup(cancel)
	return ctx
}

// run makes and starts a container of the busybox image.
func (c *cloud) run(t testing.TB, name string, change func(*Spec), args ...string) *Container {
	t.Helper()
	x, err := c.Run(ctxFor(t), name, 0, 0, func(s *Spec) error {
		s.Image, s.Args = "bb", args
		if change != nil {
			change(s)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return x
}

// exit waits for the end and returns it.
func exit(t testing.TB, x *Container) Exit {
	t.Helper()
	if err := x.Wait(ctxFor(t), Exited); err != nil {
		t.Fatalf("%v; %+v %v", err, x.Status(), x.Failures().List())
	}
	st := x.Status()
	if st.Exit == nil {
		t.Fatalf("no exit: %+v", st)
	}
	return *st.Exit
}

// output is what is in a log now.
func output(t testing.TB, x *Container, stream string) string {
	t.Helper()
	v, err := x.Log(stream)
	if err != nil {
		t.Fatal(err)
	}
	defer v.Close()
	n, _, err := v.Size()
	if err != nil {
		t.Fatal(err)
	}
	b := make([]byte, n)
	if n > 0 {
		if _, err := v.ReadAt(b, 0); err != nil {
			t.Fatal(err)
		}
	}
	return string(b)
}

// sh runs a script to its end and returns what it printed.
func (c *cloud) sh(t testing.TB, change func(*Spec), script string) (string, Exit) {
	t.Helper()
	x := c.run(t, "", change, "sh", "-c", script)
	e := exit(t, x)
	out := output(t, x, "stdout") + output(t, x, "stderr")
	if err := c.Delete(ctxFor(t), x, false); err != nil {
		t.Fatal(err)
	}
	return out, e
}

// waitFor polls a condition that nothing announces.
func waitFor(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(10 * time.Second); time.Now().Before(end); time.Sleep(2 * time.Millisecond) {
		if ok() {
			return
		}
	}
	t.Fatalf("waited in vain for %s", what)
}
