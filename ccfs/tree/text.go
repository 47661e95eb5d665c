package tree

import (
	"context"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/containercloud/cc/fault"
)

// text is an open scalar, list, table or document.
//
// What it reads is rendered once, when the first read or stat asks, and again when a read comes back to offset 0.
//
// What is written counts in the write itself. A list that a shell writes line by line grows with every write: all
// lines written through one handle are the new list. Writes that look like pieces of something longer (whole
// pages without an end of line) wait for the rest, at the latest until the close.
type text struct {
	h *Handle
	view

	wmu     sync.Mutex
	begun   bool
	appends bool   // this run of writes adds
	start   int64  // offset of buf
	buf     []byte // what was written in one run: each write right behind the one before
	done    int    // how much of buf has been added (appends)
	held    bool   // the end of buf waits for more
	trunc   bool
	by      Caller
}

// view is rendered content that a handle reads.
type view struct {
	mu      sync.Mutex
	loaded  bool
	read0   bool // something was read at offset 0
	content []byte
}

func openText(ctx context.Context, h *Handle) (*text, error) {
	f := &text{h: h, trunc: h.flags&syscall.O_TRUNC != 0, by: h.caller}
	if writes(h.flags) {
		return f, nil // what it reads is rendered when somebody reads
	}
	content, ok := h.node.take(h.caller, time.Now())
	if !ok {
		var err error
		if content, err = h.t.render(ctx, h.caller, h.node); err != nil {
			return nil, err
		}
		h.node.noted(content, time.Now())
	}
	if err := h.node.checkTold(h.caller, len(content)); err != nil {
		return nil, err
	}
	f.content, f.loaded = content, true
	return f, nil
}

func (f *text) read(ctx context.Context, p []byte, off int64, _ bool) (int, error) {
	return f.readAt(p, off, func() ([]byte, error) { return f.load(ctx) })
}

func (f *text) load(ctx context.Context) ([]byte, error) {
	content, err := f.h.t.render(ctx, f.h.caller, f.h.node)
	if err == nil {
		f.h.node.noted(content, time.Now())
	}
	return content, err
}

// readAt reads the content, rendered by load if it was not yet, or if this read starts over.
func (v *view) readAt(p []byte, off int64, load func() ([]byte, error)) (int, error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if !v.loaded || off == 0 && v.read0 {
		content, err := load()
		if err != nil {
			return 0, err
		}
		v.content, v.loaded = content, true
	}
	v.read0 = v.read0 || off == 0
	if off < 0 || off >= int64(len(v.content)) {
		return 0, nil
	}
	return copy(p, v.content[off:]), nil
}

func (v *view) size() (uint64, time.Time, bool) {
	v.mu.Lock()
	defer v.mu.Unlock()
	return uint64(len(v.content)), time.Time{}, v.loaded
}

func (f *text) release() {}

func (f *text) truncated() {
	f.wmu.Lock()
	defer f.wmu.Unlock()
	f.trunc, f.begun, f.buf, f.held = true, false, nil, false
}

// maxText bounds lists and documents in one run of writes.
const maxText = 16 << 20

func (f *text) write(ctx context.Context, c Caller, p []byte, off int64) (int, error) {
	f.wmu.Lock()
	defer f.wmu.Unlock()
	if !f.begun || off != f.start+int64(len(f.buf)) {
		if err := f.finish(ctx); err != nil {
			return 0, err
		}
		f.begin(ctx, off)
	}
	if len(f.buf)+len(p) > maxText {
		return 0, fault.New(fault.TooLong, "more than %d bytes", maxText)
	}
	f.by = c
	before := len(f.buf)
	f.buf = append(f.buf, p...)
	if f.waits(p) {
		f.held = true
		return len(p), nil
	}
	if err := f.commit(ctx); err != nil {
		f.buf = f.buf[:before]
		return 0, err
	}
	return len(p), nil
}

