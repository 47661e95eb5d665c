package fusefs

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"log/slog"
	"os"
	"syscall"
	"testing"
	"time"

	"github.com/hanwen/go-fuse/v2/fuse"

	"github.com/containercloud/cc/fault"
)

// testRegistry refuses requests into a channel.
func testRegistry(t *testing.T, limit time.Duration) (*registry, chan uint64) {
	t.Helper()
	g := newRegistry(Options{Deadline: limit, Log: slog.New(slog.DiscardHandler)})
	refused := make(chan uint64, 10)
	g.refuse = func(unique uint64, errno syscall.Errno) {
		if errno != syscall.ETIMEDOUT {
			t.Errorf("refused with %v", errno)
		}
		refused <- unique
	}
	go g.run()
	t.Cleanup(g.close)
	return g, refused
}

func TestDeadlineEndsTheContext(t *testing.T) {
	g, _ := testRegistry(t, 40*time.Millisecond)
	r := g.begin(&fuse.InHeader{Unique: 1}, nothing, 40*time.Millisecond)
	defer r.close()
	if r.Err() != nil {
		t.Fatal("a new request has an error:", r.Err())
	}
	<-r.Done()
	if !errors.Is(r.Err(), context.DeadlineExceeded) || status(r.Err()) != fuse.Status(syscall.ETIMEDOUT) {
		t.Errorf("error %v, status %v", r.Err(), status(r.Err()))
	}
	if when, ok := r.Deadline(); !ok || time.Until(when) > 40*time.Millisecond {
		t.Errorf("Deadline() = %v, %v", when, ok)
	}
}

// A handler that ignores its context cannot keep the caller: the kernel is answered, and the late answer is not counted.
func TestStuckHandlerIsAnsweredFor(t *testing.T) {
	g, refused := testRegistry(t, 40*time.Millisecond)
	r := g.begin(&fuse.InHeader{Unique: 77}, nothing, 40*time.Millisecond)
	if unique := <-refused; unique != 77 { // comes although nobody looks at r.Done()
		t.Errorf("refused request %d", unique)
	}
	if r.finish() {
		t.Error("the door may answer as well")
	}
	r.close()
}

func TestEndEndsRequests(t *testing.T) {
	g, _ := testRegistry(t, time.Hour)
	r := g.begin(&fuse.InHeader{}, nothing, time.Hour)
	done := r.Done()
	go g.cancel()
	<-done
	r.close()
	late := g.begin(&fuse.InHeader{}, nothing, time.Hour)
	<-late.Done()
	late.close()
	g.drain(time.Hour) // returns at once
}

func TestSignalsEndStreamsOnly(t *testing.T) {
	g, _ := testRegistry(t, time.Hour)
	read := g.begin(&fuse.InHeader{Unique: 1}, signals, 0)
	stat := g.begin(&fuse.InHeader{Unique: 2}, nothing, time.Hour)
	defer read.close()
	defer stat.close()
	if _, ok := read.Deadline(); ok {
		t.Error("a stream has a deadline")
	}
	for _, c := range []struct {
		unique uint64
		known  bool
	}{{1, true}, {2, true}, {3, false}} {
		if got := g.interrupt(c.unique); got != c.known {
			t.Errorf("interrupt(%d) = %v", c.unique, got)
		}
	}
	if read.Err() == nil || stat.Err() != nil {
		t.Errorf("the stream has %v, the other %v", read.Err(), stat.Err())
	}
	g.drain(0) // does not wait for streams, and not longer than told
}

// A write that waits ends when its caller has a signal pending that means "stop", or is gone.
func TestWishEndsAWaitingWrite(t *testing.T) {
	g, _ := testRegistry(t, time.Hour)
	alive := g.begin(&fuse.InHeader{Unique: 1, Caller: fuse.Caller{Pid: uint32(os.Getpid())}}, wishes, time.Hour)
	gone := g.begin(&fuse.InHeader{Unique: 2}, wishes, time.Hour)
	g.interrupt(1)
	g.interrupt(2)
	<-gone.Done()
	if alive.Err() != nil {
		t.Error("a signal that means nothing ended a write")
	}
	gone.close()
	alive.close()
}

func TestDrainWaits(t *testing.T) {
	g, _ := testRegistry(t, time.Hour)
	a := g.begin(&fuse.InHeader{}, nothing, time.Hour)
	b := g.begin(&fuse.InHeader{}, nothing, time.Hour)
	drained := make(chan struct{})
	go func() { g.drain(time.Hour); close(drained) }()
	a.close()
	select {
	case <-drained:
		t.Error("drained with a request in progress")
	default:
	}
	b.close()
	<-drained
}

func TestStatusNeverHarmsTheCaller(t *testing.T) {
	for _, c := range []struct {
		err  error
		want syscall.Errno
	}{
		{nil, 0},
		{fault.New(fault.Busy, "x"), syscall.EBUSY},
		{syscall.ENOTDIR, syscall.ENOTDIR},
		{syscall.ENOSYS, syscall.EIO},
		{syscall.Errno(512), syscall.EIO},
		{syscall.EINTR, syscall.EIO},
		{context.Canceled, syscall.EIO},
		{context.DeadlineExceeded, syscall.ETIMEDOUT},
		{errors.New("who knows"), syscall.EIO},
	} {
		if got := status(c.err); got != fuse.Status(c.want) {
			t.Errorf("status(%v) = %d, want %d", c.err, got, c.want)
		}
	}
}

func TestCaller(t *testing.T) {
	me := uint32(os.Getpid())
	want, err := os.Getgroups()
	if err != nil {
		t.Fatal(err)
	}
	got := groupsOf(me)
	if len(got) != len(want) {
		t.Fatalf("groupsOf(me) = %v, want %v", got, want)
	}
	for i := range got {
		if int(got[i]) != want[i] {
			t.Errorf("groupsOf(me) = %v, want %v", got, want)
		}
	}
	if groupsOf(0) != nil {
		t.Error("a process that cannot be seen has groups")
	}
	if wantsToStop(me) {
		t.Error("this process has no signal pending")
	}
	if !wantsToStop(0) {
		t.Error("a process that cannot be seen should count as gone")
	}
}

func TestNotifications(t *testing.T) {
	kernel, ours, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer kernel.Close()
	defer ours.Close()
	n := &notifier{fd: int(ours.Fd()), expire: true}
	var b [256]byte
	for _, c := range []struct {
		send func()
		want []any
	}{
		{func() { n.inode(5) }, []any{uint32(40), int32(2), uint64(0), uint64(5), int64(-1), int64(0)}},
		{func() { n.entry(5, "web", false) }, []any{uint32(36), int32(3), uint64(0), uint64(5), uint32(3), uint32(1), []byte("web\x00")}},
		{func() { n.entry(5, "web", true) }, []any{uint32(36), int32(3), uint64(0), uint64(5), uint32(3), uint32(0), []byte("web\x00")}},
	} {
		c.send()
		got, err := kernel.Read(b[:])
		if err != nil {
			t.Fatal(err)
		}
		var want bytes.Buffer
		for _, f := range c.want {
			binary.Write(&want, binary.NativeEndian, f)
		}
		if !bytes.Equal(b[:got], want.Bytes()) {
			t.Errorf("sent % x, want % x", b[:got], want.Bytes())
		}
	}
}
