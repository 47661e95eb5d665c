package keeper_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/containercloud/cc/fault"
	"github.com/containercloud/cc/runtime/keeper"
	"github.com/containercloud/cc/runtime/keeper/daemon"
)

// The test binary is its own cc-keeper.
func TestMain(m *testing.M) {
	if os.Args[0] == "cc-keeper" {
		os.Exit(daemon.Main(os.Args))
	}
	code := m.Run()
	if buildDir != "" {
		os.RemoveAll(buildDir)
	}
	os.Exit(code)
}

// initELF is a ccinit for tests: it reads one byte from descriptor 3 and exits with it; at the end of file with 200.
func initELF(t testing.TB) []byte {
	t.Helper()
	if runtime.GOARCH != "amd64" {
		t.Skip("the test's own init is written in amd64 machine code")
	}
	code := []byte{
		0x48, 0x83, 0xec, 0x10, // sub rsp, 16
		0x31, 0xc0, // xor eax, eax (read)
		0xbf, 3, 0, 0, 0, // mov edi, 3
		0x48, 0x89, 0xe6, // mov rsi, rsp
		0xba, 1, 0, 0, 0, // mov edx, 1
		0x0f, 0x05, // syscall
		0xbf, 200, 0, 0, 0, // mov edi, 200
		0x83, 0xf8, 1, // cmp eax, 1
		0x75, 4, // jne +4
		0x0f, 0xb6, 0x3c, 0x24, // movzx edi, byte [rsp]
		0xb8, 231, 0, 0, 0, // mov eax, 231 (exit_group)
		0x0f, 0x05, // syscall
	}
	const base = 0x400000
	var b bytes.Buffer
	b.Write([]byte{0x7f, 'E', 'L', 'F', 2, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0})
	w := func(v any) { binary.Write(&b, binary.LittleEndian, v) }
	w([]uint16{2, 62})
	w(uint32(1))
	w([]uint64{base + 120, 64, 0})
	w(uint32(0))
	w([]uint16{64, 56, 1, 64, 0, 0})
	w([]uint32{1, 5})
	size := uint64(120 + len(code))
	w([]uint64{0, base, base, size, size, 0x1000})
	b.Write(code)
	return b.Bytes()
}

var buildDir string

var build = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "cc-keeper")
	if err != nil {
		return "", err
	}
	buildDir = dir
	path := filepath.Join(dir, "cc-keeper")
	cmd := exec.Command("go", "build", "-trimpath", "-ldflags=-s -w", "-o", path, "github.com/containercloud/cc/cmd/cc-keeper")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("%w\n%s", err, out)
	}
	return path, nil
})

// built is the real cc-keeper: the test binary may need a dynamic loader, which is not where a keeper is upgraded.
func built(t testing.TB) string {
	t.Helper()
	if path := os.Getenv("CC_KEEPER"); path != "" {
		return path
	}
	if _, err := exec.LookPath("go"); err != nil {
		t.Skip("needs a real cc-keeper: set CC_KEEPER to one, or have go in the PATH to build it")
	}
	path, err := build()
	if err != nil {
		t.Fatal(err)
	}
	return path
}

func needRoot(t testing.TB) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("needs root: mount namespaces")
	}
}

type bed struct {
	t   testing.TB
	o   keeper.Options
	ctx context.Context
}

func newBed(t testing.TB) *bed {
	needRoot(t)
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 60*time.Second)
	t.Cleanup(cancel)
	b := &bed{t, keeper.Options{Run: t.TempDir(), Instance: "t", Binary: exe, Init: initELF(t)}, ctx}
	if testing.Verbose() {
		b.o.Log = slog.New(slog.NewTextHandler(os.Stderr, nil))
	}
	return b
}

func (b *bed) connect() *keeper.Client {
	b.t.Helper()
	c, err := keeper.Connect(b.ctx, b.o)
	if err != nil {
		b.t.Fatal(err)
	}
	return c
}

