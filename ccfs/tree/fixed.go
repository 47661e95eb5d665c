package tree

import (
	"context"
	"maps"
	"sync"
	"sync/atomic"

	"github.com/containercloud/cc/fault"
)

// Rights are whose a fixed file or directory is and who may do what: what belongs to the tree itself and to no object, such as
// container/ and container/ctl. The zero value is root's, with the mode of the row.
type Rights struct {
	UID  uint32  `json:"uid,omitempty"`
	GID  uint32  `json:"gid,omitempty"`
	Mode *uint32 `json:"mode,omitempty"` // nil: the row's, also when another version has another one
}

// fixedRights are the Rights that root changed, by modeKey.
type fixedRights struct {
	change sync.Mutex                        // one change at a time; held while it is made durable
	now    atomic.Pointer[map[string]Rights] // what it points to is never changed
}

// fixed reports whether the node is one whose Rights root may change. What an EntrySource makes is not: there may be any number.
func (n *node) fixed() bool {
	switch {
	case n.obj != nil:
		return false
	case n.kind == fileNode:
		_, name := n.place()
		return n.t.index[n.dirOf()].files[name] == n.file
	}
	return n.kind == dirNode
}

// setFixed is chmod and chown of a fixed node: for root only, also when root gave it to somebody.
func (t *Tree) setFixed(ctx context.Context, c Caller, n *node, s SetAttr) error {
	if !n.fixed() {
		return fault.New(fault.Fixed, "its owner and mode belong to the daemon")
	}
	if !c.Root() {
		return fault.New(fault.Fixed, "only root may")
	}
	now, row := n.rights(), n.rowMode()
	r, done := t.request(ctx, c, n)
	defer done()
	err := t.act(r, func() error {
		t.fixed.change.Lock()
		defer t.fixed.change.Unlock()
		next := maps.Clone(*t.fixed.now.Load())
		next[n.modeKey()] = s.applyFixed(next[n.modeKey()], row, n.kind == dirNode)
		maps.DeleteFunc(next, func(_ string, r Rights) bool { return r == Rights{} })
		if t.o.KeepRights != nil {
			if err := t.o.KeepRights(r, next); err != nil {
				return err
			}
		}
		t.fixed.now.Store(&next)
		return nil
	})
	if err == nil {
		t.rightsChanged(n, now, s)
	}
	return err
}

func (s SetAttr) applyFixed(r Rights, row uint32, dir bool) Rights {
	if s.UID != nil {
		r.UID = *s.UID
	}
	if s.GID != nil {
		r.GID = *s.GID
	}
	if s.Mode != nil {
		mode := permissions(*s.Mode, dir)
		r.Mode = &mode
	}
	if r.Mode != nil && *r.Mode == row {
		r.Mode = nil
	}
	return r
}
