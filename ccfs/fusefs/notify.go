package fusefs

import (
	"sync"

	"golang.org/x/sys/unix"

	"github.com/containercloud/cc/ccfs/tree"
)

// Notification codes (linux/fuse.h, enum fuse_notify_code), sent with unique 0.
const (
	notifyInvalInode = 2
	notifyInvalEntry = 3
	expireOnly       = 1
)

// notifier tells the kernel what it must not believe any longer. It has two goroutines because the two notifications
// differ in what the kernel locks:
//
//	inode attributes   takes no lock that a request in progress could hold, so requests may wait for it (settle)
//	names              takes the directory's lock, which mkdir, unlink and lookup hold while they wait for us
//
// Nothing is sent from inside a request, and no request waits for a name. A name waits until no request in its directory
// is in progress: a thread that waits in the kernel for the directory's lock does not hear SIGKILL, and keeps a killed
// daemon's connection open, so that the request which has the lock is never answered. A request that we have not read
// yet can still do that; then the keeper aborts the connection.
type notifier struct {
	fd     int
	expire bool                        // the kernel can expire a name without looking as if it was deleted
	exists func(tree.Ino, string) bool // asks the tree for a name

	mu      sync.Mutex
	idle    sync.Cond // inodes is empty and none is being sent
	work    sync.Cond
	inodes  map[tree.Ino]struct{}
	names   map[tree.Ino]map[string]struct{} // by directory
	busy    map[tree.Ino]int                 // requests in progress by the directory whose lock they hold
	sending bool
	closed  bool
	ended   sync.WaitGroup
}

type name struct {
	parent tree.Ino
	name   string
}

func newNotifier(fd int, expire bool, exists func(tree.Ino, string) bool) *notifier {
	n := &notifier{
		fd: fd, expire: expire, exists: exists,
		inodes: map[tree.Ino]struct{}{}, names: map[tree.Ino]map[string]struct{}{}, busy: map[tree.Ino]int{},
	}
	n.idle.L, n.work.L = &n.mu, &n.mu
	n.ended.Add(2)
	go n.sendInodes()
	go n.sendNames()
	return n
}

// add queues a change. It returns at once.
func (n *notifier) add(c tree.Change) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.closed {
		return
	}
	if c.Ino != 0 {
		n.inodes[c.Ino] = struct{}{}
	}
	if c.Name != "" {
		if n.names[c.Parent] == nil {
			n.names[c.Parent] = map[string]struct{}{}
		}
		n.names[c.Parent][c.Name] = struct{}{}
	}
	n.work.Broadcast()
}

// enter says that a request works in directories, leave that it has been answered.
func (n *notifier) enter(dirs []tree.Ino) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, dir := range dirs {
		n.busy[dir]++
	}
}

func (n *notifier) leave(dirs []tree.Ino) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, dir := range dirs {
		if n.busy[dir]--; n.busy[dir] > 0 {
			continue
		}
		delete(n.busy, dir)
		if n.names[dir] != nil {
			n.work.Broadcast()
		}
	}
}

// settle waits until the kernel knows of every inode change queued so far, so that who made a change sees it at once
// in the attributes of every file.
func (n *notifier) settle() {
	n.mu.Lock()
	defer n.mu.Unlock()
	for (len(n.inodes) > 0 || n.sending) && !n.closed {
		n.idle.Wait()
	}
}

func (n *notifier) close() {
	n.mu.Lock()
	n.closed = true
	n.work.Broadcast()
	n.idle.Broadcast()
	n.mu.Unlock()
	n.ended.Wait()
}

func (n *notifier) sendInodes() {
	defer n.ended.Done()
	n.mu.Lock()
	defer n.mu.Unlock()
	for {
		for len(n.inodes) == 0 && !n.closed {
			n.work.Wait()
		}
		if n.closed {
			return
		}
		batch := n.inodes
		n.inodes, n.sending = map[tree.Ino]struct{}{}, true
		n.mu.Unlock()
		for ino := range batch {
			n.inode(uint64(ino))
		}
		n.mu.Lock()
		n.sending = false
		n.idle.Broadcast()
	}
}

func (n *notifier) sendNames() {
	defer n.ended.Done()
	n.mu.Lock()
	defer n.mu.Unlock()
	for {
		k, ok := n.nextLocked()
		for !ok && !n.closed {
			n.work.Wait()
			k, ok = n.nextLocked()
		}
		if n.closed {
			return
		}
		n.mu.Unlock()
		n.entry(uint64(k.parent), k.name, !n.exists(k.parent, k.name))
		n.mu.Lock()
	}
}

// nextLocked takes a name out of a directory in which no request is in progress.
func (n *notifier) nextLocked() (name, bool) {
	for dir, list := range n.names {
		if n.busy[dir] > 0 {
			continue
		}
		for k := range list {
			if delete(list, k); len(list) == 0 {
				delete(n.names, dir)
			}
			return name{dir, k}, true
		}
	}
	return name{}, false
}

// inode makes the kernel ask for a node's attributes again: fuse_out_header, fuse_notify_inval_inode_out. The negative
// offset leaves the page cache alone, so the kernel has nothing to write back and waits for nothing. Errors mean
// that the kernel does not know the node, or that the connection is ending.
func (n *notifier) inode(node uint64) {
	var b [16 + 24]byte
	notifyHeader(b[:], notifyInvalInode)
	le.PutUint64(b[16:], node)
	off := int64(-1)
	le.PutUint64(b[24:], uint64(off))
	unix.Write(n.fd, b[:])
}

// entry makes the kernel look a name up again: fuse_out_header, fuse_notify_inval_entry_out, the name and a NUL. A name
// that is gone is dropped with everything below it, which frees the kernel's memory and ours; inotify shows that as a
// deletion, rightly. Any other name is only expired.
func (n *notifier) entry(parent uint64, name string, gone bool) {
	b := make([]byte, 16+16+len(name)+1)
	notifyHeader(b, notifyInvalEntry)
	le.PutUint64(b[16:], parent)
	le.PutUint32(b[24:], uint32(len(name)))
	if n.expire && !gone {
		le.PutUint32(b[28:], expireOnly)
	}
	copy(b[32:], name)
	unix.Write(n.fd, b)
}

func notifyHeader(b []byte, code uint32) {
	le.PutUint32(b[0:], uint32(len(b)))
	le.PutUint32(b[4:], code)
	le.PutUint64(b[8:], 0)
}
