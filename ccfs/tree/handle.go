package tree

import (
	"context"
	"syscall"
	"time"

	"github.com/containercloud/cc/fault"
)

// Handle is an open file. All methods may be called at the same time.
type Handle struct {
	t      *Tree
	node   *node // of a conversation its ctl
	ino    Ino   // what was opened
	caller Caller
	flags  uint32
	file   file
	since  time.Time
}

// file is what a Handle does, by the kind of its row.
type file interface {
	read(ctx context.Context, p []byte, off int64, nonblock bool) (int, error)
	write(ctx context.Context, c Caller, p []byte, off int64) (int, error)
	flush(context.Context) error // commits what waits for the end
	release()
	size() (size uint64, mtime time.Time, ok bool) // !ok: the node knows
}

const (
	accessMode = syscall.O_ACCMODE
	writeOnly  = syscall.O_WRONLY
	readOnly   = syscall.O_RDONLY
)

func reads(flags uint32) bool  { return flags&accessMode != writeOnly }
func writes(flags uint32) bool { return flags&accessMode != readOnly }

// Open opens a file. Rights are checked here, once.
func (t *Tree) Open(ctx context.Context, c Caller, ino Ino, flags uint32) (*Handle, error) {
	n, err := t.node(ino)
	if err != nil {
		return nil, err
	}
	h, err := t.open(ctx, c, n, flags)
	if err == errGrown {
		return nil, err
	}
	if err != nil {
		return nil, t.failed(c, n, "open", err)
	}
	return h, nil
}

func (t *Tree) open(ctx context.Context, c Caller, n *node, flags uint32) (*Handle, error) {
	if n.fileType() == dirType {
		return nil, fault.Wrap(syscall.EISDIR, "it is a directory")
	}
	want := uint32(0)
	if reads(flags) {
		want |= mayRead
	}
	if writes(flags) || flags&syscall.O_TRUNC != 0 {
		want |= mayWrite
	}
	h := &Handle{t: t, node: n, ino: n.ino, caller: c, flags: flags}
	if want&mayWrite != 0 && n.kind == fileNode && !n.file.writable() {
		if !t.takesCopies(ctx, c, n) {
			return nil, n.notWritable(c)
		}
		h.file = dropped{}
		return h.begin(), nil
	}
	if err := t.may(c, n, want, "open"); err != nil {
		return nil, err
	}
	if want == mayRead {
		n.obj.endDraft(c)
	}
	f, err := t.openFile(ctx, h)
	if err != nil {
		return nil, err
	}
	h.file = f
	if want&mayWrite != 0 {
		n.tell(0) // a kernel counts what is written, which is not what will be read
	}
	return h.begin(), nil
}

// begin counts the handle.
func (h *Handle) begin() *Handle {
	h.t.ref(h.node.obj)
	h.since = time.Now()
	h.node.opened(h)
	return h
}

func (n *node) notWritable(c Caller) error {
	if !c.Root() && !n.rights().allow(c, mayWrite) {
		return denied("write", n, n)
	}
	return fault.New(fault.Fixed, "it shows what is and cannot be written")
}

// takesCopies reports whether a copier may write the node, a file of an object that nobody committed yet, and whose
// content is then dropped (docs/TREE.md, rule 16).
func (t *Tree) takesCopies(ctx context.Context, c Caller, n *node) bool {
	if n.obj == nil || n.kind != fileNode || n.file.Kind == Stream || !n.owns(c) {
		return false
	}
	coll := n.obj.collection()
	if coll.Defined == nil {
		n.obj.mu.Lock()
		defer n.obj.mu.Unlock()
		return time.Since(n.obj.made) < draftFor
	}
	r, done := t.request(ctx, c, n)
	defer done()
	defined := false
	err := t.guard(n, func() error {
		defined = coll.Defined(r, r.Object)
		return nil
	})
	return err == nil && defined
}

func (t *Tree) openFile(ctx context.Context, h *Handle) (file, error) {
	n := h.node
	switch n.kind {
	case scratchNode:
		f := &scratchFile{s: n.draft, append: h.flags&syscall.O_APPEND != 0}
		if h.flags&syscall.O_TRUNC != 0 {
			return f, f.truncate(0)
		}
		return f, nil
	case hostNode:
		return t.openHost(ctx, h)
	case linkNode:
		return nil, fault.Wrap(syscall.ELOOP, "it is a link")
	}
	switch n.file.Kind {
	case Ctl:
		return openCtl(ctx, h, "")
	case Log:
		return t.openLog(ctx, h)
	case Stream:
		return t.openStream(ctx, h)
	case Clone:
		return t.openClone(ctx, h)
	}
	return openText(ctx, h)
}

