package cgroup

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"golang.org/x/sys/unix"

	"github.com/containercloud/cc/fault"
)

// Freeze stops all processes of the group and waits until they stand still.
func (g *Group) Freeze() error {
	return fault.Wrap(g.freeze(true), "cannot freeze control group %s", g.name)
}

// Thaw lets them go on.
func (g *Group) Thaw() error {
	return fault.Wrap(g.freeze(false), "cannot thaw control group %s", g.name)
}

func (g *Group) freeze(on bool) error {
	if dir := g.unified(); dir != "" {
		return freeze2(dir, on)
	}
	if g.root.mounts["freezer"] == "" {
		return fault.New(fault.Unsupported, "neither cgroup v2 nor the freezer controller is mounted").
			WithHint("mount -t cgroup -o freezer cgroup /sys/fs/cgroup/freezer")
	}
	return freeze1(g.Path("freezer"), on)
}

// freeze2 waits on cgroup.events, which the kernel wakes with POLLPRI.
func freeze2(dir string, on bool) error {
	value, want := "0", []byte("frozen 0")
	if on {
		value, want = "1", []byte("frozen 1")
	}
	events, err := unix.Open(filepath.Join(dir, "cgroup.events"), unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return &os.PathError{Op: "open", Path: dir + "/cgroup.events", Err: err}
	}
	defer unix.Close(events)
	if err := write(filepath.Join(dir, "cgroup.freeze"), value); err != nil {
		return err
	}
	b := make([]byte, 256)
	for until := deadline(); ; {
		n, err := unix.Pread(events, b, 0)
		if err != nil {
			return os.NewSyscallError("read cgroup.events", err)
		}
		if bytes.Contains(b[:n], want) {
			return nil
		}
		left := time.Until(until)
		if left <= 0 {
			return fault.New(fault.Timeout, "processes did not change in %s", patience)
		}
		p := []unix.PollFd{{Fd: int32(events), Events: unix.POLLPRI}}
		if _, err := unix.Poll(p, int(left/time.Millisecond)+1); err != nil && err != unix.EINTR {
			return os.NewSyscallError("poll", err)
		}
	}
}

// freeze1 writes the state again until it is reached: FREEZING goes on only when asked.
func freeze1(dir string, on bool) error {
	want := "THAWED"
	if on {
		want = "FROZEN"
	}
	path := filepath.Join(dir, "freezer.state")
	until := deadline()
	for wait := 100 * time.Microsecond; ; wait = min(2*wait, 20*time.Millisecond) {
		if err := write(path, want); err != nil {
			return err
		}
		b, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		if string(bytes.TrimSpace(b)) == want {
			return nil
		}
		if !pause(context.Background(), wait, until) {
			return fault.New(fault.Timeout, "processes did not change in %s", patience)
		}
	}
}

// Kill kills every process of the group, forking ones too, and does not wait until they are gone; Delete does.
func (g *Group) Kill() error {
	err := g.kill()
	if errors.Is(err, os.ErrNotExist) {
		err = nil
	}
	return fault.Wrap(err, "cannot kill control group %s", g.name)
}

func (g *Group) kill() error {
	if dir := g.unified(); dir != "" {
		err := write(filepath.Join(dir, "cgroup.kill"), "1") // Linux 5.14
		if err == nil || !errors.Is(err, os.ErrNotExist) {
			return err
		}
		if _, err := os.Stat(dir); err != nil {
			return err
		}
	}
	return g.killEach()
}

// killEach freezes, so that nobody forks, and kills one by one: no pid can be another's meanwhile, as frozen
// processes do not end.
func (g *Group) killEach() error {
	until := deadline()
	for wait := time.Millisecond; ; wait = min(2*wait, 50*time.Millisecond) {
		frozen := g.freeze(true)
		list, err := procs(g.dirs[0])
		for _, pid := range list {
			if e := unix.Kill(pid, unix.SIGKILL); e != nil && e != unix.ESRCH {
				err = errors.Join(err, os.NewSyscallError("kill", e))
			}
		}
		thawed := g.freeze(false)
		if err != nil || len(list) == 0 {
			return err
		}
		if frozen == nil && thawed == nil {
			return nil
		}
		if !pause(context.Background(), wait, until) {
			return errors.Join(frozen, thawed)
		}
	}
}

// procs reads cgroup.procs of a directory and of those below.
func procs(dir string) ([]int, error) {
	b, err := os.ReadFile(filepath.Join(dir, "cgroup.procs"))
	if err != nil {
		return nil, err
	}
	var list []int
	for _, f := range bytes.Fields(b) {
		pid, err := strconv.Atoi(string(f))
		if err == nil && pid > 0 {
			list = append(list, pid)
		}
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return list, err
	}
	for _, e := range entries {
		if !e.IsDir() {
			continue
		}
		more, err := procs(filepath.Join(dir, e.Name()))
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			return list, err
		}
		list = append(list, more...)
	}
	return list, nil
}
