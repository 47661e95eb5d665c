package tree

import (
	"context"
	"slices"
	"syscall"
	"time"

	"github.com/containercloud/cc/fault"
)

// Permission bits as access(2) has them.
const (
	mayRead    uint32 = 4
	mayWrite   uint32 = 2
	mayExecute uint32 = 1
)

// rights are whose a node is and who may do what, and since when there is such a node.
type rights struct {
	uid, gid, mode uint32
	born           time.Time
}

// allow answers by owner, group and other bits, as every Unix does; root passes.
func (r rights) allow(c Caller, want uint32) bool {
	switch {
	case c.Root():
		return true
	case c.UID == r.uid:
		return r.mode>>6&want == want
	case c.in(r.gid):
		return r.mode>>3&want == want
	}
	return r.mode&want == want
}

// in reports whether the caller belongs to a group.
func (c Caller) in(gid uint32) bool {
	return c.GID == gid || c.Groups != nil && slices.Contains(c.Groups(), gid)
}

// rights computes a node's from its row, and from its object's Meta or the fixed ones' Rights where chmod and chown changed that.
func (n *node) rights() rights {
	switch n.kind {
	case scratchNode:
		return n.draft.rights()
	case hostNode:
		return n.hostRights()
	}
	r := rights{mode: n.rowMode(), born: n.t.started}
	if n.obj == nil {
		f := (*n.t.fixed.now.Load())[n.modeKey()]
		r.uid, r.gid = f.UID, f.GID
		if f.Mode != nil {
			r.mode = *f.Mode
		}
	} else {
		m := n.obj.get().Meta()
		r.uid, r.gid, r.born = m.UID, m.GID, m.Created
		if mode, ok := m.Modes[n.modeKey()]; ok {
			r.mode = mode
		}
	}
	return r
}

// modeKey is the node's name in Meta.Modes.
func (n *node) modeKey() string {
	if n.rel == "" {
		return "."
	}
	return n.rel
}

func (n *node) rowMode() uint32 {
	switch n.kind {
	case fileNode:
		return n.file.Mode
	case linkNode:
		return 0o777
	case entryNode:
		return 0o755
	}
	if n.dir.Mode == 0 {
		return 0o755
	}
	return n.dir.Mode
}

// may checks that the caller may use the node so, and may pass every directory above it: a door's cache of names lets
// callers come this far unchecked.
func (t *Tree) may(c Caller, n *node, want uint32, verb string) error {
	if c.Root() {
		return nil
	}
	for dir, _ := n.place(); dir != nil; dir, _ = dir.place() {
		if !dir.allow(c, mayExecute) {
			return denied(verb, n, dir)
		}
	}
	if !n.allow(c, want) {
		return denied(verb, n, n)
	}
	return nil
}

func denied(verb string, n, by *node) error {
	r := by.rights()
	return fault.New(fault.Denied, "cannot %s %s: its mode does not let you", verb, n.path()).
		WithHint("%s has mode %04o, owner %d:%d", orRoot(by.path()), r.mode&0o7777, r.uid, r.gid)
}

func orRoot(p string) string {
	if p == "" {
		return "the root"
	}
	return p
}

// allow is rights.allow. Below a host directory the ids are a container's and mean nothing on this side: the object's
// owner may do everything, others what everybody may.
func (n *node) allow(c Caller, want uint32) bool {
	if n.kind != hostNode {
		return n.rights().allow(c, want)
	}
	return n.owns(c) || n.rights().mode&want == want
}

// owns reports whether the caller may change the node's rights.
func (n *node) owns(c Caller) bool {
	if n.kind == hostNode {
		return n.host.owns(c)
	}
	return c.Root() || c.UID == n.rights().uid
}

// mayRemove is the sticky bit: in a directory that has it, only owners remove and rename.
func (t *Tree) mayRemove(c Caller, dir, n *node, verb string) error {
	if err := t.may(c, dir, mayWrite|mayExecute, verb+" names in"); err != nil {
		return err
	}
	if r := dir.rights(); r.mode&0o1000 != 0 && !n.owns(c) && c.UID != r.uid {
		return fault.New(fault.Denied, "cannot %s %s: it is not yours", verb, n.path())
	}
	return nil
}

// MayRemove is for verbs that take the request's object away or give it another name: a right on its ctl is none to that. Its owner
// may, and who may remove names in its directory.
func (r *Request) MayRemove(verb string) error {
	o, _ := r.node.place()
	if o.owns(r.Caller) {
		return nil
	}
	dir, _ := o.place()
	return r.node.t.mayRemove(r.Caller, dir, o, verb)
}

// Access checks R_OK, W_OK and X_OK bits.
func (t *Tree) Access(ctx context.Context, c Caller, ino Ino, mask uint32) error {
	n, err := t.node(ino)
	if err != nil {
		return err
	}
	if mask&mayExecute != 0 && n.fileType() == syscall.S_IFREG && n.rights().mode&0o111 == 0 {
		return denied("execute", n, n) // for root too
	}
	return t.may(c, n, mask&7, "access")
}
