package unpack

import (
	"archive/tar"
	"context"
	"errors"
	"io"
	"maps"
	"os"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/containercloud/cc/fault"
)

// Layer unpacks the uncompressed layer tar r into the empty directory dir. It reads r to its end, also
// past the tar's end marker, so that a digest taken from r is that of the whole blob. A failure leaves
// a half-made directory for the caller to throw away.
func Layer(ctx context.Context, r io.Reader, dir *os.File, lim Limits) (*Record, error) {
	u := &unpacker{
		root: dir, lim: lim.withDefaults(), rec: &Record{},
		parents: parents{root: int(dir.Fd())},
		dirs:    map[string]times{},
		buf:     make([]byte, 256<<10),
	}
	defer u.parents.forget()
	if err := unix.Fchmod(int(dir.Fd()), 0o755); err != nil {
		return nil, fault.Wrap(err, "cannot unpack layer")
	}
	if err := unix.Fsetxattr(int(dir.Fd()), implicitAttr, []byte{'1'}, 0); err != nil {
		return nil, fault.Wrap(err, "cannot unpack layer: the store's file system has no trusted attributes")
	}
	if err := u.run(ctx, tar.NewReader(r)); err != nil {
		return nil, err
	}
	if _, err := io.CopyBuffer(io.Discard, onlyReader{r}, u.buf); err != nil {
		return nil, err
	}
	return u.rec, u.finish()
}

type onlyReader struct{ io.Reader }

type times struct{ atime, mtime unix.Timespec }

type unpacker struct {
	root    *os.File
	lim     Limits
	rec     *Record
	parents parents
	dirs    map[string]times // directories' times, set when nothing is made in them any more
	noted   int              // bytes of names in dirs and rec
	buf     []byte
	stale   bool  // parents must be opened anew before the next entry
	free    int64 // bytes still to be written before the disk is looked at again
}

func (u *unpacker) run(ctx context.Context, tr *tar.Reader) error {
	for n := int64(0); ; n++ {
		h, err := tr.Next()
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return readError(err)
		}
		if n >= u.lim.Entries {
			return refuse("more than %d entries", u.lim.Entries)
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := u.entry(h, tr); err != nil {
			return err
		}
	}
}

// readError tells a malformed tar from a source that failed (network, digest, limit), which passes as it is.
func readError(err error) error {
	switch {
	case errors.Is(err, tar.ErrHeader), errors.Is(err, tar.ErrFieldTooLong), errors.Is(err, tar.ErrInsecurePath),
		strings.HasPrefix(err.Error(), "archive/tar:"):
		return refuse("%w", err)
	case errors.Is(err, io.ErrUnexpectedEOF):
		return refuse("the archive is cut off: %w", err)
	}
	return err
}

func (u *unpacker) entry(h *tar.Header, r io.Reader) error {
	if u.stale {
		u.parents.forget()
		u.stale = false
	}
	name, err := clean(h.Name, u.lim)
	if err != nil {
		return err
	}
	k, about, err := classify(name)
	if err != nil {
		return err
	}
	switch k {
	case ignored:
		u.rec.Skipped.Aufs++
		return nil
	case whiteout:
		u.rec.Whiteouts = append(u.rec.Whiteouts, about)
		return u.note(about)
	case opaque:
		u.rec.Opaque = append(u.rec.Opaque, about)
		return u.note(about)
	}
	if h.Uid < 0 || h.Gid < 0 || int64(h.Uid) > maxID || int64(h.Gid) > maxID {
		return refuse("%q is owned by %d:%d", short(h.Name), h.Uid, h.Gid)
	}
	attrs, err := u.xattrs(h)
	if err != nil {
		return err
	}
	if err := u.create(h, r, name, attrs); err != nil {
		return err
	}
	u.rec.Entries++
	return nil
}

// maxID is the largest user or group id there is: the next one means "none".
const maxID = 1<<32 - 2

// note counts the bytes of names that must be remembered until the end.
func (u *unpacker) note(name string) error {
	u.noted += len(name) + 64
	if u.noted > u.lim.Noted {
		return refuse("too many directories and whiteouts (%d bytes of names)", u.noted)
	}
	return nil
}

func (u *unpacker) create(h *tar.Header, r io.Reader, name string, attrs []attr) error {
	switch h.Typeflag {
	case tar.TypeChar, tar.TypeBlock:
		u.rec.Skipped.Devices++
		return nil
	case tar.TypeXGlobalHeader:
		return nil
	case tar.TypeReg, '\x00', tar.TypeGNUSparse, tar.TypeCont, tar.TypeDir, tar.TypeSymlink, tar.TypeLink, tar.TypeFifo:
	default:
		return refuse("%q has the unknown type %q", short(h.Name), string(h.Typeflag))
	}
	if name == "" {
		if h.Typeflag != tar.TypeDir {
			return refuse("the root is not a directory")
		}
		return u.rootDir(h, attrs)
	}
	parent, base, err := u.parents.open(name, true)
	if err != nil {
		return u.cannot(h, err)
	}
	switch h.Typeflag {
	case tar.TypeDir:
		err = u.dir(h, name, parent, base, attrs)
	case tar.TypeSymlink:
		err = u.symlink(h, parent, base, attrs)
	case tar.TypeLink:
		err = u.link(h, name, parent, base)
	case tar.TypeFifo:
		err = u.fifo(h, parent, base, attrs)
	default:
		err = u.file(h, r, parent, base, attrs)
	}
	return u.cannot(h, err)
}

// cannot names the entry in an error of the kernel; what is the layer's own fault is Invalid.
func (u *unpacker) cannot(h *tar.Header, err error) error {
	var no unix.Errno
	if err == nil || !errors.As(err, &no) {
		return err
	}
	switch no {
	case unix.ENOTDIR, unix.ELOOP, unix.EISDIR, unix.EXDEV, unix.EMLINK, unix.ENAMETOOLONG, unix.EINVAL, unix.EPERM, unix.ENOENT, unix.E2BIG, unix.ERANGE:
		return refuse("cannot make %q: %w", short(h.Name), err)
	}
	return fault.Wrap(err, "cannot unpack %q", short(h.Name))
}

// finish sets the directories' times, in any order: setting times changes no parent.
func (u *unpacker) finish() error {
	u.parents.forget()
	for _, name := range slices.Sorted(maps.Keys(u.dirs)) {
		fd, err := openIn(u.parents.root, name, unix.O_DIRECTORY|unix.O_RDONLY|unix.O_NOFOLLOW)
		if err != nil {
			continue // replaced later by something else
		}
		t := u.dirs[name]
		err = setTimes(fd, t)
		unix.Close(fd)
		if err != nil {
			return fault.Wrap(err, "cannot unpack %q", short(name))
		}
	}
	return nil
}
