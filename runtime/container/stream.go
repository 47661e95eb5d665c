package container

import (
	"context"
	"errors"
	"io"
	"os"
	"strconv"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/containercloud/cc/fault"
)

// pipeSize is the buffer of a container's outputs: a program is not held up while the daemon or the keeper restarts.
const pipeSize = 1 << 20

// pipe makes a pipe. The end that the daemon keeps is non-blocking, so that Go's poller waits for it; the program's is
// an ordinary blocking one. It belongs to the container's root, so that a program can open /dev/stderr again.
func pipe(read bool, size int, uid uint32) (ours, theirs *os.File, err error) {
	var p [2]int
	if err := unix.Pipe2(p[:], unix.O_CLOEXEC); err != nil {
		return nil, nil, os.NewSyscallError("pipe2", err)
	}
	our, their := p[1], p[0]
	if read {
		our, their = p[0], p[1]
	}
	if size > 0 {
		// Beyond the user's quota of pipe pages the kernel refuses; 64 KiB do as well.
		_, _ = unix.FcntlInt(uintptr(our), unix.F_SETPIPE_SZ, size)
	}
	err = errors.Join(unix.Fchown(our, int(uid), int(uid)), unix.SetNonblock(our, true))
	ours, theirs = os.NewFile(uintptr(our), "pipe"), os.NewFile(uintptr(their), "pipe")
	if err != nil {
		closeAll(ours, theirs)
		return nil, nil, err
	}
	return ours, theirs, nil
}

// reopen gives the file behind f a description of its own, so that deadlines and O_NONBLOCK of one user are not another's.
func reopen(f *os.File, flags int) (*os.File, error) {
	return derive(f, func(fd int) (int, error) {
		return unix.Open("/proc/self/fd/"+strconv.Itoa(fd), flags|unix.O_CLOEXEC|unix.O_NONBLOCK|unix.O_NOCTTY, 0)
	})
}

// dup duplicates a descriptor; the description stays shared.
func dup(f *os.File) (*os.File, error) {
	return derive(f, func(fd int) (int, error) { return unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 3) })
}

// derive makes a file from another one, which somebody else may close meanwhile: then it is os.ErrClosed.
func derive(f *os.File, how func(fd int) (int, error)) (*os.File, error) {
	conn, err := f.SyscallConn()
	if err != nil {
		return nil, os.ErrClosed
	}
	n := -1
	var failed error
	if err := conn.Control(func(fd uintptr) { n, failed = how(int(fd)) }); err != nil {
		return nil, os.ErrClosed
	}
	if failed != nil {
		return nil, &os.PathError{Op: "open again", Path: f.Name(), Err: failed}
	}
	return os.NewFile(uintptr(n), f.Name()), nil
}

// rawFD is f's descriptor without taking it from the poller, as Fd does. The caller owns f.
func rawFD(f *os.File) (int, error) {
	conn, err := f.SyscallConn()
	if err != nil {
		return -1, err
	}
	n := -1
	err = conn.Control(func(fd uintptr) { n = int(fd) })
	return n, err
}

// fileStream is a Stream over one description of a pipe or terminal.
type fileStream struct {
	file *os.File
	what string // for messages: "stdin of container web"
}

var past = time.Unix(1, 0)

// until lets a blocked read or write of the file end with ctx.
func (s *fileStream) until(ctx context.Context) (stop func() bool) {
	_ = s.file.SetDeadline(time.Time{})
	return context.AfterFunc(ctx, func() { _ = s.file.SetDeadline(past) })
}

// Read implements Stream.
func (s *fileStream) Read(ctx context.Context, p []byte, nonblock bool) (int, error) {
	if nonblock {
		fd, err := rawFD(s.file)
		if err != nil {
			return 0, io.EOF
		}
		n, err := unix.Read(fd, p)
		switch {
		case err == unix.EAGAIN:
			return 0, fault.New(fault.NoData, "%s: nothing there yet", s.what)
		case err != nil:
			return 0, s.end(err)
		case n == 0:
			return 0, io.EOF
		}
		return n, nil
	}
	defer s.until(ctx)()
	n, err := s.file.Read(p)
	if n > 0 {
		return n, nil
	}
	return 0, s.ended(ctx, err)
}

// Write implements Stream. It writes all of p unless ctx or the reader ends.
func (s *fileStream) Write(ctx context.Context, p []byte) (int, error) {
	defer s.until(ctx)()
	n, err := s.file.Write(p)
	if err != nil {
		err = s.ended(ctx, err)
		if err == io.EOF {
			err = fault.New(fault.Busy, "%s: nobody reads it any more", s.what)
		}
	}
	return n, err
}

// ended says what an error of the file means.
func (s *fileStream) ended(ctx context.Context, err error) error {
	if errors.Is(err, os.ErrDeadlineExceeded) {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		return io.EOF
	}
	return s.end(err)
}

// end turns what the kernel says of a conversation whose other side is gone into io.EOF: EIO of a terminal, EPIPE of a pipe.
func (s *fileStream) end(err error) error {
	if err == io.EOF || errors.Is(err, os.ErrClosed) || errors.Is(err, syscall.EIO) || errors.Is(err, syscall.EPIPE) {
		return io.EOF
	}
	return fault.Wrap(err, "%s", s.what)
}

// Close implements Stream.
func (s *fileStream) Close() error { return s.file.Close() }

// closeAll closes what is there.
func closeAll(files ...*os.File) {
	for _, f := range files {
		if f != nil {
			f.Close()
		}
	}
}
