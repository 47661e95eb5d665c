package tree

import (
	"context"
	"os"
	"path"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/containercloud/cc/fault"
)

// A host directory (`root/`) is passed through by path below its os.Root, which never follows a link out of it. Ids are
// shifted: files show and take the container's. The object's owner and root may do everything there, others what
// everybody may.

const (
	nobody   = 65534 // what ids outside of the container's look like
	maxDepth = 2048  // of a path that the kernel can name
)

// ofKernel reports whether a file lies in a file system that shows the kernel instead of holding files: below a container's
// /proc and /sys, tar and grep would meet errors by the thousand and never be done. Such a mount is an empty directory here.
func ofKernel(fd int) bool {
	var fs unix.Statfs_t
	if unix.Fstatfs(fd, &fs) != nil {
		return false
	}
	switch fs.Type {
	case unix.PROC_SUPER_MAGIC, unix.SYSFS_MAGIC, unix.CGROUP_SUPER_MAGIC, unix.CGROUP2_SUPER_MAGIC, unix.DEBUGFS_MAGIC,
		unix.TRACEFS_MAGIC, unix.SECURITYFS_MAGIC, unix.BPF_FS_MAGIC:
		return true
	}
	return false
}

// hostDir asks the row for the directory, and the node for its path in it.
func (t *Tree) hostDir(ctx context.Context, c Caller, n *node) (h HostDir, rel string, err error) {
	top := n.hostTop()
	r, done := t.request(ctx, c, top)
	defer done()
	err = t.guard(top, func() (err error) {
		h, err = top.dir.Host(r)
		return err
	})
	return h, n.hostPath(), err
}

// hostTop is the node of the Dir whose Host it is.
func (n *node) hostTop() *node {
	if n.kind == hostNode {
		return n.host
	}
	return n
}

// hostPath is the node's path below the host directory, following renames.
func (n *node) hostPath() string {
	n.t.mu.Lock()
	defer n.t.mu.Unlock()
	p := "."
	for q, depth := n, 0; q != nil && q.kind == hostNode && depth < maxDepth; q, depth = q.parent, depth+1 {
		p = path.Join(q.name, p)
	}
	return p
}

// hostRights are what the last lstat showed.
func (n *node) hostRights() rights {
	n.mu.Lock()
	defer n.mu.Unlock()
	return rights{n.hostUID, n.hostGID, n.mode & 0o7777, n.t.started}
}

// writableHost is hostDir for requests that change something, checked.
func (t *Tree) writableHost(ctx context.Context, c Caller, p *node, verb string) (h HostDir, rel string, err error) {
	if err := t.may(c, p, mayWrite|mayExecute, verb); err != nil {
		return h, "", err
	}
	h, rel, err = t.hostDir(ctx, c, p)
	if err == nil && h.ReadOnly {
		err = fault.New(fault.ReadOnly, "the directory is read-only")
	}
	return h, rel, err
}

func (t *Tree) childOfHost(ctx context.Context, c Caller, p *node, name string) (*node, error) {
	h, rel, err := t.hostDir(ctx, c, p)
	if err != nil {
		return nil, err
	}
	return t.hostStat(h, p, path.Join(rel, name), name)
}

// hostStat makes the node of a path that exists. Its number comes from the file, so hard links share it.
func (t *Tree) hostStat(h HostDir, p *node, rel, name string) (*node, error) {
	st, err := h.stat(rel)
	if err != nil {
		return nil, err
	}
	top := p.hostTop()
	n := &node{
		t: t, kind: hostNode, id: top.id, rel: top.rel, gen: hostNumber(device(&st), st.Ino), dir: top.dir, obj: top.obj,
		host: top, parent: p, name: name, birth: st.Btime.Sec*1e9 + int64(st.Btime.Nsec),
	}
	n.setHostStat(h, &st)
	return n, nil
}

// stat is lstat with the time of birth.
func (h HostDir) stat(rel string) (st unix.Statx_t, err error) {
	f, err := h.Root.OpenFile(rel, unix.O_PATH|unix.O_NOFOLLOW, 0)
	if err != nil {
		return st, hostError(err)
	}
	defer f.Close()
	if err = unix.Statx(int(f.Fd()), "", unix.AT_EMPTY_PATH, unix.STATX_BASIC_STATS|unix.STATX_BTIME, &st); err != nil {
		return st, hostError(err)
	}
	if st.Attributes&unix.STATX_ATTR_MOUNT_ROOT == 0 && ofKernel(int(f.Fd())) {
		return st, fault.New(fault.NotFound, "it is the kernel's")
	}
	return st, nil
}

func device(st *unix.Statx_t) uint64 { return unix.Mkdev(st.Dev_major, st.Dev_minor) }

// hostNumber tells files of one host directory apart.
func hostNumber(dev, ino uint64) uint64 { return mix(dev) + ino }

func (n *node) setHostStat(h HostDir, st *unix.Statx_t) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.mode = uint32(st.Mode)
	if st.Mode&syscall.S_IFMT == syscall.S_IFIFO {
		// The kernel opens a fifo by itself and blocks. A socket is shown as well and cannot be opened.
		n.mode = uint32(st.Mode)&^syscall.S_IFMT | syscall.S_IFSOCK
	}
	n.hostUID, n.hostGID = h.shown(st.Uid), h.shown(st.Gid)
}

// shown is the container's id for a host id, real the reverse.
func (h HostDir) shown(id uint32) uint32 {
	if h.UIDBase == 0 {
		return id
	}
	if id < h.UIDBase || id-h.UIDBase >= h.UIDs {
		return nobody
	}
	return id - h.UIDBase
}

