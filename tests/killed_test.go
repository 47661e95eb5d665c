package tests

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// TestKilledDaemonLeavesNobodyWaiting kills a ccd whose connection stays open all the same. A thread that waits in the kernel
// for the lock of a directory does that, which takes luck to meet; here it is the test, which has a copy of the descriptor.
func TestKilledDaemonLeavesNobodyWaiting(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("needs root: it makes namespaces, mounts and cgroups")
	}
	h, err := newHost(binaries(t), t.TempDir())
	must(t, err)
	defer h.close(t)
	root := h.root()
	for _, c := range []struct {
		name   string
		before func(t *testing.T)
	}{
		{"at-once", func(*testing.T) {}},
		{"after-the-keeper", func(t *testing.T) {
			must(t, syscall.Kill(h.keeper(t), syscall.SIGKILL))
			h.logs(t, "found or started a keeper again")
		}},
		{"after-an-abort", func(t *testing.T) {
			h.output("umount", "-f", "-l", "/cc")
			h.logs(t, "the FUSE connection was aborted, mount again")
			for range 500 {
				if _, err := os.ReadFile(root + "/version"); err == nil {
					return
				}
				time.Sleep(10 * time.Millisecond)
			}
			t.Fatal("/cc did not come back")
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			must(t, h.start(nil))
			c.before(t)
			connection := fuseOf(t, h.ccd.Process.Pid)
			defer connection.Close()
			freeze(t, h.ccd.Process.Pid)
			ended := make(chan error, 1)
			go func() { ended <- os.Mkdir(root+"/container/"+c.name, 0o755) }()
			select {
			case err := <-ended:
				t.Fatalf("a stopped daemon answered: %v", err)
			case <-time.After(50 * time.Millisecond): // it is in the kernel by now
			}
			must(t, h.kill())
			select {
			case err := <-ended:
				if err == nil {
					t.Error("a killed daemon answered with success")
				}
			case <-time.After(20 * time.Second):
				connection.Close() // lets go of the mkdir
				t.Fatal("mkdir waits for a killed daemon")
			}
			if _, err := os.Stat(root); !errors.Is(err, syscall.ENOTCONN) {
				t.Errorf("the dead mount answers %v", err)
			}
			must(t, h.start(nil))
			must(t, os.Mkdir(root+"/container/"+c.name, 0o755))
			must(t, os.Remove(root+"/container/"+c.name))
			must(t, h.kill())
		})
	}
}

// freeze stops all threads of a process.
func freeze(t *testing.T, pid int) {
	t.Helper()
	must(t, syscall.Kill(pid, syscall.SIGSTOP))
	for range 1000 {
		stats, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/stat", pid))
		stopped := 0
		for _, name := range stats {
			if text, _ := os.ReadFile(name); strings.Contains(string(text), ") T ") {
				stopped++
			}
		}
		if stopped == len(stats) {
			return
		}
		time.Sleep(time.Millisecond)
	}
	t.Fatalf("process %d does not stop", pid)
}

// fuseOf copies the descriptor of a process's FUSE connection.
func fuseOf(t *testing.T, pid int) *os.File {
	t.Helper()
	pidfd, err := unix.PidfdOpen(pid, 0)
	must(t, err)
	defer unix.Close(pidfd)
	fds, _ := filepath.Glob(fmt.Sprintf("/proc/%d/fd/*", pid))
	for _, name := range fds {
		if to, _ := os.Readlink(name); to != "/dev/fuse" {
			continue
		}
		n, _ := strconv.Atoi(filepath.Base(name))
		fd, err := unix.PidfdGetfd(pidfd, n, 0)
		must(t, err)
		return os.NewFile(uintptr(fd), "fuse")
	}
	t.Fatal("the daemon has no FUSE connection")
	return nil
}

// keeper is the pid of this host's cc-keeper.
func (h *host) keeper(t *testing.T) int {
	t.Helper()
	names, _ := filepath.Glob("/proc/[0-9]*/cmdline")
	for _, name := range names {
		text, _ := os.ReadFile(name)
		if strings.HasPrefix(string(text), "cc-keeper\x00"+h.dir+"/run\x00") {
			pid, _ := strconv.Atoi(filepath.Base(filepath.Dir(name)))
			return pid
		}
	}
	t.Fatal("no keeper runs")
	return 0
}

// logs waits until the daemon has logged something.
func (h *host) logs(t *testing.T, what string) {
	t.Helper()
	for range 1000 {
		if strings.Contains(h.logTail(), what) {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Fatalf("the daemon does not log %q\n%s", what, h.logTail())
}
