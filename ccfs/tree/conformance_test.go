package tree_test

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/containercloud/cc/ccfs/tree"
	"github.com/containercloud/cc/ccfs/treetest"
	"github.com/containercloud/cc/fault"
)

var quiet = slog.New(slog.NewTextHandler(io.Discard, nil))

// A reader that goes away is told so; nobody else is.
func TestInterruptedStream(t *testing.T) {
	s := treetest.New(t.TempDir(), tree.Options{Log: quiet})
	defer s.Tree.Close()
	v := s.Tree.As(root)
	if err := v.Mkdir(ctx, "box/a", 0o755); err != nil {
		t.Fatal(err)
	}
	for _, p := range []string{"box/a/live/stdout", "box/a/live/events", "box/a/wait/running", "live/events"} {
		h, err := v.Open(ctx, p, syscall.O_RDONLY, 0)
		if err != nil || !h.Blocking() {
			t.Fatal(p, err)
		}
		gone, cancel := context.WithTimeout(ctx, 20*time.Millisecond)
		if _, err := h.Read(gone, make([]byte, 10), 0, false); fault.Errno(err) != syscall.EINTR {
			t.Errorf("%s: %v", p, err)
		}
		cancel()
		if _, err := h.Read(ctx, make([]byte, 10), 0, true); fault.Errno(err) != syscall.EAGAIN {
			t.Errorf("%s, without waiting: %v", p, err)
		}
		h.Release()
	}
}

// The end of the daemon is the end of every stream.
func TestCloseEndsStreams(t *testing.T) {
	s := treetest.New(t.TempDir(), tree.Options{Log: quiet})
	v := s.Tree.As(root)
	h, err := v.Open(ctx, "live/events", syscall.O_RDONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() {
		_, err := h.Read(ctx, make([]byte, 10), 0, false)
		done <- err
	}()
	s.Tree.Close()
	s.Tree.Close()
	if err := <-done; err != nil {
		t.Error(err)
	}
}

// TestStress does everything at once, for the race detector.
func TestStress(t *testing.T) {
	s := treetest.New(t.TempDir(), tree.Options{Log: quiet})
	defer s.Tree.Close()
	s.Tree.Watch(func(tree.Change) {})
	rounds := 150
	if testing.Short() {
		rounds = 20
	}
	pid := uint32(os.Getpid())
	var wg sync.WaitGroup
	for w := range 8 {
		wg.Go(func() {
			v := s.Tree.As(tree.Caller{PID: pid * uint32(w%2), Door: "stress"})
			for i := range rounds {
				p := fmt.Sprintf("box/b%d", (w+i)%5)
				stress(v, p, w+i)
			}
		})
	}
	wg.Wait()
}

// stress ignores errors: others are doing the same to the same objects.
func stress(v tree.View, p string, i int) {
	_ = v.Mkdir(ctx, p, 0o755)
	_, _ = v.ReadFile(ctx, p+"/id")
	_ = v.WriteFile(ctx, p+"/memory", []byte("64M\n"), 0)
	_ = v.WriteFile(ctx, p+"/args", []byte("a\n"), syscall.O_APPEND)
	_ = v.WriteFile(ctx, p+"/.x", []byte("memory 1M\n"), syscall.O_EXCL)
	_ = v.Rename(ctx, p+"/.x", p+"/spec", false)
	_, _ = v.ReadDir(ctx, p)
	_, _ = v.Lstat(ctx, p+"/status")
	_, _ = v.ReadFile(ctx, p+"/ctl")
	_ = v.WriteFile(ctx, p+"/ctl", []byte("start\nsay x\nrotate\n"), 0)
	_, _ = v.ReadFile(ctx, p+"/stdout")
	_, _ = v.ReadFile(ctx, p+"/wait/running.1ms")
	_ = v.WriteFile(ctx, p+"/root/file", []byte("x"), 0)
	_ = v.Rename(ctx, p+"/root/file", p+"/root/other", false)
	_, _ = v.ReadDir(ctx, p+"/root")
	if h, err := v.Open(ctx, p+"/exec/new", syscall.O_RDWR, 0); err == nil {
		_, _ = h.Write(ctx, []byte("run -- x\n"), 0)
		h.Release()
	}
	_ = v.Setattr(ctx, p, tree.SetAttr{Mode: ptr(uint32(0o700 | i&0o077))})
	_ = v.WriteFile(ctx, p+"/ctl", []byte("stop\n"), 0)
	_ = v.Unlink(ctx, p+"/memory")
	if i%3 == 0 {
		_ = v.Rmdir(ctx, p)
	}
}

// TestConformance tries the engine without a door.
func TestConformance(t *testing.T) {
	s := treetest.New(t.TempDir(), tree.Options{Log: quiet, Deadline: 2 * time.Second})
	defer s.Tree.Close()
	treetest.Run(t, treetest.Env{
		FS: treetest.InProcess(s.Tree, tree.Caller{}),
		As: func(uid, gid int) treetest.FS {
			return treetest.InProcess(s.Tree, tree.Caller{UID: uint32(uid), GID: uint32(gid)})
		},
	})
}

// TestRightsAreKept changes rights of fixed names in one tree, and looks in the next one.
func TestRightsAreKept(t *testing.T) {
	var kept map[string]tree.Rights
	var full error
	next := func() tree.View {
		s := treetest.New(t.TempDir(), tree.Options{Log: quiet, Rights: kept, KeepRights: func(_ context.Context, r map[string]tree.Rights) error {
			if full == nil {
				kept = r
			}
			return full
		}})
		t.Cleanup(func() { s.Tree.Close() })
		return s.Tree.As(tree.Caller{})
	}
	want := func(v tree.View, p string, gid, mode uint32) {
		t.Helper()
		if a, err := v.Lstat(ctx, p); err != nil || a.GID != gid || a.Mode&0o7777 != mode {
			t.Errorf("%s: group %d, mode %o, %v", p, a.GID, a.Mode&0o7777, err)
		}
	}
	set := func(v tree.View, p string, s tree.SetAttr) {
		t.Helper()
		if err := v.Setattr(ctx, p, s); err != nil {
			t.Error(err)
		}
	}
	v := next()
	set(v, "box/ctl", tree.SetAttr{GID: ptr(uint32(2000))})
	set(v, "", tree.SetAttr{Mode: ptr(uint32(0o700))})
	v = next()
	want(v, "box/ctl", 2000, 0o666)
	want(v, "", 0, 0o700)
	full = fault.New(fault.NoSpace, "the disk is full")
	if err := v.Setattr(ctx, "box/ctl", tree.SetAttr{Mode: ptr(uint32(0o600))}); !fault.Is(err, fault.NoSpace) {
		t.Errorf("the change could not be kept, and the answer is %v", err)
	}
	want(v, "box/ctl", 2000, 0o666)
	full = nil
	set(v, "box/ctl", tree.SetAttr{GID: ptr(uint32(0))})
	set(v, "", tree.SetAttr{Mode: ptr(uint32(0o755))})
	if len(kept) != 0 {
		t.Errorf("kept, and is as it was: %v", kept)
	}
}
