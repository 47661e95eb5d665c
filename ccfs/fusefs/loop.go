package fusefs

import (
	"encoding/binary"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/hanwen/go-fuse/v2/fuse"
	"golang.org/x/sys/unix"

	"github.com/containercloud/cc/ccfs/tree"
)

var le = binary.NativeEndian

// Layouts of linux/fuse.h.
const (
	inHeaderSize  = 40 // struct fuse_in_header: len, opcode, unique, nodeid ...
	outHeaderSize = 16 // struct fuse_out_header: len, error, unique
	readSizeAt    = inHeaderSize + 16
	newDirAt      = inHeaderSize // struct fuse_rename_in, fuse_rename2_in
	readFlagsAt   = inHeaderSize + 20
	opRead        = 15
	opInterrupt   = 36
)

// Operations during which the kernel holds the lock of the directory that they name (Documentation/filesystems/locking).
const (
	opLookup      = 1
	opSymlink     = 6
	opMknod       = 8
	opMkdir       = 9
	opUnlink      = 10
	opRmdir       = 11
	opRename      = 12
	opLink        = 13
	opReadDir     = 28
	opCreate      = 35
	opReadDirPlus = 44
	opRename2     = 45
)

// tryRead is a flag of ours among a read's flags: it must not block.
const tryRead = 1 << 31

// streamSize is the most that one read of a stream gets. Many of them wait at a time, each with its buffer.
const streamSize = 64 << 10

// loop reads requests from the connection and answers them. One goroutine at a time, the leader, reads, and it works on
// what it read itself:
//
//	waiting --request--> working --answer--> waiting
//	                        |
//	                        +-- yield: another leader starts; this one ends with its answer
//
// The work yields when it may take long (ctl and stream writes, mkdir ...), and the watch makes it yield when it does take
// long. The read of a stream that must wait is parked. So a fast operation costs two system calls and no wake-up of
// another thread. go-fuse's own loop has two or more readers wait, and the RELEASE of one open wakes a second thread while
// the first answers the next open: 31 us instead of 20 for open, read and close on two processors (BenchmarkStateFile).
type loop struct {
	fd       int
	protocol *fuse.ProtocolServer
	door     *door
	requests *registry
	buffers  sync.Pool

	leading  atomic.Uint64 // the request that the leader works on; 0 while it waits
	watching atomic.Bool
	busy     sync.WaitGroup // leaders and stream readers
}

func newLoop(fd int, d *door, g *registry, o *fuse.MountOptions) *loop {
	l := &loop{fd: fd, protocol: fuse.NewProtocolServer(d, o), door: d, requests: g}
	l.buffers.New = newBuffers
	return l
}

// init answers the connection's first request and returns what the kernel can do.
func (l *loop) init() (capabilities uint64, err error) {
	b := l.buffers.Get().(*buffers)
	defer l.buffers.Put(b)
	n, err := l.read(b.in)
	if err != nil {
		return 0, err
	}
	init := fuse.InitIn{Flags: le.Uint32(b.in[inHeaderSize+12:])}
	if n >= inHeaderSize+20 {
		init.Flags2 = le.Uint32(b.in[inHeaderSize+16:])
	}
	l.answer(b.in[:n], b.out)
	return init.Flags64(), nil
}

// run answers requests until the connection has ended and everything that was begun too.
func (l *loop) run() {
	l.busy.Add(1)
	go l.lead()
	l.busy.Wait()
}

// read gets one request. EINTR and ENOENT (the request was withdrawn meanwhile) mean: again.
func (l *loop) read(p []byte) (int, error) {
	for {
		n, err := unix.Read(l.fd, p)
		switch {
		case err == unix.EINTR, err == unix.EAGAIN, err == unix.ENOENT:
		case err != nil:
			return 0, err
		case n < inHeaderSize:
			return 0, unix.EIO
		default:
			return n, nil
		}
	}
}

// lead is the leader. It ends with the connection, or when its work has yielded.
func (l *loop) lead() {
	defer l.busy.Done()
	b := l.buffers.Get().(*buffers)
	defer l.buffers.Put(b)
	for {
		n, err := l.read(b.in)
		if err != nil {
			l.requests.cancel()
			return
		}
		request := b.in[:n]
		switch unique := le.Uint64(request[8:]); {
		case le.Uint32(request[4:]) == opInterrupt:
			l.interrupt(request)
		default:
			l.leading.Store(unique)
			if !l.watching.Load() {
				l.watch()
			}
			if !l.waits(request) {
				l.answer(request, b.out)
			} else if !l.attempt(request, b.out) {
				l.park(request)
			}
			if !l.leading.CompareAndSwap(unique, 0) {
				return
			}
		}
	}
}

