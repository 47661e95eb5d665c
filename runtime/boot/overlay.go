package boot

import (
	"os"

	"golang.org/x/sys/unix"

	"github.com/containercloud/cc/fault"
)

// OverlayOptions say how a root file system is put together.
type OverlayOptions struct {
	// Volatile leaves out every sync, also that at the end, 12 times faster to remove. After a crash of the host the upper
	// directory is worth nothing.
	Volatile bool
	// Reuse takes an upper directory that was volatile before and whose last user ended without such a crash.
	Reuse bool
	// IDs: files of the lowers have container ids (0-based) on disk and are the mapped ids' in the mount. Files that
	// the container writes have the mapped ids on disk.
	IDs IDMap
	// Mapped: the lowers are mapped mounts already (CloneTop), or need no map. An overlay as lower must be, because it cannot be mapped.
	Mapped bool
}

// Overlay makes the root file system of a container as a detached mount. lowers come topmost first; they, upper and work are directories on
// file systems of the caller's mount namespace; work is empty. All stay the caller's.
//
// A mapped Overlay needs Linux 6.15, where overlayfs takes detached layers.
func Overlay(lowers []*os.File, upper, work *os.File, o OverlayOptions) (m *os.File, err error) {
	defer func() { err = fault.Wrap(err, "cannot mount a root file system") }()
	if o.Reuse {
		if err := clearVolatile(work); err != nil {
			return nil, err
		}
	}
	layers := layerSet{ids: o.IDs, mapped: o.Mapped}
	defer layers.close()
	for _, l := range lowers {
		if err := layers.lower(l); err != nil {
			return nil, err
		}
	}
	if err := layers.writable(upper, work); err != nil {
		return nil, err
	}
	fs, err := unix.Fsopen("overlay", unix.FSOPEN_CLOEXEC)
	if err != nil {
		return nil, os.NewSyscallError("fsopen overlay", err)
	}
	defer unix.Close(fs)
	if err := layers.configure(fs, o.Volatile); err != nil {
		return nil, err
	}
	return finishMount(fs, "overlay", unix.MOUNT_ATTR_NODEV)
}

// layerSet holds the directories an overlay is made of, each on a mapped mount of its own when there is a map.
type layerSet struct {
	ids         IDMap
	mapped      bool
	lowers      []*os.File
	upper, work *os.File
	own         []*os.File // to close
}

func (l *layerSet) close() {
	for _, f := range l.own {
		f.Close()
	}
}

func (l *layerSet) lower(dir *os.File) error {
	if l.ids.Size != 0 && !l.mapped {
		m, err := cloneMount(dir, l.ids, false)
		if err != nil {
			return err
		}
		l.own = append(l.own, m)
		dir = m
	}
	l.lowers = append(l.lowers, dir)
	return nil
}

// writable takes upper and work as they are: overlayfs works in them with the daemon's own ids, which a mapped
// mount would not know. So new files have the host's ids on disk, and the root directory is the container's.
func (l *layerSet) writable(upper, work *os.File) error {
	l.upper, l.work = upper, work
	if l.ids.Size == 0 {
		return nil
	}
	fd, err := rawFd(upper)
	if err != nil {
		return err
	}
	if err := unix.Fchownat(fd, "", int(l.ids.Base), int(l.ids.Base), unix.AT_EMPTY_PATH); err != nil {
		return &os.PathError{Op: "chown", Path: upper.Name(), Err: err}
	}
	return nil
}

func (l *layerSet) configure(fs int, volatile bool) error {
	if err := unix.FsconfigSetString(fs, "source", "cc"); err != nil {
		return os.NewSyscallError("fsconfig source", err)
	}
	set := func(key string, f *os.File) error {
		fd, err := rawFd(f)
		if err != nil {
			return err
		}
		if err := unix.FsconfigSetFd(fs, key, fd); err != nil {
			return mountError(fs, "overlay "+key, err)
		}
		return nil
	}
	for _, f := range l.lowers {
		if err := set("lowerdir+", f); err != nil {
			return err
		}
	}
	if err := set("upperdir", l.upper); err != nil {
		return err
	}
	if err := set("workdir", l.work); err != nil {
		return err
	}
	if !volatile {
		return nil
	}
	if err := unix.FsconfigSetFlag(fs, "volatile"); err != nil {
		return mountError(fs, "overlay volatile", err)
	}
	return nil
}

// clearVolatile removes the mark by which overlayfs refuses a second volatile mount.
func clearVolatile(work *os.File) error {
	fd, err := rawFd(work)
	if err != nil {
		return err
	}
	for _, step := range []struct {
		name  string
		flags int
	}{{"work/incompat/volatile/dirty", 0}, {"work/incompat/volatile", unix.AT_REMOVEDIR}, {"work/incompat", unix.AT_REMOVEDIR}} {
		if err := unix.Unlinkat(fd, step.name, step.flags); err != nil && err != unix.ENOENT {
			return &os.PathError{Op: "remove", Path: step.name, Err: err}
		}
	}
	return nil
}
