package image

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/containercloud/cc/runtime/image/unpack"
)

// The test binary runs itself for what needs a process of its own: to be killed, or measured.
const childEnv = "CC_IMAGE_TEST_CHILD"

func TestMain(m *testing.M) {
	if what := os.Getenv(childEnv); what != "" {
		if err := childMain(what, os.Args[1:]); err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

func childMain(what string, args []string) error {
	if what == "host" || what == "full" { // childCommand gave them a mount namespace
		if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
			return err
		}
	}
	if what == "host" {
		return hostChild(args[0])
	}
	if what == "full" {
		return fullChild(args[0], args[1], args[2])
	}
	s, err := Open(args[0], Options{})
	if err != nil {
		return err
	}
	defer s.Close()
	switch what {
	case "pull":
		_, err = s.Pull(context.Background(), args[1], PullOptions{}, nil)
	case "gc":
		_, err = s.GC(context.Background())
	}
	return err
}

func childCommand(what string, args ...string) *exec.Cmd {
	cmd := exec.Command("/proc/self/exe", args...)
	cmd.Env = append(os.Environ(), childEnv+"="+what)
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if what == "host" || what == "full" {
		cmd.SysProcAttr.Cloneflags = syscall.CLONE_NEWNS
	}
	return cmd
}

func child(t testing.TB, what string, args ...string) (out string, rss int64, err error) {
	t.Helper()
	var b bytes.Buffer
	cmd := childCommand(what, args...)
	cmd.Stdout, cmd.Stderr = &b, &b
	err = cmd.Run()
	return b.String(), cmd.ProcessState.SysUsage().(*syscall.Rusage).Maxrss << 10, err
}

// hostChild proves, in a mount namespace of its own, that a container's overlay can be put over the host's root with its
// upper below that root, that it is writable and changes nothing outside; plain, and with the ids of a user namespace.
func hostChild(dir string) error {
	root, err := hostImage().Root()
	if err != nil {
		return err
	}
	defer root.Close()
	if err := overHost(int(root.Fd()), filepath.Join(dir, "plain"), 0); err != nil {
		return fmt.Errorf("plain: %w", err)
	}
	mapped, err := idmapped("/", 100_000)
	if err != nil {
		return err
	}
	defer unix.Close(mapped)
	if err := overHost(mapped, filepath.Join(dir, "mapped"), 100_000); err != nil {
		return fmt.Errorf("idmapped: %w", err)
	}
	return nil
}

func overHost(lower int, dir string, owner uint32) error {
	for _, d := range []string{dir, dir + "/upper", dir + "/work", dir + "/merged"} {
		if err := os.Mkdir(d, 0o755); err != nil {
			return err
		}
	}
	opts := "lowerdir=" + fdPath(lower) + ",upperdir=" + dir + "/upper,workdir=" + dir + "/work"
	if err := unix.Mount("overlay", dir+"/merged", "overlay", 0, opts); err != nil {
		return fmt.Errorf("overlay over the host: %w", err)
	}
	defer unix.Unmount(dir+"/merged", unix.MNT_DETACH)
	host, err := os.ReadFile("/etc/passwd")
	if err != nil {
		return err
	}
	if raw, err := os.ReadFile(dir + "/merged/etc/passwd"); err != nil || string(raw) != string(host) {
		return fmt.Errorf("/etc/passwd inside: %d bytes, %v", len(raw), err)
	}
	var st unix.Stat_t
	if err := unix.Stat(dir+"/merged/etc/passwd", &st); err != nil || st.Uid != owner {
		return fmt.Errorf("owner inside: %d, %v", st.Uid, err)
	}
	if err := os.WriteFile(dir+"/merged/etc/passwd", []byte("changed"), 0o644); err != nil {
		return err
	}
	if raw, err := os.ReadFile("/etc/passwd"); err != nil || string(raw) != string(host) {
		return fmt.Errorf("the host's /etc/passwd changed: %v", err)
	}
	if raw, err := os.ReadFile(dir + "/upper/etc/passwd"); err != nil || string(raw) != "changed" {
		return fmt.Errorf("upper: %q %v", raw, err)
	}
	if list, err := os.ReadDir(dir + "/merged/proc"); err != nil || len(list) > 0 {
		return fmt.Errorf("the host's /proc is inside: %d entries, %v", len(list), err)
	}
	return nil
}

// idmapped clones a mount with ids shifted by base, as boot does for a container with a user namespace.
func idmapped(path string, base int) (int, error) {
	cmd := exec.Command("sleep", "60")
	ids := []syscall.SysProcIDMap{{ContainerID: 0, HostID: base, Size: 65536}}
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWUSER, UidMappings: ids, GidMappings: ids, Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		return -1, err
	}
	defer cmd.Wait()
	defer cmd.Process.Kill()
	ns, err := os.Open(fmt.Sprintf("/proc/%d/ns/user", cmd.Process.Pid))
	if err != nil {
		return -1, err
	}
	defer ns.Close()
	m, err := unix.OpenTree(unix.AT_FDCWD, path, unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC)
	if err != nil {
		return -1, err
	}
	attr := unix.MountAttr{Attr_set: unix.MOUNT_ATTR_IDMAP, Userns_fd: uint64(ns.Fd())}
	if err := unix.MountSetattr(m, "", unix.AT_EMPTY_PATH, &attr); err != nil {
		return -1, fmt.Errorf("mount_setattr: %w", err)
	}
	return m, nil
}

func unpackLimits(free int64) unpack.Limits { return unpack.Limits{Free: free} }
