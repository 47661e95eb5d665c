package tree

import (
	"path"
	"strings"
	"time"

	"github.com/containercloud/cc/object"
)

// Watch calls f for every change of what a door may have cached, before the request that made the change returns. f
// must only queue: it may be called from any goroutine and under locks of the domain. It is called until the end.
func (t *Tree) Watch(f func(Change)) {
	for {
		old := t.watchers.Load()
		var list []func(Change)
		if old != nil {
			list = append(list, *old...)
		}
		list = append(list, f)
		if t.watchers.CompareAndSwap(old, &list) {
			return
		}
	}
}

func (t *Tree) announce(changes ...Change) {
	list := t.watchers.Load()
	if list == nil {
		return
	}
	for _, c := range changes {
		for _, f := range *list {
			f(c)
		}
	}
}

// Changed says that files of an object changed (paths in the object; none: any of them). It may be called from
// anywhere, returns at once, and wakes live/status and wait/ readers.
func (t *Tree) Changed(id object.ID, files ...string) {
	t.mu.Lock()
	st := t.objects[id]
	var changed []*node
	if st != nil {
		if len(files) == 0 {
			changed = t.nodesLocked(st)
		}
		for _, f := range files {
			if n := t.links[linkKey{id, f}]; n != nil {
				changed = append(changed, n)
			}
		}
	}
	t.mu.Unlock()
	if st == nil {
		return
	}
	t.forgetContent(changed)
	st.touch(time.Now())
}

// nodesLocked lists the nodes of an object that doors hold: those the kernel looked up, found by the rows of its
// layout, since an object has no list of them.
func (t *Tree) nodesLocked(st *objState) []*node {
	coll := st.collection()
	var list []*node
	add := func(rel string) {
		if n := t.links[linkKey{st.id, rel}]; n != nil {
			list = append(list, n)
		}
	}
	add("")
	for _, rel := range t.index[coll.Layout].paths {
		add(rel)
	}
	return list
}

// forgetContent drops rendered bytes, and tells doors about attributes that they keep.
func (t *Tree) forgetContent(nodes []*node) {
	for _, n := range nodes {
		n.stale()
		if n.shown.Swap(false) {
			t.announce(Change{Ino: n.ino})
		}
	}
}

// ChangedNames says that a name came, went or means something else in a directory, given by its path below the root:
// "container", or in an object "container/web/exec".
func (t *Tree) ChangedNames(dir, name string) {
	t.mu.Lock()
	n := t.heldLocked(strings.Trim(path.Clean("/"+dir), "/"))
	t.mu.Unlock()
	if n != nil {
		t.nameChanged(n, name)
	}
}

func (t *Tree) nameChanged(dir *node, name string) {
	t.forgetContent([]*node{dir})
	t.announce(Change{Ino: dir.ino}, Change{Parent: dir.ino, Name: name})
}

// heldLocked finds a directory by path without asking any row: nil when no door holds it. It knows the fixed part
// of the tree and the objects in it.
func (t *Tree) heldLocked(p string) *node {
	if p == "" {
		return t.root
	}
	if n := t.nodes[number(classDir, "", p, 0, 0)]; n != nil && n.id == "" && n.rel == p {
		return n
	}
	for i := 0; i < len(p); i++ {
		if p[i] != '/' {
			continue
		}
		dir := t.heldLocked(p[:i])
		if dir == nil || dir.dir == nil || dir.dir.Objects == nil {
			continue
		}
		name, rel, _ := strings.Cut(p[i+1:], "/")
		for id := range t.objects {
			if n := t.links[linkKey{id, ""}]; n != nil && n.parent == dir && n.name == name {
				return t.links[linkKey{id, rel}]
			}
		}
	}
	return nil
}

// Removed says that an object is gone: its open streams end, and its files are stale.
func (t *Tree) Removed(id object.ID) {
	t.mu.Lock()
	st := t.objects[id]
	if st != nil {
		delete(t.objects, id)
	}
	t.mu.Unlock()
	if st == nil {
		return
	}
	st.gone.Store(true)
	st.mu.Lock()
	st.scratch, st.draft, st.absent, st.made = nil, nil, nil, time.Time{}
	st.mu.Unlock()
	st.touch(time.Now())
}
