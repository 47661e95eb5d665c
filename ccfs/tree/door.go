package tree

import (
	"context"

	"github.com/containercloud/cc/fault"
)

type node struct{}

// Tree is one tree. New makes it, Close ends it.
type Tree struct{}

// New makes a tree of rows. It starts nothing until the first Watch.
func New(root *Dir, o Options) *Tree { return &Tree{} }

// Close wakes blocked readers and stops announcing changes.
func (t *Tree) Close() error { return nil }

// Lookup finds a name. The door owes one Forget for each success of Lookup, Create, Mkdir and Symlink.
func (t *Tree) Lookup(ctx context.Context, c Caller, parent Ino, name string) (Attr, error) {
	return Attr{}, errEarly
}
func (t *Tree) Forget(ino Ino, n uint64) {}
func (t *Tree) Getattr(ctx context.Context, c Caller, ino Ino, h *Handle) (Attr, error) {
	return Attr{}, errEarly
}
func (t *Tree) Setattr(ctx context.Context, c Caller, ino Ino, h *Handle, s SetAttr) (Attr, error) {
	return Attr{}, errEarly
}
func (t *Tree) Open(ctx context.Context, c Caller, ino Ino, flags uint32) (*Handle, error) {
	return nil, errEarly
}
func (t *Tree) Create(ctx context.Context, c Caller, parent Ino, name string, flags, mode uint32) (Attr, *Handle, error) {
	return Attr{}, nil, errEarly
}
func (t *Tree) Mkdir(ctx context.Context, c Caller, parent Ino, name string, mode uint32) (Attr, error) {
	return Attr{}, errEarly
}
func (t *Tree) Rmdir(ctx context.Context, c Caller, parent Ino, name string) error  { return errEarly }
func (t *Tree) Unlink(ctx context.Context, c Caller, parent Ino, name string) error { return errEarly }
func (t *Tree) Rename(ctx context.Context, c Caller, oldParent Ino, oldName string, newParent Ino, newName string, flags uint32) error {
	return errEarly
}
func (t *Tree) Symlink(ctx context.Context, c Caller, parent Ino, name, target string) (Attr, error) {
	return Attr{}, errEarly
}
func (t *Tree) Readlink(ctx context.Context, c Caller, ino Ino) (string, error) { return "", errEarly }

// Readdir lists a directory without . and .., settings before what cannot be written.
func (t *Tree) Readdir(ctx context.Context, c Caller, ino Ino) ([]Dirent, error) {
	return nil, errEarly
}

// Access checks R_OK|W_OK|X_OK bits.
func (t *Tree) Access(ctx context.Context, c Caller, ino Ino, mask uint32) error { return errEarly }
func (t *Tree) Getxattr(ctx context.Context, c Caller, ino Ino, name string) ([]byte, error) {
	return nil, errEarly
}
func (t *Tree) Listxattr(ctx context.Context, c Caller, ino Ino) ([]string, error) {
	return nil, errEarly
}
func (t *Tree) Setxattr(ctx context.Context, c Caller, ino Ino, name string, value []byte, flags uint32) error {
	return errEarly
}
func (t *Tree) Removexattr(ctx context.Context, c Caller, ino Ino, name string) error {
	return errEarly
}
func (t *Tree) Statfs() Statfs { return Statfs{} }

// Watch calls f from a goroutine of its own for every change, until Close. f may block.
func (t *Tree) Watch(f func(Change)) {}

// Changed says that files of an object changed (paths in the object; none: any of them). It returns at once, may
// be called from anywhere, and wakes live/status and wait/ readers.
func (t *Tree) Changed(id string, files ...string) {}

// ChangedNames says that a name came or went in a directory given by its path below the root ("container").
func (t *Tree) ChangedNames(dir, name string) {}

// Removed says that an object is gone: its open streams end.
func (t *Tree) Removed(id string) {}

// Handle is an open file. All methods may be called at the same time.
type Handle struct{}

// Read fills p from off and returns 0 at the end. Streams and ctl files ignore off as they must. It blocks only
// if Blocking, until there is something, ctx ends (fault.Interrupted), or, with nonblock, not at all (fault.NoData).
func (h *Handle) Read(ctx context.Context, p []byte, off int64, nonblock bool) (int, error) {
	return 0, errEarly
}

// Write takes p at off, checks it, applies it, and answers. WriteFrom also names the process that writes, where
// that may not be the one that opened.
func (h *Handle) Write(ctx context.Context, p []byte, off int64) (int, error) { return 0, errEarly }
func (h *Handle) WriteFrom(ctx context.Context, pid uint32, p []byte, off int64) (int, error) {
	return 0, errEarly
}

// Flush is close(2) of one descriptor. Only when Flushes does it do anything: a FUSE door sets FOPEN_NOFLUSH else.
func (h *Handle) Flush(ctx context.Context) error { return errEarly }
func (h *Handle) Fsync(ctx context.Context) error { return errEarly }
func (h *Handle) Release()                        {}
func (h *Handle) Ino() Ino                        { return 0 }
func (h *Handle) Flushes() bool                   { return false }

// Blocking reports whether Read or Write may block: only then may a door interrupt them.
func (h *Handle) Blocking() bool { return false }

// Backing is a descriptor for FUSE passthrough, -1 when there is none.
func (h *Handle) Backing() int { return -1 }

var errEarly = fault.New(fault.Unsupported, "not there yet")
