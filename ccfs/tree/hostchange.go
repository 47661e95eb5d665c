package tree

import (
	"context"
	"encoding/binary"
	"os"
	"path"
	"strconv"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/containercloud/cc/fault"
)

func itoa(n int) string { return strconv.Itoa(n) }

// hostMake does what all makers of names share: rights, the deed as the container's root, the node.
func (t *Tree) hostMake(ctx context.Context, c Caller, p *node, name, op string, deed func(HostDir, string) error) (*node, error) {
	h, rel, err := t.writableHost(ctx, c, p, "make names in")
	if err != nil {
		return nil, err
	}
	rel = path.Join(rel, name)
	err = hostError(h.asRoot(func() error { return deed(h, rel) }))
	t.audit(c, op, p.below(&node{}, name), "", err)
	if err != nil {
		return nil, err
	}
	return t.hostStat(h, p, rel, name)
}

func (t *Tree) hostCreate(ctx context.Context, c Caller, p *node, name string, mode uint32) (*node, error) {
	return t.hostMake(ctx, c, p, name, "create", func(h HostDir, rel string) error {
		f, err := h.Root.OpenFile(rel, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
		if err != nil {
			return err
		}
		defer f.Close()
		return f.Chmod(os.FileMode(mode & 0o777))
	})
}

func (t *Tree) hostMkdir(ctx context.Context, c Caller, p *node, name string, mode uint32) (*node, error) {
	return t.hostMake(ctx, c, p, name, "mkdir", func(h HostDir, rel string) error {
		if err := h.Root.Mkdir(rel, 0o700); err != nil {
			return err
		}
		return h.Root.Chmod(rel, os.FileMode(mode&0o777))
	})
}

func (t *Tree) hostSymlink(ctx context.Context, c Caller, p *node, name, target string) (*node, error) {
	return t.hostMake(ctx, c, p, name, "symlink", func(h HostDir, rel string) error { return h.Root.Symlink(target, rel) })
}

func (t *Tree) hostLink(ctx context.Context, c Caller, n, p *node, name string) (*node, error) {
	if n.kind != hostNode || !n.hostTop().same(p.hostTop()) {
		return nil, fault.New(fault.Fixed, "files here have one name")
	}
	h, rel, err := t.writableHost(ctx, c, p, "make names in")
	if err != nil {
		return nil, err
	}
	rel = path.Join(rel, name)
	err = hostError(h.Root.Link(n.hostPath(), rel))
	t.audit(c, "link", p.below(&node{}, name), n.path(), err)
	if err != nil {
		return nil, err
	}
	return t.hostStat(h, p, rel, name)
}

// hostRemove removes a name; Root.Remove takes files and empty directories, so the kind is checked before.
func (t *Tree) hostRemove(ctx context.Context, c Caller, p, n *node, dir bool) error {
	isDir := n.fileType() == dirType
	switch {
	case dir && !isDir:
		return errNotDir
	case !dir && isDir:
		return fault.Wrap(syscall.EISDIR, "it is a directory")
	}
	h, rel, err := t.writableHost(ctx, c, p, "remove names in")
	if err != nil {
		return err
	}
	err = hostError(h.Root.Remove(path.Join(rel, n.name)))
	t.audit(c, "remove", n, "", err)
	return err
}

func (t *Tree) hostRename(ctx context.Context, c Caller, p, n, q *node, name string, noReplace bool) error {
	if !p.hostTop().same(q.hostTop()) || q.kind != hostNode && (q.dir == nil || q.dir.Host == nil) {
		return errCross
	}
	h, from, err := t.writableHost(ctx, c, p, "rename names in")
	if err != nil {
		return err
	}
	_, to, err := t.writableHost(ctx, c, q, "rename names in")
	if err != nil {
		return err
	}
	from, to = path.Join(from, n.name), path.Join(to, name)
	if noReplace {
		if _, err := h.Root.Lstat(to); err == nil {
			return fault.New(fault.Exists, "it exists")
		}
	}
	err = hostError(h.Root.Rename(from, to))
	t.audit(c, "rename", n, name, err)
	if err != nil {
		return err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if held := t.nodes[number(classOther, n.id, n.rel, n.gen, 0)]; held != nil && held.same(n) {
		held.parent, held.name = q, name
	}
	return nil
}

func (t *Tree) hostTruncate(ctx context.Context, c Caller, n *node, size uint64) error {
	h := &Handle{t: t, node: n, caller: c, flags: syscall.O_WRONLY}
	f, err := t.openHost(ctx, h)
	if err != nil {
		return err
	}
	defer f.release()
	return unix.Ftruncate(f.(*hostFile).fd, int64(size))
}

func (t *Tree) hostSetRights(ctx context.Context, c Caller, n *node, s SetAttr) error {
	if !n.owns(c) {
		return fault.New(fault.Fixed, "only its owner may")
	}
	h, rel, err := t.hostDir(ctx, c, n)
	if err != nil {
		return err
	}
	if h.ReadOnly {
		return fault.New(fault.ReadOnly, "the directory is read-only")
	}
	if s.UID != nil || s.GID != nil {
		if err := hostChown(h, rel, s); err != nil {
			return err
		}
	}
	if s.Mode != nil && n.fileType() != syscall.S_IFLNK {
		return hostError(h.Root.Chmod(rel, fileMode(*s.Mode)))
	}
	return nil
}

func hostChown(h HostDir, rel string, s SetAttr) (err error) {
	uid, gid := -1, -1
	if s.UID != nil {
		if uid, err = h.real(*s.UID); err != nil {
			return err
		}
	}
	if s.GID != nil {
		if gid, err = h.real(*s.GID); err != nil {
			return err
		}
	}
	return hostError(h.Root.Lchown(rel, uid, gid))
}

// fileMode turns chmod's bits into Go's.
func fileMode(mode uint32) os.FileMode {
	m := os.FileMode(mode & 0o777)
	for bit, flag := range map[uint32]os.FileMode{
		syscall.S_ISUID: os.ModeSetuid, syscall.S_ISGID: os.ModeSetgid, syscall.S_ISVTX: os.ModeSticky,
	} {
		if mode&bit != 0 {
			m |= flag
		}
	}
	return m
}

func (t *Tree) hostTimes(ctx context.Context, c Caller, n *node, s SetAttr) error {
	h, rel, err := t.hostDir(ctx, c, n)
	if err != nil {
		return err
	}
	if err := t.may(c, n, mayWrite, "touch"); err != nil {
		return err
	}
	if h.ReadOnly {
		return fault.New(fault.ReadOnly, "the directory is read-only")
	}
	if n.fileType() == syscall.S_IFLNK {
		return nil
	}
	var atime, mtime time.Time // zero: unchanged
	if s.Atime != nil {
		atime = *s.Atime
	}
	if s.Mtime != nil {
		mtime = *s.Mtime
	}
	return hostError(h.Root.Chtimes(rel, atime, mtime))
}

// listHost reads a directory with the files' numbers, which package os does not give.
func (t *Tree) listHost(ctx context.Context, c Caller, n *node) ([]Dirent, error) {
	h, rel, err := t.hostDir(ctx, c, n)
	if err != nil {
		return nil, err
	}
	f, err := h.Root.OpenFile(rel, unix.O_RDONLY|unix.O_DIRECTORY, 0)
	if err != nil {
		return nil, hostError(err)
	}
	defer f.Close()
	var st unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &st); err != nil {
		return nil, err
	}
	if ofKernel(int(f.Fd())) {
		return nil, nil
	}
	top := n.hostTop()
	var list []Dirent
	buf := make([]byte, 64<<10)
	for {
		size, err := unix.Getdents(int(f.Fd()), buf)
		if err != nil {
			return nil, err
		}
		if size <= 0 {
			return list, nil
		}
		for b := buf[:size]; len(b) > 0; {
			ino, name, kind, length := parseDirent(b)
			b = b[length:]
			if name != "." && name != ".." {
				list = append(list, Dirent{name, number(classOther, top.id, top.rel, hostNumber(st.Dev, ino), 0), uint32(kind) << 12})
			}
		}
	}
}

// parseDirent reads one struct linux_dirent64 (getdents(2)): inode u64, offset u64, length u16, type u8, name with a
// zero at the end.
func parseDirent(b []byte) (ino uint64, name string, kind byte, length int) {
	ino = binary.NativeEndian.Uint64(b)
	length = int(binary.NativeEndian.Uint16(b[16:]))
	kind = b[18]
	end := 19
	for end < length && b[end] != 0 {
		end++
	}
	return ino, string(b[19:end]), kind, length
}
