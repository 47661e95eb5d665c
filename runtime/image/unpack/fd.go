package unpack

import (
	"fmt"
	"os"
	"path"
	"strings"
	"unsafe"

	"golang.org/x/sys/unix"
)

// inRoot: links count from the root, nothing leads to another file system or through /proc.
const inRoot = unix.RESOLVE_IN_ROOT | unix.RESOLVE_NO_MAGICLINKS | unix.RESOLVE_NO_XDEV

// openIn opens name below root; "" is the root itself.
func openIn(root int, name string, flags int) (int, error) { return openAs(root, name, flags, inRoot) }

func openAs(root int, name string, flags int, resolve uint64) (int, error) {
	if name == "" {
		name = "."
	}
	how := unix.OpenHow{Flags: uint64(flags | unix.O_CLOEXEC), Resolve: resolve}
	for {
		fd, err := unix.Openat2(root, name, &how)
		if err != unix.EINTR && err != unix.EAGAIN {
			return fd, err
		}
	}
}

// parents keeps the directories that entries were last made in open: layers come sorted, and opening
// the parent anew for every file costs more than making the file.
type parents struct {
	root  int
	cache map[string]int
}

const keepParents = 64

// open returns a descriptor of name's directory, which stays owned by p, and name's last component. With make,
// missing directories are made, marked as not described by the layer.
func (p *parents) open(name string, make bool) (int, string, error) {
	dir, base := path.Split(name)
	dir = strings.TrimSuffix(dir, "/")
	if dir == "" {
		return p.root, base, nil
	}
	if fd, ok := p.cache[dir]; ok {
		return fd, base, nil
	}
	fd, err := openAs(p.root, dir, unix.O_PATH|unix.O_DIRECTORY, inRoot|unix.RESOLVE_NO_SYMLINKS)
	if err == unix.ENOENT && make {
		fd, err = p.makeDir(dir)
	}
	if err == unix.ELOOP {
		fd, err = p.throughLinks(dir, make)
	}
	if err != nil {
		return -1, "", err
	}
	if len(p.cache) >= keepParents {
		p.forget()
	}
	if p.cache == nil {
		p.cache = map[string]int{}
	}
	p.cache[dir] = fd
	return fd, base, nil
}

// maxReal is how deep directories may really lie. Names alone do not bound it: a link to a deep directory
// and names below the link, again and again, would dig until nobody can remove it.
const maxReal = 512

// throughLinks opens a directory whose name goes through symbolic links of the layer, as a layer does that
// was put together from packages (lib -> usr/lib, then lib/x). The links count from the layer's root.
func (p *parents) throughLinks(dir string, make bool) (int, error) {
	fd, err := openIn(p.root, dir, unix.O_PATH|unix.O_DIRECTORY)
	if err == unix.ENOENT && make {
		fd, err = p.makeDir(dir)
	}
	if err != nil {
		return -1, err
	}
	if err := checkDepth(fd); err != nil {
		unix.Close(fd)
		return -1, err
	}
	return fd, nil
}

func checkDepth(fd int) error {
	real, err := os.Readlink(fmt.Sprintf("/proc/self/fd/%d", fd))
	if err != nil || strings.Count(real, "/") > maxReal {
		return unix.ENAMETOOLONG
	}
	return nil
}

// makeDir makes dir and what is missing above it. A dangling link on the way is followed to where it
// points inside the root only when that exists; else mkdir's EEXIST comes back as ENOTDIR.
func (p *parents) makeDir(dir string) (int, error) {
	for i := 0; i <= len(dir); i++ {
		if i < len(dir) && dir[i] != '/' {
			continue
		}
		at, base := path.Split(dir[:i])
		fd, err := openIn(p.root, strings.TrimSuffix(at, "/"), unix.O_PATH|unix.O_DIRECTORY)
		if err != nil {
			return -1, err
		}
		err = unix.Mkdirat(fd, base, 0o755)
		if err == nil {
			err = implicit(fd, base)
		}
		unix.Close(fd)
		if err != nil && err != unix.EEXIST {
			return -1, err
		}
	}
	fd, err := openIn(p.root, dir, unix.O_PATH|unix.O_DIRECTORY)
	if err == unix.ENOENT {
		err = unix.ENOTDIR
	}
	return fd, err
}

// forget closes the kept descriptors; needed whenever a directory or link may have been replaced.
func (p *parents) forget() {
	for _, fd := range p.cache {
		unix.Close(fd)
	}
	clear(p.cache)
}

// implicitAttr marks a directory that exists only because something lies in it: when merged over a lower layer's
// directory it must not change that one's owner, mode and times.
const implicitAttr = "trusted.cc.implicit"

// implicit makes base a directory of root:root 0755 whatever the umask, and marks it.
func implicit(parent int, base string) error {
	fd, err := unix.Openat(parent, base, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	if err := unix.Fchmod(fd, 0o755); err != nil {
		return err
	}
	return unix.Fsetxattr(fd, implicitAttr, []byte{'1'}, 0)
}

func isImplicit(fd int) bool {
	n, err := unix.Fgetxattr(fd, implicitAttr, nil)
	return err == nil && n > 0
}

func setTimes(fd int, t times) error {
	ts := [2]unix.Timespec{t.atime, t.mtime}
	_, _, e := unix.Syscall6(unix.SYS_UTIMENSAT, uintptr(fd), 0, uintptr(unsafe.Pointer(&ts)), 0, 0, 0)
	if e != 0 {
		return e
	}
	return nil
}

// removeAll removes base and everything below it from the directory parent, following nothing.
func removeAll(parent int, base string) error {
	err := unix.Unlinkat(parent, base, 0)
	if err == nil || err == unix.ENOENT {
		return nil
	}
	if err != unix.EISDIR && err != unix.EPERM {
		return err
	}
	fd, err := unix.Openat(parent, base, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	if err := removeContent(fd); err != nil {
		return err
	}
	return unix.Unlinkat(parent, base, unix.AT_REMOVEDIR)
}

// removeContent empties the directory fd and closes it.
func removeContent(fd int) error {
	d := os.NewFile(uintptr(fd), "dir")
	defer d.Close()
	names, err := d.Readdirnames(-1)
	if err != nil {
		return err
	}
	for _, n := range names {
		if err := removeAll(fd, n); err != nil {
			return fmt.Errorf("%s: %w", n, err)
		}
	}
	return nil
}
