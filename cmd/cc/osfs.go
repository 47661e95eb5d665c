package main

import (
	"io"
	"os"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// osFS is a tree mounted on this machine. It makes system calls itself: package os would put the descriptors
// into non-blocking mode for its poller, and in the tree O_NONBLOCK means "do not wait" (docs/TREE.md, rule 19).
type osFS struct{ root string }

type osFile struct {
	fd     int
	stream bool // a write that a signal interrupted goes on; a message may have been heard and is not said twice
}

func (o osFS) path(name string) string { return o.root + "/" + name }

// retry repeats a call that a signal interrupted.
func retry(f func() error) error {
	for {
		if err := f(); err != syscall.EINTR {
			return err
		}
	}
}

func (o osFS) Open(name string, flag int) (File, error) {
	var fd int
	err := retry(func() (err error) {
		fd, err = syscall.Open(o.path(name), flag|syscall.O_CLOEXEC, 0)
		return err
	})
	if err != nil {
		return nil, err
	}
	return osFile{fd, flag&syscall.O_ACCMODE == syscall.O_WRONLY}, nil
}

func (o osFS) WriteFile(name, text string, more bool) error {
	flag := syscall.O_WRONLY | syscall.O_TRUNC
	if more {
		flag = syscall.O_WRONLY | syscall.O_APPEND
	}
	f, err := o.Open(name, flag)
	if err != nil {
		return err
	}
	_, err = osFile{fd: f.(osFile).fd}.Write([]byte(text))
	if e := f.Close(); err == nil {
		err = e
	}
	return err
}

func (o osFS) Mkdir(name string) error {
	return syscall.Mkdir(o.path(name), 0o777)
}

func (o osFS) Remove(name string) error {
	err := syscall.Rmdir(o.path(name))
	if err == syscall.ENOTDIR {
		return syscall.Unlink(o.path(name))
	}
	return err
}

func (o osFS) Rename(old, new string) error {
	return syscall.Rename(o.path(old), o.path(new))
}

func (o osFS) List(name string) ([]string, error) {
	entries, err := os.ReadDir(o.path(name))
	if err != nil {
		return nil, err
	}
	names := make([]string, len(entries))
	for i, e := range entries {
		names[i] = e.Name()
	}
	return names, nil
}

func (o osFS) Stat(name string) (Info, error) {
	var st syscall.Stat_t
	if err := retry(func() error { return syscall.Stat(o.path(name), &st) }); err != nil {
		return Info{}, err
	}
	return Info{
		Dir:   st.Mode&syscall.S_IFMT == syscall.S_IFDIR,
		Size:  st.Size,
		Perm:  st.Mode & 0o7777,
		Mtime: time.Unix(st.Mtim.Unix()),
	}, nil
}

func (f osFile) Read(p []byte) (n int, err error) {
	err = retry(func() (err error) { n, err = syscall.Read(f.fd, p); return err })
	return ended(n, err, len(p))
}

func (f osFile) ReadAt(p []byte, off int64) (n int, err error) {
	err = retry(func() (err error) { n, err = unix.Pread(f.fd, p, off); return err })
	return ended(n, err, len(p))
}

// Write is one write(2) when the kernel takes everything, as it does with a message.
func (f osFile) Write(p []byte) (n int, err error) {
	for n < len(p) {
		m, err := syscall.Write(f.fd, p[n:])
		if err == syscall.EINTR && f.stream {
			continue
		}
		if err != nil {
			return n, err
		}
		n += m
	}
	return n, nil
}

func (f osFile) Close() error { return syscall.Close(f.fd) }

func ended(n int, err error, asked int) (int, error) {
	switch {
	case err != nil:
		return 0, err
	case n == 0 && asked > 0:
		return 0, io.EOF
	}
	return n, nil
}

// Root opens a container's root directory. What is in it was made by the container, so a path is resolved by
// the kernel below that directory only: an absolute link leads to the container's root, `..` stops there.
func (o osFS) Root(name string) (Root, error) {
	fd, err := unix.Open(o.path(name), unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	container, _, _ := strings.Cut(strings.TrimPrefix(name, "container/"), "/")
	return &osRoot{fd: fd, container: container}, nil
}
