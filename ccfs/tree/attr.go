package tree

import (
	"context"
	"syscall"
	"time"

	"github.com/containercloud/cc/fault"
)

const dirType = syscall.S_IFDIR

var errNotDir = fault.Wrap(syscall.ENOTDIR, "not a directory")

// effort is how much a stat is worth.
type effort uint8

const (
	glance effort = iota // only what may be kept must be true: a kernel holds its directory's lock over lookups
	stat                 // bytes that were rendered just now will do
)

// glanceSize stands for the size of what was not rendered: more than any file has. Nobody sees it, since these attributes
// may not be kept; but sendfile(2), which busybox cat uses, reads up to the size that the kernel heard last, and
// corrects it when a read comes back short.
const glanceSize = maxText

// attr computes what stat shows.
func (t *Tree) attr(ctx context.Context, c Caller, n *node, e effort) (Attr, error) {
	if n.kind == hostNode {
		return t.hostAttr(ctx, c, n)
	}
	r := n.rights()
	parent, _ := n.place()
	a := Attr{
		Ino: n.ino, Mode: n.fileType() | r.mode, UID: r.uid, GID: r.gid, Nlink: 1,
		CacheName: n.keepsName() && (parent == nil || parent.open()), Cache: true,
	}
	switch n.kind {
	case dirNode, entryNode:
		a.Nlink = 2
		a.Cache = n.kind == dirNode && n.dir.Host == nil
	case linkNode:
		a.Size = uint64(len(n.link))
		a.Cache = false
	case scratchNode:
		f := scratchFile{s: n.draft}
		a.Size, a.Mtime, _ = f.size()
		a.Cache = false
	case fileNode:
		t.fileAttr(ctx, c, n, e, &a)
		n.tell(a.Size)
	}
	a.fillTimes(n, r.born)
	if a.Cache {
		n.shown.Store(true)
	}
	return a, nil
}

// keepsName reports whether a door may keep the name until a Change.
func (n *node) keepsName() bool {
	switch n.kind {
	case linkNode, entryNode, scratchNode:
		return false
	case fileNode:
		if n.file.Kind == Log || n.dirOf().Match != nil || n.dirOf().Entries != nil {
			return false
		}
	}
	return !n.obj.unstable()
}

// dirOf is the Dir that the node's row stands in.
func (n *node) dirOf() *Dir {
	p, _ := n.place()
	if p == nil || p.dir == nil {
		return n.t.root.dir
	}
	return p.dir
}

// open reports whether everybody may pass: only then may a door pass callers without asking us.
func (n *node) open() bool { return n.kind == hostNode || n.rights().mode&1 != 0 }

func (t *Tree) fileAttr(ctx context.Context, c Caller, n *node, e effort, a *Attr) {
	f := n.file
	a.Cache = !f.Volatile
	switch f.Kind {
	case Stream, Clone:
		a.Cache, a.Private = false, true
		if e == glance {
			a.Size = glanceSize // else sendfile would not even ask
		}
	case Log:
		a.Cache = false
		if e == glance {
			a.Size = n.lastSize()
		} else {
			t.logAttr(ctx, c, n, a)
		}
	case Ctl:
		a.Cache, a.Private = false, true
		a.Size = t.contentSize(ctx, c, n, e)
	default:
		a.Size = t.contentSize(ctx, c, n, e)
	}
}

// logAttr is the size of a log. One that cannot be opened now is an empty file to stat; open says why. A log of an earlier
// generation has no name any more, but tail -f still asks for the size of what it holds open.
func (t *Tree) logAttr(ctx context.Context, c Caller, n *node, a *Attr) {
	err := t.withLog(ctx, c, n, func(l LogFile) error {
		if l.Generation() != n.gen {
			return fault.New(fault.Stale, "another generation")
		}
		size, mtime, err := l.Size()
		a.Size, a.Mtime = uint64(max(size, 0)), mtime
		return err
	})
	if err == nil {
		return
	}
	old := n.lastOpen(func(h *Handle) bool {
		_, ok := h.file.(*logView)
		return ok
	})
	if old != nil {
		a.Size, a.Mtime, _ = old.file.size()
	}
}

// contentSize renders a file to know its size. A row that fails has size 0: its open says why.
func (t *Tree) contentSize(ctx context.Context, c Caller, n *node, e effort) uint64 {
	if e == glance && (n.file.Volatile || n.file.Kind == Ctl) {
		return glanceSize
	}
	if size, ok := n.peek(c, time.Now()); ok {
		return uint64(size)
	}
	content, err := t.render(ctx, c, n)
	if err != nil {
		n.stale()
		return 0
	}
	n.rendered(c, content, time.Now())
	return uint64(len(content))
}

// render asks a row for its content. A row that hangs is not waited for by the door, which has its own deadline; to watch
// every rendering here would cost three times what most of them take.
func (t *Tree) render(ctx context.Context, c Caller, n *node) (content []byte, err error) {
	f := n.file
	if f.Read == nil && f.Kind != Ctl {
		return nil, nil
	}
	r, done := t.request(ctx, c, n)
	defer done()
	err = t.guard(n, func() error {
		if f.Kind == Ctl && f.Read == nil {
			content = listing(r, f.Verbs)
			return nil
		}
		content, err = f.Read(r)
		return err
	})
	return content, err
}

// withLog opens a log for a moment.
func (t *Tree) withLog(ctx context.Context, c Caller, n *node, use func(LogFile) error) error {
	r, done := t.request(ctx, c, n)
	defer done()
	return t.guard(n, func() error {
		l, err := n.file.Log(r)
		if err != nil {
			return err
		}
		defer l.Close()
		return use(l)
	})
}

// fillTimes sets the times that are not known yet.
func (a *Attr) fillTimes(n *node, born time.Time) {
	if a.Mtime.IsZero() {
		n.mu.Lock()
		a.Mtime = n.mtime
		n.mu.Unlock()
	}
	if a.Mtime.IsZero() {
		a.Mtime = n.born()
	}
	a.Ctime, a.Birth = a.Mtime, born
}

// Getattr stats a node, or an open file when h is not nil: then the size is that of what the handle reads.
func (t *Tree) Getattr(ctx context.Context, c Caller, ino Ino, h *Handle) (Attr, error) {
	if h != nil && h.node.obj.dead() {
		return h.lastAttr(), nil
	}
	n, err := t.node(ino)
	if err != nil {
		if h == nil {
			return Attr{}, err
		}
		n = h.node
	}
	if h == nil {
		h = n.justOpened(c)
	}
	if h == nil {
		return t.attr(ctx, c, n, stat)
	}
	return h.attr(ctx)
}

// justOpened finds the file that the caller has just opened: the Linux kernel does not tell for fstat which of a node's
// open files it is about, and tar, cp, rsync trust its size for what they are about to read.
func (n *node) justOpened(c Caller) *Handle {
	if n.kind != fileNode || c.PID == 0 {
		return nil
	}
	now := time.Now()
	return n.lastOpen(func(h *Handle) bool {
		if h.caller.UID != c.UID || h.caller.PID != c.PID || now.Sub(h.since) > time.Second {
			return false
		}
		_, _, loaded := h.file.size()
		return loaded
	})
}
