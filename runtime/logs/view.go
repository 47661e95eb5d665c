package logs

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/containercloud/cc/fault"
	"github.com/containercloud/cc/runtime/logs/drain"
)

// View is one open of a log. A log that does not exist yet is an empty one, and a view of it sees it begin.
//
// Its methods may be called at the same time.
type View struct {
	dir  *os.File
	name string

	mu    sync.RWMutex
	file  *os.File // nil: not there yet
	index *os.File
	ino   uint64
	base  int64 // log offset of the file's first byte
	start int64 // log offset of the view's offset 0
	fixed bool  // start is known
	watch *watch
}

// Open opens the log of a stream in a container's log directory. The error is fault.NotFound when there is no such
// directory.
func Open(dir string, s Stream) (*View, error) {
	fd, err := unix.Open(dir, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, fault.Wrap(&os.PathError{Op: "open", Path: dir, Err: err}, "cannot open log %s", s)
	}
	v := &View{dir: os.NewFile(uintptr(fd), dir), name: string(s)}
	h, err := v.refresh()
	if err != nil {
		v.Close()
		return nil, fault.Wrap(err, "cannot open log %s", s)
	}
	if v.file != nil {
		v.start, v.fixed = h.Head, true
	}
	return v, nil
}

// Close may be called more than once.
func (v *View) Close() error {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.dir == nil {
		return nil
	}
	if v.watch != nil {
		v.watch.release()
		v.watch = nil
	}
	v.closeFiles()
	err := v.dir.Close()
	v.dir = nil
	return err
}

func (v *View) closeFiles() {
	if v.file != nil {
		v.file.Close()
	}
	if v.index != nil {
		v.index.Close()
	}
	v.file, v.index = nil, nil
}

// refresh reads the header and makes sure that the open files are those it is about.
func (v *View) refresh() (drain.Header, error) {
	for range 100 { // a file is replaced by two renames; the third try would be very unlucky
		v.mu.RLock()
		h, ok, err := v.headerLocked()
		v.mu.RUnlock()
		if err != nil || ok {
			return h, err
		}
		if err := v.reopen(); err != nil {
			if errors.Is(err, unix.ENOENT) {
				return drain.Header{}, nil
			}
			return h, err
		}
	}
	return drain.Header{}, fault.New(fault.Again, "log %s is being replaced", v.name)
}

// headerLocked reads the header; ok means that it is about the open file.
func (v *View) headerLocked() (h drain.Header, ok bool, err error) {
	if v.dir == nil {
		return h, false, os.ErrClosed
	}
	if v.file == nil {
		return h, false, nil
	}
	if v.index == nil { // written by no keeper: all of it is there
		return drain.Header{Ino: v.ino, Base: v.base, Head: v.base}, true, nil
	}
	b := make([]byte, drain.HeaderSize)
	for range 100 { // met while it is written
		n, err := v.index.ReadAt(b, 0)
		if err != nil && err != io.EOF {
			return h, false, err
		}
		if h, ok = drain.DecodeHeader(b[:n]); ok {
			break
		}
	}
	return h, ok && h.Ino == v.ino && !v.replacedLocked(), nil
}

// replacedLocked reports whether another file has our name now. The old index goes on saying that it is about
// the old file.
func (v *View) replacedLocked() bool {
	var st unix.Stat_t
	if err := unix.Fstat(int(v.file.Fd()), &st); err != nil {
		return true
	}
	if st.Nlink > 0 {
		return false
	}
	return unix.Fstatat(int(v.dir.Fd()), v.name, &st, unix.AT_SYMLINK_NOFOLLOW) == nil
}

func (v *View) reopen() error {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.dir == nil {
		return os.ErrClosed
	}
	file, err := v.open(v.name)
	if err != nil {
		return err
	}
	index, err := v.open(v.name + ".idx")
	if err != nil && !errors.Is(err, unix.ENOENT) {
		file.Close()
		return err
	}
	v.closeFiles()
	v.file, v.index = file, index
	var st unix.Stat_t
	if err := unix.Fstat(int(file.Fd()), &st); err != nil {
		return os.NewSyscallError("fstat", err)
	}
	v.ino, v.base = st.Ino, 0
	if h, ok, err := v.headerLocked(); err == nil && ok {
		v.base = h.Base
	}
	if !v.fixed { // it was not there when the view was opened: all of it came after
		v.fixed = true
	}
	return nil
}

