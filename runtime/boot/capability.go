package boot

import (
	"strings"
	"sync"

	"github.com/moby/sys/capability"

	"github.com/containercloud/cc/fault"
)

// DefaultCapabilities is Docker's set without NET_RAW, MKNOD and AUDIT_WRITE, as podman has it. ping works
// without NET_RAW because a slot opens net.ipv4.ping_group_range.
func DefaultCapabilities() []string {
	return []string{
		"CHOWN", "DAC_OVERRIDE", "FOWNER", "FSETID", "KILL", "NET_BIND_SERVICE",
		"SETFCAP", "SETGID", "SETPCAP", "SETUID", "SYS_CHROOT",
	}
}

// AllCapabilities is what this kernel knows.
func AllCapabilities() []string {
	var names []string
	for i := 0; i <= int(lastCap()); i++ {
		names = append(names, strings.ToUpper(capability.Cap(i).String()))
	}
	return names
}

var lastCap = sync.OnceValue(func() capability.Cap {
	last, err := capability.LastCap()
	if err != nil {
		return capability.CAP_CHECKPOINT_RESTORE
	}
	return last
})

// CheckCapability returns the kernel's number of a capability's name, in either spelling and any case.
func CheckCapability(name string) (int, error) {
	short := strings.TrimPrefix(strings.ToUpper(name), "CAP_")
	for i := 0; i <= int(lastCap()); i++ {
		if strings.EqualFold(capability.Cap(i).String(), short) {
			return i, nil
		}
	}
	return 0, fault.New(fault.Invalid, "cannot use capability %q: not known to this kernel", name).
		WithHint("names are those of capabilities(7), with or without CAP_")
}

func capSet(names []string) (uint64, error) {
	var set uint64
	for _, n := range names {
		c, err := CheckCapability(n)
		if err != nil {
			return 0, err
		}
		set |= 1 << c
	}
	return set, nil
}

func capValue(c int) value {
	return name(uint64(c), "CAP_"+strings.ToUpper(capability.Cap(c).String()))
}
