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

// testSession is a session whose connection is a pipe: what it would tell the kernel can be read.
func testSession(t *testing.T, limit time.Duration) (*session, *os.File) {
	t.Helper()
	kernel, ours, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	s := &session{fd: int(ours.Fd()), log: slog.New(slog.DiscardHandler)}
	s.requests = newRegistry(s, Options{Deadline: limit})
	t.Cleanup(func() { s.requests.close(); kernel.Close(); ours.Close() })
	return s, kernel
}

func TestDeadlineEndsTheContext(t *testing.T) {
	s, _ := testSession(t, 40*time.Millisecond)
	r := s.requests.begin(&fuse.InHeader{Unique: 1}, nil, 40*time.Millisecond)
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
	s, kernel := testSession(t, 40*time.Millisecond)
	r := s.requests.begin(&fuse.InHeader{Unique: 77}, nil, 40*time.Millisecond)
	var b [64]byte
	n, err := kernel.Read(b[:]) // comes although nobody looks at r.Done()
	if err != nil || n != 16 {
		t.Fatalf("read %d bytes, %v", n, err)
	}
	errno := -int32(binary.NativeEndian.Uint32(b[4:]))
	if unique := binary.NativeEndian.Uint64(b[8:]); unique != 77 || syscall.Errno(errno) != syscall.ETIMEDOUT {
		t.Errorf("answered request %d with errno %d", unique, errno)
	}
	if r.finish() {
		t.Error("the door may answer as well")
	}
	r.close()
}

func TestEndedSessionEndsRequests(t *testing.T) {
	s, _ := testSession(t, time.Hour)
	r := s.requests.begin(&fuse.InHeader{}, nil, time.Hour)
	done := r.Done()
	s.requests.mu.Lock()
	list := append([]*request(nil), s.requests.list...)
	s.requests.mu.Unlock()
	if len(list) != 1 {
		t.Fatalf("%d requests are known", len(list))
	}
	go r.end(context.Canceled)
	<-done
	r.close()
	s.requests.drain(time.Hour) // returns at once
}

func TestDrainWaits(t *testing.T) {
	s, _ := testSession(t, time.Hour)
	a := s.requests.begin(&fuse.InHeader{}, nil, time.Hour)
	b := s.requests.begin(&fuse.InHeader{}, nil, time.Hour)
	drained := make(chan struct{})
	go func() { s.requests.drain(time.Hour); close(drained) }()
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
	if got := interruptible(context.Canceled); got != fuse.EINTR {
		t.Errorf("a stream that was interrupted answers %d", got)
	}
}

func TestStreamContext(t *testing.T) {
	cancel := make(chan struct{})
	s := stream{cancel}
	if s.Err() != nil {
		t.Error("ended before the signal")
	}
	close(cancel)
	<-s.Done()
	if !errors.Is(s.Err(), context.Canceled) {
		t.Error("no error after the signal")
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
