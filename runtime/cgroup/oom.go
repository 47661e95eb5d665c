package cgroup

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/containercloud/cc/fault"
)

// OOMKills is how many processes of the group the kernel killed because its memory was used up. It is cheap.
func (g *Group) OOMKills() (uint64, error) {
	path := filepath.Join(g.Path("memory"), "memory.oom_control")
	if g.root.version == 2 {
		path = filepath.Join(g.unified(), "memory.events")
	}
	b, err := os.ReadFile(path)
	if err != nil {
		return 0, fault.Wrap(err, "cannot read the OOM kills of control group %s", g.name)
	}
	for line := range bytes.Lines(b) {
		if v, ok := bytes.CutPrefix(line, []byte("oom_kill ")); ok {
			return strconv.ParseUint(string(bytes.TrimSpace(v)), 10, 64)
		}
	}
	return 0, nil // v1 before Linux 4.13
}

// WaitOOM returns when there were more kills than after, and how many; ctx's error otherwise.
func (g *Group) WaitOOM(ctx context.Context, after uint64) (uint64, error) {
	wake, stop, err := g.root.watcher.add(g)
	if err != nil {
		return 0, fault.Wrap(err, "cannot watch control group %s", g.name)
	}
	defer stop()
	// v1 wakes before it kills: look again for a while after a wake.
	again := time.NewTimer(0)
	defer again.Stop()
	next := soon
	for {
		select {
		case <-again.C:
			next *= 2
		case <-wake:
			next = soon
		case <-ctx.Done():
			return after, ctx.Err()
		}
		n, err := g.OOMKills()
		if err != nil || n > after {
			return n, err
		}
		if next < time.Second {
			again.Reset(next)
		}
	}
}

const soon = time.Millisecond

// watcher waits for the memory events of all groups with one epoll: on v1 an eventfd registered with
// cgroup.event_control, on v2 memory.events, which the kernel wakes with POLLPRI.
type watcher struct {
	mu    sync.Mutex
	ep    int // -1 while nobody waits
	waits map[int32]chan struct{}
}

func (w *watcher) init() { w.ep, w.waits = -1, map[int32]chan struct{}{} }

func (w *watcher) add(g *Group) (wake <-chan struct{}, stop func(), err error) {
	fds, events, err := g.memoryEvents()
	if err != nil {
		return nil, nil, err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if err := w.openLocked(); err != nil {
		closeAll(fds)
		return nil, nil, err
	}
	c := make(chan struct{}, 1)
	ev := unix.EpollEvent{Events: events | unix.EPOLLET, Fd: int32(fds[0])}
	if err := unix.EpollCtl(w.ep, unix.EPOLL_CTL_ADD, fds[0], &ev); err != nil {
		closeAll(fds)
		return nil, nil, os.NewSyscallError("epoll_ctl", err)
	}
	w.waits[ev.Fd] = c
	return c, func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		delete(w.waits, ev.Fd)
		if w.ep >= 0 {
			unix.EpollCtl(w.ep, unix.EPOLL_CTL_DEL, fds[0], nil)
		}
		closeAll(fds)
	}, nil
}

// memoryEvents returns descriptors, the first to be polled for events.
func (g *Group) memoryEvents() (fds []int, events uint32, err error) {
	if g.root.version == 2 {
		path := filepath.Join(g.unified(), "memory.events")
		fd, err := unix.Open(path, unix.O_RDONLY|unix.O_CLOEXEC, 0)
		if err != nil {
			return nil, 0, &os.PathError{Op: "open", Path: path, Err: err}
		}
		return []int{fd}, unix.EPOLLPRI, nil
	}
	path := filepath.Join(g.Path("memory"), "memory.oom_control")
	control, err := unix.Open(path, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, 0, &os.PathError{Op: "open", Path: path, Err: err}
	}
	efd, err := unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK)
	if err != nil {
		unix.Close(control)
		return nil, 0, os.NewSyscallError("eventfd", err)
	}
	err = write(filepath.Join(g.Path("memory"), "cgroup.event_control"), strconv.Itoa(efd)+" "+strconv.Itoa(control))
	if err != nil {
		closeAll([]int{efd, control})
		return nil, 0, err
	}
	return []int{efd, control}, unix.EPOLLIN, nil
}

func (w *watcher) openLocked() error {
	if w.ep >= 0 {
		return nil
	}
	ep, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return os.NewSyscallError("epoll_create1", err)
	}
	stop, err := unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK)
	if err != nil {
		unix.Close(ep)
		return os.NewSyscallError("eventfd", err)
	}
	ev := unix.EpollEvent{Events: unix.EPOLLIN, Fd: int32(stop)}
	if err := unix.EpollCtl(ep, unix.EPOLL_CTL_ADD, stop, &ev); err != nil {
		closeAll([]int{ep, stop})
		return os.NewSyscallError("epoll_ctl", err)
	}
	w.ep = ep
	w.waits[int32(stop)] = nil
	go w.run(ep, stop)
	return nil
}

func (w *watcher) run(ep, stop int) {
	events := make([]unix.EpollEvent, 32)
	for {
		n, err := unix.EpollWait(ep, events, -1)
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			return
		}
		w.mu.Lock()
		for _, e := range events[:n] {
			if int(e.Fd) == stop {
				closeAll([]int{ep, stop})
				w.mu.Unlock()
				return
			}
			select {
			case w.waits[e.Fd] <- struct{}{}:
			default:
			}
		}
		w.mu.Unlock()
	}
}

// close ends the goroutine; those that still wait do so until their ctx ends.
func (w *watcher) close() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.ep < 0 {
		return
	}
	w.ep = -1
	for fd, c := range w.waits {
		if c == nil {
			unix.Write(int(fd), []byte{1, 0, 0, 0, 0, 0, 0, 0})
			delete(w.waits, fd)
		}
	}
}

func closeAll(fds []int) {
	for _, fd := range fds {
		unix.Close(fd)
	}
}
