package tree

import (
	"log/slog"
	"maps"
	"sync"
	"sync/atomic"
	"time"

	"github.com/containercloud/cc/fault"
	"github.com/containercloud/cc/object"
)

// Tree is one tree. New makes it, Close ends it.
type Tree struct {
	root     *node
	o        Options
	index    map[*Dir]*dirIndex // of every Dir that the table reaches; never changes
	pages    func() pages       // schema and manual, made once
	started  time.Time
	closed   chan struct{}
	once     sync.Once
	failures failures
	fixed    fixedRights
	watchers atomic.Pointer[[]func(Change)]
	scratch  atomic.Uint64 // numbers scratch files

	mu      sync.Mutex
	nodes   map[Ino]*node           // every node that a door holds
	objects map[object.ID]*objState // every object that has such nodes, scratch files, or a draft
	links   map[linkKey]*node       // nodes of objects by (object, path), for announcements
}

type linkKey struct {
	id  object.ID
	rel string
}

// New makes a tree of rows. It panics when the table is wrong (see Check): that is a mistake in the program.
func New(root *Dir, o Options) *Tree {
	if o.Log == nil {
		o.Log = slog.Default()
	}
	if o.Deadline == 0 {
		o.Deadline = 30 * time.Second
	}
	if err := Check(root); err != nil {
		panic(err)
	}
	t := &Tree{
		o:       o,
		index:   map[*Dir]*dirIndex{},
		started: time.Now(),
		closed:  make(chan struct{}),
		nodes:   map[Ino]*node{},
		objects: map[object.ID]*objState{},
		links:   map[linkKey]*node{},
	}
	given := maps.Clone(o.Rights)
	if given == nil {
		given = map[string]Rights{}
	}
	t.fixed.now.Store(&given)
	walk(root, func(_ string, d *Dir) { t.index[d] = newDirIndex(d) })
	t.pages = sync.OnceValue(func() pages { return pages{Schema(root), Manual(root)} })
	t.root = &node{t: t, ino: RootIno, kind: dirNode, dir: root, refs: 1}
	t.nodes[RootIno] = t.root
	return t
}

type pages struct {
	schema string
	manual map[string][]byte
}

// Close ends blocked reads; later ones fail. The domain is not touched.
func (t *Tree) Close() error {
	t.once.Do(func() { close(t.closed) })
	return nil
}

// node finds a node that a door holds.
func (t *Tree) node(ino Ino) (*node, error) {
	t.mu.Lock()
	n := t.nodes[ino]
	t.mu.Unlock()
	if n == nil {
		return nil, fault.New(fault.Stale, "file %x is not there any more", uint64(ino))
	}
	if n.obj.dead() {
		return nil, fault.New(fault.Stale, "%s is gone", n.path())
	}
	return n, nil
}

// hold puts a node that was just made from a row into the node table, or finds the one that is there, and counts
// one lookup.
func (t *Tree) hold(n *node) *node {
	t.mu.Lock()
	defer t.mu.Unlock()
	for salt := uint64(0); ; salt++ {
		ino := number(n.class(), n.id, n.rel, n.gen, salt)
		old := t.nodes[ino]
		if old == nil {
			n.ino = ino
			n.refs = 1
			t.nodes[ino] = n
			if n.obj != nil {
				n.obj.refs++
				t.links[linkKey{n.obj.id, n.rel}] = n
			}
			return n
		}
		if old.same(n) {
			old.refs++
			old.parent, old.name = n.parent, n.name
			if n.size > 0 { // of a log
				old.setSize(n.size)
			}
			return old
		}
	}
}

// Forget takes back n lookups of a node.
func (t *Tree) Forget(ino Ino, n uint64) {
	if ino == RootIno {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	x := t.nodes[ino]
	if x == nil {
		return
	}
	x.refs -= min(n, x.refs)
	if x.refs > 0 {
		return
	}
	delete(t.nodes, ino)
	if x.obj != nil {
		if key := (linkKey{x.obj.id, x.rel}); t.links[key] == x {
			delete(t.links, key)
		}
		t.unrefLocked(x.obj)
	}
}

func (t *Tree) unrefLocked(st *objState) {
	st.refs--
	if st.refs <= 0 && st.idle() && t.objects[st.id] == st {
		delete(t.objects, st.id)
	}
}

// Statfs answers what makes df and installers content.
func (t *Tree) Statfs() Statfs {
	const much = 1 << 30
	return Statfs{Blocks: much, Bfree: much, Bavail: much, Files: much, Ffree: much, Bsize: 4096, NameLen: 255}
}
