package fusefs

import (
	"sync"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// backings registers files for FUSE_PASSTHROUGH. All opens of a node at one time must name the same backing file
// (linux fs/fuse/iomode.c), so the first one's counts for all; a log that was cut gets a new node from the tree.
type backings struct {
	kernel backer

	mu     sync.Mutex
	byNode map[uint64]*backing
	none   bool // the kernel cannot: do not ask
}

// backer is what a connection does with backing files.
type backer interface {
	register(fd int) (int32, syscall.Errno)
	unregister(id int32)
}

type backing struct {
	id   int32
	uses int
}

func (b *backings) init(k backer) {
	b.kernel = k
	b.byNode = map[uint64]*backing{}
}

// open returns the backing id for a node whose handle has the descriptor fd, or false: then it is read through us.
func (b *backings) open(node uint64, fd int) (int32, bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if at := b.byNode[node]; at != nil {
		at.uses++
		return at.id, true
	}
	if fd < 0 || b.none {
		return 0, false
	}
	id, errno := b.kernel.register(fd)
	if errno != 0 {
		// EPERM: no CAP_SYS_ADMIN, ENOTTY: older than Linux 6.9. Other errors are about this file.
		b.none = errno == syscall.EPERM || errno == syscall.ENOTTY
		return 0, false
	}
	b.byNode[node] = &backing{id: id, uses: 1}
	return id, true
}

func (b *backings) close(node uint64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	at := b.byNode[node]
	if at == nil {
		return
	}
	if at.uses--; at.uses == 0 {
		b.kernel.unregister(at.id)
		delete(b.byNode, node)
	}
}

// FUSE_DEV_IOC_BACKING_OPEN and _CLOSE (linux/fuse.h).
const (
	backingOpen  = 0x4010e501
	backingClose = 0x4004e502
)

// backingMap is struct fuse_backing_map.
type backingMap struct {
	fd      int32
	flags   uint32
	padding uint64
}

// deviceFD is the connection's descriptor as a backer.
type deviceFD int

func (d deviceFD) register(fd int) (int32, syscall.Errno) {
	m := backingMap{fd: int32(fd)}
	id, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(d), backingOpen, uintptr(unsafe.Pointer(&m)))
	return int32(id), errno
}

func (d deviceFD) unregister(id int32) {
	unix.Syscall(unix.SYS_IOCTL, uintptr(d), backingClose, uintptr(unsafe.Pointer(&id)))
}
