package unpack

import (
	"context"
	"fmt"
	"os"
	"path"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/containercloud/cc/fault"
)

// Source is one unpacked layer.
type Source struct {
	Tree   *os.File
	Record *Record
}

// Merge stacks layers, lowest first, into the empty directory root. Files become hard links to the layers'
// files; directories are new. scratch is another empty directory of the same file system.
//
// One layer is merged in the order that makes its deletions mean only what lies below (image
// specification, layer.md): hold the link targets that lie below, delete, lay its tree over, place the links.
func Merge(ctx context.Context, layers []Source, root, scratch *os.File) error {
	if err := unix.Fchmod(int(root.Fd()), 0o755); err != nil {
		return fault.Wrap(err, "cannot merge layers")
	}
	for i, l := range layers {
		m := merger{ctx: ctx, root: int(root.Fd()), scratch: int(scratch.Fd())}
		if err := m.layer(l); err != nil {
			return fault.Wrap(err, "cannot merge layer %d of %d", i+1, len(layers))
		}
	}
	return nil
}

type merger struct {
	ctx           context.Context
	root, scratch int
}

func (m *merger) layer(l Source) error {
	if err := m.hold(l.Record.Links); err != nil {
		return err
	}
	for _, name := range l.Record.Opaque {
		if err := m.empty(name); err != nil {
			return err
		}
	}
	for _, name := range l.Record.Whiteouts {
		if err := m.hide(name); err != nil {
			return err
		}
	}
	tree, err := unix.FcntlInt(l.Tree.Fd(), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(tree)
	if err := m.over(tree, m.root); err != nil {
		return err
	}
	return m.place(l.Record.Links)
}

// at opens the directory of name in the root as it is below this layer.
func (m *merger) at(name string) (int, string, error) {
	dir, base := path.Split(name)
	fd, err := openIn(m.root, strings.TrimSuffix(dir, "/"), unix.O_RDONLY|unix.O_DIRECTORY)
	return fd, base, err
}

func gone(err error) bool { return err == unix.ENOENT || err == unix.ENOTDIR }

func (m *merger) hide(name string) error {
	fd, base, err := m.at(name)
	if gone(err) {
		return nil
	}
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	return keepTimes(fd, func() error { return removeAll(fd, base) })
}

func (m *merger) empty(name string) error {
	fd, err := openIn(m.root, name, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW)
	if gone(err) || err == unix.ELOOP {
		return nil
	}
	if err != nil {
		return err
	}
	return removeContent(fd)
}

// hold links the targets that lie below into scratch before anything is deleted.
func (m *merger) hold(links []Link) error {
	for i, l := range links {
		fd, base, err := m.at(l.Target)
		if err == nil {
			err = unix.Linkat(fd, base, m.scratch, fmt.Sprint(i), 0)
			unix.Close(fd)
		}
		if err != nil {
			return refuse("%q is a hard link to %q: %w", short(l.Name), short(l.Target), err)
		}
	}
	return nil
}

func (m *merger) place(links []Link) error {
	p := parents{root: m.root}
	defer p.forget()
	for i, l := range links {
		dir, base, err := p.open(l.Name, true)
		if err == nil {
			err = removeAll(dir, base)
		}
		if err == nil {
			err = unix.Renameat(m.scratch, fmt.Sprint(i), dir, base)
		}
		if err != nil {
			return fault.Wrap(err, "cannot link %q", short(l.Name))
		}
		// A link onto itself renames to nothing and leaves the held name.
		if err := removeAll(m.scratch, fmt.Sprint(i)); err != nil {
			return err
		}
	}
	return nil
}

// over lays the directory from over the directory to.
func (m *merger) over(from, to int) error {
	if err := m.ctx.Err(); err != nil {
		return err
	}
	var before unix.Stat_t
	if err := unix.Fstat(to, &before); err != nil {
		return err
	}
	entries, err := list(from)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if e.dir {
			err = m.subdir(from, to, e.name)
		} else {
			err = m.link(from, to, e.name)
		}
		if err != nil {
			return err
		}
	}
	if isImplicit(from) {
		return setTimes(to, times{before.Atim, before.Mtim})
	}
	return copyDescription(from, to)
}

func (m *merger) link(from, to int, name string) error {
	err := unix.Linkat(from, name, to, name, 0)
	if err == unix.EEXIST {
		if err := removeAll(to, name); err != nil {
			return err
		}
		err = unix.Linkat(from, name, to, name, 0)
	}
	if err == unix.EMLINK { // 65000 on ext4: shared by very many images, or linked very often in its layer
		err = copyFile(from, to, name)
	}
	return err
}

