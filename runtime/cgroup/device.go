package cgroup

import (
	"os"
	"path/filepath"
	"strings"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"
	"github.com/containerd/cgroups/v3/cgroup1"
	"github.com/containerd/cgroups/v3/cgroup2"
	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"github.com/containercloud/cc/fault"
)

// DefaultDevices is what a container may open: no device, then null zero full random urandom tty, ptmx and its own
// terminals. Which of them it sees is decided by its /dev.
func DefaultDevices() []specs.LinuxDeviceCgroup {
	all := int64(-1)
	list := []specs.LinuxDeviceCgroup{{Allow: false, Type: "a", Major: &all, Minor: &all, Access: "rwm"}}
	for _, d := range []struct{ major, minor int64 }{
		{1, 3}, {1, 5}, {1, 7}, {1, 8}, {1, 9}, {5, 0}, {5, 2}, {136, -1},
	} {
		list = append(list, specs.LinuxDeviceCgroup{Allow: true, Type: "c", Major: &d.major, Minor: &d.minor, Access: "rwm"})
	}
	return list
}

// restrictDevices puts the rules on the daemon's directory; every group made in it inherits them, so a container
// start does not pay for them. An older daemon may have done it already.
func (r *Root) restrictDevices() error {
	if r.version == 2 {
		return r.attachFilter(filepath.Join(r.unified, r.base))
	}
	mount, ok := r.mounts["devices"]
	if !ok {
		return nil
	}
	dir := filepath.Join(mount, r.base)
	b, err := os.ReadFile(filepath.Join(dir, "devices.list"))
	if err != nil {
		return err
	}
	if !strings.HasPrefix(string(b), "a ") { // "a *:* rwm": everything is allowed
		return nil
	}
	_, err = cgroup1.New(cgroup1.StaticPath("/"+r.base), &specs.LinuxResources{Devices: DefaultDevices()},
		cgroup1.WithHierarchy(func() ([]cgroup1.Subsystem, error) {
			return []cgroup1.Subsystem{cgroup1.NewDevices(filepath.Dir(mount))}, nil
		}))
	return fault.Wrap(err, "cannot restrict devices")
}

// attachFilter does the same on v2 with a program; it applies to all groups below.
func (r *Root) attachFilter(path string) error {
	dir, err := os.Open(path)
	if err != nil {
		return err
	}
	defer dir.Close()
	there, err := link.QueryPrograms(link.QueryOptions{Target: int(dir.Fd()), Attach: ebpf.AttachCGroupDevice})
	if err != nil {
		return fault.Wrap(err, "cannot restrict devices").(*fault.Error).WithHint("the kernel needs CONFIG_CGROUP_BPF")
	}
	if len(there.Programs) > 0 {
		return nil
	}
	code, license, err := cgroup2.DeviceFilter(DefaultDevices())
	if err != nil {
		return fault.Wrap(err, "cannot restrict devices")
	}
	p, err := ebpf.NewProgram(&ebpf.ProgramSpec{Type: ebpf.CGroupDevice, Instructions: code, License: license})
	if err != nil {
		return fault.Wrap(err, "cannot restrict devices")
	}
	defer p.Close() // the group keeps it
	err = link.RawAttachProgram(link.RawAttachProgramOptions{
		Target: int(dir.Fd()), Program: p, Attach: ebpf.AttachCGroupDevice, Flags: unix.BPF_F_ALLOW_MULTI,
	})
	return fault.Wrap(err, "cannot restrict devices")
}
