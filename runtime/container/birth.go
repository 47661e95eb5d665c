package container

import (
	"bufio"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/containercloud/cc/runtime/cgroup"
)

// birth is how a process gets into a group without waiting: on v1 it writes itself into the tasks files (moving another
// process waits for a grace period, 10 ms), on v2 it is born in the directory.
type birth struct {
	tasks []*os.File
	dir   *os.File // v2, also the one beside v1's hierarchies, by which groups are killed and frozen; nil: there is none
}

func (b *birth) close() {
	closeAll(b.tasks...)
	closeAll(b.dir)
}

// fd is the v2 directory's descriptor, -1 without one.
func (b *birth) fd() int {
	if b.dir == nil {
		return -1
	}
	fd, err := rawFD(b.dir)
	if err != nil {
		return -1
	}
	return fd
}

// birth opens the ways into a group. The caller closes them.
func (m *Manager) birth(g *cgroup.Group) (b birth, err error) {
	root := m.conf.Cgroups
	if root.Version() == 2 {
		b.dir, err = openGroup(g.Path("memory"))
		return b, err
	}
	for _, c := range root.Controllers() {
		f, err := openPlain(filepath.Join(g.Path(c), "tasks"), unix.O_WRONLY)
		if err != nil {
			b.close()
			return birth{}, err
		}
		b.tasks = append(b.tasks, f)
	}
	if m.host.unified == "" {
		return b, nil
	}
	base := filepath.Base(filepath.Dir(g.Path("memory"))) // cc-INSTANCE
	if b.dir, err = openGroup(filepath.Join(m.host.unified, base, g.Name())); err != nil {
		b.close()
	}
	return b, err
}

func openGroup(dir string) (*os.File, error) { return openPlain(dir, unix.O_RDONLY|unix.O_DIRECTORY) }

// openPlain opens a file that only another process will use: os.Open would have Go's poller watch it.
func openPlain(path string, flags int) (*os.File, error) {
	fd, err := unix.Open(path, flags|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, &os.PathError{Op: "open", Path: path, Err: err}
	}
	return os.NewFile(uintptr(fd), path), nil
}

// unifiedMount is where the cgroup v2 hierarchy is mounted, "" for nowhere (proc_pid_mountinfo(5)).
func unifiedMount() string {
	f, err := os.Open("/proc/self/mountinfo")
	if err != nil {
		return ""
	}
	defer f.Close()
	for in := bufio.NewScanner(f); in.Scan(); {
		before, after, ok := strings.Cut(in.Text(), " - ")
		w := strings.Fields(before)
		if ok && len(w) > 4 && strings.HasPrefix(after, "cgroup2 ") {
			return w[4]
		}
	}
	return ""
}