func (h HostDir) real(id uint32) (int, error) {
	if h.UIDBase != 0 && id >= h.UIDs {
		return 0, fault.New(fault.Invalid, "id %d is not one of the container's", id)
	}
	return int(h.UIDBase + id), nil
}

func (t *Tree) hostAttr(ctx context.Context, c Caller, n *node) (Attr, error) {
	h, rel, err := t.hostDir(ctx, c, n)
	if err != nil {
		return Attr{}, err
	}
	st, err := h.stat(rel)
	if err != nil {
		return Attr{}, err
	}
	n.setHostStat(h, &st)
	r := n.hostRights()
	a := Attr{
		Ino: n.ino, Mode: n.fileType() | r.mode, Size: st.Size, UID: r.uid, GID: r.gid, Nlink: st.Nlink,
		Mtime: statTime(st.Mtime), Ctime: statTime(st.Ctime), Birth: statTime(st.Btime),
	}
	switch st.Mode & syscall.S_IFMT {
	case syscall.S_IFCHR, syscall.S_IFBLK:
		a.Rdev = uint32(unix.Mkdev(st.Rdev_major, st.Rdev_minor))
	case syscall.S_IFLNK:
		if link, err := t.hostReadlink(ctx, c, n); err == nil {
			a.Size = uint64(len(link))
		}
	}
	return a, nil
}

func statTime(t unix.StatxTimestamp) time.Time { return time.Unix(t.Sec, int64(t.Nsec)) }

// hostReadlink shows where a link leads, made relative and kept inside: the kernel of whoever reads it follows it in
// its own name space, where /etc/passwd is the host's.
func (t *Tree) hostReadlink(ctx context.Context, c Caller, n *node) (string, error) {
	h, rel, err := t.hostDir(ctx, c, n)
	if err != nil {
		return "", err
	}
	link, err := h.Root.Readlink(rel)
	if err != nil {
		return "", hostError(err)
	}
	return containLink(rel, link), nil
}

// containLink rewrites the target of the link at rel so that no kernel that follows it leaves the directory. Links that
// cannot lead out stay as they are: those that climb no higher than the directory, and only at their beginning.
func containLink(rel, link string) string {
	dir := path.Dir("/" + rel)
	if !path.IsAbs(link) && climbs(link) <= len(parts(dir)) {
		return link
	}
	to := path.Clean("/" + link)
	if !path.IsAbs(link) {
		to = path.Join(dir, link) // Join cleans, and .. of / is /
	}
	if link == "" {
		return link
	}
	up := ""
	for base := dir; base != "/"; base = path.Dir(base) {
		up += "../"
	}
	if rest := path.Join(up, to[1:]); rest != "" {
		return rest
	}
	return "."
}

// climbs counts the .. that a path begins with; one that stands later counts as very many.
func climbs(link string) int {
	n, down := 0, false
	for _, name := range strings.Split(link, "/") {
		switch name {
		case "..":
			if n++; down {
				return 1 << 20
			}
		case "", ".":
		default:
			down = true
		}
	}
	return n
}

// openHost opens a regular file. The type is checked on a descriptor that cannot act yet, so that nothing can be put
// in its place between.
func (t *Tree) openHost(ctx context.Context, h *Handle) (file, error) {
	dir, rel, err := t.hostDir(ctx, h.caller, h.node)
	if err != nil {
		return nil, err
	}
	if writes(h.flags) && dir.ReadOnly {
		return nil, fault.New(fault.ReadOnly, "the directory is read-only")
	}
	handle, err := dir.Root.OpenFile(rel, unix.O_PATH|unix.O_NOFOLLOW, 0)
	if err != nil {
		return nil, hostError(err)
	}
	defer handle.Close()
	var st unix.Stat_t
	if err := unix.Fstat(int(handle.Fd()), &st); err != nil {
		return nil, err
	}
	if st.Mode&unix.S_IFMT != unix.S_IFREG {
		return nil, fault.New(fault.Denied, "it is not a regular file")
	}
	flags := int(h.flags&(unix.O_ACCMODE|unix.O_TRUNC|unix.O_APPEND)) | unix.O_CLOEXEC | unix.O_NONBLOCK
	fd, err := unix.Open("/proc/self/fd/"+itoa(int(handle.Fd())), flags, 0)
	if err != nil {
		return nil, err
	}
	return &hostFile{fd: fd}, nil
}

// hostFile is an open regular file of a host directory.
type hostFile struct{ fd int }

func (f *hostFile) read(_ context.Context, p []byte, off int64, _ bool) (int, error) {
	return unix.Pread(f.fd, p, off)
}

func (f *hostFile) write(_ context.Context, _ Caller, p []byte, off int64) (int, error) {
	return unix.Pwrite(f.fd, p, off)
}

func (f *hostFile) flush(context.Context) error { return nil }
func (f *hostFile) release()                    { unix.Close(f.fd) }
func (f *hostFile) size() (uint64, time.Time, bool) {
	var st unix.Stat_t
	if err := unix.Fstat(f.fd, &st); err != nil {
		return 0, time.Time{}, false
	}
	return uint64(st.Size), time.Unix(st.Mtim.Unix()), true
}

// hostError keeps the errno of an error of os, whose text names paths that mean nothing to the caller.
func hostError(err error) error {
	switch e := err.(type) {
	case *os.PathError:
		err = e.Err
	case *os.LinkError:
		err = e.Err
	}
	if err == os.ErrClosed {
		return fault.New(fault.NotFound, "it is gone")
	}
	if no, ok := err.(syscall.Errno); ok {
		return fault.Wrap(no, "the file system says")
	}
	return err
}
