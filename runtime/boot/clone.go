package boot

import (
	"fmt"
	"os"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/containercloud/cc/fault"
)

// CloneMount makes a detached copy of the mount of a file or directory (a bind mount in the making), with everything
// mounted below it. With a map, container ids stand on disk and are the mapped ids' in the mount.
func CloneMount(source *os.File, readOnly bool, ids IDMap) (*os.File, error) {
	m, err := cloneMount(source, ids, true)
	if err != nil {
		return nil, fault.Wrap(err, "cannot mount %s", source.Name())
	}
	if !readOnly {
		return m, nil
	}
	fd, err := rawFd(m)
	if err == nil {
		err = unix.MountSetattr(fd, "", unix.AT_EMPTY_PATH|unix.AT_RECURSIVE, &unix.MountAttr{Attr_set: unix.MOUNT_ATTR_RDONLY})
	}
	if err != nil {
		m.Close()
		return nil, fault.Wrap(os.NewSyscallError("mount_setattr", err), "cannot mount %s", source.Name())
	}
	return m, nil
}

// CloneTop is CloneMount without what is mounted below. Its result may be a lower of several overlays (OverlayOptions.Mapped).
func CloneTop(source *os.File, ids IDMap) (*os.File, error) {
	m, err := cloneMount(source, ids, false)
	return m, fault.Wrap(err, "cannot mount %s", source.Name())
}

func cloneMount(source *os.File, ids IDMap, recursive bool) (*os.File, error) {
	fd, err := rawFd(source)
	if err != nil {
		return nil, err
	}
	flags := uint(unix.OPEN_TREE_CLONE | unix.OPEN_TREE_CLOEXEC | unix.AT_EMPTY_PATH)
	if recursive {
		flags |= unix.AT_RECURSIVE
	}
	n, err := unix.OpenTree(fd, "", flags)
	if err != nil {
		return nil, os.NewSyscallError("open_tree", err)
	}
	m := os.NewFile(uintptr(n), source.Name())
	if ids.Size == 0 {
		return m, nil
	}
	if err := mapMount(n, ids, recursive); err != nil {
		m.Close()
		return nil, err
	}
	return m, nil
}

func mapMount(mount int, ids IDMap, recursive bool) error {
	ns, err := userNS(ids)
	if err != nil {
		return err
	}
	fd, err := rawFd(ns)
	if err != nil {
		return err
	}
	flags := uint(unix.AT_EMPTY_PATH)
	if recursive {
		flags |= unix.AT_RECURSIVE
	}
	attr := unix.MountAttr{Attr_set: unix.MOUNT_ATTR_IDMAP, Userns_fd: uint64(fd)}
	err = unix.MountSetattr(mount, "", flags, &attr)
	if err == unix.EINVAL {
		return fault.New(fault.Unsupported, "its file system cannot be mapped to other ids: %w", err).
			WithHint("put it on ext4, xfs or btrfs, or use `userns host`")
	}
	return os.NewSyscallError("mount_setattr", err)
}

// The user namespaces that name a map to the kernel; one per map, kept for good. They are a
// cache of constants, not state: a map's namespace never changes.
var (
	userMu sync.Mutex
	users  = map[IDMap]*os.File{}
)

func userNS(ids IDMap) (*os.File, error) {
	userMu.Lock()
	defer userMu.Unlock()
	if f := users[ids]; f != nil {
		return f, nil
	}
	f, err := makeUserNS(ids)
	if err != nil {
		return nil, fault.Wrap(err, "cannot map ids to %d", ids.Base)
	}
	users[ids] = f
	return f, nil
}

// makeUserNS starts a ccinit in a new user namespace, which waits for a script that never comes, and takes the
// namespace from it.
func makeUserNS(ids IDMap) (*os.File, error) {
	exe, err := unix.MemfdCreate("ccinit", unix.MFD_CLOEXEC|unix.MFD_ALLOW_SEALING)
	if err != nil {
		return nil, os.NewSyscallError("memfd_create", err)
	}
	defer unix.Close(exe)
	if _, err := unix.Write(exe, Init()); err != nil {
		return nil, os.NewSyscallError("write", err)
	}
	// The child's descriptors 0 to 3 are laid out before its execve: the program's own must not be one of them.
	high, err := unix.FcntlInt(uintptr(exe), unix.F_DUPFD_CLOEXEC, 10)
	if err != nil {
		return nil, os.NewSyscallError("fcntl", err)
	}
	defer unix.Close(high)
	w, theirs, err := pair()
	if err != nil {
		return nil, err
	}
	defer w.close()
	sock, err := rawFd(theirs)
	if err != nil {
		return nil, err
	}
	unused := uintptr(high)
	m := []syscall.SysProcIDMap{{ContainerID: 0, HostID: int(ids.Base), Size: int(ids.Size)}}
	pid, err := syscall.ForkExec(fmt.Sprintf("/proc/self/fd/%d", high), []string{"ccinit"}, &syscall.ProcAttr{
		Files: []uintptr{unused, unused, unused, uintptr(sock)},
		Sys:   &syscall.SysProcAttr{Cloneflags: unix.CLONE_NEWUSER, UidMappings: m, GidMappings: m},
	})
	theirs.Close()
	if err != nil {
		return nil, fmt.Errorf("clone: %w", err)
	}
	f, err := os.Open(fmt.Sprintf("/proc/%d/ns/user", pid))
	w.close()
	for {
		if _, e := syscall.Wait4(pid, nil, 0, nil); e != syscall.EINTR {
			break
		}
	}
	return f, err
}