func (v *View) open(name string) (*os.File, error) {
	fd, err := unix.Openat(int(v.dir.Fd()), name, unix.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, &os.PathError{Op: "open", Path: filepath.Join(v.dir.Name(), name), Err: err}
	}
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil || st.Mode&unix.S_IFMT != unix.S_IFREG {
		unix.Close(fd)
		return nil, fault.New(fault.Denied, "%s is not a regular file", name)
	}
	unix.SetNonblock(fd, false)
	return os.NewFile(uintptr(fd), name), nil
}

// Size returns the number of bytes the view has, and when the last came.
func (v *View) Size() (int64, time.Time, error) {
	if _, err := v.refresh(); err != nil {
		return 0, time.Time{}, fault.Wrap(err, "cannot read log %s", v.name)
	}
	v.mu.RLock()
	defer v.mu.RUnlock()
	if v.file == nil {
		return 0, time.Time{}, nil
	}
	st, err := v.file.Stat()
	if err != nil {
		return 0, time.Time{}, fault.Wrap(err, "cannot read log %s", v.name)
	}
	return max(0, st.Size()+v.base-v.start), st.ModTime(), nil
}

// ReadAt is io.ReaderAt. Bytes that have been cut off since are fault.Stale; Head says where to go on.
func (v *View) ReadAt(p []byte, off int64) (int, error) {
	n, err := v.readAt(p, off)
	if n > 0 || err != io.EOF {
		return n, err
	}
	if _, err := v.refresh(); err != nil { // the end, or a new file
		return 0, fault.Wrap(err, "cannot read log %s", v.name)
	}
	return v.readAt(p, off)
}

func (v *View) readAt(p []byte, off int64) (int, error) {
	v.mu.RLock()
	defer v.mu.RUnlock()
	if v.file == nil {
		return 0, io.EOF
	}
	at := v.start + off - v.base
	if at < 0 {
		return 0, v.stale()
	}
	n, err := v.file.ReadAt(p, at)
	if n == 0 || v.index == nil {
		return n, err
	}
	// Cutting writes the header first. So what was read is whole when the header, read afterwards, says so.
	h, _, herr := v.headerLocked()
	if herr != nil {
		return 0, fault.Wrap(herr, "cannot read log %s", v.name)
	}
	if h.Ino == v.ino && h.Head > v.start+off {
		return 0, v.stale()
	}
	return n, err
}

func (v *View) stale() error {
	return fault.New(fault.Stale, "log %s: the oldest lines have been dropped meanwhile", v.name).
		WithHint("read again from the beginning, or keep more with log/policy")
}

// Head returns the view's offset of the oldest byte there is now.
func (v *View) Head() (int64, error) {
	h, err := v.refresh()
	if err != nil {
		return 0, fault.Wrap(err, "cannot read log %s", v.name)
	}
	v.mu.RLock()
	defer v.mu.RUnlock()
	return max(0, h.Head-v.start), nil
}

// Backing is the descriptor of the file when its offset 0 is the view's, for FUSE passthrough; else -1. It is valid until Close.
func (v *View) Backing() int {
	h, err := v.refresh()
	v.mu.RLock()
	defer v.mu.RUnlock()
	if err != nil || v.file == nil || v.start != 0 || h.Base != 0 || h.Head != 0 {
		return -1
	}
	return int(v.file.Fd())
}

// Generation changes whenever the head is cut off.
func (v *View) Generation() uint64 {
	h, err := v.refresh()
	if err != nil {
		return 0
	}
	return h.Cuts
}

// Dropped is how many bytes never reached the log because the disk was full.
func (v *View) Dropped() int64 {
	h, err := v.refresh()
	if err != nil {
		return 0
	}
	return h.Dropped
}

// Wait returns nil when the view has bytes after off, io.EOF when it has not and nobody writes any more, or
// ctx's error. A log whose process is started again goes on.
func (v *View) Wait(ctx context.Context, off int64) error {
	w, err := v.watched()
	if err != nil {
		return fault.Wrap(err, "cannot follow log %s", v.name)
	}
	for {
		wake := w.next()
		h, err := v.refresh()
		if err != nil {
			return fault.Wrap(err, "cannot follow log %s", v.name)
		}
		size, _, err := v.Size()
		switch {
		case err != nil:
			return err
		case size > off:
			return nil
		case h.Ended != 0 || v.deleted():
			return io.EOF
		}
		select {
		case <-wake:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// deleted reports whether the log is gone for good.
func (v *View) deleted() bool {
	v.mu.RLock()
	defer v.mu.RUnlock()
	var st unix.Stat_t
	return v.dir == nil || unix.Fstat(int(v.dir.Fd()), &st) != nil || st.Nlink == 0
}

func (v *View) watched() (*watch, error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.dir == nil {
		return nil, os.ErrClosed
	}
	if v.watch == nil {
		v.watch = watches.add(v.dir)
	}
	return v.watch, nil
}
