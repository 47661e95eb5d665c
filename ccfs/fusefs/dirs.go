package fusefs

import (
	"sync"
	"syscall"

	"github.com/hanwen/go-fuse/v2/fuse"

	"github.com/containercloud/cc/ccfs/tree"
)

// dir is one open directory: the listing of the moment it was opened or last rewound, so that names neither repeat nor
// get lost while it is read.
//
//	offset 0 "."   1 ".."   2... entries
type dir struct {
	mu   sync.Mutex
	list []tree.Dirent
	read bool // somebody has read from it: offset 0 is a rewind
}

const dots = 2

// OpenDir lists at once: an open that succeeds and a read that fails would be odd, and who opens a directory reads it.
func (d *door) OpenDir(_ <-chan struct{}, in *fuse.OpenIn, out *fuse.OpenOut) fuse.Status {
	r := d.begin(&in.InHeader)
	defer r.close()
	list, err := d.tree.Readdir(r, r.caller(), d.lookups.ino(in.NodeId))
	if err != nil {
		return d.done(r, err)
	}
	if !r.finish() {
		return fuse.Status(syscall.ETIMEDOUT)
	}
	out.Fh = d.dirs.add(&dir{list: list})
	return fuse.OK
}

func (d *door) ReleaseDir(in *fuse.ReleaseIn) { d.dirs.remove(in.Fh) }

func (d *door) FsyncDir(<-chan struct{}, *fuse.FsyncIn) fuse.Status { return fuse.OK }

// listing returns the handle locked, its list renewed if the reader starts again.
func (d *door) listing(r *request, in *fuse.ReadIn) (*dir, error) {
	h, ok := d.dirs.get(in.Fh)
	if !ok {
		return nil, syscall.EBADF
	}
	h.mu.Lock()
	if in.Offset == 0 && h.read {
		list, err := d.tree.Readdir(r, r.caller(), d.lookups.ino(in.NodeId))
		if err != nil {
			h.mu.Unlock()
			return nil, err
		}
		h.list = list
	}
	h.read = true
	return h, nil
}

// at is the entry at an offset; its Off is the offset of the one after it.
func (h *dir) at(self uint64, off uint64) (e fuse.DirEntry, ok bool) {
	switch i := off - dots; {
	case off == 0:
		e = fuse.DirEntry{Name: ".", Ino: self, Mode: syscall.S_IFDIR}
	case off == 1:
		e = fuse.DirEntry{Name: "..", Ino: fuse.FUSE_UNKNOWN_INO, Mode: syscall.S_IFDIR}
	case i < uint64(len(h.list)):
		e = fuse.DirEntry{Name: h.list[i].Name, Ino: uint64(h.list[i].Ino), Mode: h.list[i].Mode}
	default:
		return e, false
	}
	e.Off = off + 1
	return e, true
}

func (d *door) ReadDir(_ <-chan struct{}, in *fuse.ReadIn, out *fuse.DirEntryList) fuse.Status {
	r := d.begin(&in.InHeader)
	defer r.close()
	h, err := d.listing(r, in)
	if err != nil {
		return d.done(r, err)
	}
	defer h.mu.Unlock()
	for off := in.Offset; ; off++ {
		e, ok := h.at(in.NodeId, off)
		if !ok || !out.AddDirEntry(e) {
			return d.done(r, nil)
		}
	}
}

// ReadDirPlus adds the attributes of directories and links, so that `ls -l` of a collection is one request for hundreds of
// objects. Files go without (node 0: the kernel looks them up when asked): their size takes a rendering, and most
// listings do not want it.
func (d *door) ReadDirPlus(_ <-chan struct{}, in *fuse.ReadIn, out *fuse.DirEntryList) fuse.Status {
	r := d.begin(&in.InHeader)
	defer r.close()
	h, err := d.listing(r, in)
	if err != nil {
		return d.done(r, err)
	}
	defer h.mu.Unlock()
	var found []tree.Ino
	for off := in.Offset; ; off++ {
		e, ok := h.at(in.NodeId, off)
		if !ok {
			break
		}
		entry := out.AddDirLookupEntry(e)
		if entry == nil {
			break
		}
		if off < dots || e.Mode&syscall.S_IFMT == syscall.S_IFREG {
			continue
		}
		a, err := d.tree.Lookup(r, r.caller(), d.lookups.ino(in.NodeId), e.Name)
		if err != nil {
			continue
		}
		found = append(found, a.Ino)
		d.fill(a, entry)
		out.FixMode(a.Mode)
	}
	code := d.done(r, nil)
	if code != fuse.OK { // the kernel did not get them
		for _, ino := range found {
			d.Forget(uint64(ino), 1)
		}
	}
	return code
}
