package fusefs

import (
	"context"
	"log/slog"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/hanwen/go-fuse/v2/fuse"
)

// registry knows all requests in progress. Time is counted in ticks, so that a request costs no timer.
type registry struct {
	log    *slog.Logger
	refuse func(unique uint64, errno syscall.Errno)
	start  time.Time
	tick   time.Duration
	now    atomic.Int64 // ticks since start

	mu    sync.Mutex
	list  []*request
	ends  chan struct{} // closed when a request ends, if somebody waits
	over  bool
	quit  chan struct{}
	ended chan struct{}
	once  sync.Once
}

func newRegistry(o Options) *registry {
	return &registry{
		log: o.Log, start: time.Now(), tick: min(o.Deadline/8, time.Second),
		quit: make(chan struct{}), ended: make(chan struct{}),
	}
}

func (g *registry) when(tick int64) time.Time { return g.start.Add(time.Duration(tick) * g.tick) }

// begin registers a request that must be answered within limit; streams have none.
func (g *registry) begin(h *fuse.InHeader, what heeds, limit time.Duration) *request {
	r := &request{set: g, who: h.Caller, unique: h.Unique, heeds: what, due: never}
	if what != signals {
		r.due = g.now.Load() + 1 + int64(limit/g.tick)
	}
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
	if g.ends != nil {
		close(g.ends)
		g.ends = nil
	}
}

// interrupt finds a request whose caller got a signal.
func (g *registry) interrupt(unique uint64) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, r := range g.list {
		if r.unique == unique {
			r.interrupt()
			return true
		}
	}
	return false
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
				g.log.Error("a handler does not return", "pid", r.who.Pid, "due", g.when(r.due))
				g.refuse(r.unique, syscall.ETIMEDOUT)
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

// drain waits until no request with a deadline is in progress, at most for limit.
func (g *registry) drain(limit time.Duration) {
	t := time.NewTimer(limit)
	defer t.Stop()
	for {
		wait := g.progress()
		if wait == nil {
			return
		}
		select {
		case <-wait:
		case <-t.C:
			return
		}
	}
}

// progress returns a channel that closes when a request ends, nil when only streams are left.
func (g *registry) progress() <-chan struct{} {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, r := range g.list {
		if r.due != never {
			if g.ends == nil {
				g.ends = make(chan struct{})
			}
			return g.ends
		}
	}
	return nil
}

// cancel ends all contexts; later ones are born ended.
func (g *registry) cancel() {
	g.mu.Lock()
	list := append([]*request(nil), g.list...)
	g.over = true
	g.mu.Unlock()
	for _, r := range list {
		r.end(context.Canceled)
	}
}

// close is cancel, and no more overdue answers.
func (g *registry) close() {
	g.cancel()
	g.once.Do(func() { close(g.quit) })
	<-g.ended
}
