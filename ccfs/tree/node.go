package tree

import (
	"hash/maphash"
	"path"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

type nodeKind uint8

const (
	dirNode     nodeKind = iota // a Dir of the table, or an object's directory
	fileNode                    // a File
	linkNode                    // a symbolic link
	entryNode                   // a directory of an EntrySource
	scratchNode                 // a scratch file
	hostNode                    // anything below a Dir with Host
)

// node is a name of the tree that a door knows, or is just being asked for.
type node struct {
	t     *Tree
	ino   Ino
	kind  nodeKind
	id    string // what makes the number: the object's id, "" outside of objects
	rel   string // path in the object; outside of objects below the root
	gen   uint64 // of a log, a scratch file
	asked string // the name as it was looked up, for Match rows
	dir   *Dir   // dirNode; of an entryNode the Dir that has the source
	file  *File
	obj   *objState // the object it belongs to, nil outside
	link  string
	entry string // path in the EntrySource
	draft *scratch
	host  *node // of a hostNode: the Dir's node
	birth int64 // of a hostNode: when its file was made, since file systems use their numbers again

	// Guarded by Tree.mu.
	parent *node
	name   string
	refs   uint64

	shown atomic.Bool // a door keeps its attributes

	mu      sync.Mutex
	opens   []*Handle // open files, oldest first
	mode    uint32    // of a hostNode, with its type, and whose it is
	hostUID uint32
	hostGID uint32
	fresh   []byte               // rendered at the last lookup, for the open that follows
	freshAt time.Time            // zero when there is none
	freshOf asker                // whose lookup it was: content may depend on the caller
	size    uint64               // of the last content
	told    uint64               // size that a kernel heard last
	refused map[uint32]time.Time // whose open was refused because of that, and when
	sum     uint64
	mtime   time.Time
}

// freshFor is how long bytes rendered for a stat stand for the open that follows it: long enough for tar, whose
// open comes microseconds after its stat, and too short for anyone to see old content.
const freshFor = 50 * time.Millisecond

func (n *node) same(m *node) bool {
	return n.id == m.id && n.rel == m.rel && n.gen == m.gen && n.kind == m.kind && n.obj == m.obj && n.birth == m.birth
}

// class orders the names of a directory, for readdir and in the highest bits of inode numbers, by which cp sorts: a
// copier meets directories and settings before what it cannot write (docs/TREE.md, rule 16).
type class uint8

const (
	classDir class = iota + 1
	classSpec
	classSetting
	classAction // ctl and the like
	classState
	classOther
)

// number hashes an identity to an inode number (FNV-1a) of that class: above the root's, and below 1<<63, since
// doors use the rest.
func number(k class, id, rel string, gen, salt uint64) Ino {
	const prime = 1099511628211
	h := uint64(14695981039346656037)
	for i := range len(id) {
		h = (h ^ uint64(id[i])) * prime
	}
	h *= prime // a zero byte between the two
	for i := range len(rel) {
		h = (h ^ uint64(rel[i])) * prime
	}
	h = mix(h) ^ mix(gen+salt<<32)
	return Ino(k)<<60 | Ino(h>>4)
}

func (n *node) class() class {
	switch n.kind {
	case dirNode, entryNode:
		return classDir
	case fileNode:
		return n.file.class()
	}
	return classOther
}

// mix spreads FNV's weak high bits (the finalizer of MurmurHash3).
func mix(x uint64) uint64 {
	x ^= x >> 33
	x *= 0xff51afd7ed558ccd
	x ^= x >> 33
	x *= 0xc4ceb9fe1a85ec53
	return x ^ x>>33
}

// path is where the node is, below the root, as messages show it.
func (n *node) path() string {
	n.t.mu.Lock()
	defer n.t.mu.Unlock()
	return n.pathLocked()
}

func (n *node) pathLocked() string {
	p := n.name
	for q := n.parent; q != nil; q = q.parent {
		p = path.Join(q.name, p)
	}
	return p
}

// place returns the directory that holds the node and its name there.
func (n *node) place() (parent *node, name string) {
	n.t.mu.Lock()
	defer n.t.mu.Unlock()
	return n.parent, n.name
}

var seed = maphash.MakeSeed()

// rendered remembers bytes for the open that follows, and when content last changed.
func (n *node) rendered(c Caller, content []byte, now time.Time) {
	sum := maphash.Bytes(seed, content)
	n.mu.Lock()
	defer n.mu.Unlock()
	n.fresh, n.freshAt, n.freshOf = content, now, asker{c.UID, c.PID, c.Session}
	n.setSum(content, sum, now)
}

func (n *node) setSum(content []byte, sum uint64, now time.Time) {
	n.size = uint64(len(content))
	if n.mtime.IsZero() {
		n.mtime = n.born()
	} else if n.sum != sum {
		n.mtime = now
	}
	n.sum = sum
}

// noted is rendered without keeping the bytes: someone has them.
func (n *node) noted(content []byte, now time.Time) {
	sum := maphash.Bytes(seed, content)
	n.mu.Lock()
	n.setSum(content, sum, now)
	n.mu.Unlock()
}

func (n *node) setSize(size uint64) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.size = size
}