// client connects, and shuts the keeper down in the end.
func (b *bed) client() *keeper.Client {
	c := b.connect()
	b.t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
		defer cancel()
		if err := c.Shutdown(ctx); err != nil {
			b.t.Error(err)
		}
		said, _ := os.ReadFile(filepath.Join(b.o.Run, "keeper.log"))
		if bytes.Contains(said, []byte("DATA RACE")) || bytes.Contains(said, []byte("panic")) || bytes.Contains(said, []byte("fatal")) {
			b.t.Errorf("the keeper said:\n%s", said)
		}
	})
	return c
}

type child struct {
	keeper.Child
	sock *os.File
}

func (b *bed) spawn(c *keeper.Client, id string, flags uintptr, ids keeper.IDMap) child {
	b.t.Helper()
	ch, err := trySpawn(b.ctx, c, id, flags, ids)
	if err != nil {
		b.t.Fatal(err)
	}
	return ch
}

func trySpawn(ctx context.Context, c *keeper.Client, id string, flags uintptr, ids keeper.IDMap) (child, error) {
	p, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return child{}, err
	}
	ours, theirs := os.NewFile(uintptr(p[0]), "ours"), os.NewFile(uintptr(p[1]), "theirs")
	defer theirs.Close()
	ch, err := c.Spawn(ctx, keeper.Spawn{ID: id, Flags: flags, IDs: ids, Sock: theirs, CgroupFD: -1})
	if err != nil {
		ours.Close()
		return child{}, err
	}
	return child{ch, ours}, nil
}

func (c child) exit(code byte) { c.sock.Write([]byte{code}) }

func (b *bed) next(c *keeper.Client) keeper.Exit {
	b.t.Helper()
	select {
	case e := <-c.Exits():
		return e
	case <-b.ctx.Done():
		b.t.Fatal("no exit came")
		return keeper.Exit{}
	}
}

const allNamespaces = unix.CLONE_NEWNS | unix.CLONE_NEWPID | unix.CLONE_NEWNET | unix.CLONE_NEWIPC | unix.CLONE_NEWUTS

func TestSpawnAndExit(t *testing.T) {
	b := newBed(t)
	c := b.client()
	ch := b.spawn(c, "slot/a", allNamespaces, keeper.IDMap{})
	ch.exit(7)
	e := b.next(c)
	if e.ID != "slot/a" || e.PID != ch.PID || !e.Known || e.Status.ExitStatus() != 7 || e.Kept || time.Since(e.Time) > time.Minute {
		t.Errorf("%+v", e)
	}
	if list, err := c.List(b.ctx); err != nil || len(list) != 0 {
		t.Errorf("%v %v", list, err)
	}
}

func TestSignalledExit(t *testing.T) {
	b := newBed(t)
	c := b.client()
	ch := b.spawn(c, "a", allNamespaces, keeper.IDMap{})
	if err := unix.PidfdSendSignal(int(ch.PidFD.Fd()), unix.SIGKILL, nil, 0); err != nil {
		t.Fatal(err)
	}
	if e := b.next(c); !e.Status.Signaled() || e.Status.Signal() != syscall.SIGKILL {
		t.Errorf("%+v", e)
	}
}

