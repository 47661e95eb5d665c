package logs

import (
	"bytes"
	"context"
	"errors"
	"io"
	"iter"
	"os"
	"time"

	"github.com/containercloud/cc/fault"
	"github.com/containercloud/cc/runtime/logs/drain"
)

// Line is one line of a log.
type Line struct {
	Time    time.Time // when it came, to 10 ms; the whole line has the time of its first byte
	Stream  Stream
	Text    []byte // without its newline; valid until the next call
	Partial bool   // the line goes on in the next Line of the stream, or ends without a newline
}

// MaxLine is where a longer line is broken.
const MaxLine = 64 << 10

// LinesOptions choose lines.
type LinesOptions struct {
	Streams []Stream // none for both
	Since   time.Time
	Until   time.Time // zero for no end
	Follow  bool      // wait for more; Next then ends with io.EOF when nobody writes any more
}

// Reader gives the lines of one container's logs in the order of their times.
type Reader struct {
	o    LinesOptions
	list []*cursor
}

// NewReader opens the logs in a directory.
func NewReader(dir string, o LinesOptions) (*Reader, error) {
	if len(o.Streams) == 0 {
		o.Streams = []Stream{Stdout, Stderr}
	}
	r := &Reader{o: o}
	for _, s := range o.Streams {
		c, err := newCursor(dir, s, o.Since)
		if err != nil {
			r.Close()
			return nil, err
		}
		r.list = append(r.list, c)
	}
	return r, nil
}

// Close ends a reader.
func (r *Reader) Close() error {
	var errs []error
	for _, c := range r.list {
		errs = append(errs, c.view.Close())
	}
	return errors.Join(errs...)
}

// Next returns the next line, io.EOF after the last.
func (r *Reader) Next(ctx context.Context) (Line, error) {
	for {
		var first *cursor
		for _, c := range r.list {
			if err := c.fill(!r.o.Follow); err != nil {
				return Line{}, err
			}
			if c.ready && (first == nil || c.line.Time.Before(first.line.Time)) {
				first = c
			}
		}
		if first == nil {
			if !r.o.Follow {
				return Line{}, io.EOF
			}
			if err := r.wait(ctx); err != nil {
				return Line{}, err
			}
			continue
		}
		if !r.o.Until.IsZero() && first.line.Time.After(r.o.Until) {
			return Line{}, io.EOF
		}
		first.ready = false
		return first.line, nil
	}
}

// wait waits until one of the logs has more, or all have ended.
func (r *Reader) wait(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	done := make(chan error, len(r.list))
	for _, c := range r.list {
		go func() { done <- c.view.Wait(ctx, c.off+int64(len(c.rest))) }()
	}
	ended := 0
	var failed error
	for range r.list {
		switch err := <-done; {
		case err == nil:
			cancel() // the others return too, and their errors do not count
			ended = -len(r.list)
		case err == io.EOF:
			ended++
		case ended >= 0 && failed == nil:
			failed = err
			cancel()
		}
	}
	switch {
	case ended < 0:
		return nil
	case failed != nil:
		return failed
	}
	for _, c := range r.list { // what has no newline at its end
		if len(c.rest) > 0 {
			c.flush()
			return nil
		}
	}
	return io.EOF
}

// Lines is all lines there are, or with Follow all that will be until ctx ends.
func Lines(ctx context.Context, dir string, o LinesOptions) iter.Seq2[Line, error] {
	return func(yield func(Line, error) bool) {
		r, err := NewReader(dir, o)
		if err != nil {
			yield(Line{}, err)
			return
		}
		defer r.Close()
		for {
			l, err := r.Next(ctx)
			if err == io.EOF {
				return
			}
			if !yield(l, err) || err != nil {
				return
			}
		}
	}
}

// cursor is a place in one log.
type cursor struct {
	view   *View
	stream Stream
	off    int64  // view offset of rest
	rest   []byte // read and not yet given
	buf    []byte
	skip   bool // rest begins in the middle of a line that is not wanted
	line   Line
	ready  bool
	clock  clock
}

func newCursor(dir string, s Stream, since time.Time) (*cursor, error) {
	v, err := Open(dir, s)
	if err != nil {
		return nil, err
	}
	c := &cursor{view: v, stream: s, buf: make([]byte, MaxLine)}
	if since.IsZero() {
		return c, nil
	}
	if c.off, err = v.since(since); err != nil {
		v.Close()
		return nil, err
	}
	if c.off > 0 {
		b := make([]byte, 1)
		if _, err := v.ReadAt(b, c.off-1); err == nil && b[0] != '\n' {
			c.skip = true
		}
	}
	return c, nil
}

