package cgroup

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/containerd/cgroups/v3/cgroup1"
	"github.com/containerd/cgroups/v3/cgroup2"
	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"github.com/containercloud/cc/fault"
)

// Group is one container's control group. Its methods may be called at the same time.
type Group struct {
	root *Root
	name string
	dirs []string // in every hierarchy, v1's first

	mu   sync.Mutex
	last []setting // what the files say, nil when unknown
	mem  int64     // the memory limit in force, with last
}

// patience is how long an operation waits for the kernel: for processes to freeze, or to be gone.
const patience = 10 * time.Second

func deadline() time.Time { return time.Now().Add(patience) }

// Name is the group's, below cc-INSTANCE.
func (g *Group) Name() string { return g.name }

// Path is the group's directory: of a controller on v1, of all on v2.
func (g *Group) Path(controller string) string {
	if g.root.version == 2 {
		return g.unified()
	}
	return filepath.Join(g.root.mounts[controller], g.root.base, g.name)
}

// unified is the group in the v2 hierarchy, "" when there is none.
func (g *Group) unified() string {
	if g.root.unified == "" {
		return ""
	}
	return filepath.Join(g.root.unified, g.root.base, g.name)
}

func (g *Group) relative() string { return "/" + g.root.base + "/" + g.name }

func (g *Group) create() error {
	fresh := true
	var err error
	if g.root.version == 2 {
		fresh, err = g.create2()
	} else {
		fresh, err = g.create1()
	}
	if err != nil {
		return errors.Join(err, g.Delete())
	}
	if fresh {
		if g.root.version == 2 {
			g.last = Limits{}.v2(g.root.swap)
		} else {
			g.last = Limits{}.v1(g.root.memsw, false)
		}
		g.mem = Max
	}
	return nil
}

func (g *Group) create1() (fresh bool, err error) {
	_, err = os.Stat(g.dirs[0])
	fresh = err != nil
	_, err = cgroup1.New(cgroup1.StaticPath(g.relative()), &specs.LinuxResources{}, cgroup1.WithHierarchy(g.root.hierarchy))
	if err == nil && g.root.unified != "" {
		err = mkdir(g.unified())
	}
	return fresh, err
}

func (g *Group) create2() (fresh bool, err error) {
	err = os.Mkdir(g.unified(), 0o755)
	fresh = err == nil
	if err != nil && !errors.Is(err, os.ErrExist) {
		return false, err
	}
	return fresh, nil
}

func mkdir(path string) error {
	if err := os.Mkdir(path, 0o755); err != nil && !errors.Is(err, os.ErrExist) {
		return err
	}
	return nil
}

// hierarchy is what the library asks for at every call; the answer never changes.
func (r *Root) hierarchy() ([]cgroup1.Subsystem, error) { return r.subsystems, nil }

// Add moves a process into the group.
func (g *Group) Add(pid int) error {
	return fault.Wrap(g.add(pid), "cannot add process %d to control group %s", pid, g.name)
}

func (g *Group) add(pid int) error {
	if g.root.version == 2 {
		return write(filepath.Join(g.unified(), "cgroup.procs"), strconv.Itoa(pid))
	}
	for _, c := range g.root.have {
		if err := write(filepath.Join(g.Path(c), "cgroup.procs"), strconv.Itoa(pid)); err != nil {
			return err
		}
	}
	if dir := g.unified(); dir != "" {
		return write(filepath.Join(dir, "cgroup.procs"), strconv.Itoa(pid))
	}
	return nil
}

// Set makes the limits so. Only what changes is written. A memory limit below what is in use is fault.Busy on v1;
// on v2 the kernel makes room, killing if it must.
func (g *Group) Set(l Limits) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	next := l.v2(g.root.swap)
	if g.root.version == 1 {
		next = l.v1(g.root.memsw, g.last == nil || orMax(l.Memory) > g.mem)
		if g.last == nil && g.root.memsw {
			// Unknown: one of both orders is right.
			if err := g.writeAll(next); err == nil {
				g.last, g.mem = next, orMax(l.Memory)
				return nil
			}
			next = l.v1(g.root.memsw, false)
		}
	}
	if err := g.writeAll(changed(g.last, next)); err != nil {
		g.last = nil
		return fault.Wrap(err, "cannot limit control group %s", g.name)
	}
	g.last, g.mem = next, orMax(l.Memory)
	return nil
}

func (g *Group) writeAll(list []setting) error {
	for _, s := range list {
		if !slices.Contains(g.root.have, s.controller) {
			continue
		}
		if err := write(filepath.Join(g.Path(s.controller), s.file), s.value); err != nil {
			return err
		}
	}
	return nil
}

// Procs lists the processes of the group and of groups in it.
func (g *Group) Procs() ([]int, error) {
	if g.root.version == 2 {
		m, err := cgroup2.Load(g.relative(), cgroup2.WithMountpoint(g.root.unified))
		if err != nil {
			return nil, fault.Wrap(err, "cannot list the processes of control group %s", g.name)
		}
		list, err := m.Procs(true)
		return ints(list), fault.Wrap(err, "cannot list the processes of control group %s", g.name)
	}
	list, err := procs(g.dirs[0])
	return list, fault.Wrap(err, "cannot list the processes of control group %s", g.name)
}

func ints(list []uint64) []int {
	out := make([]int, len(list))
	for i, v := range list {
		out[i] = int(v)
	}
	return out
}

// Delete removes the group once its processes are gone, and waits for those that are dying. It may not be there.
func (g *Group) Delete() error {
	var errs []error
	until := deadline()
	for _, d := range g.dirs {
		if err := removeTree(d, until); err != nil {
			errs = append(errs, fault.Wrap(err, "cannot remove control group %s", g.name))
		}
	}
	return errors.Join(errs...)
}

// removeTree removes a directory and what a container made in it. EBUSY is dying processes: it waits for them.
func removeTree(dir string, until time.Time) error {
	for wait := time.Millisecond; ; wait = min(2*wait, 100*time.Millisecond) {
		err := unix.Rmdir(dir)
		switch {
		case err == nil, err == unix.ENOENT:
			return nil
		case err == unix.EINTR:
			continue
		case err != unix.EBUSY && err != unix.ENOTEMPTY:
			return &os.PathError{Op: "rmdir", Path: dir, Err: err}
		}
		entries, _ := os.ReadDir(dir)
		for _, e := range entries {
			if e.IsDir() {
				if err := removeTree(filepath.Join(dir, e.Name()), until); err != nil {
					return err
				}
			}
		}
		if !pause(context.Background(), wait, until) {
			return fault.New(fault.Busy, "%s: processes are still in it: %w", dir, unix.EBUSY).
				WithHint("cat %s/cgroup.procs", dir)
		}
	}
}

// pause waits a moment; false when the time is over.
func pause(ctx context.Context, d time.Duration, until time.Time) bool {
	if !time.Now().Add(d).Before(until) {
		return false
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}