// What a child may have: nothing of the host and nothing of the keeper.
func TestChildInheritsNothing(t *testing.T) {
	b := newBed(t)
	c := b.client()
	ch := b.spawn(c, "a", allNamespaces|unix.CLONE_NEWUSER, keeper.IDMap{Base: 1_000_000, Size: 65536})
	proc := fmt.Sprintf("/proc/%d/", ch.PID)
	fds, err := os.ReadDir(proc + "fd")
	if err != nil {
		t.Fatal(err)
	}
	for i, fd := range fds {
		target, _ := os.Readlink(proc + "fd/" + fd.Name())
		if i < 3 && target != "/dev/null" || i > 3 {
			t.Errorf("fd %s is %s", fd.Name(), target)
		}
	}
	if len(fds) != 4 {
		t.Errorf("%d descriptors", len(fds))
	}
	mounts, _ := os.ReadFile(proc + "mounts")
	if n := bytes.Count(mounts, []byte("\n")); n > 3 {
		t.Errorf("%d mounts:\n%s", n, mounts)
	}
	if env, _ := os.ReadFile(proc + "environ"); len(env) != 0 {
		t.Errorf("environment %q", env)
	}
	if args, _ := os.ReadFile(proc + "cmdline"); string(args) != "ccinit\x00" {
		t.Errorf("arguments %q", args)
	}
	if cwd, _ := os.Readlink(proc + "cwd"); cwd != "/" {
		t.Errorf("working directory %q", cwd)
	}
	status, _ := os.ReadFile(proc + "status")
	for _, want := range []string{"Uid:\t1000000\t1000000\t1000000\t1000000\n", "Groups:\t \n", "NSpid:\t", "SigIgn:\t0000000000000000\n", "SigBlk:\t0000000000000000\n"} {
		if !bytes.Contains(status, []byte(want)) {
			t.Errorf("no %q in\n%s", want, status)
		}
	}
	// All capabilities of its own namespace, although it has executed something.
	if bytes.Contains(status, []byte("CapEff:\t0000000000000000")) {
		t.Error("no capabilities left")
	}
	if m, _ := os.ReadFile(proc + "setgroups"); string(m) != "allow\n" {
		t.Errorf("setgroups %q", m)
	}
	ch.exit(0)
	b.next(c)
}

func TestIDs(t *testing.T) {
	b := newBed(t)
	c := b.client()
	ch := b.spawn(c, "a", 0, keeper.IDMap{})
	if _, err := trySpawn(b.ctx, c, "a", 0, keeper.IDMap{}); !fault.Is(err, fault.Exists) {
		t.Errorf("the same id twice: %v", err)
	}
	for _, id := range []string{"", "a b", "a\n", string(bytes.Repeat([]byte("x"), 256))} {
		if _, err := trySpawn(b.ctx, c, id, 0, keeper.IDMap{}); err == nil {
			t.Errorf("id %q was taken", id)
		}
	}
	if _, err := trySpawn(b.ctx, c, "b", unix.CLONE_VM, keeper.IDMap{}); !fault.Is(err, fault.Invalid) {
		t.Errorf("CLONE_VM: %v", err)
	}
	if err := c.Forget(b.ctx, "nobody"); !fault.Is(err, fault.NotFound) {
		t.Errorf("%v", err)
	}
	ch.exit(0)
	b.next(c)
}

func TestKeptExitIsRecordedAndComesAgain(t *testing.T) {
	b := newBed(t)
	c := b.connect()
	dir := t.TempDir()
	d, _ := os.Open(dir)
	ch := b.spawn(c, "slot/a", allNamespaces, keeper.IDMap{})
	if err := c.Adopt(b.ctx, "slot/a", keeper.Adoption{ID: "box", Dir: d}); err != nil {
		t.Fatal(err)
	}
	ch.exit(9)
	first := b.next(c)
	if first.ID != "box" || !first.Kept {
		t.Errorf("%+v", first)
	}
	rec, err := keeper.ReadExit(dir)
	if err != nil || rec.PID != ch.PID || rec.Status.ExitStatus() != 9 || rec.Start != first.Start || rec.Start == 0 {
		t.Errorf("%+v %v", rec, err)
	}
	c.Close()
	c = b.client()
	if e := b.next(c); e.ID != "box" || e.Status.ExitStatus() != 9 {
		t.Errorf("not announced again: %+v", e)
	}
	c.Ack("box")
	if err := c.Forget(b.ctx, "box"); err != nil {
		t.Error(err)
	}
	c2 := b.connect()
	defer c2.Close()
	select {
	case e := <-c2.Exits():
		t.Errorf("came after Ack: %+v", e)
	case <-time.After(50 * time.Millisecond):
	}
}

