package cgroup

import (
	"bufio"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"github.com/containerd/cgroups/v3"
	"github.com/containerd/cgroups/v3/cgroup1"
	"github.com/containerd/cgroups/v3/cgroup2"
	"golang.org/x/sys/unix"

	"github.com/containercloud/cc/fault"
	"github.com/containercloud/cc/object"
)

// Root is the groups of one daemon.
type Root struct {
	base    string   // cc-INSTANCE
	version int      // 1 or 2
	unified string   // mount point of the v2 hierarchy, "" when there is none
	memsw   bool     // v1: memory.memsw.* is there
	swap    bool     // v2: memory.swap.max is there
	have    []string // controllers

	// v1
	mounts     map[string]string // mount point by controller
	subsystems []cgroup1.Subsystem

	watcher watcher
}

// wanted controllers on v1, in the order in which groups are made.
var wanted = []string{"cpu", "cpuacct", "memory", "pids", "devices"}

// Open finds the hierarchies and makes the daemon's directory in each. instance becomes a part of a file name.
func Open(instance string) (*Root, error) {
	if err := checkName(instance); err != nil {
		return nil, fault.Wrap(err, "cannot open control groups")
	}
	r := &Root{base: object.Mark(instance), mounts: map[string]string{}}
	r.watcher.init()
	mounts, err := os.Open("/proc/self/mountinfo")
	if err != nil {
		return nil, fault.Wrap(err, "cannot find control groups")
	}
	defer mounts.Close()
	var two []string
	r.mounts, two = parseMounts(bufio.NewScanner(mounts))
	if len(two) > 0 {
		r.unified = two[0]
	}
	switch cgroups.Mode() {
	case cgroups.Unified:
		r.version = 2
		err = r.open2()
	case cgroups.Legacy, cgroups.Hybrid:
		r.version = 1
		err = r.open1()
	default:
		err = fault.New(fault.Unsupported, "nothing is mounted on /sys/fs/cgroup").
			WithHint("mount -t cgroup2 cgroup2 /sys/fs/cgroup")
	}
	return r, fault.Wrap(err, "cannot open control groups")
}

// parseMounts returns the mount point of each v1 controller and those of v2, from mountinfo (proc_pid_mountinfo(5)).
func parseMounts(in *bufio.Scanner) (one map[string]string, two []string) {
	one = map[string]string{}
	for in.Scan() {
		before, after, ok := strings.Cut(in.Text(), " - ")
		f, s := strings.Fields(before), strings.Fields(after)
		if !ok || len(f) < 5 || len(s) < 3 {
			continue
		}
		switch s[0] {
		case "cgroup2":
			two = append(two, f[4])
		case "cgroup":
			for _, o := range strings.Split(s[2], ",") {
				if slices.Contains(wanted, o) || o == "freezer" {
					one[o] = f[4]
				}
			}
		}
	}
	return one, two
}

// Version is 1 or 2.
func (r *Root) Version() int { return r.version }

// Controllers are those there are, by name.
func (r *Root) Controllers() []string { return slices.Clone(r.have) }

func (r *Root) open1() error {
	controllers := wanted
	if r.unified == "" {
		controllers = append(slices.Clone(wanted), "freezer")
	}
	for _, name := range controllers {
		mount, ok := r.mounts[name]
		if !ok {
			continue
		}
		r.have = append(r.have, name)
		// The library joins its root and the controller's name; both are parts of the mount point, or of a link to it.
		s := subsystem(filepath.Dir(mount), name)
		if s == nil || s.(interface{ Path(string) string }).Path("/") != mount {
			s = subsystem("/sys/fs/cgroup", name)
		}
		r.subsystems = append(r.subsystems, s)
	}
	for _, must := range []string{"memory", "pids", "cpu"} {
		if !slices.Contains(r.have, must) {
			return fault.New(fault.Unsupported, "no controller %s is mounted", must).
				WithHint("mount -t cgroup -o %s cgroup /sys/fs/cgroup/%s", must, must)
		}
	}
	_, err := os.Stat(filepath.Join(r.mounts["memory"], "memory.memsw.limit_in_bytes"))
	r.memsw = err == nil
	return r.makeBase()
}

func subsystem(root, name string) cgroup1.Subsystem {
	switch name {
	case "cpu":
		return cgroup1.NewCpu(root)
	case "cpuacct":
		return cgroup1.NewCpuacct(root)
	case "memory":
		return cgroup1.NewMemory(root, cgroup1.OptionalSwap(), cgroup1.IgnoreModules("kmem", "kmem.tcp"))
	case "pids":
		return cgroup1.NewPids(root)
	case "devices":
		return cgroup1.NewDevices(root)
	case "freezer":
		return cgroup1.NewFreezer(root)
	}
	return nil
}

