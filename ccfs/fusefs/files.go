package fusefs

import (
	"syscall"

	"github.com/hanwen/go-fuse/v2/fuse"
	"golang.org/x/sys/unix"

	"github.com/containercloud/cc/ccfs/tree"
	"github.com/containercloud/cc/fault"
)

// file is one open file.
type file struct {
	*tree.Handle
	node     uint64
	writer   bool
	stream   bool
	nonblock bool // opened with O_NONBLOCK
	backing  bool // the kernel reads it without us
}

func (d *door) Open(_ <-chan struct{}, in *fuse.OpenIn, out *fuse.OpenOut) fuse.Status {
	r := d.begin(&in.InHeader)
	defer r.close()
	h, err := d.tree.Open(r, r.caller(), d.lookups.ino(in.NodeId), in.Flags&^unix.O_NONBLOCK)
	if in.Flags&unix.O_TRUNC != 0 {
		d.session.notifier.settle()
	}
	if err != nil {
		return d.done(r, err)
	}
	if !r.finish() {
		h.Release()
		return fuse.Status(syscall.ETIMEDOUT)
	}
	d.opened(h, in.NodeId, in.Flags, out)
	return fuse.OK
}

func (d *door) Create(_ <-chan struct{}, in *fuse.CreateIn, name string, out *fuse.CreateOut) fuse.Status {
	r := d.begin(&in.InHeader)
	defer r.close()
	a, h, err := d.tree.Create(r, r.caller(), d.lookups.ino(in.NodeId), name, in.Flags, in.Mode)
	d.session.notifier.settle()
	if code := d.entry(r, a, err, &out.EntryOut); code != fuse.OK {
		if err == nil {
			h.Release()
		}
		return code
	}
	d.opened(h, out.NodeId, in.Flags, &out.OpenOut)
	return fuse.OK
}

// opened gives a handle its number and tells the kernel how to treat it:
//
//	log with a file behind it   PASSTHROUGH: the kernel reads the file itself
//	stream                      DIRECT_IO, STREAM: no offsets, and a blocked read does not lock out a write on the same
//	                            descriptor (with offsets both would want its position lock). The page cache, by which
//	                            sendfile(2) to a pipe reads, would end at the first record: it gets EINVAL, and programs
//	                            that try sendfile then read(2)
//	everything else             DIRECT_IO: size and content come from one rendering, the page cache knows nothing
//
// and NOFLUSH unless close(2) must wait for a commit: it saves one of three round trips.
func (d *door) opened(h *tree.Handle, node uint64, flags uint32, out *fuse.OpenOut) {
	f := &file{
		Handle: h, node: node, stream: h.Blocking(),
		writer: flags&unix.O_ACCMODE != unix.O_RDONLY, nonblock: flags&unix.O_NONBLOCK != 0,
	}
	if f.writer {
		d.lookups.opened(node)
	}
	if !h.NeedFlush() {
		out.OpenFlags |= fuse.FOPEN_NOFLUSH
	}
	if id, ok := d.backings.open(node, h.Backing()); ok {
		f.backing = true
		out.BackingID = id
		out.OpenFlags |= fuse.FOPEN_PASSTHROUGH
	} else {
		out.OpenFlags |= fuse.FOPEN_DIRECT_IO
	}
	if f.stream {
		out.OpenFlags |= fuse.FOPEN_STREAM
	}
	out.Fh = d.files.add(f)
}

// Read does not block if the descriptor was opened with O_NONBLOCK and still has it. Setting it later does not count:
// the Go runtime does that to every file that epoll takes, waits for an edge after EAGAIN, and FUSE, where poll says
// "ready" always, has none to give. (Who sets it by hand could do no better than spin.)
func (d *door) Read(_ <-chan struct{}, in *fuse.ReadIn, buf []byte) (fuse.ReadResult, fuse.Status) {
	f, ok := d.files.get(in.Fh)
	if !ok {
		return nil, fuse.EBADF
	}
	nonblock := f.nonblock && in.Flags&unix.O_NONBLOCK != 0 || f.stream && in.ReadFlags&tryRead != 0
	what := nothing
	if f.stream {
		if in.ReadFlags&fuse.READ_LOCKOWNER == 0 { // only read(2) says for whom
			return nil, fuse.EINVAL
		}
		what = signals
	}
	r := d.session.requests.begin(&in.InHeader, what, d.opts.Deadline)
	defer r.close()
	n, err := f.Read(r, buf, int64(in.Offset), nonblock)
	if n > 0 {
		err = nil
	}
	return d.result(buf[:n], d.ended(r, err))
}

// Write works on the caller's bytes where they are. Ctl files and streams may keep it waiting, so others go on meanwhile.
func (d *door) Write(_ <-chan struct{}, in *fuse.WriteIn, data []byte) (uint32, fuse.Status) {
	f, ok := d.files.get(in.Fh)
	if !ok {
		return 0, fuse.EBADF
	}
	what := wishes
	if f.stream {
		what = signals
	}
	r := d.session.requests.begin(&in.InHeader, what, d.opts.WriteDeadline)
	defer r.close()
	if f.stream || d.lookups.mayWait(f.node) {
		d.session.loop.yield(in.Unique)
	}
	n, err := f.WriteFrom(r, in.Pid, data, int64(in.Offset))
	if n > 0 {
		err = nil
	}
	d.session.notifier.settle()
	return uint32(n), d.ended(r, err)
}

