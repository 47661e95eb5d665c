package boot

import (
	"context"
	"encoding/binary"
	"errors"
	"io"
	"os"
	"runtime"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// wire is our end of the socket pair to one ccinit.
type wire struct {
	file *os.File
	raw  syscall.RawConn
}

// pair makes a SEQPACKET pair; theirs becomes descriptor 3 of ccinit.
func pair() (ours *wire, theirs *os.File, err error) {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, nil, os.NewSyscallError("socketpair", err)
	}
	theirs = os.NewFile(uintptr(fds[1]), "ccinit")
	if err := unix.SetNonblock(fds[0], true); err != nil {
		unix.Close(fds[0])
		theirs.Close()
		return nil, nil, os.NewSyscallError("fcntl", err)
	}
	f := os.NewFile(uintptr(fds[0]), "ccinit")
	raw, err := f.SyscallConn()
	if err != nil {
		f.Close()
		theirs.Close()
		return nil, nil, err
	}
	return &wire{f, raw}, theirs, nil
}

func (w *wire) close() error { return w.file.Close() }

// interrupt makes blocked transfers return when ctx ends. The caller runs the returned function when done.
func (w *wire) interrupt(ctx context.Context) (stop func()) {
	if ctx.Done() == nil {
		return func() {}
	}
	off := context.AfterFunc(ctx, func() { w.file.SetDeadline(time.Unix(1, 0)) })
	return func() { off() }
}

func (w *wire) send(p packet) error {
	var oob []byte
	if len(p.fds) > 0 {
		fds := make([]int, len(p.fds))
		for i, f := range p.fds {
			n, err := rawFd(f)
			if err != nil {
				return err
			}
			fds[i] = n
		}
		oob = unix.UnixRights(fds...)
	}
	var fail error
	err := w.raw.Write(func(fd uintptr) bool {
		fail = unix.Sendmsg(int(fd), p.data, oob, nil, unix.MSG_NOSIGNAL)
		return fail != unix.EAGAIN
	})
	runtime.KeepAlive(p.fds)
	return errors.Join(err, fail)
}

// reply is what ccinit or a script of ours wrote: 4 bytes acknowledge, 8 bytes are {tag, errno}, 12 bytes
// are {pid, 0, 0}. io.EOF stands for the end of the process, or its execve.
type reply struct {
	words []uint32
	file  *os.File
}

func (w *wire) recv() (reply, error) {
	var data [64]byte
	var oob [64]byte
	var n, oobn int
	var fail error
	err := w.raw.Read(func(fd uintptr) bool {
		for {
			n, oobn, _, _, fail = unix.Recvmsg(int(fd), data[:], oob[:], unix.MSG_CMSG_CLOEXEC)
			// The peer went away with our messages unread: what it wrote before is still to come.
			if fail != unix.ECONNRESET && fail != unix.EINTR {
				return fail != unix.EAGAIN
			}
		}
	})
	if err = errors.Join(err, fail); err != nil {
		return reply{}, err
	}
	if n == 0 {
		return reply{}, io.EOF
	}
	r := reply{file: firstFile(oob[:oobn])}
	for i := 0; i+4 <= n; i += 4 {
		r.words = append(r.words, binary.LittleEndian.Uint32(data[i:]))
	}
	return r, nil
}

func firstFile(oob []byte) *os.File {
	if len(oob) == 0 {
		return nil
	}
	msgs, err := unix.ParseSocketControlMessage(oob)
	if err != nil || len(msgs) == 0 {
		return nil
	}
	fds, err := unix.ParseUnixRights(&msgs[0])
	if err != nil || len(fds) == 0 {
		return nil
	}
	for _, fd := range fds[1:] {
		unix.Close(fd)
	}
	return os.NewFile(uintptr(fds[0]), "")
}

// rawFd is the descriptor's number, without the change to blocking mode that File.Fd makes.
func rawFd(f *os.File) (n int, err error) {
	raw, err := f.SyscallConn()
	if err != nil {
		return -1, err
	}
	err = raw.Control(func(fd uintptr) { n = int(fd) })
	return n, err
}