// Read fills p from off and returns 0 at the end. Streams keep their own position. It blocks only if Blocking: until
// there is something, or ctx ends (fault.Interrupted); with nonblock not at all (fault.NoData).
func (h *Handle) Read(ctx context.Context, p []byte, off int64, nonblock bool) (int, error) {
	if !reads(h.flags) {
		return 0, fault.Wrap(syscall.EBADF, "the file is not open for reading")
	}
	if len(p) == 0 {
		return 0, nil
	}
	n, err := h.file.read(ctx, p, off, nonblock || h.flags&syscall.O_NONBLOCK != 0)
	if err != nil {
		return n, h.t.failed(h.caller, h.node, "read", err)
	}
	return n, nil
}

// Write takes p at off, checks it, applies it, and answers.
func (h *Handle) Write(ctx context.Context, p []byte, off int64) (int, error) {
	return h.WriteFrom(ctx, h.caller.PID, p, off)
}

// WriteFrom is Write by a process that may not be the one that opened: the failure is that process's.
func (h *Handle) WriteFrom(ctx context.Context, pid uint32, p []byte, off int64) (int, error) {
	if !writes(h.flags) {
		return 0, fault.Wrap(syscall.EBADF, "the file is not open for writing")
	}
	if len(p) == 0 {
		return 0, nil
	}
	c := h.caller
	c.PID = pid
	n, err := h.file.write(ctx, c, p, off)
	if err != nil {
		return n, h.t.failed(c, h.node, "write", err)
	}
	return n, nil
}

// Flush is close(2) of one descriptor. It matters only when NeedFlush: it commits what waits for the end of a long
// document. It comes before the first write as well, when a shell duplicates descriptors, and then does nothing.
func (h *Handle) Flush(ctx context.Context) error {
	return h.t.failed(h.caller, h.node, "write", h.file.flush(ctx))
}

// Fsync is Flush: what is accepted is durable.
func (h *Handle) Fsync(ctx context.Context) error { return h.Flush(ctx) }

// Release ends the handle.
func (h *Handle) Release() {
	if err := h.file.flush(context.Background()); err != nil {
		_ = h.t.failed(h.caller, h.node, "write", err)
	}
	h.node.closed(h)
	h.file.release()
	h.t.unref(h.node.obj)
}

// Ino is the file's number.
func (h *Handle) Ino() Ino { return h.ino }

// NeedFlush reports whether Flush has anything to do: for documents, which may come in several writes.
func (h *Handle) NeedFlush() bool {
	return h.node.kind == fileNode && h.node.file.Kind == Document && writes(h.flags)
}

// Blocking reports whether Read or Write may block: only then may a door interrupt them.
func (h *Handle) Blocking() bool {
	_, ok := h.file.(*stream)
	return ok
}

// Backing is a descriptor for FUSE passthrough, -1 when there is none.
func (h *Handle) Backing() int {
	if l, ok := h.file.(*logView); ok {
		return l.log.Backing()
	}
	return -1
}

// truncated is ftruncate to 0: what is written next replaces the content.
func (h *Handle) truncated() {
	if f, ok := h.file.(*text); ok {
		f.truncated()
	}
}

// attr stats the open file: the size is that of what it reads.
func (h *Handle) attr(ctx context.Context) (Attr, error) {
	n := h.node
	if n.kind == hostNode {
		return h.t.hostAttr(ctx, h.caller, n)
	}
	r := n.rights()
	a := Attr{Ino: h.ino, Mode: n.fileType() | r.mode, UID: r.uid, GID: r.gid, Nlink: 1}
	size, mtime, ok := h.file.size()
	if !ok {
		return h.t.attr(ctx, h.caller, n, stat)
	}
	a.Size, a.Mtime = size, mtime
	n.tell(size)
	a.fillTimes(n, r.born)
	return a, nil
}

// lastAttr is all that is left to say about a file of an object that is gone.
func (h *Handle) lastAttr() Attr {
	a := Attr{Ino: h.ino, Nlink: 1, Mode: h.node.fileType() | 0o400, Birth: h.t.started}
	if size, mtime, ok := h.file.size(); ok {
		a.Size, a.Mtime, a.Ctime = size, mtime, mtime
	}
	return a
}

// dropped takes what a copier writes to a file that only shows.
type dropped struct{}

func (dropped) read(context.Context, []byte, int64, bool) (int, error) { return 0, nil }
func (dropped) write(_ context.Context, _ Caller, p []byte, _ int64) (int, error) {
	return len(p), nil
}
func (dropped) flush(context.Context) error     { return nil }
func (dropped) release()                        {}
func (dropped) size() (uint64, time.Time, bool) { return 0, time.Time{}, false }
