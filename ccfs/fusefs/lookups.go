package fusefs

import (
	"sync"

	"github.com/containercloud/cc/ccfs/tree"
)

// privateBit marks node numbers that are not inodes of the tree but further kernel inodes of one.
const privateBit = 1 << 63

// lookups counts, per node, how often the kernel was told of it, to give that back when the connection ends. It also
// deals out private nodes:
//
// The kernel holds an inode's lock over a write and wants it for an open with O_TRUNC. While one shell waits in
// `echo 'start wait=60s' > ctl`, another one's `echo kill > ctl` would hang, beyond the reach of any signal. So a
// ctl or stream file that is open for writing gets another kernel inode at the next lookup. Programs see the same st_ino.
type lookups struct {
	mu      sync.Mutex
	count   map[uint64]uint64
	private map[uint64]tree.Ino // further node -> inode
	waits   map[uint64]struct{} // nodes whose writers may wait
	writers map[uint64]int      // nodes that are open for writing
	next    uint64
}

func (l *lookups) init() {
	l.count = map[uint64]uint64{}
	l.private = map[uint64]tree.Ino{}
	l.waits = map[uint64]struct{}{}
	l.writers = map[uint64]int{}
}

// add counts a lookup and returns the node that stands for the inode.
func (l *lookups) add(a tree.Attr) uint64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	node := uint64(a.Ino)
	if a.Private && l.writers[node] > 0 {
		l.next++
		node = privateBit | l.next
		l.private[node] = a.Ino
	}
	if a.Private {
		l.waits[node] = struct{}{}
	}
	l.count[node]++
	return node
}

// mayWait reports whether a write to the node may take as long as its writer wants.
func (l *lookups) mayWait(node uint64) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	_, ok := l.waits[node]
	return ok
}

// ino is the inode behind a node.
func (l *lookups) ino(node uint64) tree.Ino {
	if node&privateBit == 0 {
		return tree.Ino(node)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.private[node]
}

// forget takes n lookups back and returns the inode they were of.
func (l *lookups) forget(node, n uint64) tree.Ino {
	l.mu.Lock()
	defer l.mu.Unlock()
	ino := tree.Ino(node)
	if node&privateBit != 0 {
		ino = l.private[node]
	}
	if l.count[node] > n {
		l.count[node] -= n
		return ino
	}
	delete(l.count, node)
	delete(l.private, node)
	delete(l.waits, node)
	return ino
}

func (l *lookups) opened(node uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.writers[node]++
}

func (l *lookups) closed(node uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.writers[node]--; l.writers[node] <= 0 {
		delete(l.writers, node)
	}
}

// drain calls forget for every lookup that is left.
func (l *lookups) drain(forget func(tree.Ino, uint64)) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for node, n := range l.count {
		ino := tree.Ino(node)
		if node&privateBit != 0 {
			ino = l.private[node]
		}
		forget(ino, n)
	}
	clear(l.count)
	clear(l.private)
}
