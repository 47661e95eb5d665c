package daemon

import (
	"os"

	"golang.org/x/sys/unix"
)

// home is the mount namespace that every container is cloned from. It has four mounts, so that a clone copies
// four, however many the host has:
//
//	/        tmpfs, read-only once it is set up
//	/ccinit  the init of containers, 0555
//	/proc    a whole procfs, nothing mounted over any part of it: only then a user namespace may mount its own
//	/sys     the same for sysfs
//	/dev     null zero full random urandom tty: nodes to be bind-mounted where mknod is not allowed
//	/slot    an empty directory to stage mounts on
//
// tree is the tmpfs once more, as a detached mount that can be written: the way to replace /ccinit.
type home struct{ tree int }

var nodes = []struct {
	name  string
	major uint32
	minor uint32
}{
	{"null", 1, 3}, {"zero", 1, 5}, {"full", 1, 7}, {"random", 1, 8}, {"urandom", 1, 9}, {"tty", 5, 0},
}

// enterHome leaves the host's mounts. The process was cloned with CLONE_NEWNS; run is any directory.
func enterHome(run string, ccinit int) (home, error) {
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return home{}, os.NewSyscallError("mount --make-rprivate /", err)
	}
	if err := unix.Mount("cc-keeper", run, "tmpfs", unix.MS_NOSUID, "mode=0755,size=4m,nr_inodes=64"); err != nil {
		return home{}, os.NewSyscallError("mount tmpfs", err)
	}
	hostDev, err := unix.Open("/dev", unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return home{}, os.NewSyscallError("open /dev", err)
	}
	defer unix.Close(hostDev)
	unix.Umask(0)
	if err := furnish(run, hostDev, ccinit); err != nil {
		return home{}, err
	}
	if err := moveIn(run); err != nil {
		return home{}, err
	}
	tree, err := unix.OpenTree(unix.AT_FDCWD, "/", unix.OPEN_TREE_CLONE|unix.O_CLOEXEC)
	if err != nil {
		return home{}, os.NewSyscallError("open_tree", err)
	}
	err = unix.Mount("", "/", "", unix.MS_BIND|unix.MS_REMOUNT|unix.MS_RDONLY|unix.MS_NOSUID, "")
	return home{tree}, os.NewSyscallError("mount -o remount,ro /", err)
}

func furnish(root string, hostDev, ccinit int) error {
	for _, d := range []string{"/proc", "/sys", "/dev", "/slot"} {
		if err := unix.Mkdir(root+d, 0o755); err != nil {
			return os.NewSyscallError("mkdir "+d, err)
		}
	}
	const flags = unix.MS_NOSUID | unix.MS_NODEV | unix.MS_NOEXEC
	if err := unix.Mount("proc", root+"/proc", "proc", flags, ""); err != nil {
		return os.NewSyscallError("mount proc", err)
	}
	if err := unix.Mount("sysfs", root+"/sys", "sysfs", flags, ""); err != nil {
		return os.NewSyscallError("mount sysfs", err)
	}
	for _, n := range nodes {
		if err := makeNode(root+"/dev/"+n.name, hostDev, n.name, unix.Mkdev(n.major, n.minor)); err != nil {
			return os.NewSyscallError("make /dev/"+n.name, err)
		}
	}
	dir, err := unix.Open(root, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return os.NewSyscallError("open", err)
	}
	defer unix.Close(dir)
	return install(dir, ccinit)
}

// makeNode makes a device node, or binds the host's where nodes may not be made.
func makeNode(path string, hostDev int, name string, dev uint64) error {
	err := unix.Mknod(path, unix.S_IFCHR|0o666, int(dev))
	if err == nil {
		// A device cgroup may allow to make a node and not to open it; the host's own may still work.
		if fd, err := unix.Open(path, unix.O_RDWR|unix.O_CLOEXEC|unix.O_NONBLOCK, 0); err == nil || name == "tty" {
			unix.Close(fd)
			return nil
		}
		unix.Unlink(path)
	}
	fd, err := unix.Open(path, unix.O_CREAT|unix.O_WRONLY|unix.O_CLOEXEC, 0o666)
	if err != nil {
		return err
	}
	unix.Close(fd)
	tree, err := unix.OpenTree(hostDev, name, unix.OPEN_TREE_CLONE|unix.O_CLOEXEC)
	if err != nil {
		return err
	}
	defer unix.Close(tree)
	return unix.MoveMount(tree, "", unix.AT_FDCWD, path, unix.MOVE_MOUNT_F_EMPTY_PATH)
}

func moveIn(root string) error {
	if err := unix.Chdir(root); err != nil {
		return os.NewSyscallError("chdir", err)
	}
	if err := unix.PivotRoot(".", "."); err != nil {
		return os.NewSyscallError("pivot_root", err)
	}
	if err := unix.Unmount(".", unix.MNT_DETACH); err != nil {
		return os.NewSyscallError("umount of the host's root", err)
	}
	return os.NewSyscallError("chdir", unix.Chdir("/"))
}

// install puts the program of descriptor src at /ccinit, whole or not at all.
func install(dir, src int) error {
	var st unix.Stat_t
	if err := unix.Fstat(src, &st); err != nil {
		return os.NewSyscallError("fstat of ccinit", err)
	}
	if st.Size <= 0 || st.Size > 1<<20 {
		return os.NewSyscallError("size of ccinit", unix.EINVAL)
	}
	unix.Unlinkat(dir, ".ccinit", 0)
	dst, err := unix.Openat(dir, ".ccinit", unix.O_CREAT|unix.O_EXCL|unix.O_WRONLY|unix.O_CLOEXEC, 0o555)
	if err != nil {
		return os.NewSyscallError("create ccinit", err)
	}
	err = copyAll(dst, src, st.Size)
	unix.Close(dst)
	if err != nil {
		unix.Unlinkat(dir, ".ccinit", 0)
		return os.NewSyscallError("copy ccinit", err)
	}
	return os.NewSyscallError("rename ccinit", unix.Renameat(dir, ".ccinit", dir, "ccinit"))
}

func copyAll(dst, src int, size int64) error {
	b := make([]byte, size)
	for done := 0; done < len(b); {
		n, err := unix.Pread(src, b[done:], int64(done))
		if err != nil {
			return err
		}
		if n == 0 {
			return unix.EIO
		}
		done += n
	}
	for len(b) > 0 {
		n, err := unix.Write(dst, b)
		if err != nil {
			return err
		}
		b = b[n:]
	}
	return nil
}
