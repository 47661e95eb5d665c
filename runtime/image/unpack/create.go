package unpack

import (
	"archive/tar"
	"bytes"
	"io"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/containercloud/cc/fault"
)

// rootDir takes over what the layer says about "/".
func (u *unpacker) rootDir(h *tar.Header, attrs []attr) error {
	fd := int(u.root.Fd())
	if err := u.describe(fd, h, attrs); err != nil {
		return u.cannot(h, err)
	}
	u.dirs[""] = timesOf(h)
	return ignoreNoData(unix.Fremovexattr(fd, implicitAttr))
}

func ignoreNoData(err error) error {
	if err == unix.ENODATA {
		return nil
	}
	return err
}

// describe sets owner, mode and attributes. The owner comes first: changing it clears setuid and capabilities.
func (u *unpacker) describe(fd int, h *tar.Header, attrs []attr) error {
	if err := unix.Fchown(fd, h.Uid, h.Gid); err != nil {
		return err
	}
	if err := unix.Fchmod(fd, uint32(h.Mode)&0o7777); err != nil {
		return err
	}
	return u.setXattrs(fd, attrs)
}

func timesOf(h *tar.Header) times {
	m := timespec(h.ModTime)
	a := m
	if !h.AccessTime.IsZero() {
		a = timespec(h.AccessTime)
	}
	return times{a, m}
}

func timespec(t time.Time) unix.Timespec {
	if t.IsZero() {
		return unix.Timespec{}
	}
	return unix.Timespec{Sec: t.Unix(), Nsec: int64(t.Nanosecond())}
}

