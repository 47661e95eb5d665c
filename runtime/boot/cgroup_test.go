package boot

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// testGroup makes cgroups of our own below every v1 hierarchy that containers use, or one v2 cgroup, and
// returns the function that puts a process there.
func testGroup(t testing.TB) func(pid int, _ *os.File) error {
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
			for i := 0; os.Remove(d) != nil && i < 100; i++ {
				time.Sleep(10 * time.Millisecond) // members that are on their way out
			}
		}
	})
	return func(pid int, _ *os.File) error {
		for _, d := range dirs {
			if err := os.WriteFile(d+"/cgroup.procs", []byte(fmt.Sprint(pid)), 0); err != nil {
				return err
			}
		}
		return nil
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
