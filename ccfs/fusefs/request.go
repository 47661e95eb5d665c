package fusefs

import (
	"context"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/hanwen/go-fuse/v2/fuse"

	"github.com/containercloud/cc/ccfs/tree"
)

// request is one FUSE request while the tree works on it. It is the context.Context handed to the tree, made cheap for the
// many requests that never ask for Done: no timer, no channel, one allocation.
//
//	running --finish--> answered        the door answers
//	running --overdue-> refused         the registry answers ETIMEDOUT; the door undoes what it was about to hand out
type request struct {
	set    *registry
	who    fuse.Caller
	unique uint64
	due    int64           // the tick by which it must be answered
	slot   int             // where the registry keeps it
	cancel <-chan struct{} // closed by go-fuse when the caller got a signal
	wish   bool            // a signal that means "stop" ends it (writes that wait)
	state  atomic.Int32

	mu   sync.Mutex
	done chan struct{} // made when asked for
	err  error

	asked  bool
	groups []uint32
}

const (
	running int32 = iota
	answered
	refused
)

var _ context.Context = (*request)(nil)

func (r *request) Deadline() (time.Time, bool) { return r.set.when(r.due), true }
func (r *request) Value(any) any               { return nil }

func (r *request) Err() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.err
}

func (r *request) Done() <-chan struct{} {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.done == nil {
		r.done = make(chan struct{})
		switch {
		case r.err != nil:
			close(r.done)
		case r.wish:
			go r.heed(r.done)
		}
	}
	return r.done
}

// end gives the context its error, the first one counts.
func (r *request) end(err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.err != nil {
		return
	}
	r.err = err
	if r.done != nil {
		close(r.done)
	}
}

// finish claims the answer. When it is false, the caller has been answered already and what the door was about to hand
// out must be taken back.
func (r *request) finish() bool { return r.state.CompareAndSwap(running, answered) }

// close ends the request: every door method defers it.
func (r *request) close() {
	r.finish()
	r.set.remove(r)
	r.end(context.Canceled)
}

// heed ends a waiting write when its caller wants to stop. The kernel reports only the first signal, and it may be a Go
// program's preemption, so the pending ones are looked at until the request is over.
func (r *request) heed(done <-chan struct{}) {
	select {
	case <-done:
		return
	case <-r.cancel:
	}
	again := time.NewTicker(100 * time.Millisecond)
	defer again.Stop()
	for !wantsToStop(r.who.Pid) {
		select {
		case <-done:
			return
		case <-again.C:
		}
	}
	r.end(context.Canceled)
}

// caller is who asks, for the tree.
func (r *request) caller() tree.Caller {
	c := callerOf(r.who)
	c.Groups = r.supplementary
	return c
}

// supplementary are the caller's groups, read once and only while it waits for us: later its number may be another's.
func (r *request) supplementary() []uint32 {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.asked && r.state.Load() == running {
		r.groups = groupsOf(r.who.Pid)
	}
	r.asked = true
	return r.groups
}

// stream is the context of a blocking read or write: it has no deadline and ends with any signal to the caller, with its
// death, and with the connection.
type stream struct{ cancel <-chan struct{} }

func (s stream) Deadline() (time.Time, bool) { return time.Time{}, false }
func (s stream) Done() <-chan struct{}       { return s.cancel }
func (s stream) Value(any) any               { return nil }

func (s stream) Err() error {
	select {
	case <-s.cancel:
		return context.Canceled
	default:
		return nil
	}
}

// registry knows all requests that have a deadline. Time is counted in ticks, so that a request costs no timer.
type registry struct {
	session *session
	start   time.Time
	tick    time.Duration
	now     atomic.Int64 // ticks since start

	mu    sync.Mutex
	list  []*request
	empty chan struct{} // closed when list becomes empty, if somebody waits
	over  bool
	quit  chan struct{}
	ended chan struct{}
}

func newRegistry(s *session, o Options) *registry {
	g := &registry{session: s, start: time.Now(), tick: min(o.Deadline/8, time.Second),
		quit: make(chan struct{}), ended: make(chan struct{})}
	go g.run()
	return g
}

func (g *registry) when(tick int64) time.Time { return g.start.Add(time.Duration(tick) * g.tick) }

// begin registers a request that must be answered within limit.
func (g *registry) begin(h *fuse.InHeader, cancel <-chan struct{}, limit time.Duration) *request {
	r := &request{set: g, who: h.Caller, unique: h.Unique, cancel: cancel}
	r.due = g.now.Load() + 1 + int64(limit/g.tick)
	g.mu.Lock()
	r.slot = len(g.list)
	g.list = append(g.list, r)
	over := g.over
	g.mu.Unlock()
	if over {
		r.end(context.Canceled)
	}
	return r
}

func (g *registry) remove(r *request) {
	g.mu.Lock()
	defer g.mu.Unlock()
	last := len(g.list) - 1
	moved := g.list[last]
	g.list[r.slot], moved.slot = moved, r.slot
	g.list[last] = nil
	g.list = g.list[:last]
	if last == 0 && g.empty != nil {
		close(g.empty)
		g.empty = nil
	}
}

// run counts the ticks. A request that is due has its context ended; one that ignores that for two more ticks is answered
// over its handler's head.
func (g *registry) run() {
	defer close(g.ended)
	t := time.NewTicker(g.tick)
	defer t.Stop()
	for {
		select {
		case <-g.quit:
			return
		case <-t.C:
		}
		now := g.now.Add(1)
		for _, r := range g.overdue(now) {
			r.end(context.DeadlineExceeded)
			if now >= r.due+2 && r.state.CompareAndSwap(running, refused) {
				g.session.log.Error("a handler does not return", "pid", r.who.Pid, "limit", g.when(r.due))
				g.session.refuse(r.unique, syscall.ETIMEDOUT)
			}
		}
	}
}

func (g *registry) overdue(now int64) []*request {
	g.mu.Lock()
	defer g.mu.Unlock()
	var due []*request
	for _, r := range g.list {
		if now >= r.due {
			due = append(due, r)
		}
	}
	return due
}

// drain waits until no request is in progress, at most for limit.
func (g *registry) drain(limit time.Duration) {
	g.mu.Lock()
	if len(g.list) == 0 {
		g.mu.Unlock()
		return
	}
	if g.empty == nil {
		g.empty = make(chan struct{})
	}
	empty := g.empty
	g.mu.Unlock()
	t := time.NewTimer(limit)
	defer t.Stop()
	select {
	case <-empty:
	case <-t.C:
	}
}

// close ends all contexts; later ones are born ended. It is called once.
func (g *registry) close() {
	g.mu.Lock()
	list := append([]*request(nil), g.list...)
	g.over = true
	g.mu.Unlock()
	close(g.quit)
	<-g.ended
	for _, r := range list {
		r.end(context.Canceled)
	}
}
