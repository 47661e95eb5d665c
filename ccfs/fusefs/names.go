package fusefs

import (
	"syscall"

	"github.com/hanwen/go-fuse/v2/fuse"
	"golang.org/x/sys/unix"
)

// Lookup answers ENOENT without a lifetime, so that the kernel never believes in an absence: objects appear by other doors.
func (d *door) Lookup(_ <-chan struct{}, h *fuse.InHeader, name string, out *fuse.EntryOut) fuse.Status {
	r := d.begin(h)
	defer r.close()
	a, err := d.tree.Lookup(r, r.caller(), d.lookups.ino(h.NodeId), name)
	return d.entry(r, a, err, out)
}

func (d *door) Forget(node, n uint64) {
	d.tree.Forget(d.lookups.forget(node, n), n)
}

func (d *door) Mkdir(_ <-chan struct{}, in *fuse.MkdirIn, name string, out *fuse.EntryOut) fuse.Status {
	r := d.beginLong(&in.InHeader)
	defer r.close()
	a, err := d.tree.Mkdir(r, r.caller(), d.lookups.ino(in.NodeId), name, in.Mode)
	d.session.notifier.settle()
	return d.entry(r, a, err, out)
}

func (d *door) Symlink(_ <-chan struct{}, h *fuse.InHeader, target, name string, out *fuse.EntryOut) fuse.Status {
	r := d.beginLong(h)
	defer r.close()
	a, err := d.tree.Symlink(r, r.caller(), d.lookups.ino(h.NodeId), name, target)
	d.session.notifier.settle()
	return d.entry(r, a, err, out)
}

func (d *door) Readlink(_ <-chan struct{}, h *fuse.InHeader) ([]byte, fuse.Status) {
	r := d.begin(h)
	defer r.close()
	target, err := d.tree.Readlink(r, r.caller(), d.lookups.ino(h.NodeId))
	return []byte(target), d.done(r, err)
}

func (d *door) Unlink(_ <-chan struct{}, h *fuse.InHeader, name string) fuse.Status {
	r := d.begin(h)
	defer r.close()
	return d.changed(r, d.tree.Unlink(r, r.caller(), d.lookups.ino(h.NodeId), name))
}

func (d *door) Rmdir(_ <-chan struct{}, h *fuse.InHeader, name string) fuse.Status {
	r := d.beginLong(h)
	defer r.close()
	return d.changed(r, d.tree.Rmdir(r, r.caller(), d.lookups.ino(h.NodeId), name))
}

// Rename knows RENAME_NOREPLACE (mv -n, renameat2) and no other flag: a setting cannot be exchanged or whited out.
func (d *door) Rename(_ <-chan struct{}, in *fuse.RenameIn, from, to string) fuse.Status {
	if in.Flags&^unix.RENAME_NOREPLACE != 0 {
		return fuse.EINVAL
	}
	r := d.beginLong(&in.InHeader)
	defer r.close()
	return d.changed(r, d.tree.Rename(r, r.caller(), d.lookups.ino(in.NodeId), from, d.lookups.ino(in.Newdir), to,
		in.Flags&unix.RENAME_NOREPLACE != 0))
}

// Mknod serves mknod(2) of a plain file, which some tools use instead of open(O_CREAT). There are no devices here.
func (d *door) Mknod(_ <-chan struct{}, in *fuse.MknodIn, name string, out *fuse.EntryOut) fuse.Status {
	if in.Mode&syscall.S_IFMT != syscall.S_IFREG {
		return fuse.EPERM
	}
	r := d.begin(&in.InHeader)
	defer r.close()
	a, h, err := d.tree.Create(r, r.caller(), d.lookups.ino(in.NodeId), name, unix.O_WRONLY|unix.O_CREAT|unix.O_EXCL, in.Mode)
	if err == nil {
		h.Release()
	}
	return d.entry(r, a, err, out)
}

// Link makes a hard link, which only a container's root file system has.
func (d *door) Link(_ <-chan struct{}, in *fuse.LinkIn, name string, out *fuse.EntryOut) fuse.Status {
	r := d.beginLong(&in.InHeader)
	defer r.close()
	a, err := d.tree.Link(r, r.caller(), d.lookups.ino(in.Oldnodeid), d.lookups.ino(in.NodeId), name)
	return d.entry(r, a, err, out)
}

// Tmpfile refuses O_TMPFILE (open(2): EOPNOTSUPP); programs then make a named file.
func (d *door) Tmpfile(<-chan struct{}, *fuse.CreateIn, *fuse.CreateOut) fuse.Status {
	return fuse.ENOTSUP
}