// yield lets another leader start, if the request is the present leader's.
func (l *loop) yield(unique uint64) {
	if l.leading.CompareAndSwap(unique, 0) {
		l.busy.Add(1)
		go l.lead()
	}
}

// answer works on a request and sends the answer. A connection that has ended takes none.
func (l *loop) answer(request, out []byte) {
	var space [2]tree.Ino
	if dirs := l.locked(request, space[:0]); len(dirs) > 0 {
		l.door.session.notifier.enter(dirs)
		defer l.door.session.notifier.leave(dirs)
	}
	in, outs := [1][]byte{request}, [1][]byte{out}
	n, _ := l.protocol.HandleRequest(in[:], outs[:])
	if n > 0 {
		l.send(out[:n])
	}
}

// locked appends the directories that the kernel keeps locked until the request is answered.
func (l *loop) locked(request []byte, dirs []tree.Ino) []tree.Ino {
	switch le.Uint32(request[4:]) {
	case opRename, opRename2:
		if len(request) >= newDirAt+8 {
			dirs = append(dirs, l.door.lookups.ino(le.Uint64(request[newDirAt:])))
		}
	case opLookup, opSymlink, opMknod, opMkdir, opUnlink, opRmdir, opLink, opReadDir, opCreate, opReadDirPlus:
	default:
		return dirs
	}
	return append(dirs, l.door.lookups.ino(le.Uint64(request[16:])))
}

// send writes an answer in one piece, which is how the device wants it.
func (l *loop) send(p []byte) {
	for {
		if _, err := unix.Write(l.fd, p); err != unix.EINTR {
			return // ENOENT: answered already; ENODEV: nobody is there
		}
	}
}

// refuse answers a request with an errno.
func (l *loop) refuse(unique uint64, errno syscall.Errno) {
	var b [outHeaderSize]byte
	le.PutUint32(b[0:], outHeaderSize)
	le.PutUint32(b[4:], uint32(-int32(errno)))
	le.PutUint64(b[8:], unique)
	l.send(b[:])
}

// waits reports whether a request is the read of a stream.
func (l *loop) waits(request []byte) bool {
	if le.Uint32(request[4:]) != opRead || len(request) < readFlagsAt+4 {
		return false
	}
	f, ok := l.door.files.get(le.Uint64(request[inHeaderSize:]))
	return ok && f.stream
}

// attempt answers the read of a stream that has something to say or has ended; false: the reader must wait.
func (l *loop) attempt(request, out []byte) bool {
	le.PutUint32(request[readSizeAt:], min(le.Uint32(request[readSizeAt:]), streamSize))
	flags := le.Uint32(request[readFlagsAt:])
	le.PutUint32(request[readFlagsAt:], flags|tryRead)
	in, outs := [1][]byte{request}, [1][]byte{out}
	n, _ := l.protocol.HandleRequest(in[:], outs[:])
	if n == outHeaderSize && int32(le.Uint32(out[4:])) == -int32(syscall.EAGAIN) {
		le.PutUint32(request[readFlagsAt:], flags)
		return false
	}
	if n > 0 {
		l.send(out[:n])
	}
	return true
}

// park works on the read of a stream in a goroutine of its own, with a buffer that fits.
func (l *loop) park(request []byte) {
	request = append([]byte(nil), request...)
	size := le.Uint32(request[readSizeAt:])
	l.busy.Add(1)
	go func() {
		defer l.busy.Done()
		l.answer(request, make([]byte, outHeaderSize+size))
	}()
}

// interrupt tells a request that its caller got a signal. One that is not known has been answered, or will be
// registered in a moment: EAGAIN makes the kernel try again as long as there is somebody to interrupt.
func (l *loop) interrupt(request []byte) {
	if len(request) < inHeaderSize+8 {
		return
	}
	if !l.requests.interrupt(le.Uint64(request[inHeaderSize:])) {
		l.refuse(le.Uint64(request[8:]), syscall.EAGAIN)
	}
}

const (
	patience = 5 * time.Millisecond // how long the leader may work before another one starts
	idle     = 10                   // looks after which the watch ends when there is no work
)

// watch starts the goroutine that makes slow work yield. It lives only while there are requests.
func (l *loop) watch() {
	if l.watching.CompareAndSwap(false, true) {
		l.busy.Add(1)
		go l.watchLeader()
	}
}

func (l *loop) watchLeader() {
	defer l.busy.Done()
	t := time.NewTicker(patience)
	defer t.Stop()
	var last uint64
	for quiet := 0; quiet < idle; quiet++ {
		<-t.C
		now := l.leading.Load()
		switch {
		case now == 0:
		case now == last:
			l.yield(now)
			quiet = 0
		default:
			quiet = 0
		}
		last = now
	}
	l.watching.Store(false)
	if l.leading.Load() != 0 {
		l.watch()
	}
}
