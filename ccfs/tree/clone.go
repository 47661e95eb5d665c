package tree

import (
	"context"

	"github.com/containercloud/cc/fault"
)

// openClone reserves a conversation. The handle is from now on the conversation's ctl, and reading it gives its name;
// the conversation ends when the last open file of it is closed.
func (t *Tree) openClone(ctx context.Context, h *Handle) (file, error) {
	dir, _ := h.node.place()
	if into := h.node.file.Into; into != "" {
		sub := t.index[dir.dir].dirs[into]
		if sub == nil {
			return nil, fault.New(fault.Internal, "no directory %s for conversations", into)
		}
		dir = dir.below(&node{kind: dirNode, dir: sub}, into)
	}
	coll := dir.dir.Objects
	if coll == nil {
		return nil, fault.New(fault.Internal, "%s holds no conversations", dir.path())
	}
	r, done := t.request(ctx, h.caller, h.node)
	defer done()
	var o Object
	err := t.act(r, func() (err error) {
		o, err = h.node.file.Clone(r)
		return err
	})
	t.audit(h.caller, "clone", h.node, "", err)
	if err != nil {
		return nil, err
	}
	id, name := identity(o)
	child := t.objectNode(dir, o, string(id), name)
	row := t.index[coll.Layout].files["ctl"]
	if row == nil || row.Kind != Ctl {
		return nil, fault.New(fault.Internal, "conversations in %s have no ctl", dir.path())
	}
	child.obj.mu.Lock()
	child.obj.release = func() { t.endConversation(dir, child) }
	child.obj.mu.Unlock()
	h.node = child.below(&node{kind: fileNode, file: row}, "ctl")
	t.nameChanged(dir, name)
	return openCtl(ctx, h, name+"\n")
}

// endConversation removes what nobody holds open any more. The domain may refuse, as for a session that was told
// to go on alone.
func (t *Tree) endConversation(dir, child *node) {
	coll := dir.dir.Objects
	if child.obj.dead() {
		return
	}
	r, done := t.request(context.Background(), Caller{Door: "cc"}, dir)
	defer done()
	if coll.Abandon != nil {
		_ = t.act(r, func() error {
			coll.Abandon(r, child.obj.get())
			return nil
		})
		return
	}
	remove := coll.Remove
	if remove == nil {
		return
	}
	err := t.act(r, func() error { return remove(r, child.obj.get()) })
	if err != nil {
		t.o.Log.Debug("a conversation goes on", "path", child.path(), "error", err)
		return
	}
	t.Removed(child.obj.id)
	t.nameChanged(dir, child.name)
}
