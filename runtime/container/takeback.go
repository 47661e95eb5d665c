package container

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/containercloud/cc/fault"
	"github.com/containercloud/cc/runtime/keeper"
)

// takeBack gives a new keeper a process whose old one was killed together with the daemon. Nobody has read its output since
// then: a program that printed something meanwhile has got SIGPIPE. One that did not is logged again.
func (m *Manager) takeBack(c *Container, r *run) {
	ctx, cancel := context.WithTimeout(m.ctx, 10*time.Second)
	defer cancel()
	err := m.conf.Keeper.Watch(ctx, string(c.id), r.rec.PID, r.pidfd)
	if err == nil {
		err = m.keepAgain(ctx, c, r)
	}
	if err != nil {
		m.log.Error("a container has no keeper", "id", c.id, "error", err)
	}
}

func (m *Manager) keepAgain(ctx context.Context, c *Container, r *run) error {
	var files fileList
	defer files.close()
	dir, err := os.Open(c.dir)
	if err != nil {
		return err
	}
	files.add(dir)
	a := keeper.Adoption{ID: string(c.id), Dir: dir, Policy: logPolicy(c.spec)}
	if !r.rec.TTY {
		if a.LogDir, err = os.Open(c.logDir()); err != nil {
			return err
		}
		files.add(a.LogDir)
		if a.Policy.Direct {
			a.Streams = []keeper.Stream{keeper.Stdout, keeper.Stderr}
		} else if err := openPipes(&a, r, &files); err != nil {
			m.log.Warn("a container is logged no more", "id", c.id, "error", err)
		}
	}
	return m.conf.Keeper.Adopt(ctx, string(c.id), a)
}

// openPipes opens what the program has as its stdout and stderr.
func openPipes(a *keeper.Adoption, r *run, files *fileList) error {
	out, errOut := openPipe(programOf(r), 1)
	diag, errDiag := openPipe(programOf(r), 2)
	files.add(out, diag)
	if err := alive(r.pidfd); err != nil { // the number may be another's
		return err
	}
	a.Stdout, a.Stderr = out, diag
	return errors.Join(errOut, errDiag)
}

// programOf is the pid of a run's program: with init on it is the first child of ccinit, which has nothing open.
func programOf(r *run) int {
	if r.rec.Init {
		pid := strconv.Itoa(r.rec.PID)
		kids, _ := os.ReadFile(filepath.Join("/proc", pid, "task", pid, "children"))
		if first, _, _ := strings.Cut(string(kids), " "); first != "" {
			n, _ := strconv.Atoi(first)
			return n
		}
	}
	return r.rec.PID
}

// openPipe opens the read end of the pipe that a process has under a number. What is there is the process's choice, so it is looked
// at before it is opened.
func openPipe(pid, n int) (*os.File, error) {
	path := filepath.Join("/proc", strconv.Itoa(pid), "fd", strconv.Itoa(n))
	fd, err := unix.Open(path, unix.O_PATH|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, &os.PathError{Op: "open", Path: path, Err: err}
	}
	defer unix.Close(fd)
	var st unix.Statfs_t
	if err := unix.Fstatfs(fd, &st); err != nil {
		return nil, os.NewSyscallError("fstatfs", err)
	}
	if st.Type != unix.PIPEFS_MAGIC {
		return nil, fault.New(fault.Invalid, "%s is no pipe", path)
	}
	return os.OpenFile(filepath.Join("/proc/self/fd", strconv.Itoa(fd)), os.O_RDONLY|unix.O_NONBLOCK, 0)
}
