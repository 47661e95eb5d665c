package boot

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync/atomic"

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
	// Mapped: the lowers are mapped mounts already (CloneTop), or need no map. An overlay as lower must be, because it cannot be
	// mapped. Needs Linux 6.15 when they are detached.
	Mapped bool
}

// Overlay makes the root file system of a container as a detached mount. lowers come topmost first; they, upper and work are directories on
// file systems of the caller's mount namespace; work is empty. All stay the caller's.
//
// Linux 6.15 takes all of it as descriptors. Before 6.13 layers have to be named, and before 6.15 they have to be attached somewhere:
// then mapped layers are for a moment mounted over the work directory.
func Overlay(lowers []*os.File, upper, work *os.File, o OverlayOptions) (m *os.File, err error) {
	defer func() { err = fault.Wrap(err, "cannot mount a root file system") }()
	if err := checkVolatile(work, o.Reuse); err != nil {
		return nil, err
	}
	layers := layerSet{ids: o.IDs, mapped: o.Mapped, volatile: o.Volatile}
	defer layers.close()
	for _, l := range lowers {
		if err := layers.lower(l); err != nil {
			return nil, err
		}
	}
	if err := layers.writable(upper, work); err != nil {
		return nil, err
	}
	return layers.mount()
}

// layerSet holds the directories an overlay is made of, each on a mapped mount of its own when there is a map.
type layerSet struct {
	ids         IDMap
	mapped      bool
	volatile    bool
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

// What the running kernel turned out to need, so that later mounts do not try in vain.
var (
	needNames  atomic.Bool
	needAttach atomic.Bool
)

// mount tries the ways to say it, the present kernel's first.
func (l *layerSet) mount() (*os.File, error) {
	if !needNames.Load() {
		m, err := l.mountWith(l.byDescriptor)
		if !errors.Is(err, unix.EINVAL) && !errors.Is(err, unix.EOPNOTSUPP) {
			return m, err
		}
	}
	if !needAttach.Load() || len(l.own) == 0 {
		m, err := l.mountWith(l.byName)
		switch {
		case err == nil:
			needNames.Store(true)
			return m, nil
		case !errors.Is(err, unix.EINVAL):
			return nil, err
		case l.mapped:
			return nil, fault.New(fault.Unsupported, "this kernel takes no detached layers: %w", err).WithHint("Linux 6.15 does")
		case len(l.own) == 0:
			return nil, err
		}
		if err := clearVolatile(l.work); err != nil { // a failed mount leaves the mark
			return nil, err
		}
	}
	return l.mountAttached()
}

func (l *layerSet) mountAttached() (*os.File, error) {
	detach, err := l.attach()
	if err != nil {
		return nil, err
	}
	m, err := l.mountWith(l.byName)
	if err == nil {
		needNames.Store(true)
		needAttach.Store(true)
	}
	return m, errors.Join(err, detach())
}

func (l *layerSet) mountWith(layers func(fs int) error) (*os.File, error) {
	fs, err := unix.Fsopen("overlay", unix.FSOPEN_CLOEXEC)
	if err != nil {
		return nil, os.NewSyscallError("fsopen overlay", err)
	}
	defer unix.Close(fs)
	if err := unix.FsconfigSetString(fs, "source", "cc"); err != nil {
		return nil, os.NewSyscallError("fsconfig source", err)
	}
	if err := layers(fs); err != nil {
		return nil, err
	}
	// Some distributions let a directory of the image be renamed by a note that leads back to where it was. What is mounted over
	// a part of it at the next start (the daemon's own directories, in the image host) would no longer cover it.
	if err := unix.FsconfigSetString(fs, "redirect_dir", "nofollow"); err != nil {
		return nil, mountError(fs, "overlay redirect_dir", err)
	}
	if l.volatile {
		if err := unix.FsconfigSetFlag(fs, "volatile"); err != nil {
			return nil, mountError(fs, "overlay volatile", err)
		}
	}
	return finishMount(fs, "overlay", unix.MOUNT_ATTR_NODEV)
}

func (l *layerSet) byDescriptor(fs int) error {
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
	return errors.Join(set("upperdir", l.upper), set("workdir", l.work))
}

// byName gives the same descriptors as paths.
func (l *layerSet) byName(fs int) error {
	var lower []string
	for _, f := range l.lowers {
		lower = append(lower, fdPath(f))
	}
	for _, o := range [][2]string{{"lowerdir", strings.Join(lower, ":")}, {"upperdir", fdPath(l.upper)}, {"workdir", fdPath(l.work)}} {
		if err := unix.FsconfigSetString(fs, o[0], o[1]); err != nil {
			return mountError(fs, "overlay "+o[0], err)
		}
	}
	return nil
}

func fdPath(f *os.File) string {
	fd, err := rawFd(f)
	if err != nil {
		return "/dev/null/closed"
	}
	return fmt.Sprintf("/proc/self/fd/%d", fd)
}

// attach mounts our own layers over the work directory, one on the other. Overlayfs makes private copies of them, and
// takes the directory itself by its descriptor, so that they can go at once.
func (l *layerSet) attach() (detach func() error, err error) {
	work, err := rawFd(l.work)
	if err != nil {
		return nil, err
	}
	attached := 0
	detach = func() error {
		var errs []error
		for _, m := range slices.Backward(l.own[:attached]) { // umount(2) takes the topmost of a pile
			if err := unix.Unmount(fdPath(m), unix.MNT_DETACH); err != nil {
				errs = append(errs, os.NewSyscallError("umount", err))
			}
		}
		return errors.Join(errs...)
	}
	for _, m := range l.own {
		fd, err := rawFd(m)
		if err == nil {
			err = unix.MoveMount(fd, "", work, "", unix.MOVE_MOUNT_F_EMPTY_PATH|unix.MOVE_MOUNT_T_EMPTY_PATH)
		}
		if err != nil {
			return nil, errors.Join(os.NewSyscallError("move_mount", err), detach())
		}
		attached++
	}
	return detach, nil
}

const volatileMark = "work/incompat/volatile"

// checkVolatile refuses a work directory of a volatile mount that may have lost data, unless the caller knows better.
func checkVolatile(work *os.File, reuse bool) error {
	if reuse {
		return clearVolatile(work)
	}
	fd, err := rawFd(work)
	if err != nil {
		return err
	}
	if unix.Faccessat(fd, volatileMark, unix.F_OK, 0) == nil {
		return fault.New(fault.Invalid, "its files were written without sync, and perhaps the host has crashed since")
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
	}{{volatileMark + "/dirty", 0}, {volatileMark, unix.AT_REMOVEDIR}, {"work/incompat", unix.AT_REMOVEDIR}} {
		if err := unix.Unlinkat(fd, step.name, step.flags); err != nil && err != unix.ENOENT {
			return &os.PathError{Op: "remove", Path: step.name, Err: err}
		}
	}
	return nil
}