// fill makes a line ready if there is one. With last, what the log ends with is a line too.
func (c *cursor) fill(last bool) error {
	for !c.ready {
		if i := bytes.IndexByte(c.rest, '\n'); i >= 0 {
			c.give(i, i+1, false)
			continue
		}
		if len(c.rest) >= MaxLine {
			c.give(MaxLine, MaxLine, true)
			continue
		}
		n, err := c.more()
		if err != nil && err != io.EOF {
			return err
		}
		if n == 0 {
			if last && len(c.rest) > 0 {
				c.flush()
			}
			return nil
		}
	}
	return nil
}

func (c *cursor) flush() { c.give(len(c.rest), len(c.rest), true) }

// give makes the first n bytes the line and goes on after the first used ones.
func (c *cursor) give(n, used int, partial bool) {
	if !c.skip {
		c.line = Line{Time: c.clock.at(c.view, c.off), Stream: c.stream, Text: c.rest[:n], Partial: partial}
		c.ready = true
	}
	c.skip = c.skip && partial
	c.off += int64(used)
	c.rest = c.rest[used:]
}

// more reads behind rest. A reader that was overtaken goes on with the oldest line there is.
func (c *cursor) more() (int, error) {
	if len(c.rest)+MaxLine > cap(c.buf) {
		c.buf = make([]byte, 4*MaxLine)
	}
	b := append(c.buf[:0], c.rest...)
	n, err := c.view.ReadAt(b[len(b):cap(b)], c.off+int64(len(b)))
	if fault.Is(err, fault.Stale) {
		head, err := c.view.Head()
		if err != nil {
			return 0, err
		}
		c.off, c.rest, c.skip = head, nil, false
		return 1, nil
	}
	c.rest = b[:len(b)+n]
	return n, err
}

// clock tells when a byte came, for offsets that grow.
type clock struct {
	ino  uint64
	n    int64 // number of the record in force
	now  time.Time
	till int64 // log offset where the next record begins
}

// at returns the time of a view's offset; zero when the index does not say.
func (k *clock) at(v *View, off int64) time.Time {
	h, err := v.refresh()
	if err != nil {
		return k.now
	}
	v.mu.RLock()
	defer v.mu.RUnlock()
	if v.index == nil {
		return k.now
	}
	pos := v.start + off
	if h.Ino == k.ino && pos < k.till {
		return k.now
	}
	fd := int(v.index.Fd())
	count := v.recordsLocked()
	from := h.First
	if h.Ino == k.ino {
		from = max(from, k.n)
	}
	if from >= count {
		return k.now
	}
	n, err := drain.Find(fd, from, count, func(r drain.Record) bool { return r.Offset <= pos })
	if err != nil {
		return k.now
	}
	r, err := drain.ReadRecord(fd, n)
	if err != nil {
		return k.now
	}
	k.ino, k.n, k.now, k.till = h.Ino, n, time.Unix(0, r.Time), pos+1
	if next, err := drain.ReadRecord(fd, n+1); err == nil && n+1 < count {
		k.till = next.Offset
	}
	return k.now
}

func (v *View) recordsLocked() int64 {
	st, err := v.index.Stat()
	if err != nil {
		return 0
	}
	return max(0, (st.Size()-drain.Records)/drain.RecordSize)
}

// since returns the view's offset of the first byte that came at t or later.
func (v *View) since(t time.Time) (int64, error) {
	h, err := v.refresh()
	if err != nil {
		return 0, err
	}
	v.mu.RLock()
	defer v.mu.RUnlock()
	if v.index == nil {
		return 0, nil
	}
	fd, count, want := int(v.index.Fd()), v.recordsLocked(), t.UnixNano()
	if count <= h.First {
		return 0, nil
	}
	n, err := drain.Find(fd, h.First, count, func(r drain.Record) bool { return r.Time < want })
	if err != nil {
		return 0, os.NewSyscallError("pread", err)
	}
	r, err := drain.ReadRecord(fd, n)
	if err == nil && r.Time < want { // n is the last before t, or the only one
		r, err = drain.ReadRecord(fd, n+1)
		if err != nil || n+1 >= count {
			st, err := v.file.Stat()
			if err != nil {
				return 0, err
			}
			return max(0, st.Size()+v.base-v.start), nil
		}
	}
	if err != nil {
		return 0, os.NewSyscallError("pread", err)
	}
	return max(0, r.Offset-v.start), nil
}