func (n *node) lastSize() uint64 {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.size
}

// take hands over the bytes that a stat rendered just now, if nothing changed since.
func (n *node) take(c Caller, now time.Time) (content []byte, ok bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.isFresh(c, now) {
		content, ok = n.fresh, true
	}
	n.fresh, n.freshAt = nil, time.Time{}
	return content, ok
}

// peek is take for another stat: the bytes stay.
func (n *node) peek(c Caller, now time.Time) (size int, ok bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	return len(n.fresh), n.isFresh(c, now)
}

func (n *node) isFresh(c Caller, now time.Time) bool {
	return !n.freshAt.IsZero() && now.Sub(n.freshAt) <= freshFor && n.freshOf == asker{c.UID, c.PID, c.Session}
}

// asker is who had content rendered.
type asker struct {
	uid, pid uint32
	session  string
}

// opened and closed keep the node's open files.
func (n *node) opened(h *Handle) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.opens = append(n.opens, h)
}

func (n *node) closed(h *Handle) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if i := slices.Index(n.opens, h); i >= 0 {
		n.opens = slices.Delete(n.opens, i, i+1)
	}
}

// lastOpen finds the newest open file for which want holds.
func (n *node) lastOpen(want func(*Handle) bool) *Handle {
	n.mu.Lock()
	opens := slices.Clone(n.opens) // want takes a handle's lock, which comes before the node's
	n.mu.Unlock()
	for _, h := range slices.Backward(opens) {
		if want(h) {
			return h
		}
	}
	return nil
}

// stale drops rendered bytes.
func (n *node) stale() {
	n.mu.Lock()
	n.fresh, n.freshAt = nil, time.Time{}
	n.mu.Unlock()
}

// born is the first known time of the node's content.
func (n *node) born() time.Time {
	if n.obj != nil {
		return n.obj.lastChange()
	}
	return n.t.started
}

// writable reports whether the row takes writes at all.
func (f *File) writable() bool {
	return f.Write != nil || f.Append != nil || len(f.Verbs) > 0 || f.Clone != nil ||
		f.Stream != nil && f.Mode&0o222 != 0
}

// setting reports whether the row is configuration: what unlink resets and copying carries over.
func (f *File) setting() bool { return f.Write != nil && f.Kind != Ctl && f.Kind != Stream }

// fileType is the S_IF bits of a node.
func (n *node) fileType() uint32 {
	switch n.kind {
	case dirNode, entryNode:
		return syscall.S_IFDIR
	case linkNode:
		return syscall.S_IFLNK
	case hostNode:
		n.mu.Lock()
		defer n.mu.Unlock()
		return n.mode & syscall.S_IFMT
	}
	return syscall.S_IFREG
}
