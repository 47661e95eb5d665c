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

// ChangedNames says that a name came, went or means something else in a directory, given by its path below the root
// ("container"). Directories in objects ("container/web/exec") are found as long as a door holds them.
func (t *Tree) ChangedNames(dir, name string) {
	if n := t.held(dir); n != nil {
		n.stale()
		n.shown.Store(false)
		t.announce(Change{Ino: n.ino}, Change{Parent: n.ino, Name: name})
	}
}

// held finds a node by path without asking any row: nil when no door holds it.
func (t *Tree) held(p string) *node {
	p = strings.Trim(path.Clean("/"+p), "/")
	if p == "" {
		return t.root
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if n := t.nodes[number("", p, 0, 0)]; n != nil && n.id == "" && n.rel == p {
		return n
	}
	for _, n := range t.nodes {
		if n.kind == dirNode && n.pathLocked() == p {
			return n
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
