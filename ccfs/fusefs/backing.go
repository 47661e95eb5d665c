package fusefs

import (
	"sync"
	"syscall"

	"github.com/hanwen/go-fuse/v2/fuse"
)

// backer is what go-fuse's server does with the kernel's backing files.
type backer interface {
	RegisterBackingFd(*fuse.BackingMap) (int32, syscall.Errno)
	UnregisterBackingFd(int32) syscall.Errno
}

// backings registers files for FUSE_PASSTHROUGH. All opens of a node at one time must name the same backing file
// (linux fs/fuse/iomode.c), so the first one's counts for all; a log that was cut gets a new node from the tree.
type backings struct {
	mu     sync.Mutex
	byNode map[uint64]*backing
	none   bool // the kernel cannot: do not ask again
}

type backing struct {
	id   int32
	uses int
}

func (b *backings) init() { b.byNode = map[uint64]*backing{} }

// open returns the backing id for a node whose handle has the descriptor fd, or false: then it is read through us.
func (b *backings) open(k backer, node uint64, fd int) (int32, bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if at := b.byNode[node]; at != nil {
		at.uses++
		return at.id, true
	}
	if fd < 0 || b.none {
		return 0, false
	}
	id, errno := k.RegisterBackingFd(&fuse.BackingMap{Fd: int32(fd)})
	if errno != 0 {
		// EPERM: not negotiated or no CAP_SYS_ADMIN, ENOTTY: older than Linux 6.9. Other errors are about this file.
		b.none = errno == syscall.EPERM || errno == syscall.ENOTTY
		return 0, false
	}
	b.byNode[node] = &backing{id: id, uses: 1}
	return id, true
}

func (b *backings) close(k backer, node uint64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	at := b.byNode[node]
	if at == nil {
		return
	}
	if at.uses--; at.uses == 0 {
		k.UnregisterBackingFd(at.id)
		delete(b.byNode, node)
	}
}
