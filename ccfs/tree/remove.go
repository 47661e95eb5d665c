package tree

import (
	"context"
	"syscall"

	"github.com/containercloud/cc/fault"
)

// Unlink brings a setting back to its default, drops a scratch file, and does nothing to files that only show, so that
// rm -r works. Of an object in use it changes nothing (EBUSY).
func (t *Tree) Unlink(ctx context.Context, c Caller, parent Ino, name string) error {
	p, n, err := t.named(ctx, c, parent, name)
	if err == nil {
		err = t.unlink(ctx, c, p, n)
	}
	if err != nil && p != nil {
		return t.failedName(c, p, name, "remove", err)
	}
	return err
}

// named finds a directory that a door holds, and a name in it.
func (t *Tree) named(ctx context.Context, c Caller, parent Ino, name string) (p, n *node, err error) {
	p, err = t.node(parent)
	if err != nil {
		return nil, nil, err
	}
	n, err = t.child(ctx, c, p, name)
	return p, n, err
}

func (t *Tree) unlink(ctx context.Context, c Caller, p, n *node) error {
	switch n.kind {
	case hostNode:
		return t.hostRemove(ctx, c, p, n, false)
	case scratchNode:
		n.obj.dropScratch(n.rel)
		return nil
	case linkNode:
		return t.unlinkEntry(ctx, c, p, n)
	case dirNode, entryNode:
		return fault.Wrap(syscall.EISDIR, "it is a directory")
	}
	if n.obj == nil || p.kind != dirNode {
		return fault.New(fault.Fixed, "it belongs to the tree")
	}
	target := p
	if n.file.setting() {
		target = n
	}
	if err := t.may(c, target, mayWrite, "reset"); err != nil {
		return err
	}
	if err := t.checkBusy(ctx, c, p); err != nil {
		return err
	}
	if n.file.setting() {
		if err := t.resetFile(ctx, c, n); err != nil {
			return err
		}
	}
	n.obj.hide(c, n.rel)
	t.announce(Change{Parent: p.ino, Name: n.name})
	return nil
}

func (t *Tree) resetFile(ctx context.Context, c Caller, n *node) error {
	r, done := t.request(ctx, c, n)
	defer done()
	err := t.exclusively(r, func() error { return n.file.reset(r) })
	t.audit(c, "reset", n, "", err)
	if err != nil {
		return sentence(err, "cannot reset %s", n.path())
	}
	t.wrote(n)
	return nil
}

// checkBusy asks whether the object around a node may lose anything now.
func (t *Tree) checkBusy(ctx context.Context, c Caller, n *node) error {
	if n.obj == nil {
		return nil
	}
	busy := n.obj.collection().Busy
	if busy == nil {
		return nil
	}
	r, done := t.request(ctx, c, n)
	defer done()
	return t.guard(n, func() error { return busy(r, r.Object) })
}

func (t *Tree) unlinkEntry(ctx context.Context, c Caller, p, n *node) error {
	linker := p.linker()
	if linker == nil {
		return fault.New(fault.Fixed, "it belongs to the tree")
	}
	if err := t.may(c, p, mayWrite|mayExecute, "remove links in"); err != nil {
		return err
	}
	r, done := t.request(ctx, c, p)
	defer done()
	err := t.exclusively(r, func() error { return linker.Unlink(r, n.entry) })
	t.audit(c, "unlink", n, "", err)
	if err == nil {
		t.wrote(p)
		t.nameChanged(p, n.name)
	}
	return err
}

// Rmdir ends an object. The files that came with it do not count as its contents, and neither do its fixed
// subdirectories, which rm -r removes before.
func (t *Tree) Rmdir(ctx context.Context, c Caller, parent Ino, name string) error {
	p, n, err := t.named(ctx, c, parent, name)
	if err == nil {
		err = t.rmdir(ctx, c, p, n)
	}
	if err != nil && p != nil {
		return t.failedName(c, p, name, "remove", err)
	}
	return err
}

func (t *Tree) rmdir(ctx context.Context, c Caller, p, n *node) error {
	switch {
	case n.kind == hostNode:
		return t.hostRemove(ctx, c, p, n, true)
	case n.kind == entryNode:
		return fault.New(fault.Fixed, "it belongs to the tree")
	case n.kind != dirNode:
		return errNotDir
	case n.obj == nil:
		return fault.New(fault.Fixed, "it belongs to the tree")
	case n.rel != "": // a fixed subdirectory of an object
		return t.rmFixed(ctx, c, p, n)
	}
	err := t.rmObject(ctx, c, p, n)
	if err != nil {
		n.obj.notRemoved(err, n.path())
	}
	return err
}

func (t *Tree) rmFixed(ctx context.Context, c Caller, p, n *node) error {
	if err := t.may(c, p, mayWrite|mayExecute, "remove"); err != nil {
		return err
	}
	if err := t.checkBusy(ctx, c, p); err != nil {
		return err
	}
	if n.dir.Objects != nil {
		objects, err := t.listObjects(ctx, c, n)
		if err != nil {
			return err
		}
		if len(objects) > 0 {
			return fault.New(fault.NotEmpty, "it holds %s", objects[0].Name)
		}
	}
	n.obj.hide(c, n.rel)
	t.announce(Change{Parent: p.ino, Name: n.name})
	return nil
}

func (t *Tree) rmObject(ctx context.Context, c Caller, p, n *node) error {
	if err := t.mayRemove(c, p, n, "remove"); err != nil {
		return err
	}
	remove := p.dir.Objects.Remove
	if remove == nil {
		return fault.New(fault.Fixed, "objects here end by themselves")
	}
	if err := t.checkBusy(ctx, c, n); err != nil {
		return err
	}
	o := n.obj.get()
	r, done := t.request(ctx, c, p)
	defer done()
	err := t.act(r, func() error { return remove(r, o) })
	t.audit(c, "rmdir", n, "", err)
	if err != nil {
		return err
	}
	t.Removed(n.obj.id)
	t.nameChanged(p, n.name)
	return nil
}

// notRemoved notes in the object why it is still there.
func (st *objState) notRemoved(err error, path string) {
	if list := st.get().Failures(); list != nil && !fault.Is(err, fault.Denied) {
		list.Add(sentence(err, "cannot remove %s", path))
	}
}
