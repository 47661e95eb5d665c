package fusefs

import (
	"context"
	"sync"
	"sync/atomic"
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
	heeds  heeds
	due    int64 // the tick by which it must be answered
	slot   int   // where the registry keeps it
	state  atomic.Int32

	mu     sync.Mutex
	done   chan struct{} // made when asked for
	err    error
	asked  bool
	groups []uint32
}

// heeds is what a signal to the caller does to its request.
type heeds uint8

const (
	nothing heeds = iota // most operations: a Go program gets signals all the time, by which its runtime preempts
	wishes               // a write that waits: signals that mean "stop" end it
	signals              // a stream: any signal ends it, as it would on a pipe; and there is no deadline
)

const (
	running int32 = iota
	answered
	refused
)

const never = 1<<63 - 1

var _ context.Context = (*request)(nil)

func (r *request) Value(any) any { return nil }

func (r *request) Deadline() (time.Time, bool) {
	if r.due == never {
		return time.Time{}, false
	}
	return r.set.when(r.due), true
}

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
		if r.err != nil {
			close(r.done)
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

// interrupt does what the request heeds of a signal.
func (r *request) interrupt() {
	switch r.heeds {
	case signals:
		r.end(context.Canceled)
	case wishes:
		go r.heed()
	}
}

// heed ends a waiting write when its caller wants to stop. The kernel reports only the first signal, and it may be a Go
// program's preemption, so the pending ones are looked at until the request is over.
func (r *request) heed() {
	done := r.Done()
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