func (r *Root) open2() error {
	m, err := cgroup2.Load("/"+r.base, cgroup2.WithMountpoint(r.unified))
	if err != nil {
		return err
	}
	all, err := m.RootControllers()
	if err != nil {
		return err
	}
	for _, name := range []string{"cpu", "memory", "pids", "io"} {
		if slices.Contains(all, name) {
			r.have = append(r.have, name)
		}
	}
	for _, must := range []string{"memory", "pids", "cpu"} {
		if !slices.Contains(r.have, must) {
			return fault.New(fault.Unsupported, "controller %s is not available on cgroup v2", must).
				WithHint("cat %s/cgroup.controllers; is it bound to a v1 hierarchy, or disabled on the kernel's command line?", r.unified)
		}
	}
	if err := r.makeBase(); err != nil {
		return err
	}
	// Below the root, and for the groups below our directory: NewChild would do the same for every one of them.
	leaf, err := cgroup2.Load("/"+r.base+"/x", cgroup2.WithMountpoint(r.unified))
	if err != nil {
		return err
	}
	if err := leaf.ToggleControllers(r.have, cgroup2.Enable); err != nil {
		return err
	}
	_, err = os.Stat(filepath.Join(r.unified, r.base, "memory.swap.max"))
	r.swap = err == nil
	return nil
}

// makeBase makes the daemon's directory in every hierarchy.
func (r *Root) makeBase() error {
	for _, d := range r.dirs() {
		if err := os.Mkdir(d, 0o755); err != nil && !errors.Is(err, os.ErrExist) {
			return err
		}
	}
	return r.restrictDevices()
}

// dirs are the daemon's directories, each once.
func (r *Root) dirs() []string {
	var list []string
	add := func(mount string) {
		if d := filepath.Join(mount, r.base); mount != "" && !slices.Contains(list, d) {
			list = append(list, d)
		}
	}
	if r.version == 1 {
		for _, c := range r.have {
			add(r.mounts[c])
		}
	}
	add(r.unified)
	return list
}

// Create makes the group, or finds it as it is. It may use no devices but those of DefaultDevices.
func (r *Root) Create(name string) (*Group, error) {
	g, err := r.group(name)
	if err == nil {
		err = g.create()
	}
	if err != nil {
		return nil, fault.Wrap(err, "cannot make control group %s", name)
	}
	return g, nil
}

// Find returns a group that is there.
func (r *Root) Find(name string) (*Group, error) {
	g, err := r.group(name)
	if err == nil {
		_, err = os.Stat(g.dirs[0])
	}
	if err != nil {
		return nil, fault.Wrap(err, "cannot find control group %s", name)
	}
	return g, nil
}

func (r *Root) group(name string) (*Group, error) {
	if err := checkName(name); err != nil {
		return nil, err
	}
	g := &Group{root: r, name: name}
	for _, d := range r.dirs() {
		g.dirs = append(g.dirs, filepath.Join(d, name))
	}
	return g, nil
}

// Names lists the groups there are, in any hierarchy.
func (r *Root) Names() ([]string, error) {
	var list []string
	for _, d := range r.dirs() {
		entries, err := os.ReadDir(d)
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			return nil, fault.Wrap(err, "cannot list control groups")
		}
		for _, e := range entries {
			if e.IsDir() {
				list = append(list, e.Name())
			}
		}
	}
	slices.Sort(list)
	return slices.Compact(list), nil
}

// Sweep removes groups that keep does not want, processes and all. One that does not go does not stop it.
func (r *Root) Sweep(keep func(name string) bool) error {
	names, err := r.Names()
	if err != nil {
		return err
	}
	errs := make([]error, len(names))
	var wg sync.WaitGroup
	few := make(chan struct{}, 16)
	for i, name := range names {
		if keep != nil && keep(name) {
			continue
		}
		g, err := r.group(name)
		if err != nil {
			errs[i] = err
			continue
		}
		wg.Add(1)
		few <- struct{}{}
		go func() {
			defer wg.Done()
			errs[i] = errors.Join(g.Kill(), g.Delete())
			<-few
		}()
	}
	wg.Wait()
	return errors.Join(errs...)
}

// Delete removes all groups, processes and all, and the daemon's directories.
func (r *Root) Delete() error {
	errs := []error{r.Sweep(nil)}
	for _, d := range r.dirs() {
		if err := removeTree(d, deadline()); err != nil {
			errs = append(errs, fault.Wrap(err, "cannot remove %s", d))
		}
	}
	return errors.Join(append(errs, r.Close())...)
}

// Close gives back what the daemon has open; the groups stay.
func (r *Root) Close() error {
	r.watcher.close()
	return nil
}

// checkName accepts what is one file name and cannot be an interface file of a cgroup.
func checkName(name string) error {
	if len(name) == 0 || len(name) > 200 || strings.HasPrefix(name, ".") ||
		strings.ContainsFunc(name, func(c rune) bool {
			return !(c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '-' || c == '_' || c == '.')
		}) || strings.HasPrefix(name, "cgroup.") {
		return fault.New(fault.Invalid, "bad control group name %q", name)
	}
	return nil
}

// write writes a control file in one write, as cgroups want it.
func write(path, value string) error {
	fd, err := unix.Open(path, unix.O_WRONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return &os.PathError{Op: "open", Path: path, Err: err}
	}
	defer unix.Close(fd)
	for {
		if _, err = unix.Write(fd, []byte(value)); err != unix.EINTR {
			break
		}
	}
	if err != nil {
		return &os.PathError{Op: "write " + value + " to", Path: path, Err: err}
	}
	return nil
}
