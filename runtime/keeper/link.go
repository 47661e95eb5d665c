package keeper

import (
	"context"
	"errors"
	"net"
	"os"
	"sync"

	"golang.org/x/sys/unix"

	"github.com/containercloud/cc/fault"
	"github.com/containercloud/cc/runtime/keeper/wire"
)

// errLost is the end of a connection, whoever ended it.
var errLost = errors.New("connection to the keeper lost")

// link is one connection to one keeper.
type link struct {
	conn *net.UnixConn
	exit func(*link, wire.Exit)
	gone chan struct{} // closed when the connection has ended

	mu      sync.Mutex
	seq     uint32
	waiting map[uint32]chan reply // nil after the end
}

type reply struct {
	failed bool
	body   []byte
	files  []int
}

func newLink(conn *net.UnixConn, exit func(*link, wire.Exit)) *link {
	l := &link{conn: conn, exit: exit, gone: make(chan struct{}), waiting: map[uint32]chan reply{}}
	go l.read()
	return l
}

func (l *link) close() { l.conn.Close() }

// call sends a request and waits for its answer. A failure is a fault that names the errno the keeper gave.
func (l *link) call(ctx context.Context, op wire.Op, body []byte, files ...int) ([]byte, []int, error) {
	seq, answer, err := l.enlist()
	if err != nil {
		return nil, nil, err
	}
	if err := l.send(wire.Header{Op: op, Seq: seq}, body, files); err != nil {
		l.unlist(seq)
		return nil, nil, err
	}
	select {
	case r, ok := <-answer:
		if !ok {
			return nil, nil, errLost
		}
		if r.failed {
			wire.Close(r.files)
			return nil, nil, failure(r.body)
		}
		return r.body, r.files, nil
	case <-ctx.Done():
		if !l.unlist(seq) { // it came just now
			if r, ok := <-answer; ok {
				wire.Close(r.files)
			}
		}
		return nil, nil, ctx.Err()
	}
}

func (l *link) enlist() (uint32, chan reply, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.waiting == nil {
		return 0, nil, errLost
	}
	for l.seq++; l.seq == 0 || l.waiting[l.seq] != nil; l.seq++ {
	}
	c := make(chan reply, 1)
	l.waiting[l.seq] = c
	return l.seq, c, nil
}

func (l *link) unlist(seq uint32) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	_, ok := l.waiting[seq]
	delete(l.waiting, seq)
	return ok
}

func (l *link) send(h wire.Header, body []byte, files []int) error {
	p, err := wire.Packet(h, body)
	if err != nil || len(files) > wire.MaxFiles {
		return fault.New(fault.TooLong, "message to the keeper too long")
	}
	var oob []byte
	if len(files) > 0 {
		oob = unix.UnixRights(files...)
	}
	if _, _, err := l.conn.WriteMsgUnix(p, oob, nil); err != nil {
		l.conn.Close()
		return errLost
	}
	return nil
}

func (l *link) read() {
	defer l.end()
	p := make([]byte, wire.MaxPacket+1)
	oob := make([]byte, unix.CmsgSpace(4*wire.MaxFiles))
	for {
		n, on, flags, _, err := l.conn.ReadMsgUnix(p, oob)
		if err != nil || n == 0 {
			return
		}
		files, err := received(oob[:on])
		if err != nil || flags&(unix.MSG_TRUNC|unix.MSG_CTRUNC) != 0 || !l.deliver(p[:n], files) {
			wire.Close(files)
			return
		}
	}
}

// deliver hands a packet on; false means that the other end does not speak our language.
func (l *link) deliver(p []byte, files []int) bool {
	h, body, err := wire.Split(p)
	if err != nil {
		return false
	}
	if h.Op == wire.OpExit && h.Seq == 0 {
		e, err := wire.DecodeExit(body)
		if err == nil {
			l.exit(l, e)
		}
		wire.Close(files)
		return err == nil
	}
	l.mu.Lock()
	c := l.waiting[h.Seq]
	delete(l.waiting, h.Seq)
	l.mu.Unlock()
	if c == nil {
		wire.Close(files)
		return true // given up by its caller
	}
	c <- reply{h.Flags&wire.Failed != 0, append([]byte(nil), body...), files}
	return true
}

func (l *link) end() {
	l.conn.Close()
	l.mu.Lock()
	waiting := l.waiting
	l.waiting = nil
	l.mu.Unlock()
	for _, c := range waiting {
		close(c)
	}
	close(l.gone)
}

func received(oob []byte) (files []int, err error) {
	if len(oob) == 0 {
		return nil, nil
	}
	list, err := unix.ParseSocketControlMessage(oob)
	if err != nil {
		return nil, err
	}
	for i := range list {
		fds, err := unix.ParseUnixRights(&list[i])
		if err != nil {
			return files, err
		}
		files = append(files, fds...)
	}
	return files, nil
}

func failure(body []byte) error {
	f, err := wire.DecodeFailure(body)
	if err != nil {
		return fault.New(fault.Internal, "the keeper answered: %w", err)
	}
	switch no := unix.Errno(f.Errno); no {
	case unix.ESRCH:
		return fault.New(fault.NotFound, "the process has ended: %w", no)
	case unix.ENOENT:
		return fault.New(fault.NotFound, "the keeper knows no such id: %w", no)
	case unix.ESHUTDOWN:
		return fault.New(fault.Busy, "the keeper is shutting down: %w", no)
	default:
		return fault.Wrap(no, "%s", "the keeper answered")
	}
}

// dup duplicates a file without changing how the original blocks, which File.Fd would; -1 for none.
func dup(f *os.File) (int, error) {
	if f == nil {
		return -1, nil
	}
	c, err := f.SyscallConn()
	if err != nil {
		return -1, err
	}
	n := -1
	var no error
	if err := c.Control(func(fd uintptr) { n, no = unix.FcntlInt(fd, unix.F_DUPFD_CLOEXEC, 3) }); err != nil {
		return -1, err
	}
	return n, os.NewSyscallError("fcntl F_DUPFD_CLOEXEC", no)
}
