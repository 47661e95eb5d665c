package main

import (
	"archive/tar"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Root is a directory out of which no name and no link leads. Names begin with a slash or are relative.
type Root interface {
	Open(name string) (io.ReadCloser, error) // a regular file
	Create(name string, perm fs.FileMode) (io.WriteCloser, error)
	Lstat(name string) (fs.FileInfo, error)
	Stat(name string) (fs.FileInfo, error)
	List(name string) ([]string, error)
	Readlink(name string) (string, error)
	Symlink(link, name string) error // in place of a file or link that is there
	Mkdir(name string, perm fs.FileMode) error
	Chmod(name string, mode fs.FileMode) error // of a file or directory, not of what a link points to
	Chown(name string, uid, gid int) error
	Touch(name string, mtime time.Time) error
	Close() error
}

var errNotRegular = errors.New("not a regular file")

// owner is the owner that a file's information tells.
func owner(info fs.FileInfo) (uid, gid int) {
	switch s := info.Sys().(type) {
	case *syscall.Stat_t:
		return int(s.Uid), int(s.Gid)
	case *tar.Header:
		return s.Uid, s.Gid
	}
	return 0, 0
}

// osRoot is a container's root in the mounted tree. The container made what is in it, while we look too: the
// kernel resolves each path below this directory alone (openat2, RESOLVE_IN_ROOT), so that an absolute link
// leads to the container's root and `..` stops there.
type osRoot struct {
	fd        int
	container string // errors say it: web:/etc
}

// show is a path as the user types it.
func (r *osRoot) show(name string) string { return r.container + ":" + path.Clean("/"+name) }

func (r *osRoot) open(name string, flags int, perm fs.FileMode) (int, error) {
	how := unix.OpenHow{
		Flags: uint64(flags | unix.O_CLOEXEC), Mode: uint64(perm),
		Resolve: unix.RESOLVE_IN_ROOT | unix.RESOLVE_NO_MAGICLINKS,
	}
	rel := strings.TrimPrefix(path.Clean("/"+name), "/")
	if rel == "" {
		rel = "."
	}
	for range 64 { // EAGAIN: something was renamed while the kernel walked
		fd, err := unix.Openat2(r.fd, rel, &how)
		if err != syscall.EAGAIN && err != syscall.EINTR {
			if err != nil {
				return -1, &fs.PathError{Op: "open", Path: r.show(name), Err: err}
			}
			return fd, nil
		}
	}
	return -1, &fs.PathError{Op: "open", Path: r.show(name), Err: syscall.EAGAIN}
}

// at runs f with a path for name whose last element is not followed and whose directory is held open.
func (r *osRoot) at(name string, f func(p string) error) error {
	dir, base := path.Split(path.Clean("/" + name))
	fd, err := r.open(dir, unix.O_PATH|unix.O_DIRECTORY, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	err = f(fmt.Sprintf("/proc/self/fd/%d/%s", fd, base))
	var p *fs.PathError
	if errors.As(err, &p) {
		p.Path = r.show(name)
	}
	return err
}

func (r *osRoot) Open(name string) (io.ReadCloser, error) {
	// Not blocking: the file may have become a fifo meanwhile.
	fd, err := r.open(name, unix.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil || st.Mode&unix.S_IFMT != unix.S_IFREG {
		_ = unix.Close(fd)
		return nil, &fs.PathError{Op: "open", Path: r.show(name), Err: errNotRegular}
	}
	if err := unix.SetNonblock(fd, false); err != nil {
		_ = unix.Close(fd)
		return nil, err
	}
	return os.NewFile(uintptr(fd), name), nil
}

func (r *osRoot) Create(name string, perm fs.FileMode) (io.WriteCloser, error) {
	fd, err := r.open(name, unix.O_WRONLY|unix.O_CREAT|unix.O_TRUNC, perm)
	if err != nil {
		return nil, err
	}
	return os.NewFile(uintptr(fd), name), nil
}

func (r *osRoot) Lstat(name string) (info fs.FileInfo, err error) {
	err = r.at(name, func(p string) error { info, err = os.Lstat(p); return err })
	return info, err
}

func (r *osRoot) Stat(name string) (fs.FileInfo, error) {
	fd, err := r.open(name, unix.O_PATH, 0)
	if err != nil {
		return nil, err
	}
	f := os.NewFile(uintptr(fd), name)
	defer f.Close()
	return f.Stat()
}

func (r *osRoot) List(name string) ([]string, error) {
	fd, err := r.open(name, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW, 0)
	if err != nil {
		return nil, err
	}
	f := os.NewFile(uintptr(fd), name)
	defer f.Close()
	return f.Readdirnames(-1)
}

func (r *osRoot) Readlink(name string) (link string, err error) {
	err = r.at(name, func(p string) error { link, err = os.Readlink(p); return err })
	return link, err
}

func (r *osRoot) Symlink(link, name string) error {
	return r.at(name, func(p string) error {
		err := syscall.Symlink(link, p)
		if err == syscall.EEXIST && syscall.Unlink(p) == nil {
			err = syscall.Symlink(link, p)
		}
		return pathError("link", name, err)
	})
}

func (r *osRoot) Mkdir(name string, perm fs.FileMode) error {
	return r.at(name, func(p string) error { return os.Mkdir(p, perm) })
}

func (r *osRoot) Chmod(name string, mode fs.FileMode) error {
	fd, err := r.open(name, unix.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
	if err != nil {
		return err
	}
	f := os.NewFile(uintptr(fd), name)
	defer f.Close()
	return f.Chmod(mode)
}

func (r *osRoot) Chown(name string, uid, gid int) error {
	return r.at(name, func(p string) error { return os.Lchown(p, uid, gid) })
}

func (r *osRoot) Touch(name string, mtime time.Time) error {
	return r.at(name, func(p string) error { return touch(p, name, mtime) })
}

func (r *osRoot) Close() error { return unix.Close(r.fd) }

// touch sets a file's modification time, a link's own.
func touch(p, name string, mtime time.Time) error {
	t, err := unix.TimeToTimespec(mtime)
	if err != nil {
		return err
	}
	return pathError("set the time of", name, unix.UtimesNanoAt(unix.AT_FDCWD, p, []unix.Timespec{t, t}, unix.AT_SYMLINK_NOFOLLOW))
}

func pathError(op, name string, err error) error {
	if err == nil {
		return nil
	}
	return &fs.PathError{Op: op, Path: name, Err: err}
}

// hostRoot is a directory of this host: the user chose it, and what a copy puts into it cannot lead out of it.
type hostRoot struct{ *os.Root }

// openHost opens the directory around a path of this host. Links in the path itself are the user's own.
func openHost(name string) (Root, string, error) {
	abs, err := filepath.Abs(name)
	if err != nil {
		return nil, "", err
	}
	if real, err := filepath.EvalSymlinks(abs); err == nil {
		abs = real
	}
	dir, base := filepath.Split(abs)
	if base == "" {
		base = "."
	}
	r, err := os.OpenRoot(dir)
	if err != nil {
		no := errnoOf(err)
		return nil, "", &failure{code: exitOf(no, ""), errno: no, text: "cannot copy: " + err.Error()}
	}
	return hostRoot{r}, base, nil
}

func (r hostRoot) Open(name string) (io.ReadCloser, error) {
	f, err := r.Root.OpenFile(name, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	if info, err := f.Stat(); err != nil || !info.Mode().IsRegular() {
		_ = f.Close()
		return nil, &fs.PathError{Op: "open", Path: name, Err: errNotRegular}
	}
	return f, nil
}

func (r hostRoot) Create(name string, perm fs.FileMode) (io.WriteCloser, error) {
	return r.Root.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, perm)
}

func (r hostRoot) List(name string) ([]string, error) {
	f, err := r.Root.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return f.Readdirnames(-1)
}

func (r hostRoot) Symlink(link, name string) error {
	err := r.Root.Symlink(link, name)
	if errors.Is(err, fs.ErrExist) && r.Root.Remove(name) == nil {
		return r.Root.Symlink(link, name)
	}
	return err
}

func (r hostRoot) Chown(name string, uid, gid int) error { return r.Root.Lchown(name, uid, gid) }

func (r hostRoot) Touch(name string, mtime time.Time) error {
	info, err := r.Root.Lstat(name)
	if err != nil || info.Mode()&fs.ModeSymlink != 0 {
		return err // a link's own time is nobody's concern
	}
	return r.Root.Chtimes(name, mtime, mtime)
}
