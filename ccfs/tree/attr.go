package tree

import (
	"context"
	"syscall"
	"time"

	"github.com/containercloud/cc/fault"
	"github.com/containercloud/cc/object"
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

// render asks a row for its content.
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

// Setattr changes rights and sizes. Times are taken and dropped: a file's times say when its content changed.
func (t *Tree) Setattr(ctx context.Context, c Caller, ino Ino, h *Handle, s SetAttr) (a Attr, err error) {
	n, err := t.node(ino)
	if err != nil && h != nil && !h.node.obj.dead() {
		n, err = h.node, nil // a handle needs no name
	}
	if err != nil {
		return Attr{}, err
	}
	if s.Size != nil {
		if err := t.truncate(ctx, c, n, h, *s.Size); err != nil {
			return Attr{}, t.failed(c, n, "truncate", err)
		}
	}
	if s.Mode != nil || s.UID != nil || s.GID != nil {
		err := t.setRights(ctx, c, n, s)
		t.audit(c, rightsOp(s), n, rightsText(s), err)
		if err != nil {
			return Attr{}, t.failed(c, n, rightsOp(s), err)
		}
	}
	if (s.Mtime != nil || s.Atime != nil) && n.kind == hostNode {
		if err := t.hostTimes(ctx, c, n, s); err != nil {
			return Attr{}, t.failed(c, n, "set the times of", err)
		}
	}
	return t.Getattr(ctx, c, ino, h)
}

// truncate changes nothing in itself (TREE.md, rule 12): the write that follows does.
func (t *Tree) truncate(ctx context.Context, c Caller, n *node, h *Handle, size uint64) error {
	if h == nil {
		if err := t.may(c, n, mayWrite, "truncate"); err != nil {
			return err
		}
	}
	switch n.kind {
	case scratchNode:
		return (&scratchFile{s: n.draft}).truncate(size)
	case hostNode:
		return t.hostTruncate(ctx, c, n, size)
	case fileNode:
		if !n.file.writable() && !t.takesCopies(ctx, c, n) {
			return fault.New(fault.Fixed, "it only shows what is")
		}
		if h != nil && size == 0 {
			h.truncated()
		}
		return nil
	}
	return fault.Wrap(syscall.EISDIR, "it is a directory")
}

// setRights is chmod and chown.
func (t *Tree) setRights(ctx context.Context, c Caller, n *node, s SetAttr) error {
	switch n.kind {
	case scratchNode:
		return n.draft.setRights(c, s)
	case hostNode:
		return t.hostSetRights(ctx, c, n, s)
	}
	now := n.rights()
	s = s.without(now)
	if s.Mode == nil && s.UID == nil && s.GID == nil {
		return nil
	}
	if n.obj == nil {
		return fault.New(fault.Fixed, "its owner and mode belong to the daemon").WithHint("only objects have owners")
	}
	if err := checkOwner(c, now, s); err != nil {
		return err
	}
	if n.kind != dirNode && n.obj.copying(c, n.rel) {
		// mv and tar give the file that they wrote the rights of the one that they read. The owner belongs to
		// the whole object, which they did not write.
		s.UID, s.GID = nil, nil
	}
	r, done := t.request(ctx, c, n)
	defer done()
	err := t.exclusively(r, func() error {
		return r.Object.SetMeta(r, func(m *object.Meta) error { return s.apply(m, n.modeKey(), n.kind == dirNode) })
	})
	if err == nil {
		t.rightsChanged(n, now, s)
	}
	return err
}

// without drops what is so already.
func (s SetAttr) without(now rights) SetAttr {
	if s.Mode != nil && *s.Mode&07777 == now.mode&07777 {
		s.Mode = nil
	}
	if s.UID != nil && (*s.UID == now.uid || *s.UID == ^uint32(0)) {
		s.UID = nil
	}
	if s.GID != nil && (*s.GID == now.gid || *s.GID == ^uint32(0)) {
		s.GID = nil
	}
	return s
}

// checkOwner is who may: the owner changes the mode, and the group to one of his; only root changes the owner.
func checkOwner(c Caller, now rights, s SetAttr) error {
	switch {
	case c.Root():
		return nil
	case c.UID != now.uid:
		return fault.New(fault.Fixed, "only its owner may")
	case s.UID != nil:
		return fault.New(fault.Fixed, "only root gives things away")
	case s.GID != nil && !c.in(*s.GID):
		return fault.New(fault.Fixed, "you are not in group %d", *s.GID)
	}
	return nil
}

func (s SetAttr) apply(m *object.Meta, key string, dir bool) error {
	if s.UID != nil {
		m.UID = *s.UID
	}
	if s.GID != nil {
		m.GID = *s.GID
	}
	if s.Mode == nil {
		return nil
	}
	modes := map[string]uint32{}
	for k, v := range m.Modes {
		modes[k] = v
	}
	modes[key] = *s.Mode & 0777
	if dir {
		modes[key] = *s.Mode & 01777
	}
	m.Modes = modes
	return nil
}

// rightsChanged tells doors; names in a directory that not everybody may pass any more must come to us again.
func (t *Tree) rightsChanged(n *node, was rights, s SetAttr) {
	t.Changed(n.obj.id)
	if n.kind != dirNode || s.Mode == nil || was.mode&1 == 0 || *s.Mode&1 != 0 {
		return
	}
	var names []Change
	t.mu.Lock()
	for _, x := range t.nodes {
		if x.parent == n {
			names = append(names, Change{Parent: n.ino, Name: x.name})
		}
	}
	t.mu.Unlock()
	t.announce(names...)
}