// ended is done for a request that a signal may end.
func (d *door) ended(r *request, err error) fuse.Status {
	if err != nil && r.heeds != nothing && r.Err() != nil && fault.Is(err, fault.Interrupted) {
		r.finish()
		return fuse.EINTR
	}
	return d.done(r, err)
}

// Writev says that write data is wanted in one piece: a message must not be cut. (ENOSYS goes to go-fuse, not to the kernel.)
func (d *door) Writev(<-chan struct{}, *fuse.WriteIn, [][]byte) (uint32, fuse.Status) {
	return 0, fuse.ENOSYS
}

func (d *door) Flush(_ <-chan struct{}, in *fuse.FlushIn) fuse.Status {
	f, ok := d.files.get(in.Fh)
	if !ok {
		return fuse.EBADF
	}
	r := d.begin(&in.InHeader)
	defer r.close()
	d.session.loop.yield(in.Unique)
	return d.changed(r, f.Flush(r))
}

func (d *door) Fsync(_ <-chan struct{}, in *fuse.FsyncIn) fuse.Status {
	f, ok := d.files.get(in.Fh)
	if !ok {
		return fuse.EBADF
	}
	r := d.begin(&in.InHeader)
	defer r.close()
	return d.changed(r, f.Fsync(r))
}

func (d *door) Release(_ <-chan struct{}, in *fuse.ReleaseIn) {
	if f, ok := d.files.remove(in.Fh); ok {
		d.release(f)
	}
}

func (d *door) release(f *file) {
	if f.writer {
		d.lookups.closed(f.node)
	}
	if f.backing {
		d.backings.close(f.node)
	}
	f.Handle.Release()
}

// Lseek answers SEEK_DATA and SEEK_HOLE: a file has no holes.
func (d *door) Lseek(_ <-chan struct{}, in *fuse.LseekIn, out *fuse.LseekOut) fuse.Status {
	r := d.begin(&in.InHeader)
	defer r.close()
	a, err := d.tree.Getattr(r, r.caller(), d.lookups.ino(in.NodeId), d.handle(in.Fh))
	switch {
	case err != nil:
		return d.done(r, err)
	case in.Offset >= a.Size:
		return fuse.Status(syscall.ENXIO)
	case in.Whence == unix.SEEK_DATA:
		out.Offset = in.Offset
	default:
		out.Offset = a.Size
	}
	return d.done(r, nil)
}

// handle is the tree's handle of an open file, nil when there is none.
func (d *door) handle(fh uint64) *tree.Handle {
	if f, ok := d.files.get(fh); ok {
		return f.Handle
	}
	return nil
}

// CopyFileRange leaves copying to the kernel, which falls back to read and write.
func (d *door) CopyFileRange(<-chan struct{}, *fuse.CopyFileRangeIn) (uint32, fuse.Status) {
	return 0, fuse.ENOTSUP
}

func (d *door) Fallocate(<-chan struct{}, *fuse.FallocateIn) fuse.Status { return fuse.ENOTSUP }

// Ioctl: every isatty(3) arrives here.
func (d *door) Ioctl(<-chan struct{}, *fuse.IoctlIn, []byte, *fuse.IoctlOut, []byte) fuse.Status {
	return fuse.Status(syscall.ENOTTY)
}

// Locks are the kernel's business: it sends none unless asked to. Should it, they are not served here.
func (d *door) GetLk(<-chan struct{}, *fuse.LkIn, *fuse.LkOut) fuse.Status { return fuse.ENOTSUP }
func (d *door) SetLk(<-chan struct{}, *fuse.LkIn) fuse.Status              { return fuse.ENOTSUP }
func (d *door) SetLkw(<-chan struct{}, *fuse.LkIn) fuse.Status             { return fuse.ENOTSUP }

// readResult carries bytes in the request's own buffer, without an allocation per read.
type readResult struct {
	data []byte
	pool interface{ Put(any) }
}

// result is the answer to a read. With an error there must be none: go-fuse would take its status.
func (d *door) result(data []byte, code fuse.Status) (fuse.ReadResult, fuse.Status) {
	if code != fuse.OK {
		return nil, code
	}
	r := d.results.Get().(*readResult)
	r.data = data
	return r, fuse.OK
}

func (r *readResult) Size() int { return len(r.data) }

func (r *readResult) Bytes([]byte) ([]byte, fuse.Status) { return r.data, fuse.OK }

// Readv finds the bytes where they belong: Read was given the answer's own memory.
func (r *readResult) Readv(dst [][]byte) (int, fuse.Status) {
	n := 0
	for _, d := range dst {
		if rest := r.data[n:]; len(d) == 0 || len(rest) == 0 {
			continue
		} else if &d[0] == &rest[0] {
			n += min(len(d), len(rest))
		} else {
			n += copy(d, rest)
		}
	}
	return n, fuse.OK
}

func (r *readResult) Done() {
	r.data = nil
	r.pool.Put(r)
}
