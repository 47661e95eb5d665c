package fusefs

import (
	"context"
	"fmt"
	"log/slog"
	"runtime/debug"
	"sync"
	"syscall"

	"github.com/hanwen/go-fuse/v2/fuse"

	"github.com/containercloud/cc/ccfs/tree"
	"github.com/containercloud/cc/fault"
)

// door answers FUSE requests with calls of the tree. Every operation that FUSE knows has a method here or in the files
// beside: an ENOSYS would be remembered by the kernel for the life of the mount.
type door struct {
	fuse.RawFileSystem // only for methods that a later go-fuse adds

	tree     *tree.Tree
	session  *session
	opts     Options
	lookups  lookups
	files    table[*file]
	dirs     table[*dir]
	backings backings
	results  sync.Pool // *readResult
}

func newDoor(s *session, t *tree.Tree, o Options) *door {
	d := &door{RawFileSystem: fuse.NewDefaultRawFileSystem(), tree: t, session: s, opts: o}
	d.lookups.init()
	d.backings.init(deviceFD(s.fd))
	d.results.New = func() any { return &readResult{pool: &d.results} }
	return d
}

func (d *door) String() string    { return subtype }
func (d *door) SetDebug(bool)     {}
func (d *door) OnUnmount()        {}
func (d *door) Init(*fuse.Server) {}

// begin starts a request with the usual deadline; the method defers its close.
func (d *door) begin(h *fuse.InHeader) *request {
	return d.session.requests.begin(h, nothing, d.opts.Deadline)
}

// beginLong starts a request that may take long, so others must not queue behind it.
func (d *door) beginLong(h *fuse.InHeader) *request {
	r := d.begin(h)
	d.session.loop.yield(h.Unique)
	return r
}

// done answers a request that hands nothing out.
func (d *door) done(r *request, err error) fuse.Status {
	if !r.finish() {
		return fuse.Status(syscall.ETIMEDOUT)
	}
	return status(err)
}

// changed answers a request that changed something, after the kernel has dropped attributes that it made stale.
func (d *door) changed(r *request, err error) fuse.Status {
	d.session.notifier.settle()
	return d.done(r, err)
}

// status is the errno for err. EINTR would make the caller believe that it got a signal: only streams may say so.
func status(err error) fuse.Status {
	if err == nil {
		return fuse.OK
	}
	errno := fault.Errno(err)
	if errno <= 0 || errno >= 512 || errno == syscall.ENOSYS || errno == syscall.EINTR {
		errno = syscall.EIO
	}
	return fuse.Status(errno)
}

// entry answers an operation that gives the kernel a name: the node counts as looked up from here on.
func (d *door) entry(r *request, a tree.Attr, err error, out *fuse.EntryOut) fuse.Status {
	if err != nil {
		return d.done(r, err)
	}
	if !r.finish() {
		d.tree.Forget(a.Ino, 1)
		return fuse.Status(syscall.ETIMEDOUT)
	}
	d.fill(a, out)
	return fuse.OK
}

// fill writes an entry and counts it.
func (d *door) fill(a tree.Attr, out *fuse.EntryOut) {
	out.NodeId = d.lookups.add(a)
	out.Generation = 1 // inodes are hashes of ids that never come back
	if a.CacheName && !a.Private {
		out.SetEntryTimeout(d.opts.CacheFor)
	}
	if a.Cache {
		out.SetAttrTimeout(d.opts.CacheFor)
	}
	fillAttr(&a, &out.Attr)
}

func fillAttr(a *tree.Attr, out *fuse.Attr) {
	out.Ino = uint64(a.Ino)
	out.Mode = a.Mode
	out.Size = a.Size
	out.Blocks = (a.Size + 511) / 512 // never fewer than the size: cp would look for holes
	out.Blksize = 4096
	out.Nlink = max(a.Nlink, 1)
	out.Uid, out.Gid = a.UID, a.GID
	out.SetTimes(&a.Mtime, &a.Mtime, &a.Ctime)
}

// exists asks the tree for a name, on nobody's behalf.
func (d *door) exists(parent tree.Ino, name string) bool {
	ctx, cancel := context.WithTimeout(context.Background(), d.opts.Deadline)
	defer cancel()
	a, err := d.tree.Lookup(ctx, tree.Caller{Door: "fuse"}, parent, name)
	if err != nil {
		return !fault.Is(err, fault.NotFound)
	}
	d.tree.Forget(a.Ino, 1)
	return true
}

// close gives back what the kernel still held when the connection ended.
func (d *door) close() {
	d.files.drain(func(f *file) { d.release(f) })
	d.dirs.drain(func(*dir) {})
	d.lookups.drain(d.tree.Forget)
}

// panicHandler makes EIO of a panic in the tree: one bad row must not unmount the cloud.
func panicHandler(log *slog.Logger) func(any) fuse.Status {
	return func(v any) fuse.Status {
		log.Error("panic in a handler", "value", fmt.Sprint(v), "stack", string(debug.Stack()))
		return fuse.EIO
	}
}
