// Package cgroup makes a control group per container, on cgroup v1 and v2, below <hierarchy>/cc-INSTANCE/NAME.
//
//	v2   one hierarchy: a directory per group, controllers cpu memory pids io, devices by eBPF; processes may be
//	     born in it (FD)
//	v1   a hierarchy per controller: cpu cpuacct memory pids devices. Freezing, killing and pressure are done in a group
//	     of the empty v2 hierarchy that systemd and others mount beside them; where it is missing, freezing
//	     and killing by the freezer controller
//
// containerd/cgroups finds the mode, makes directories, switches controllers on, writes and compiles the device rules, and
// lists processes. Limits are written here: a pure function turns them into file contents, so that both versions
// are tested as text, only changes are written, and memory and memory+swap go in the order that the kernel
// accepts. Counters are read here too (counters.go says why).
//
// Nothing is ever mounted, and favordynmods is never set: both are for the whole host.
package cgroup

import "math"

// Max is no limit.
const Max = math.MaxInt64

// Limits are what a group may use. Zero values are the defaults: no limit, 1024 shares.
type Limits struct {
	Memory    int64  // bytes of memory, swap included; 0 or Max for no limit
	CPUShares uint64 // 2..262144, weight against other groups; 1024 is one unit
	CPUMax    int64  // thousandths of a core; 0 or Max for no limit
	Pids      int64  // tasks; 0 or Max for no limit
}
