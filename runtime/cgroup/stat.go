package cgroup

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/containercloud/cc/fault"
)

// Stat is a group's counters.
type Stat struct {
	CPU, CPUUser, CPUSystem time.Duration
	Periods, Throttled      uint64        // of cpu.max: how many there were, in how many it was reached
	ThrottledTime           time.Duration // spent waiting because of it

	Memory      int64 // bytes in use
	MemoryPeak  int64 // most ever, 0 unknown
	MemoryLimit int64 // Max for none
	MemoryFile  int64 // of Memory: page cache
	MemoryAnon  int64
	Swap        int64

	Pids, PidsLimit int64
	OOMKills        uint64

	// IO is nil where it is not counted: on v1, whose blkio sees no buffered writes.
	IO *IO
}

// IO is what went to and from block devices.
type IO struct{ ReadBytes, WriteBytes, ReadOps, WriteOps uint64 }

// Stat reads the counters.
func (g *Group) Stat() (Stat, error) {
	if _, err := os.Stat(g.dirs[0]); err != nil {
		return Stat{}, fault.Wrap(err, "cannot read the counters of control group %s", g.name)
	}
	var f files
	var s Stat
	if g.root.version == 2 {
		s = f.v2(g.unified(), slices.Contains(g.root.have, "io"))
	} else {
		s = f.v1(g.Path, g.root.memsw)
	}
	return s, fault.Wrap(f.err, "cannot read the counters of control group %s", g.name)
}

// Pressure is the group's pressure stall information, the kernel's lines with the resource in front:
//
//	cpu some avg10=0.00 avg60=0.00 avg300=0.00 total=0
//
// The kernel has it for cgroup v2 only; on v1 it comes from the v2 hierarchy beside, where there is one.
func (g *Group) Pressure() (string, error) {
	dir := g.unified()
	if dir == "" {
		return "", fault.New(fault.Unsupported, "cannot read pressure: no cgroup v2 hierarchy is mounted").
			WithHint("mount -t cgroup2 cgroup2 /sys/fs/cgroup/unified, and start ccd again")
	}
	var out strings.Builder
	for _, res := range []string{"cpu", "memory", "io"} {
		b, err := os.ReadFile(filepath.Join(dir, res+".pressure"))
		if errors.Is(err, os.ErrNotExist) {
			if _, err := os.Stat(dir); err == nil {
				return "", fault.New(fault.Unsupported, "cannot read pressure: the kernel does not measure it").
					WithHint("it needs CONFIG_PSI, and psi=1 on the kernel's command line where it is off by default")
			}
		}
		if err != nil {
			return "", fault.Wrap(err, "cannot read the pressure of control group %s", g.name)
		}
		for line := range strings.Lines(string(b)) {
			out.WriteString(res + " " + line)
		}
	}
	return out.String(), nil
}
