package treetest

import (
	"context"
	"io"
	"syscall"

	"github.com/containercloud/cc/ccfs/tree"
	"github.com/containercloud/cc/fault"
)

// FS is what the conformance functions need of a door. Paths are below the root; errors are or wrap errnos, or are
// faults.
type FS interface {
	Open(path string, flags int, mode uint32) (File, error) // O_* flags
	Mkdir(path string, mode uint32) error
	Rmdir(path string) error
	Unlink(path string) error
	Rename(from, to string, noReplace bool) error
	Symlink(target, path string) error
	Readlink(path string) (string, error)
	Lstat(path string) (Stat, error)
	ReadDir(path string) ([]string, error) // in the order of the door, directories with a / behind
	Chmod(path string, mode uint32) error
	Chown(path string, uid, gid int) error
	Truncate(path string, size int64) error
	Touch(path string) error
	Getxattr(path, name string) (string, error)
	Setxattr(path, name, value string) error
	Access(path string, mask uint32) error
}

// File is an open file with a position.
type File interface {
	io.ReadWriteSeeker
	Stat() (Stat, error)
	Truncate(size int64) error
	Close() error
}

// Stat is what the functions look at.
type Stat struct {
	Ino      uint64
	Mode     uint32 // with the type
	Size     int64
	UID, GID uint32
	Nlink    uint64
	MtimeNS  int64
}

// Errno is the number of any FS error.
func Errno(err error) syscall.Errno { return fault.Errno(err) }

// InProcess is a caller's view of a tree, without a door.
func InProcess(t *tree.Tree, c tree.Caller) FS { return inProcess{t.As(c)} }

type inProcess struct{ v tree.View }

var ctx = context.Background()

func (f inProcess) Open(p string, flags int, mode uint32) (File, error) {
	h, err := f.v.Open(ctx, p, uint32(flags), mode)
	if err != nil {
		return nil, err
	}
	return &handle{f: f, path: p, h: h, flags: flags}, nil
}

func (f inProcess) Mkdir(p string, mode uint32) error { return f.v.Mkdir(ctx, p, mode) }
func (f inProcess) Rmdir(p string) error              { return f.v.Rmdir(ctx, p) }
func (f inProcess) Unlink(p string) error             { return f.v.Unlink(ctx, p) }
func (f inProcess) Symlink(target, p string) error    { return f.v.Symlink(ctx, target, p) }
func (f inProcess) Readlink(p string) (string, error) { return f.v.Readlink(ctx, p) }
func (f inProcess) Rename(from, to string, noReplace bool) error {
	return f.v.Rename(ctx, from, to, noReplace)
}

func (f inProcess) Lstat(p string) (Stat, error) {
	a, err := f.v.Lstat(ctx, p)
	return statOf(a), err
}

func statOf(a tree.Attr) Stat {
	return Stat{uint64(a.Ino), a.Mode, int64(a.Size), a.UID, a.GID, uint64(a.Nlink), a.Mtime.UnixNano()}
}

func (f inProcess) ReadDir(p string) (names []string, err error) {
	list, err := f.v.ReadDir(ctx, p)
	for _, e := range list {
		if e.Mode == syscall.S_IFDIR {
			e.Name += "/"
		}
		names = append(names, e.Name)
	}
	return names, err
}

func (f inProcess) Chmod(p string, mode uint32) error {
	return f.v.Setattr(ctx, p, tree.SetAttr{Mode: &mode})
}

func (f inProcess) Chown(p string, uid, gid int) error {
	var s tree.SetAttr
	if uid >= 0 {
		u := uint32(uid)
		s.UID = &u
	}
	if gid >= 0 {
		g := uint32(gid)
		s.GID = &g
	}
	return f.v.Setattr(ctx, p, s)
}

func (f inProcess) Truncate(p string, size int64) error {
	n := uint64(size)
	return f.v.Setattr(ctx, p, tree.SetAttr{Size: &n})
}

func (f inProcess) Touch(p string) error {
	now := someTime
	return f.v.Setattr(ctx, p, tree.SetAttr{Mtime: &now, Atime: &now})
}

func (f inProcess) Getxattr(p, name string) (string, error) {
	b, err := f.v.Getxattr(ctx, p, name)
	return string(b), err
}

func (f inProcess) Setxattr(p, name, value string) error {
	return f.v.Setxattr(ctx, p, name, []byte(value))
}
func (f inProcess) Access(p string, mask uint32) error { return f.v.Access(ctx, p, mask) }

// handle gives a Handle a position, as the kernel does.
type handle struct {
	f     inProcess
	path  string
	h     *tree.Handle
	flags int
	pos   int64
}

func (h *handle) Read(p []byte) (int, error) {
	n, err := h.h.Read(ctx, p, h.pos, h.flags&syscall.O_NONBLOCK != 0)
	h.pos += int64(n)
	if n == 0 && err == nil && len(p) > 0 {
		err = io.EOF
	}
	return n, err
}

func (h *handle) Write(p []byte) (int, error) {
	if h.flags&syscall.O_APPEND != 0 {
		if st, err := h.Stat(); err == nil {
			h.pos = st.Size
		}
	}
	n, err := h.h.Write(ctx, p, h.pos)
	h.pos += int64(n)
	return n, err
}

func (h *handle) Seek(off int64, whence int) (int64, error) {
	switch whence {
	case io.SeekCurrent:
		off += h.pos
	case io.SeekEnd:
		st, err := h.Stat()
		if err != nil {
			return 0, err
		}
		off += st.Size
	}
	h.pos = off
	return off, nil
}

func (h *handle) Stat() (Stat, error) {
	a, err := h.f.v.Fstat(ctx, h.h)
	return statOf(a), err
}

func (h *handle) Truncate(size int64) error {
	n := uint64(size)
	return h.f.v.Fsetattr(ctx, h.h, tree.SetAttr{Size: &n})
}

func (h *handle) Close() error {
	err := h.h.Flush(ctx)
	h.h.Release()
	return err
}
