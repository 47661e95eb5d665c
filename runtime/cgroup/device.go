package cgroup

import (
	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"
	"github.com/containerd/cgroups/v3/cgroup2"
	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"github.com/containercloud/cc/fault"
)

// DefaultDevices is what a container may open: no device, then null zero full random urandom tty, ptmx and its own
// terminals. Which of them it sees is decided by its /dev.
func DefaultDevices() []specs.LinuxDeviceCgroup {
	list := []specs.LinuxDeviceCgroup{{Allow: false, Type: "a", Access: "rwm"}}
	for _, d := range []struct{ major, minor int64 }{
		{1, 3}, {1, 5}, {1, 7}, {1, 8}, {1, 9}, {5, 0}, {5, 2}, {136, -1},
	} {
		list = append(list, specs.LinuxDeviceCgroup{Allow: true, Type: "c", Major: &d.major, Minor: &d.minor, Access: "rwm"})
	}
	return list
}

// attachFilter puts the device filter on a new v2 group. One program serves all groups.
func (r *Root) attachFilter(dir int) error {
	p, err := r.loadFilter()
	if err != nil {
		return err
	}
	err = link.RawAttachProgram(link.RawAttachProgramOptions{
		Target: dir, Program: p, Attach: ebpf.AttachCGroupDevice, Flags: unix.BPF_F_ALLOW_MULTI,
	})
	return fault.Wrap(err, "cannot restrict devices")
}

func (r *Root) loadFilter() (*ebpf.Program, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.filter != nil {
		return r.filter, nil
	}
	code, license, err := cgroup2.DeviceFilter(DefaultDevices())
	if err != nil {
		return nil, fault.Wrap(err, "cannot restrict devices")
	}
	p, err := ebpf.NewProgram(&ebpf.ProgramSpec{Type: ebpf.CGroupDevice, Instructions: code, License: license})
	if err != nil {
		return nil, fault.Wrap(err, "cannot restrict devices").(*fault.Error).
			WithHint("the kernel needs CONFIG_CGROUP_BPF")
	}
	r.filter = p
	return p, nil
}
