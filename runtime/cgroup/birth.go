package cgroup

import (
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"github.com/containercloud/cc/fault"
)

// Birth is the way of a process into a group without waiting. Moving another process on v1 waits for an RCU grace
// period, about 10 ms; a single-threaded process that moves itself takes no lock.
type Birth struct {
	Tasks []*os.File // v1: the process writes "0" into each
	Dir   *os.File   // v2, also the one beside v1's hierarchies: clone3 with CLONE_INTO_CGROUP; nil without one
}

// FD is Dir's descriptor, -1 without one.
func (b *Birth) FD() int {
	if b.Dir == nil {
		return -1
	}
	return int(b.Dir.Fd())
}

// Close closes all.
func (b *Birth) Close() {
	for _, f := range b.Tasks {
		f.Close()
	}
	if b.Dir != nil {
		b.Dir.Close()
	}
	*b = Birth{}
}

// Birth opens the ways into the group. It takes all of them to be where Add would have put the process. The
// caller closes them.
func (g *Group) Birth() (b Birth, err error) {
	if g.root.version == 1 {
		for _, c := range g.root.have {
			f, err := openPlain(filepath.Join(g.Path(c), "tasks"), unix.O_WRONLY)
			if err != nil {
				b.Close()
				return b, fault.Wrap(err, "cannot open control group %s", g.name)
			}
			b.Tasks = append(b.Tasks, f)
		}
	}
	dir := g.unified()
	if dir == "" {
		return b, nil
	}
	if b.Dir, err = openPlain(dir, unix.O_RDONLY|unix.O_DIRECTORY); err != nil {
		b.Close()
		return b, fault.Wrap(err, "cannot open control group %s", g.name)
	}
	return b, nil
}

// openPlain opens a file that only another process will use: os.Open would have Go's poller watch it.
func openPlain(path string, flags int) (*os.File, error) {
	fd, err := unix.Open(path, flags|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, &os.PathError{Op: "open", Path: path, Err: err}
	}
	return os.NewFile(uintptr(fd), path), nil
}