// begin starts a run of writes. It adds to what is there when the file was opened with O_APPEND, or when, without
// truncation, it starts where the content ends.
func (f *text) begin(ctx context.Context, off int64) {
	f.begun, f.start, f.buf, f.done, f.held = true, off, nil, 0, false
	f.appends = f.h.flags&syscall.O_APPEND != 0
	if !f.appends && off > 0 && !f.trunc {
		content, err := f.load(ctx)
		f.appends = err == nil && off == int64(len(content))
	}
	if f.h.node.file.Kind == Scalar {
		f.appends = false
	}
}

// waits reports whether p is a piece of something longer.
func (f *text) waits(p []byte) bool {
	switch f.h.node.file.Kind {
	case Scalar:
		return false
	case Document:
		return isPiece(p) || len(p) >= vimPiece && p[len(p)-1] != '\n'
	}
	return (isPiece(p) || len(p) == vimPiece) && p[len(p)-1] != '\n'
}

// vimPiece is what vim copies a backup back by, after a write that was refused.
const vimPiece = 256

// isPiece recognizes what cp, cat and the kernel make of long texts: whole pages, or almost a whole MaxWrite.
func isPiece(p []byte) bool {
	return len(p) >= 4096 && len(p)%4096 == 0 || len(p) >= 1<<20-4096
}

// flush commits what still waits.
func (f *text) flush(ctx context.Context) error {
	f.wmu.Lock()
	defer f.wmu.Unlock()
	return f.finish(ctx)
}

func (f *text) finish(ctx context.Context) error {
	if !f.held {
		return nil
	}
	if err := f.commit(ctx); err != nil {
		f.held, f.begun, f.buf = false, false, nil
		return err
	}
	return nil
}

// commit applies buf.
func (f *text) commit(ctx context.Context) error {
	part := f.buf
	if f.appends {
		part = f.buf[f.done:]
	}
	err := f.h.t.setText(ctx, f.by, f.h.node, part, f.appends)
	f.h.node.tell(0)
	if err == nil {
		f.done, f.held = len(f.buf), false
		f.stale()
	}
	return err
}

// stale makes the next read or stat of this handle render anew.
func (v *view) stale() {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.loaded = false
}

// setText gives a file a new content, or adds to it: the one way in for writes, renames and resets.
func (t *Tree) setText(ctx context.Context, c Caller, n *node, raw []byte, add bool) error {
	f := n.file
	op := "write"
	if add {
		op = "append"
	}
	value, err := cleanText(f, raw)
	if err == nil {
		r, done := t.request(ctx, c, n)
		defer done()
		err = t.exclusively(r, func() error { return f.set(r, value, add) })
	}
	t.audit(c, op, n, n.secretText(value, raw), err)
	if err != nil {
		return sentence(err, "cannot set %s", n.path())
	}
	t.wrote(n)
	return nil
}

// wrote tells everyone that a file's object changed.
func (t *Tree) wrote(n *node) {
	n.stale()
	if n.obj != nil {
		t.Changed(n.obj.id)
		return
	}
	t.forgetContent([]*node{n})
}

// set hands clean text to the row.
func (f *File) set(r *Request, value string, add bool) error {
	switch {
	case add && f.Append != nil:
		return f.Append(r, value)
	case add && f.Read != nil:
		old, err := f.Read(r)
		if err != nil {
			return err
		}
		value = string(terminated(string(old))) + value
	case f.Kind == Scalar && value == "default":
		return f.reset(r)
	}
	if f.Write == nil {
		return fault.New(fault.Fixed, "lines can only be added: use >>")
	}
	return f.Write(r, value)
}

func (f *File) reset(r *Request) error {
	if f.Reset != nil {
		return f.Reset(r)
	}
	if f.Kind == Scalar {
		return f.Write(r, f.Default)
	}
	return f.Write(r, string(terminated(f.Default)))
}

// sentence puts "cannot VERB OBJECT: " in front of an error that is not such a sentence yet.
func sentence(err error, format string, args ...any) error {
	if err == nil || strings.HasPrefix(err.Error(), "cannot ") || strings.HasPrefix(err.Error(), "line ") {
		return err
	}
	return fault.Wrap(err, format, args...)
}
