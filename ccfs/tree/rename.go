package tree

import (
	"context"
	"syscall"

	"github.com/containercloud/cc/fault"
)

// Rename over a setting commits a scratch file's text (docs/TREE.md, rule 13); of a setting to a new name it makes a copy
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
	t.failures.found(c, join(q.path(), newName))
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
	n.obj.reveal(c, to.rel, true)
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
	if err := t.checkScratch(q, name, true); err != nil {
		return err
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
	if err := t.checkScratch(q, name, true); err != nil {
		return err
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
