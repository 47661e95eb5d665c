package boot

import (
	"fmt"
	"os"

	"golang.org/x/sys/unix"

	"github.com/containercloud/cc/fault"
)

// nodes are the device nodes of a container, all of mode 0666 and open to every container.
var nodes = []struct {
	name         string
	major, minor uint32
}{
	{"null", 1, 3}, {"zero", 1, 5}, {"full", 1, 7}, {"random", 1, 8}, {"urandom", 1, 9}, {"tty", 5, 0},
}

var devLinks = [][2]string{
	{"fd", "/proc/self/fd"}, {"stdin", "/proc/self/fd/0"}, {"stdout", "/proc/self/fd/1"},
	{"stderr", "/proc/self/fd/2"}, {"ptmx", "pts/ptmx"}, {"core", "/proc/kcore"},
}

// newDev makes a container's /dev as a detached tmpfs.
//
// It is made here and not by ccinit: a tmpfs mounted inside a user namespace can hold no usable device node, and one bind
// mount per node costs every later clone and end of the mount namespace. This one belongs to the host's user namespace, only its
// owner is the container's root. Nothing here depends on the image or on anything a container can reach.
func newDev(ids IDMap) (dev *os.File, err error) {
	defer func() { err = fault.Wrap(err, "cannot make /dev") }()
	root := int(ids.Base)
	m, err := newMount("tmpfs", unix.MOUNT_ATTR_NOSUID|unix.MOUNT_ATTR_NOEXEC,
		"source", "cc", "mode", "755", "size", "64k", "nr_inodes", "1k", "uid", fmt.Sprint(root), "gid", fmt.Sprint(root))
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			m.Close()
		}
	}()
	fd := int(m.Fd())
	for _, n := range nodes {
		if err := makeNode(fd, n.name, unix.Mkdev(n.major, n.minor), root); err != nil {
			return nil, err
		}
	}
	for _, l := range devLinks {
		if err := unix.Symlinkat(l[1], fd, l[0]); err != nil {
			return nil, &os.PathError{Op: "symlink", Path: l[0], Err: err}
		}
	}
	for _, dir := range []string{"pts", "shm", "mqueue"} {
		if err := unix.Mkdirat(fd, dir, 0o755); err != nil {
			return nil, &os.PathError{Op: "mkdir", Path: dir, Err: err}
		}
		if err := unix.Fchownat(fd, dir, root, root, 0); err != nil {
			return nil, &os.PathError{Op: "chown", Path: dir, Err: err}
		}
	}
	return m, nil
}

func makeNode(dir int, name string, dev uint64, owner int) error {
	if err := unix.Mknodat(dir, name, unix.S_IFCHR|0o666, int(dev)); err != nil {
		return &os.PathError{Op: "mknod", Path: name, Err: err}
	}
	// mknod applied the umask of the daemon.
	if err := unix.Fchmodat(dir, name, 0o666, 0); err != nil {
		return &os.PathError{Op: "chmod", Path: name, Err: err}
	}
	if err := unix.Fchownat(dir, name, owner, owner, 0); err != nil {
		return &os.PathError{Op: "chown", Path: name, Err: err}
	}
	return nil
}

// newMount makes a detached mount of a fresh file system; options come as key, value.
func newMount(fstype string, attrs int, options ...string) (*os.File, error) {
	fs, err := unix.Fsopen(fstype, unix.FSOPEN_CLOEXEC)
	if err != nil {
		return nil, os.NewSyscallError("fsopen "+fstype, err)
	}
	defer unix.Close(fs)
	for i := 0; i < len(options); i += 2 {
		if err := unix.FsconfigSetString(fs, options[i], options[i+1]); err != nil {
			return nil, os.NewSyscallError("fsconfig "+fstype+" "+options[i], err)
		}
	}
	return finishMount(fs, fstype, attrs)
}

func finishMount(fs int, fstype string, attrs int) (*os.File, error) {
	if err := unix.FsconfigCreate(fs); err != nil {
		return nil, mountError(fs, fstype, err)
	}
	fd, err := unix.Fsmount(fs, unix.FSMOUNT_CLOEXEC, attrs)
	if err != nil {
		return nil, os.NewSyscallError("fsmount "+fstype, err)
	}
	return os.NewFile(uintptr(fd), fstype), nil
}

// mountError adds what the file system itself says about its refusal.
func mountError(fs int, fstype string, err error) error {
	var said [512]byte
	n, _ := unix.Read(fs, said[:])
	if n > 2 {
		return fmt.Errorf("mount %s: %s: %w", fstype, said[2:n], err)
	}
	return os.NewSyscallError("mount "+fstype, err)
}
