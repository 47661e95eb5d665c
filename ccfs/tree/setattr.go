package tree

import (
	"context"
	"syscall"

	"github.com/containercloud/cc/fault"
	"github.com/containercloud/cc/object"
)

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

// truncate changes nothing in itself (docs/TREE.md, rule 12): the write that follows does.
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
		return t.setFixed(ctx, c, n, s)
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
	if s.Mode != nil && *s.Mode&0o7777 == now.mode&0o7777 {
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
	modes[key] = permissions(*s.Mode, dir)
	m.Modes = modes
	return nil
}

// permissions are the bits of a mode that mean something here.
func permissions(mode uint32, dir bool) uint32 {
	if dir {
		return mode & 0o1777
	}
	return mode & 0o777
}

// rightsChanged tells doors; names in a directory that not everybody may pass any more must come to us again.
func (t *Tree) rightsChanged(n *node, was rights, s SetAttr) {
	if n.obj != nil {
		t.Changed(n.obj.id)
	} else {
		t.forgetContent([]*node{n})
	}
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