// A container is restarted under its id while its last exit is not acknowledged.
func TestRestartUnderTheSameID(t *testing.T) {
	b := newBed(t)
	c := b.client()
	d, _ := os.Open(t.TempDir())
	for i := range 3 {
		slot := fmt.Sprint("slot/", i)
		ch := b.spawn(c, slot, allNamespaces, keeper.IDMap{})
		if err := c.Adopt(b.ctx, slot, keeper.Adoption{ID: "box", Dir: d}); err != nil {
			t.Fatal(err)
		}
		if i == 0 {
			other := b.spawn(c, "slot/x", 0, keeper.IDMap{})
			if err := c.Adopt(b.ctx, "slot/x", keeper.Adoption{ID: "box"}); !fault.Is(err, fault.Exists) {
				t.Errorf("the name of a running container was taken: %v", err)
			}
			other.exit(0)
			b.next(c)
		}
		ch.exit(byte(i))
		if e := b.next(c); e.ID != "box" || e.Status.ExitStatus() != i {
			t.Errorf("%+v", e)
		}
	}
	c.Ack("box")
}

// Who kills a container need not wait for its end before the next takes its name.
func TestRenameAfterKill(t *testing.T) {
	b := newBed(t)
	c := b.client()
	old := b.spawn(c, "a", allNamespaces, keeper.IDMap{})
	for i := range 20 {
		if err := c.Adopt(b.ctx, "a", keeper.Adoption{}); err != nil {
			t.Fatal(err)
		}
		next := b.spawn(c, fmt.Sprint("slot/", i), allNamespaces, keeper.IDMap{})
		if err := unix.PidfdSendSignal(int(old.PidFD.Fd()), unix.SIGKILL, nil, 0); err != nil {
			t.Fatal(err)
		}
		if err := c.Adopt(b.ctx, fmt.Sprint("slot/", i), keeper.Adoption{ID: "a"}); err != nil {
			t.Fatal(i, err)
		}
		old = next
	}
}

func TestEscrow(t *testing.T) {
	b := newBed(t)
	c := b.connect()
	r, w, _ := os.Pipe()
	ch := b.spawn(c, "box", allNamespaces, keeper.IDMap{})
	if err := c.Adopt(b.ctx, "box", keeper.Adoption{Hold: map[string]*os.File{"box/stdin": w}}); err != nil {
		t.Fatal(err)
	}
	w.Close()
	c.Close()
	c = b.client()
	f, err := c.Fetch(b.ctx, "box/stdin")
	if err != nil {
		t.Fatal(err)
	}
	f.Write([]byte("hello"))
	p := make([]byte, 16)
	if n, _ := r.Read(p); string(p[:n]) != "hello" {
		t.Errorf("%q", p[:n])
	}
	f.Close()
	if err := c.Drop(b.ctx, "box/"); err != nil {
		t.Fatal(err)
	}
	if n, err := r.Read(p); n != 0 || err == nil {
		t.Error("somebody still holds the other end")
	}
	if _, err := c.Fetch(b.ctx, "box/stdin"); !fault.Is(err, fault.NotFound) {
		t.Errorf("%v", err)
	}
	ch.exit(0)
	b.next(c)
	c.Ack("box")
}

func TestOneKeeperPerDirectory(t *testing.T) {
	b := newBed(t)
	c := b.client()
	second := b.connect()
	defer second.Close()
	if c.PID() != second.PID() {
		t.Errorf("two keepers: %d %d", c.PID(), second.PID())
	}
	for _, name := range []string{"keeper.sock", "keeper.lock", "keeper.log"} {
		st, err := os.Lstat(filepath.Join(b.o.Run, name))
		if err != nil || st.Mode().Perm() != 0o600 {
			t.Errorf("%s: %v %v", name, st.Mode(), err)
		}
	}
}
