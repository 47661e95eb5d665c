package boot

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// testGroups makes cgroups of our own below every v1 hierarchy that containers use, or one v2 cgroup.
func testGroups(t testing.TB) []string {
	t.Helper()
	needRoot(t)
	name := fmt.Sprintf("cc-boot-%d", os.Getpid())
	var dirs []string
	for _, h := range thisHost().groups {
		dirs = append(dirs, filepath.Join("/sys/fs/cgroup", h.dir, own(h.dir), name))
	}
	if len(dirs) == 0 {
		dirs = []string{filepath.Join("/sys/fs/cgroup", own(""), name)}
	}
	for _, d := range dirs {
		if err := os.MkdirAll(d, 0o755); err != nil {
			t.Skip("needs cgroups to write to: ", err)
		}
	}
	t.Cleanup(func() {
		for _, d := range dirs {
			for range 100 { // members may be on their way out
				if err := os.Remove(d); err == nil || os.IsNotExist(err) {
					break
				}
				time.Sleep(10 * time.Millisecond)
			}
		}
	})
	return dirs
}

// attach puts a process into cgroups from outside.
func attach(dirs []string) func(pid int, _ *os.File) error {
	return func(pid int, _ *os.File) error {
		for _, d := range dirs {
			if err := os.WriteFile(d+"/cgroup.procs", []byte(fmt.Sprint(pid)), 0); err != nil {
				return err
			}
		}
		return nil
	}
}

// testGroup is for SlotOptions.Cgroup, the way that is right everywhere.
func testGroup(t testing.TB) func(pid int, _ *os.File) error { return attach(testGroups(t)) }

// withGroups sets what is quickest here: v1 by itself, v2 by birth.
func withGroups(t testing.TB, o *SlotOptions) {
	t.Helper()
	for _, dir := range testGroups(t) {
		file, flags := "tasks", os.O_WRONLY
		if len(thisHost().groups) == 0 {
			file, flags = ".", os.O_RDONLY
		}
		f, err := os.OpenFile(filepath.Join(dir, file), flags, 0)
		must(t, err)
		t.Cleanup(func() { f.Close() })
		if len(thisHost().groups) == 0 {
			o.CgroupFD = int(f.Fd())
		} else {
			o.Tasks = append(o.Tasks, f)
		}
	}
}

// own is this process's cgroup in a hierarchy.
func own(controller string) string {
	b, _ := os.ReadFile("/proc/self/cgroup")
	for _, line := range strings.Split(string(b), "\n") {
		f := strings.SplitN(line, ":", 3)
		if len(f) == 3 && f[1] == controller {
			return f[2]
		}
	}
	return "/"
}
