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
	return t.rmObject(ctx, c, p, n)
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
		n.obj.failedRemove(err)
		return err
	}
	t.Removed(n.obj.id)
	t.nameChanged(p, n.name)
	return nil
}

// failedRemove notes in the object why it is still there.
func (st *objState) failedRemove(err error) {
	if o := st.get(); o != nil && o.Failures() != nil && !fault.Is(err, fault.Denied) {
		o.Failures().Add(err)
	}
}

// Rename over a setting commits a scratch file's text (TREE.md, rule 13); of a setting to a new name it makes a copy
// there, as editors do before they write anew; of an object it gives it another name.
func (t *Tree) Rename(ctx context.Context, c Caller, oldParent Ino, oldName string, newParent Ino, newName string, noReplace bool) error {
	p, n, err := t.named(ctx, c, oldParent, oldName)
	if err != nil {
		return err
	}
	q, err := t.node(newParent)
	if err != nil {
		return err
	}
	err = t.rename(ctx, c, p, n, q, newName, noReplace)
	if err != nil {
		return t.failedName(c, q, newName, "rename "+oldName+" to", err)
	}
	return nil
}

var errCross = fault.Wrap(syscall.EXDEV, "not within one object")

func (t *Tree) rename(ctx context.Context, c Caller, p, n, q *node, name string, noReplace bool) error {
	switch {
	case n.kind == hostNode:
		return t.hostRename(ctx, c, p, n, q, name, noReplace)
	case n.kind == dirNode && n.rel == "" && n.obj != nil:
		return t.renameObject(ctx, c, p, n, q, name)
	case p.obj == nil || p.obj != q.obj || q.kind != dirNode:
		return errCross
	case n.kind == scratchNode:
		return t.renameScratch(ctx, c, n, q, name, noReplace)
	case n.kind == fileNode && n.file.setting():
		return t.renameSetting(ctx, c, p, n, q, name, noReplace)
	}
	return fault.New(fault.Fixed, "it belongs to the tree")
}

func (t *Tree) renameScratch(ctx context.Context, c Caller, n, q *node, name string, noReplace bool) error {
	f := t.index[q.dir].files[name]
	if f == nil {
		return t.moveScratch(c, n, q, name, noReplace)
	}
	if noReplace {
		return fault.New(fault.Exists, "it exists")
	}
	to, err := t.fileChild(ctx, c, q, name, f)
	if err != nil {
		return err
	}
	if err := t.commitScratch(ctx, c, n, to); err != nil {
		return err
	}
	n.obj.dropScratch(n.rel)
	n.obj.reveal(c, to.rel, true, true)
	t.announce(Change{Parent: q.ino, Name: name})
	return nil
}

// commitScratch writes a scratch file's text over a file.
func (t *Tree) commitScratch(ctx context.Context, c Caller, n, to *node) error {
	if !to.file.setting() {
		if t.takesCopies(ctx, c, to) {
			return nil
		}
		return to.notWritable(c)
	}
	if err := t.may(c, to, mayWrite, "write"); err != nil {
		return err
	}
	return t.setText(ctx, c, to, n.draft.text(), false)
}

// moveScratch gives a scratch file another name, replacing one that has it.
func (t *Tree) moveScratch(c Caller, n, q *node, name string, noReplace bool) error {
	if t.index[q.dir].dirs[name] != nil {
		return fault.Wrap(syscall.EISDIR, "it is a directory")
	}
	if noReplace && t.findScratch(c, q, name) != nil {
		return fault.New(fault.Exists, "it exists")
	}
	st := n.obj
	st.mu.Lock()
	defer st.mu.Unlock()
	s := st.scratch[n.rel]
	if s == nil {
		return fault.New(fault.NotFound, "it is gone")
	}
	delete(st.scratch, n.rel)
	st.scratch[join(q.rel, name)] = s
	return nil
}

// renameSetting keeps the setting and puts a copy of its text under the new name. For the caller the setting is gone
// until it creates it again.
func (t *Tree) renameSetting(ctx context.Context, c Caller, p, n, q *node, name string, noReplace bool) error {
	if t.index[q.dir].files[name] != nil || t.index[q.dir].dirs[name] != nil {
		return fault.New(fault.Fixed, "both belong to the tree").WithHint("use cp")
	}
	if noReplace && t.findScratch(c, q, name) != nil {
		return fault.New(fault.Exists, "it exists")
	}
	if err := t.may(c, n, mayRead|mayWrite, "rename"); err != nil {
		return err
	}
	content, err := t.render(ctx, c, n)
	if err != nil {
		return err
	}
	if _, err := t.makeScratch(c, q, name, n.rights().mode, append([]byte(nil), content...)); err != nil {
		return err
	}
	n.obj.hide(c, n.rel)
	t.announce(Change{Parent: p.ino, Name: n.name}, Change{Parent: q.ino, Name: name})
	return nil
}

func (t *Tree) renameObject(ctx context.Context, c Caller, p, n, q *node, name string) error {
	if p != q {
		return errCross
	}
	rename := p.dir.Objects.Rename
	if rename == nil {
		return fault.New(fault.Fixed, "its name is for life")
	}
	if err := t.mayRemove(c, p, n, "rename"); err != nil {
		return err
	}
	if _, err := t.child(ctx, c, p, name); err == nil {
		return fault.New(fault.Exists, "%s exists", join(p.path(), name))
	}
	o := n.obj.get()
	r, done := t.request(ctx, c, p)
	defer done()
	err := t.act(r, func() error { return rename(r, o, name) })
	t.audit(c, "rename", n, name, err)
	if err != nil {
		return err
	}
	t.mu.Lock()
	if held := t.links[linkKey{n.obj.id, ""}]; held != nil {
		held.name = name
	}
	t.mu.Unlock()
	t.wrote(n)
	t.nameChanged(p, n.name)
	t.nameChanged(p, name)
	return nil
}
