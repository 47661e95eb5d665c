package boot

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"sync"
	"syscall"
	"testing"

	moby "github.com/moby/profiles/seccomp"
	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// crun is the peer: the same container as config() makes, from an OCI bundle.
type crun struct {
	bundle string
	id     string
}

func newCrun(t testing.TB, lower string, change func(*specs.Spec), args ...string) *crun {
	t.Helper()
	if _, err := exec.LookPath("crun"); err != nil {
		t.Skip("needs crun, to compare with: ", err)
	}
	leaveUnified(t)
	spec := ociSpec(t, lower, args)
	if change != nil {
		change(spec)
	}
	dir := t.TempDir()
	b, err := json.Marshal(spec)
	must(t, err)
	must(t, os.WriteFile(dir+"/config.json", b, 0o644))
	return &crun{dir, fmt.Sprintf("cc-boot-%d-%s", os.Getpid(), filepath.Base(filepath.Dir(dir)))}
}

// leaveUnified: crun 1.8 takes a machine that has an empty cgroup2 beside v1 for a cgroup v2 one. The mount
// namespace is ours.
var leaveUnified = func() func(testing.TB) {
	var once sync.Once
	return func(testing.TB) { once.Do(func() { unix.Unmount("/sys/fs/cgroup/unified", unix.MNT_DETACH) }) }
}()

func ociSpec(t testing.TB, lower string, args []string) *specs.Spec {
	t.Helper()
	var caps []string
	for _, c := range DefaultCapabilities() {
		caps = append(caps, "CAP_"+c)
	}
	plain := []string{"nosuid", "noexec", "nodev"}
	spec := &specs.Spec{
		Version: "1.0.0",
		Process: &specs.Process{Args: args, Cwd: "/", NoNewPrivileges: true, Env: []string{"PATH=/usr/bin:/bin", "HOME=/root"},
			Capabilities: &specs.LinuxCapabilities{Bounding: caps, Effective: caps, Permitted: caps}},
		Root: &specs.Root{Path: lower}, Hostname: "box",
		Mounts: []specs.Mount{
			{Destination: "/proc", Type: "proc", Source: "proc", Options: plain},
			{Destination: "/dev", Type: "tmpfs", Source: "tmpfs", Options: []string{"nosuid", "noexec", "mode=755", "size=64k"}},
			{Destination: "/dev/pts", Type: "devpts", Source: "devpts", Options: []string{"nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"}},
			{Destination: "/dev/shm", Type: "tmpfs", Source: "shm", Options: append(slices.Clone(plain), "mode=1777", "size=64m")},
			{Destination: "/dev/mqueue", Type: "mqueue", Source: "mqueue", Options: plain},
			{Destination: "/sys", Type: "sysfs", Source: "sysfs", Options: append(slices.Clone(plain), "ro")},
			{Destination: "/sys/fs/cgroup", Type: "cgroup", Source: "cgroup", Options: append(slices.Clone(plain), "ro")},
		},
		Linux: &specs.Linux{
			Namespaces:    []specs.LinuxNamespace{{Type: "pid"}, {Type: "network"}, {Type: "ipc"}, {Type: "uts"}, {Type: "mount"}, {Type: "cgroup"}},
			MaskedPaths:   append(slices.Clone(thisHost().hidden.files), thisHost().hidden.dirs...),
			ReadonlyPaths: thisHost().hidden.readOnly,
		},
	}
	profile, err := moby.GetDefaultProfile(spec)
	must(t, err)
	spec.Linux.Seccomp = profile
	return spec
}

func (c *crun) command(verb string, args ...string) *exec.Cmd {
	cmd := exec.Command("crun", append([]string{"--root", filepath.Join(c.bundle, "run"), "--cgroup-manager", "cgroupfs", verb}, args...)...)
	cmd.Dir = c.bundle
	return cmd
}

// fork runs a program to its end without os/exec's goroutines.
func fork(t testing.TB, file string, args []string, stdio uintptr, dir string) {
	t.Helper()
	pid, err := syscall.ForkExec(file, args, &syscall.ProcAttr{Dir: dir, Env: os.Environ(), Files: []uintptr{0, stdio, 2}})
	must(t, err)
	var st syscall.WaitStatus
	for {
		if _, err := syscall.Wait4(pid, &st, 0, nil); err != syscall.EINTR {
			must(t, err)
			break
		}
	}
	if st.ExitStatus() != 0 {
		t.Fatalf("%v: status %#x", args, st)
	}
}
