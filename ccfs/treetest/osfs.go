package treetest

import (
	"io"
	"os"
	"path/filepath"
	"runtime"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

var someTime = time.Unix(1234567890, 0)

// OS is a mounted tree.
func OS(dir string) FS { return osFS{dir: dir} }

// OSAs is a mounted tree as another user, with no supplementary groups: each call runs on a thread of its own that has
// those ids for files (setfsuid(2)). The process must be root.
func OSAs(dir string, uid, gid int) FS { return osFS{dir: dir, other: true, uid: uid, gid: gid} }

type osFS struct {
	dir      string
	other    bool
	uid, gid int
}

func (f osFS) at(p string) string { return filepath.Join(f.dir, p) }

// as runs do with the file system ids of the FS.
func (f osFS) as(do func() error) error {
	if !f.other {
		return do()
	}
	result := make(chan error)
	go func() {
		runtime.LockOSThread() // and never unlocked: the thread ends with the goroutine
		_, _, no := unix.RawSyscall(unix.SYS_SETGROUPS, 0, 0, 0)
		if no == 0 {
			_, _, _ = unix.RawSyscall(unix.SYS_SETFSGID, uintptr(f.gid), 0, 0)
			_, _, _ = unix.RawSyscall(unix.SYS_SETFSUID, uintptr(f.uid), 0, 0)
			result <- do()
			return
		}
		result <- no
	}()
	return <-result
}

// retry repeats a call that a signal of Go's scheduler interrupted.
func retry(do func() error) error {
	for {
		if err := do(); err != syscall.EINTR {
			return err
		}
	}
}

func (f osFS) Open(p string, flags int, mode uint32) (File, error) {
	fd := -1
	err := f.as(func() error {
		return retry(func() (err error) {
			fd, err = unix.Open(f.at(p), flags|unix.O_CLOEXEC, mode)
			return err
		})
	})
	if err != nil {
		return nil, err
	}
	return osFile(fd), nil
}

func (f osFS) call(do func() error) error { return f.as(func() error { return retry(do) }) }

func (f osFS) Mkdir(p string, mode uint32) error {
	return f.call(func() error { return unix.Mkdir(f.at(p), mode) })
}

func (f osFS) Rmdir(p string) error { return f.call(func() error { return unix.Rmdir(f.at(p)) }) }
func (f osFS) Unlink(p string) error {
	return f.call(func() error { return unix.Unlink(f.at(p)) })
}

func (f osFS) Rename(from, to string, noReplace bool) error {
	flags := uint(0)
	if noReplace {
		flags = unix.RENAME_NOREPLACE
	}
	return f.call(func() error { return unix.Renameat2(unix.AT_FDCWD, f.at(from), unix.AT_FDCWD, f.at(to), flags) })
}

func (f osFS) Symlink(target, p string) error {
	return f.call(func() error { return unix.Symlink(target, f.at(p)) })
}

func (f osFS) Readlink(p string) (link string, err error) {
	err = f.call(func() error {
		buf := make([]byte, 4096)
		n, err := unix.Readlink(f.at(p), buf)
		link = string(buf[:max(n, 0)])
		return err
	})
	return link, err
}

func (f osFS) Lstat(p string) (s Stat, err error) {
	var st unix.Stat_t
	err = f.call(func() error { return unix.Lstat(f.at(p), &st) })
	return osStat(&st), err
}

func osStat(st *unix.Stat_t) Stat {
	return Stat{st.Ino, st.Mode, st.Size, st.Uid, st.Gid, st.Nlink, st.Mtim.Nano()}
}

func (f osFS) ReadDir(p string) (names []string, err error) {
	err = f.call(func() error {
		d, err := os.Open(f.at(p))
		if err != nil {
			return err
		}
		defer d.Close()
		names = nil
		list, err := d.ReadDir(-1)
		for _, e := range list {
			if name := e.Name(); e.IsDir() {
				names = append(names, name+"/")
			} else {
				names = append(names, name)
			}
		}
		return err
	})
	return names, err
}

func (f osFS) Chmod(p string, mode uint32) error {
	return f.call(func() error { return unix.Chmod(f.at(p), mode) })
}

func (f osFS) Chown(p string, uid, gid int) error {
	return f.call(func() error { return unix.Lchown(f.at(p), uid, gid) })
}

func (f osFS) Truncate(p string, size int64) error {
	return f.call(func() error { return unix.Truncate(f.at(p), size) })
}

func (f osFS) Touch(p string) error {
	return f.call(func() error { return os.Chtimes(f.at(p), someTime, someTime) })
}

func (f osFS) Getxattr(p, name string) (value string, err error) {
	err = f.call(func() error {
		buf := make([]byte, 4096)
		n, err := unix.Getxattr(f.at(p), name, buf)
		value = string(buf[:max(n, 0)])
		return err
	})
	return value, err
}

func (f osFS) Setxattr(p, name, value string) error {
	return f.call(func() error { return unix.Setxattr(f.at(p), name, []byte(value), 0) })
}

func (f osFS) Access(p string, mask uint32) error {
	// AT_EACCESS is done by the library in user space; faccessat with real ids would ask for root's.
	return f.call(func() error { return unix.Faccessat2(unix.AT_FDCWD, f.at(p), mask, unix.AT_EACCESS) })
}

// osFile is a descriptor; package os would poll it.
type osFile int

func (fd osFile) Read(p []byte) (n int, err error) {
	err = retry(func() (err error) { n, err = unix.Read(int(fd), p); return err })
	if n == 0 && err == nil && len(p) > 0 {
		return 0, io.EOF
	}
	return max(n, 0), err
}

func (fd osFile) Write(p []byte) (n int, err error) {
	err = retry(func() (err error) { n, err = unix.Write(int(fd), p); return err })
	return max(n, 0), err
}

func (fd osFile) Seek(off int64, whence int) (int64, error) { return unix.Seek(int(fd), off, whence) }
func (fd osFile) Truncate(size int64) error                 { return unix.Ftruncate(int(fd), size) }
func (fd osFile) Close() error                              { return unix.Close(int(fd)) }
func (fd osFile) Stat() (Stat, error) {
	var st unix.Stat_t
	err := unix.Fstat(int(fd), &st)
	return osStat(&st), err
}
