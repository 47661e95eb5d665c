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
// Nothing is sent from inside a request, and no request waits for a name.
type notifier struct {
	fd     int
	expire bool                        // the kernel can expire a name without looking as if it was deleted
	exists func(tree.Ino, string) bool // asks the tree for a name

	mu      sync.Mutex
	idle    sync.Cond // inodes is empty and none is being sent
	work    sync.Cond
	inodes  map[tree.Ino]struct{}
	names   map[name]struct{}
	sending bool
	closed  bool
	ended   sync.WaitGroup
}

type name struct {
	parent tree.Ino
	name   string
}

func newNotifier(fd int, expire bool, exists func(tree.Ino, string) bool) *notifier {
	n := &notifier{fd: fd, expire: expire, exists: exists, inodes: map[tree.Ino]struct{}{}, names: map[name]struct{}{}}
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
		n.names[name{c.Parent, c.Name}] = struct{}{}
	}
	n.work.Broadcast()
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
		for len(n.names) == 0 && !n.closed {
			n.work.Wait()
		}
		if n.closed {
			return
		}
		batch := n.names
		n.names = map[name]struct{}{}
		n.mu.Unlock()
		for k := range batch {
			n.entry(uint64(k.parent), k.name, !n.exists(k.parent, k.name))
		}
		n.mu.Lock()
	}
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