// dir makes a directory, or describes anew one that is already there.
func (u *unpacker) dir(h *tar.Header, name string, parent int, base string, attrs []attr) error {
	err := unix.Mkdirat(parent, base, 0o700)
	if err == unix.EEXIST {
		err = u.makeWay(parent, base, true)
	}
	if err != nil {
		return err
	}
	fd, err := unix.Openat(parent, base, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	if err := u.describe(fd, h, attrs); err != nil {
		return err
	}
	if err := ignoreNoData(unix.Fremovexattr(fd, implicitAttr)); err != nil {
		return err
	}
	u.dirs[name] = timesOf(h)
	return u.note(name)
}

// makeWay removes what an earlier entry of the same name made: the last one wins, as in tar. A directory in
// the way of a directory stays; one in the way of something else goes with its content.
func (u *unpacker) makeWay(parent int, base string, dir bool) error {
	var st unix.Stat_t
	if err := unix.Fstatat(parent, base, &st, unix.AT_SYMLINK_NOFOLLOW); err != nil {
		return err
	}
	isDir := st.Mode&unix.S_IFMT == unix.S_IFDIR
	if dir && isDir {
		return nil
	}
	if isDir || st.Mode&unix.S_IFMT == unix.S_IFLNK {
		u.stale = true // kept parents may lie in it, or were reached through it
	}
	if err := removeAll(parent, base); err != nil {
		return err
	}
	if !dir {
		return nil
	}
	return unix.Mkdirat(parent, base, 0o700)
}

// again runs make, and once more when an earlier entry was in the way.
func (u *unpacker) again(parent int, base string, make func() error) error {
	err := make()
	if err != unix.EEXIST {
		return err
	}
	if err := u.makeWay(parent, base, false); err != nil {
		return err
	}
	return make()
}

func (u *unpacker) symlink(h *tar.Header, parent int, base string, attrs []attr) error {
	if h.Linkname == "" || strings.IndexByte(h.Linkname, 0) >= 0 || len(h.Linkname) >= unix.PathMax {
		return refuse("%q is a link to an impossible name", short(h.Name))
	}
	u.rec.Skipped.Xattrs += int64(len(attrs))
	return u.again(parent, base, func() error {
		if err := unix.Symlinkat(h.Linkname, parent, base); err != nil {
			return err
		}
		return own(parent, base, h)
	})
}

// own sets owner and times of a link or fifo.
func own(parent int, base string, h *tar.Header) error {
	if err := unix.Fchownat(parent, base, h.Uid, h.Gid, unix.AT_SYMLINK_NOFOLLOW); err != nil {
		return err
	}
	t := timesOf(h)
	return unix.UtimesNanoAt(parent, base, []unix.Timespec{t.atime, t.mtime}, unix.AT_SYMLINK_NOFOLLOW)
}

// fifo makes a named pipe. It is harmless as long as the host never opens it, and some images' init systems
// need theirs.
func (u *unpacker) fifo(h *tar.Header, parent int, base string, attrs []attr) error {
	u.rec.Skipped.Xattrs += int64(len(attrs))
	return u.again(parent, base, func() error {
		if err := unix.Mknodat(parent, base, unix.S_IFIFO|0o600, 0); err != nil {
			return err
		}
		if err := own(parent, base, h); err != nil {
			return err
		}
		return unix.Fchmodat(parent, base, uint32(h.Mode)&0o7777, 0) // just made, so no link that this could follow
	})
}

// link makes a hard link, at once when the target is in this layer and by Merge when it is below.
func (u *unpacker) link(h *tar.Header, name string, parent int, base string) error {
	target, err := clean(h.Linkname, u.lim)
	if err != nil {
		return err
	}
	k, _, err := classify(target)
	if err != nil {
		return err
	}
	if target == "" || target == name || k != plain {
		return refuse("%q is a hard link to %q", short(h.Name), short(h.Linkname))
	}
	from := parents{root: u.parents.root}
	defer from.forget()
	tdir, tbase, err := from.open(target, false)
	var st unix.Stat_t
	if err == nil {
		err = unix.Fstatat(tdir, tbase, &st, unix.AT_SYMLINK_NOFOLLOW)
	}
	if err == unix.ENOENT || err == unix.ENOTDIR {
		u.rec.Links = append(u.rec.Links, Link{name, target})
		return u.note(name + target)
	}
	if err != nil {
		return err
	}
	if st.Mode&unix.S_IFMT == unix.S_IFDIR {
		return refuse("%q is a hard link to the directory %q", short(h.Name), short(h.Linkname))
	}
	var old unix.Stat_t
	if unix.Fstatat(parent, base, &old, unix.AT_SYMLINK_NOFOLLOW) == nil && old.Ino == st.Ino {
		return nil
	}
	return u.again(parent, base, func() error { return unix.Linkat(tdir, tbase, parent, base, 0) })
}

func (u *unpacker) file(h *tar.Header, r io.Reader, parent int, base string, attrs []attr) error {
	if h.Size < 0 || u.rec.Bytes+h.Size > u.lim.Bytes || u.rec.Bytes+h.Size < 0 {
		return refuse("%q makes it larger than %d bytes", short(h.Name), u.lim.Bytes)
	}
	if err := u.reserve(h.Size, isSparse(h)); err != nil {
		return err
	}
	u.rec.Bytes += h.Size
	return u.again(parent, base, func() error {
		fd, err := unix.Openat(parent, base, unix.O_WRONLY|unix.O_CREAT|unix.O_EXCL|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0o600)
		if err != nil {
			return err
		}
		defer unix.Close(fd)
		if err := u.content(fd, h, r); err != nil {
			return err
		}
		if err := u.describe(fd, h, attrs); err != nil {
			return err
		}
		return setTimes(fd, timesOf(h))
	})
}

func isSparse(h *tar.Header) bool {
	if h.Typeflag == tar.TypeGNUSparse {
		return true
	}
	for key := range h.PAXRecords {
		if strings.HasPrefix(key, "GNU.sparse.") {
			return true
		}
	}
	return false
}

// sparseBlock is the smallest hole that is kept.
const sparseBlock = 16 << 10

// content copies an entry's bytes; the holes of a sparse file stay holes.
func (u *unpacker) content(fd int, h *tar.Header, r io.Reader) error {
	buf, sparse := u.buf, isSparse(h)
	if sparse {
		buf = buf[:sparseBlock]
	}
	for at := int64(0); at < h.Size; {
		n, err := io.ReadFull(r, buf[:min(h.Size-at, int64(len(buf)))])
		if err != nil {
			if err == io.EOF {
				err = io.ErrUnexpectedEOF
			}
			return readError(err)
		}
		if !sparse || bytes.Count(buf[:n], []byte{0}) < n {
			if err := writeAll(fd, buf[:n], at); err != nil {
				return err
			}
		}
		at += int64(n)
	}
	if sparse {
		return unix.Ftruncate(fd, h.Size)
	}
	return nil
}

func writeAll(fd int, p []byte, at int64) error {
	for len(p) > 0 {
		n, err := unix.Pwrite(fd, p, at)
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			return err
		}
		p, at = p[n:], at+int64(n)
	}
	return nil
}

func mebibytes(n int64) string { return strconv.FormatInt(n>>20, 10) + " MiB" }

// reserve looks at the disk every 64 MiB, so that an image cannot take the last bytes that the daemon's
// own records need.
func (u *unpacker) reserve(n int64, sparse bool) error {
	const step = 64 << 20
	if sparse {
		n = 0
	}
	u.free -= n + 4096
	if u.free >= 0 {
		return nil
	}
	var st unix.Statfs_t
	if err := unix.Fstatfs(int(u.root.Fd()), &st); err != nil {
		return err
	}
	if free := int64(st.Bavail) * st.Bsize; free-n < u.lim.Free {
		return fault.New(fault.NoSpace, "%s free on the disk, %s needed: %s must stay free", mebibytes(free), mebibytes(n+u.lim.Free+1<<20-1), mebibytes(u.lim.Free)).
			WithHint("cc image gc")
	}
	u.free = step
	return nil
}
