package fusefs

import (
	"context"
	"fmt"
	"os"
	"strconv"
	"time"

	"golang.org/x/sys/unix"

	"github.com/containercloud/cc/fault"
)

const (
	maxWrite = 1 << 20 // a ctl message must arrive in one piece; also the largest read
	fsType   = "fuse"
	subtype  = "cc" // mountinfo shows fuse.cc
)

// mount is our superblock in the mount table: once at dir, and once more detached, where nobody can unmount it.
// The spare keeps the connection and everybody's open files alive when somebody unmounts dir, and becomes
// the next mount at dir.
//
//	fsopen, fsconfig      superblock; INIT waits in the connection
//	fsmount               a detached mount     -> attach: move_mount to dir
//	open_tree(CLONE)      another detached one -> spare
type mount struct {
	dir   string
	dev   string // "0:52", as mountinfo prints it
	spare int    // descriptor of the detached mount, or -1
}

// newSuperblock makes a FUSE superblock for the connection fd and returns it as a detached mount. The kernel does not
// wait for INIT to be answered.
func newSuperblock(fd int, source string) (int, error) {
	fs, err := unix.Fsopen(fsType, unix.FSOPEN_CLOEXEC)
	if err != nil {
		return -1, fmt.Errorf("fsopen %s: %w", fsType, err)
	}
	defer unix.Close(fs)
	for _, o := range [][2]string{
		{"source", source},
		{"subtype", subtype},
		{"fd", strconv.Itoa(fd)},
		{"rootmode", "40000"},
		{"user_id", strconv.Itoa(os.Geteuid())},
		{"group_id", strconv.Itoa(os.Getegid())},
		{"max_read", strconv.Itoa(maxWrite)},
	} {
		if err := unix.FsconfigSetString(fs, o[0], o[1]); err != nil {
			return -1, fmt.Errorf("mount option %s=%s: %w", o[0], o[1], err)
		}
	}
	if err := unix.FsconfigSetFlag(fs, "allow_other"); err != nil {
		return -1, fmt.Errorf("mount option allow_other: %w", err)
	}
	if err := unix.FsconfigCreate(fs); err != nil {
		return -1, fmt.Errorf("fsconfig create: %w", err)
	}
	m, err := unix.Fsmount(fs, unix.FSMOUNT_CLOEXEC, unix.MOUNT_ATTR_NOSUID|unix.MOUNT_ATTR_NODEV|unix.MOUNT_ATTR_NOEXEC)
	if err != nil {
		return -1, fmt.Errorf("fsmount: %w", err)
	}
	return m, nil
}

// attach puts the detached mount fd at dir and keeps a spare of it.
func attach(fd int, dir string) (*mount, error) {
	dev, err := deviceOf(fd)
	if err != nil {
		return nil, err
	}
	if err := moveTo(fd, dir); err != nil {
		return nil, err
	}
	m := &mount{dir: dir, dev: dev, spare: -1}
	m.respare(fd)
	return m, nil
}

func moveTo(fd int, dir string) error {
	if err := unix.MoveMount(fd, "", unix.AT_FDCWD, dir, unix.MOVE_MOUNT_F_EMPTY_PATH); err != nil {
		return fmt.Errorf("move_mount to %s: %w", dir, err)
	}
	return nil
}

// respare makes a new spare out of the attached mount fd. A kernel that cannot (none known) costs the spare only.
func (m *mount) respare(fd int) {
	spare, err := unix.OpenTree(fd, "", unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC|unix.AT_EMPTY_PATH)
	if err != nil {
		spare = -1
	}
	m.spare = spare
}

// attached reports whether our superblock is mounted at dir, on top or below others. Usually it is on top, and one statx
// that does not ask the server says so.
func (m *mount) attached() (bool, error) {
	var st unix.Statx_t
	err := unix.Statx(unix.AT_FDCWD, m.dir, unix.AT_STATX_DONT_SYNC|unix.AT_NO_AUTOMOUNT|unix.AT_SYMLINK_NOFOLLOW, 0, &st)
	if err == nil && m.dev == device(&st) {
		return true, nil
	}
	at, err := mountsAt(m.dir)
	if err != nil {
		return false, err
	}
	for _, l := range at {
		if l.Dev == m.dev {
			return true, nil
		}
	}
	return false, nil
}

// restore puts the spare at dir, after somebody unmounted it.
func (m *mount) restore() error {
	if m.spare < 0 {
		return fmt.Errorf("no spare mount")
	}
	if err := makeDir(m.dir); err != nil {
		return err
	}
	if err := moveTo(m.spare, m.dir); err != nil {
		return err
	}
	fd := m.spare
	m.respare(fd)
	return unix.Close(fd)
}

// detach drops the spare, takes the mount away from dir and aborts the connection: whoever still has files open, even
// from a mount that was unmounted before, gets ECONNABORTED or ENOTCONN instead of waiting for a server that went.
func (m *mount) detach() error {
	m.dropSpare()
	at, err := mountsAt(m.dir)
	if err != nil {
		return err
	}
	if len(at) == 0 || at[len(at)-1].Dev != m.dev {
		return nil // somebody else's mount is on top; ours goes with the connection
	}
	err = unix.Unmount(m.dir, unix.MNT_FORCE|unix.MNT_DETACH|unix.UMOUNT_NOFOLLOW)
	if err != nil && err != unix.EINVAL {
		return fmt.Errorf("umount %s: %w", m.dir, err)
	}
	return nil
}

func (m *mount) dropSpare() {
	if m.spare >= 0 {
		unix.Close(m.spare)
		m.spare = -1
	}
}

// deviceOf is the superblock's number, as mountinfo prints it, without asking the server.
func deviceOf(fd int) (string, error) {
	var st unix.Statx_t
	if err := unix.Statx(fd, "", unix.AT_EMPTY_PATH|unix.AT_STATX_DONT_SYNC, 0, &st); err != nil {
		return "", fmt.Errorf("statx: %w", err)
	}
	return device(&st), nil
}

func device(st *unix.Statx_t) string { return fmt.Sprintf("%d:%d", st.Dev_major, st.Dev_minor) }

// clearDead detaches mounts of ours at dir whose server is gone. A living one is fault.Busy. Other people's mounts stay:
// ours goes on top.
func clearDead(ctx context.Context, dir string, o Options) error {
	for range 64 { // dead mounts may be stacked
		at, err := mountsAt(dir)
		if err != nil || len(at) == 0 {
			return err
		}
		top := at[len(at)-1]
		if top.Type != fsType+"."+subtype {
			return nil
		}
		if alive(ctx, dir) {
			return fault.New(fault.Busy, "a daemon serves %s already, source %s", dir, top.Source).
				WithHint("stop it, or give this one another --mount")
		}
		o.Log.Info("detach dead mount", "dir", dir, "source", top.Source)
		if err := unix.Unmount(dir, unix.MNT_DETACH|unix.UMOUNT_NOFOLLOW); err != nil {
			return fmt.Errorf("umount dead %s: %w", dir, err)
		}
	}
	return fault.New(fault.Busy, "more than 64 mounts at %s", dir)
}

// alive asks the file system at dir something. A killed server makes it fail with ENOTCONN at once; one that does not
// answer in time counts as living, because its mount must not be taken away.
func alive(ctx context.Context, dir string) bool {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	answer := make(chan error, 1)
	go func() {
		var st unix.Statfs_t
		answer <- unix.Statfs(dir, &st)
	}()
	select {
	case err := <-answer:
		return err != unix.ENOTCONN && err != unix.ECONNABORTED
	case <-ctx.Done():
		return true
	}
}
