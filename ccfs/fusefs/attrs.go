package fusefs

import (
	"cmp"
	"strings"
	"syscall"
	"time"

	"github.com/hanwen/go-fuse/v2/fuse"

	"github.com/containercloud/cc/ccfs/tree"
)

func (d *door) GetAttr(_ <-chan struct{}, in *fuse.GetAttrIn, out *fuse.AttrOut) fuse.Status {
	r := d.begin(&in.InHeader)
	defer r.close()
	var h *tree.Handle
	if in.Flags()&fuse.FUSE_GETATTR_FH != 0 {
		h = d.handle(in.Fh())
	}
	a, err := d.tree.Getattr(r, r.caller(), d.lookups.ino(in.NodeId), h)
	if err == nil {
		d.fillAttrOut(&a, out)
	}
	return d.done(r, err)
}

func (d *door) fillAttrOut(a *tree.Attr, out *fuse.AttrOut) {
	if a.Cache {
		out.SetTimeout(d.opts.CacheFor)
	}
	fillAttr(a, &out.Attr)
}

func (d *door) SetAttr(_ <-chan struct{}, in *fuse.SetAttrIn, out *fuse.AttrOut) fuse.Status {
	r := d.begin(&in.InHeader)
	defer r.close()
	var h *tree.Handle
	if fh, ok := in.GetFh(); ok {
		h = d.handle(fh)
	}
	a, err := d.tree.Setattr(r, r.caller(), d.lookups.ino(in.NodeId), h, setAttr(in))
	if err == nil {
		d.fillAttrOut(&a, out)
	}
	return d.changed(r, err)
}

// setAttr takes out of the request what it sets.
func setAttr(in *fuse.SetAttrIn) (s tree.SetAttr) {
	if v, ok := in.GetMode(); ok {
		s.Mode = &v
	}
	if v, ok := in.GetUID(); ok {
		s.UID = &v
	}
	if v, ok := in.GetGID(); ok {
		s.GID = &v
	}
	if v, ok := in.GetSize(); ok {
		s.Size = &v
	}
	if v, ok := in.GetMTime(); ok {
		s.Mtime = &v
	}
	if v, ok := in.GetATime(); ok {
		s.Atime = &v
	}
	return s
}

// Statx is asked instead of GetAttr when the caller wants the time of birth.
func (d *door) Statx(_ <-chan struct{}, in *fuse.StatxIn, out *fuse.StatxOut) fuse.Status {
	r := d.begin(&in.InHeader)
	defer r.close()
	var h *tree.Handle
	if in.GetattrFlags&fuse.FUSE_GETATTR_FH != 0 {
		h = d.handle(in.Fh)
	}
	a, err := d.tree.Getattr(r, r.caller(), d.lookups.ino(in.NodeId), h)
	if err == nil {
		if a.Cache {
			out.SetTimeout(d.opts.CacheFor)
		}
		fillStatx(&a, &out.Statx)
	}
	return d.done(r, err)
}

// statxBasic and statxBirth are STATX_BASIC_STATS and STATX_BTIME (linux/stat.h).
const (
	statxBasic = 0x7ff
	statxBirth = 0x800
)

func fillStatx(a *tree.Attr, out *fuse.Statx) {
	out.Mask = statxBasic
	out.Blksize = 4096
	out.Nlink = max(a.Nlink, 1)
	out.Uid, out.Gid = a.UID, a.GID
	out.Mode = uint16(a.Mode)
	out.Ino = uint64(a.Ino)
	out.Size = a.Size
	out.Blocks = (a.Size + 511) / 512
	out.Atime, out.Mtime, out.Ctime = sxTime(a.Mtime), sxTime(a.Mtime), sxTime(a.Ctime)
	if !a.Birth.IsZero() {
		out.Mask |= statxBirth
		out.Btime = sxTime(a.Birth)
	}
}

func sxTime(t time.Time) fuse.SxTime {
	return fuse.SxTime{Sec: uint64(t.Unix()), Nsec: uint32(t.Nanosecond())}
}

// Access answers access(2) and chdir(2); the ids are the caller's real ones.
func (d *door) Access(_ <-chan struct{}, in *fuse.AccessIn) fuse.Status {
	r := d.begin(&in.InHeader)
	defer r.close()
	return d.done(r, d.tree.Access(r, r.caller(), d.lookups.ino(in.NodeId), in.Mask))
}

func (d *door) StatFs(_ <-chan struct{}, _ *fuse.InHeader, out *fuse.StatfsOut) fuse.Status {
	s := d.tree.Statfs()
	bsize := cmp.Or(s.Bsize, 4096)
	*out = fuse.StatfsOut{
		Blocks: s.Blocks, Bfree: s.Bfree, Bavail: s.Bavail, Files: s.Files, Ffree: s.Ffree,
		Bsize: bsize, Frsize: bsize, NameLen: cmp.Or(s.NameLen, 255),
	}
	return fuse.OK
}

// Extended attributes: the tree has user.cc.error to read. Setting one is EOPNOTSUPP (sed, mv and install complain about
// ENODATA), reading an unknown one ENODATA. In the namespaces that we do not serve at all, reading is EOPNOTSUPP too:
// ls -l, which asks for ACLs and labels, then asks once per file system instead of twice per file.

func (d *door) GetXAttr(_ <-chan struct{}, h *fuse.InHeader, name string, dest []byte) (uint32, fuse.Status) {
	if !strings.HasPrefix(name, "user.") {
		return 0, fuse.ENOTSUP
	}
	r := d.begin(h)
	defer r.close()
	v, err := d.tree.Getxattr(r, r.caller(), d.lookups.ino(h.NodeId), name)
	if err != nil {
		return 0, d.done(r, err)
	}
	return copyOut(dest, v)
}

func (d *door) ListXAttr(_ <-chan struct{}, h *fuse.InHeader, dest []byte) (uint32, fuse.Status) {
	r := d.begin(h)
	defer r.close()
	names, err := d.tree.Listxattr(r, r.caller(), d.lookups.ino(h.NodeId))
	if err != nil {
		return 0, d.done(r, err)
	}
	var list []byte
	for _, n := range names {
		list = append(append(list, n...), 0)
	}
	return copyOut(dest, list)
}

// copyOut is what getxattr(2) and listxattr(2) do with their buffer: an empty one asks for the size.
func copyOut(dest, v []byte) (uint32, fuse.Status) {
	if len(v) > len(dest) {
		return uint32(len(v)), fuse.ERANGE
	}
	return uint32(copy(dest, v)), fuse.OK
}

func (d *door) SetXAttr(_ <-chan struct{}, in *fuse.SetXAttrIn, name string, data []byte) fuse.Status {
	return fuse.Status(syscall.EOPNOTSUPP)
}

func (d *door) RemoveXAttr(_ <-chan struct{}, h *fuse.InHeader, name string) fuse.Status {
	return fuse.Status(syscall.EOPNOTSUPP)
}
