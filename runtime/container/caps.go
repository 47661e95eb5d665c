package container

import (
	"slices"
	"strings"

	"github.com/containercloud/cc/fault"
)

// defaultCaps is what a container's root may do. It is Docker's set without NET_RAW, MKNOD and AUDIT_WRITE
// (as podman has it): raw sockets forge addresses, device nodes come with /dev, and audit is the host's.
var defaultCaps = []string{
	"CHOWN", "DAC_OVERRIDE", "FOWNER", "FSETID", "KILL", "NET_BIND_SERVICE",
	"SETFCAP", "SETGID", "SETPCAP", "SETUID", "SYS_CHROOT",
}

// allCaps are the kernel's capabilities in the order of their numbers (linux/capability.h).
var allCaps = []string{
	"CHOWN", "DAC_OVERRIDE", "DAC_READ_SEARCH", "FOWNER", "FSETID", "KILL", "SETGID", "SETUID", "SETPCAP",
	"LINUX_IMMUTABLE", "NET_BIND_SERVICE", "NET_BROADCAST", "NET_ADMIN", "NET_RAW", "IPC_LOCK", "IPC_OWNER",
	"SYS_MODULE", "SYS_RAWIO", "SYS_CHROOT", "SYS_PTRACE", "SYS_PACCT", "SYS_ADMIN", "SYS_BOOT", "SYS_NICE",
	"SYS_RESOURCE", "SYS_TIME", "SYS_TTY_CONFIG", "MKNOD", "LEASE", "AUDIT_WRITE", "AUDIT_CONTROL", "SETFCAP",
	"MAC_OVERRIDE", "MAC_ADMIN", "SYSLOG", "WAKE_ALARM", "BLOCK_SUSPEND", "AUDIT_READ", "PERFMON", "BPF",
	"CHECKPOINT_RESTORE",
}

// Capabilities applies the words of the capability setting to the default set: `+NET_RAW` or `NET_RAW` adds,
// `-CHOWN` takes away, `none`, `all` and `default` replace the whole. The result is sorted, without CAP_.
func Capabilities(changes []string) ([]string, error) {
	set := map[string]bool{}
	fill := func(list []string) {
		clear(set)
		for _, c := range list {
			set[c] = true
		}
	}
	fill(defaultCaps)
	for _, w := range changes {
		name := strings.ToUpper(w)
		switch name {
		case "ALL":
			fill(allCaps)
			continue
		case "NONE":
			fill(nil)
			continue
		case "DEFAULT":
			fill(defaultCaps)
			continue
		}
		add := !strings.HasPrefix(name, "-")
		name = strings.TrimPrefix(strings.TrimLeft(name, "+-"), "CAP_")
		if !slices.Contains(allCaps, name) {
			return nil, fault.New(fault.Invalid, "%q is no capability", w).WithHint("+NET_RAW, -CHOWN, none, all or default")
		}
		if add {
			set[name] = true
		} else {
			delete(set, name)
		}
	}
	list := make([]string, 0, len(set))
	for c := range set {
		list = append(list, c)
	}
	slices.Sort(list)
	return list, nil
}
