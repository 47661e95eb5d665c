package tree

import (
	"context"
	"errors"
	"io"
	"sync"
	"time"

	"github.com/containercloud/cc/fault"
)

// stream is an open stream. It keeps its own position: offsets of reads mean nothing, since a shell reads byte by byte
// and others read from 0 again and again.
type stream struct {
	h    *Handle
	conn Conn
	turn chan struct{} // one reader at a time; a channel, so that waiting for it can be interrupted
	end  context.Context
	stop context.CancelFunc

	rest []byte // of a record that was longer than the reader's buffer; guarded by turn
}

// recordSize is the buffer for readers that bring a small one: no record is longer than a line.
const recordSize = maxLine

func (t *Tree) openStream(ctx context.Context, h *Handle) (file, error) {
	f := &stream{h: h, turn: make(chan struct{}, 1)}
	r, done := t.request(ctx, h.caller, h.node)
	defer done()
	err := t.guard(h.node, func() (err error) {
		f.conn, err = h.node.file.Stream(r)
		return err
	})
	if err != nil {
		return nil, err
	}
	f.end, f.stop = context.WithCancel(context.Background())
	go f.watchEnd()
	return f, nil
}

// watchEnd ends the stream when its object goes or the tree closes.
func (f *stream) watchEnd() {
	defer f.stop()
	st := f.h.node.obj
	for {
		var wake <-chan struct{}
		if st != nil {
			if wake = st.next(); st.dead() {
				return
			}
		}
		select {
		case <-wake:
		case <-f.h.t.closed:
			return
		case <-f.end.Done():
			return
		}
	}
}

func (f *stream) read(ctx context.Context, p []byte, _ int64, nonblock bool) (int, error) {
	if err := f.myTurn(ctx, nonblock); err != nil {
		return 0, err
	}
	defer func() { <-f.turn }()
	if len(f.rest) > 0 {
		n := copy(p, f.rest)
		f.rest = f.rest[n:]
		return n, nil
	}
	buf := p
	if len(p) < 4096 {
		buf = make([]byte, recordSize)
	}
	n, err := f.receive(ctx, buf, nonblock)
	if n > 0 && len(p) < 4096 {
		f.rest = buf[:n]
		n = copy(p, f.rest)
		f.rest = f.rest[n:]
	}
	return n, err
}

// myTurn waits until no other reader of the handle is at work.
func (f *stream) myTurn(ctx context.Context, nonblock bool) error {
	if nonblock {
		select {
		case f.turn <- struct{}{}:
			return nil
		default:
			return fault.New(fault.NoData, "another reader waits already")
		}
	}
	select {
	case f.turn <- struct{}{}:
		return nil
	case <-ctx.Done():
		return fault.New(fault.Interrupted, "interrupted")
	}
}

// receive reads from the connection until there is something, the stream ends, or the reader goes away.
func (f *stream) receive(ctx context.Context, buf []byte, nonblock bool) (n int, err error) {
	both, stop := f.joined(ctx)
	defer stop()
	err = f.h.t.guard(f.h.node, func() error {
		n, err = f.conn.Read(both, buf, nonblock)
		return err
	})
	if err == nil || n > 0 {
		return n, nil
	}
	return 0, f.verdict(ctx, err)
}

// verdict sorts out why a read or write ended without success.
func (f *stream) verdict(ctx context.Context, err error) error {
	switch {
	case errors.Is(err, io.EOF):
		return nil
	case fault.Is(err, fault.NoData), fault.Is(err, fault.Again):
		return err
	case f.end.Err() != nil: // the object is gone: the end of the stream
		return nil
	case ctx.Err() != nil && (errors.Is(err, ctx.Err()) || fault.Is(err, fault.Interrupted)):
		return fault.New(fault.Interrupted, "interrupted")
	}
	return err
}

// joined ends with the request and with the stream.
func (f *stream) joined(ctx context.Context) (context.Context, func()) {
	both, cancel := context.WithCancel(ctx)
	undo := context.AfterFunc(f.end, cancel)
	return both, func() {
		undo()
		cancel()
	}
}

func (f *stream) write(ctx context.Context, _ Caller, p []byte, _ int64) (n int, err error) {
	both, stop := f.joined(ctx)
	defer stop()
	err = f.h.t.guard(f.h.node, func() error {
		n, err = f.conn.Write(both, p)
		return err
	})
	if err == nil || n > 0 {
		return n, nil
	}
	if err = f.verdict(ctx, err); err == nil {
		return 0, fault.New(fault.NotFound, "nobody reads any more")
	}
	return 0, err
}

func (f *stream) flush(context.Context) error { return nil }

func (f *stream) release() {
	f.stop()
	_ = f.h.t.guard(f.h.node, f.conn.Close)
}

func (f *stream) size() (uint64, time.Time, bool) { return 0, time.Time{}, false }

// Records makes a one-way Conn of a function that returns the next record: it blocks until there is one, returns
// io.EOF at the end, and with nonblock fault.NoData. Records longer than a reader's buffer are handed out in pieces.
func Records(next func(ctx context.Context, nonblock bool) ([]byte, error)) Conn {
	return &records{next: next}
}

type records struct {
	next func(context.Context, bool) ([]byte, error)
	mu   sync.Mutex
	rest []byte
}

func (r *records) Read(ctx context.Context, p []byte, nonblock bool) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.rest) == 0 {
		b, err := r.next(ctx, nonblock)
		if err != nil {
			return 0, err
		}
		r.rest = b
	}
	n := copy(p, r.rest)
	r.rest = r.rest[n:]
	return n, nil
}

func (r *records) Write(context.Context, []byte) (int, error) {
	return 0, fault.New(fault.Fixed, "it can only be read")
}

func (r *records) Close() error { return nil }
