package image

import (
	"io/fs"
	"os"
	"runtime"

	"golang.org/x/sys/unix"

	"github.com/containercloud/cc/fault"
)

// OpenAs opens a file or directory for reading with another user's rights, so that a request made through the tree
// reads nothing that its sender could not read. It does not block on a fifo.
func OpenAs(path string, uid, gid uint32, groups []uint32) (*os.File, error) {
	if uid == 0 {
		return os.OpenFile(path, os.O_RDONLY|unix.O_NONBLOCK, 0)
	}
	type result struct {
		f   *os.File
		err error
	}
	done := make(chan result)
	go func() {
		// The thread is spoiled by the changed ids and ends with this goroutine, because it stays locked.
		runtime.LockOSThread()
		f, err := openAs(path, uid, gid, groups)
		done <- result{f, err}
	}()
	r := <-done
	return r.f, r.err
}

func openAs(path string, uid, gid uint32, groups []uint32) (*os.File, error) {
	if err := setThreadIDs(uid, gid, groups); err != nil {
		return nil, fault.Wrap(err, "cannot open %s", path)
	}
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_NONBLOCK|unix.O_CLOEXEC|unix.O_NOCTTY, 0)
	if err != nil {
		return nil, &fs.PathError{Op: "open", Path: path, Err: err}
	}
	return os.NewFile(uintptr(fd), path), nil
}
