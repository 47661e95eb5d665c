package tree

import (
	"bytes"
	"context"
	"runtime/debug"
	"sync"
	"time"

	"github.com/containercloud/cc/fault"
	"github.com/containercloud/cc/words"
)

// grace is how long a row may go on after its deadline to answer by itself, before the engine answers for it.
const grace = time.Second

// request makes what a row's functions get. done must be called when the request is over.
func (t *Tree) request(ctx context.Context, c Caller, n *node) (r *Request, done func()) {
	return t.longRequest(ctx, c, n, 0)
}

// longRequest is a request that may take longer than others by that time.
func (t *Tree) longRequest(ctx context.Context, c Caller, n *node, by time.Duration) (r *Request, done func()) {
	d := &deadline{Context: ctx, at: time.Now().Add(t.o.Deadline + by)}
	r = &Request{Context: d, Caller: c, Name: n.asked, node: n}
	if n.obj != nil {
		r.Object = n.obj.get()
		r.Outer = n.obj.enclosing().get()
	}
	return r, d.stop
}

// Tree returns the tree that the request came through.
func (r *Request) Tree() *Tree { return r.node.t }

// Path is where the request goes, below the root: "container/web/ctl".
func (r *Request) Path() string { return r.node.path() }

// Reply is a verb's answer: who wrote the line reads it from the same descriptor, at the offset where the write
// ended or at 0.
func (r *Request) Reply(text string) {
	if r.reply != nil {
		r.reply.add(text)
	}
}

// reply is locked, for a verb that nobody waits for any more may still talk.
type reply struct {
	mu   sync.Mutex
	text []byte
}

func (p *reply) add(text string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.text = append(p.text, text...)
}

func (p *reply) bytes() []byte {
	p.mu.Lock()
	defer p.mu.Unlock()
	return bytes.Clone(p.text)
}

// Wait reads the option wait=DURATION of a ctl line, for verbs that then wait for what they began. The request's
// deadline is later by that time already. Without the option it is 0.
func Wait(m words.Message) (time.Duration, error) {
	text, ok := m.Opt("wait")
	if !ok {
		return 0, nil
	}
	d, err := words.Duration(text)
	return d, fault.Wrap(err, "wait")
}

// WaitFor calls done at every change of the request's object until it reports true or fails, and gives up after d
// with fault.Timeout. With d == 0 it returns at once.
func (r *Request) WaitFor(d time.Duration, done func() (bool, error)) error {
	if d == 0 {
		return nil
	}
	ctx, cancel := context.WithTimeout(r.Context, d)
	defer cancel()
	err := r.node.t.await(ctx, r.node.obj, done)
	if fault.Is(err, fault.Timeout) || fault.Is(err, fault.Interrupted) {
		return fault.New(fault.KindOf(err), "%s: not within %s", r.Path(), words.FormatDuration(d)).
			WithHint("it goes on; see status")
	}
	return err
}

// await calls done now and at every change of the object until it is true, fails, or ctx ends.
func (t *Tree) await(ctx context.Context, st *objState, done func() (bool, error)) error {
	for {
		wake := st.next()
		ok, err := done()
		if ok || err != nil {
			return err
		}
		select {
		case <-wake:
		case <-ctx.Done():
			if ok, err := done(); ok || err != nil { // both came at once
				return err
			}
			return ctx.Err()
		case <-t.closed:
			return fault.New(fault.Interrupted, "the daemon ends")
		}
	}
}

// guard runs a row's function; a panic is logged with its stack and answered EIO: one bad row must not unmount
// the cloud.
func (t *Tree) guard(n *node, f func() error) (err error) {
	defer func() {
		if p := recover(); p != nil {
			t.o.Log.Error("panic in a row of the tree", "path", n.path(), "panic", p, "stack", string(debug.Stack()))
			err = fault.New(fault.Internal, "%s: internal error: %v", n.path(), p).WithHint("see the daemon's log")
		}
	}()
	return f()
}

// act runs a function that changes something. If it outlives the request's deadline, the request is answered without
// it: a stuck row costs its caller an error, not the caller's life.
func (t *Tree) act(r *Request, f func() error) error {
	if err := r.Err(); err != nil {
		return err
	}
	done := make(chan error, 1)
	go func() { done <- t.guard(r.node, f) }()
	select {
	case err := <-done:
		return err
	case <-r.Done():
	}
	timer := time.NewTimer(grace)
	defer timer.Stop()
	select {
	case err := <-done:
		return err
	case <-timer.C:
		t.o.Log.Warn("a row does not end with its request", "path", r.Path())
		return fault.Wrap(r.Err(), "cannot wait for %s", r.Path())
	}
}

// exclusively runs f as the only change of the object's configuration.
func (t *Tree) exclusively(r *Request, f func() error) error {
	return t.act(r, func() error {
		if st := r.node.obj; st != nil {
			select {
			case st.change <- struct{}{}:
				defer func() { <-st.change }()
			case <-r.Done():
				return r.Err()
			}
		}
		return f()
	})
}

// deadline is a context with a time at which it ends, whose timer is only made when somebody waits for it: most
// requests are over in microseconds.
type deadline struct {
	context.Context
	at time.Time

	mu      sync.Mutex
	inner   context.Context
	cancel  context.CancelFunc
	stopped bool
}

func (d *deadline) Deadline() (time.Time, bool) {
	if at, ok := d.Context.Deadline(); ok && at.Before(d.at) {
		return at, true
	}
	return d.at, true
}

func (d *deadline) Done() <-chan struct{} {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.inner == nil {
		d.inner, d.cancel = context.WithDeadline(d.Context, d.at)
		if d.stopped {
			d.cancel()
		}
	}
	return d.inner.Done()
}

func (d *deadline) Err() error {
	d.mu.Lock()
	inner, stopped := d.inner, d.stopped
	d.mu.Unlock()
	switch {
	case inner != nil:
		return inner.Err()
	case stopped:
		return context.Canceled
	case d.Context.Err() != nil:
		return d.Context.Err()
	case !time.Now().Before(d.at):
		return context.DeadlineExceeded
	}
	return nil
}

// stop ends the context for whoever kept it.
func (d *deadline) stop() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.stopped = true
	if d.cancel != nil {
		d.cancel()
	}
}
