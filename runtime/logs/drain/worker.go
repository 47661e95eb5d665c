package drain

import (
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

type worker struct {
	ep   int
	wake int // eventfd: there is something in todo
	load atomic.Int32

	streams map[int]*Stream // by pipe
	resting []*Stream       // to be looked at again at their due time

	mu   sync.Mutex
	todo []func()
}

func newWorker() (*worker, error) {
	w := &worker{streams: map[int]*Stream{}}
	var err error
	if w.ep, err = unix.EpollCreate1(unix.EPOLL_CLOEXEC); err != nil {
		return nil, err
	}
	if w.wake, err = unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK); err != nil {
		unix.Close(w.ep)
		return nil, err
	}
	ev := unix.EpollEvent{Events: unix.EPOLLIN, Fd: int32(w.wake)}
	return w, unix.EpollCtl(w.ep, unix.EPOLL_CTL_ADD, w.wake, &ev)
}

// post has f run by the worker, soon.
func (w *worker) post(f func()) {
	w.later(f)
	unix.Write(w.wake, []byte{1, 0, 0, 0, 0, 0, 0, 0})
}

// later has f run by the worker before the next event that it looks at; nobody is woken for it.
func (w *worker) later(f func()) {
	w.mu.Lock()
	w.todo = append(w.todo, f)
	w.mu.Unlock()
}

// do has f run by the worker and waits for it.
func (w *worker) do(f func()) {
	done := make(chan struct{})
	w.post(func() { f(); close(done) })
	<-done
}

func (w *worker) run() {
	events := make([]unix.EpollEvent, 64)
	for {
		n, err := unix.EpollWait(w.ep, events, w.timeout())
		if err != nil && err != unix.EINTR {
			return // the epoll itself is broken, which a living process does not see
		}
		w.runTodo() // what was given with take comes before its bytes
		for _, e := range events[:max(n, 0)] {
			if int(e.Fd) == w.wake {
				var b [8]byte
				unix.Read(w.wake, b[:])
				w.runTodo()
			} else if s := w.streams[int(e.Fd)]; s != nil {
				s.step(time.Now())
			}
		}
		w.runResting()
	}
}

func (w *worker) runTodo() {
	for {
		w.mu.Lock()
		todo := w.todo
		w.todo = nil
		w.mu.Unlock()
		if len(todo) == 0 {
			return
		}
		for _, f := range todo {
			f()
		}
	}
}

// timeout is the time until the first resting stream is due, in ms for epoll_wait.
func (w *worker) timeout() int {
	if len(w.resting) == 0 {
		return -1
	}
	first := w.resting[0].due
	for _, s := range w.resting[1:] {
		if s.due.Before(first) {
			first = s.due
		}
	}
	return int(max(0, time.Until(first)+time.Millisecond-1) / time.Millisecond)
}

func (w *worker) runResting() {
	if len(w.resting) == 0 {
		return
	}
	now := time.Now()
	list := w.resting
	w.resting = nil
	for _, s := range list {
		if s.due.After(now) {
			w.resting = append(w.resting, s)
		} else {
			s.resting = false
			s.step(now)
		}
	}
}

// rest has s looked at again at a time, without being woken before.
func (w *worker) rest(s *Stream, until time.Time) {
	s.due = until
	if !s.resting {
		s.resting = true
		w.resting = append(w.resting, s)
	}
}

// wakeUp ends a rest.
func (w *worker) wakeUp(s *Stream) {
	for i := range w.resting {
		if w.resting[i] == s {
			w.resting = append(w.resting[:i], w.resting[i+1:]...)
			break
		}
	}
	s.resting = false
}

// take gives the worker a stream; any goroutine may. It wakes the worker only when there is something to read.
func (w *worker) take(s *Stream) {
	pipe := s.pipe // from later on the stream is the worker's
	if pipe < 0 {
		w.post(func() { w.rest(s, time.Now()) })
		return
	}
	w.later(func() { w.streams[pipe] = s })
	ev := unix.EpollEvent{Events: unix.EPOLLIN | unix.EPOLLONESHOT, Fd: int32(pipe)}
	if err := unix.EpollCtl(w.ep, unix.EPOLL_CTL_ADD, pipe, &ev); err != nil {
		w.post(s.endPipe) // not a pipe: nothing to drain
	}
}

// arm asks to be woken at the next byte.
func (w *worker) arm(s *Stream) {
	ev := unix.EpollEvent{Events: unix.EPOLLIN | unix.EPOLLONESHOT, Fd: int32(s.pipe)}
	unix.EpollCtl(w.ep, unix.EPOLL_CTL_MOD, s.pipe, &ev)
}

func (w *worker) leave(s *Stream) {
	w.wakeUp(s)
	if s.pipe >= 0 && w.streams[s.pipe] == s {
		delete(w.streams, s.pipe)
		unix.EpollCtl(w.ep, unix.EPOLL_CTL_DEL, s.pipe, nil)
	}
}