func (m *merger) subdir(from, to int, name string) error {
	sub, err := unix.Openat(from, name, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(sub)
	dest, err := m.target(sub, to, name)
	if err != nil {
		return err
	}
	defer unix.Close(dest)
	return m.over(sub, dest)
}

// target opens the directory that sub is to be laid over, making it when there is none. A directory that the
// layer only implies does not replace a link to a directory below it, but is laid over that one: packages
// installed on a merged-/usr base put their files in /lib.
func (m *merger) target(sub, to int, name string) (int, error) {
	const flags = unix.O_RDONLY | unix.O_DIRECTORY | unix.O_NOFOLLOW | unix.O_CLOEXEC
	err := unix.Mkdirat(to, name, 0o755)
	if err == nil {
		fd, err := unix.Openat(to, name, flags, 0)
		if err != nil {
			return -1, err
		}
		return fd, unix.Fchmod(fd, 0o755) // whatever the umask
	}
	if err != unix.EEXIST {
		return -1, err
	}
	fd, err := unix.Openat(to, name, flags, 0)
	if err == nil || err != unix.ENOTDIR && err != unix.ELOOP {
		return fd, err
	}
	if isImplicit(sub) {
		if fd, ok := m.follow(to, name); ok {
			return fd, nil
		}
	}
	if err := unix.Unlinkat(to, name, 0); err != nil {
		return -1, err
	}
	return m.target(sub, to, name)
}

// follow resolves the link name in the directory to, within the root.
func (m *merger) follow(to int, name string) (int, bool) {
	buf := make([]byte, unix.PathMax)
	n, err := unix.Readlinkat(to, name, buf)
	if err != nil {
		return -1, false
	}
	target := string(buf[:n])
	if !strings.HasPrefix(target, "/") {
		dir, err := os.Readlink(fmt.Sprintf("/proc/self/fd/%d", to))
		if err != nil {
			return -1, false
		}
		root, err := os.Readlink(fmt.Sprintf("/proc/self/fd/%d", m.root))
		if err != nil || !strings.HasPrefix(dir+"/", root+"/") {
			return -1, false
		}
		target = dir[len(root):] + "/" + target // resolved by the kernel: ".." stays in the root
	}
	fd, err := openIn(m.root, strings.TrimLeft(target, "/"), unix.O_RDONLY|unix.O_DIRECTORY)
	if err != nil {
		return -1, false
	}
	if err := checkDepth(fd); err != nil {
		unix.Close(fd)
		return -1, false
	}
	return fd, true
}

type dirEntry struct {
	name string
	dir  bool
}

// list reads a directory without moving the descriptor's own position for later readers.
func list(fd int) ([]dirEntry, error) {
	dup, err := unix.Openat(fd, ".", unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	d := os.NewFile(uintptr(dup), "dir")
	defer d.Close()
	all, err := d.ReadDir(-1)
	if err != nil {
		return nil, err
	}
	entries := make([]dirEntry, len(all))
	for i, e := range all {
		entries[i] = dirEntry{e.Name(), e.IsDir()}
	}
	return entries, nil
}

func keepTimes(fd int, do func() error) error {
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return err
	}
	if err := do(); err != nil {
		return err
	}
	return setTimes(fd, times{st.Atim, st.Mtim})
}

// copyDescription gives a directory owner, mode, attributes and times of a layer's directory.
func copyDescription(from, to int) error {
	var st unix.Stat_t
	if err := unix.Fstat(from, &st); err != nil {
		return err
	}
	if err := unix.Fchown(to, int(st.Uid), int(st.Gid)); err != nil {
		return err
	}
	if err := unix.Fchmod(to, st.Mode&0o7777); err != nil {
		return err
	}
	if err := copyXattrs(from, to); err != nil {
		return err
	}
	return setTimes(to, times{st.Atim, st.Mtim})
}

// copyFile is link's fallback: a file of its own with the same content and description.
func copyFile(from, to int, name string) error {
	var st unix.Stat_t
	if err := unix.Fstatat(from, name, &st, unix.AT_SYMLINK_NOFOLLOW); err != nil {
		return err
	}
	if st.Mode&unix.S_IFMT != unix.S_IFREG {
		return unix.EMLINK
	}
	in, err := unix.Openat(from, name, unix.O_RDONLY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(in)
	out, err := unix.Openat(to, name, unix.O_WRONLY|unix.O_CREAT|unix.O_EXCL|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0o600)
	if err != nil {
		return err
	}
	defer unix.Close(out)
	for left := st.Size; left > 0; {
		n, err := unix.CopyFileRange(in, nil, out, nil, int(min(left, 1<<30)), 0)
		if err != nil {
			return err
		}
		if n == 0 {
			break
		}
		left -= int64(n)
	}
	return copyDescription(in, out)
}

// MountPoints makes /proc, /sys and /dev in a merged root where an image has nothing of that name: every start of a container
// mounts on them, and would make them in its own layer.
func MountPoints(root *os.File) error {
	fd := int(root.Fd())
	return keepTimes(fd, func() error {
		for _, d := range []struct {
			name string
			mode uint32
		}{{"proc", 0o555}, {"sys", 0o555}, {"dev", 0o755}} {
			err := unix.Mkdirat(fd, d.name, d.mode)
			if err == unix.EEXIST {
				continue
			}
			if err == nil {
				err = unix.Fchmodat(fd, d.name, d.mode, 0) // whatever the umask
			}
			if err != nil {
				return fault.Wrap(err, "cannot make /%s", d.name)
			}
		}
		return nil
	})
}
