package cgroup

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/containerd/cgroups/v3/cgroup1"
	stats1 "github.com/containerd/cgroups/v3/cgroup1/stats"
	"github.com/containerd/cgroups/v3/cgroup2"

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
func (g *Group) Stat() (s Stat, err error) {
	if g.root.version == 2 {
		s, err = g.stat2()
	} else {
		s, err = g.stat1()
	}
	return s, fault.Wrap(err, "cannot read the counters of control group %s", g.name)
}

func (g *Group) stat1() (Stat, error) {
	m := &stats1.Metrics{CPU: &stats1.CPUStat{Throttling: &stats1.Throttle{}, Usage: &stats1.CPUUsage{}}}
	var errs []error
	for _, sub := range g.root.subsystems {
		if c, ok := sub.(interface {
			Stat(string, *stats1.Metrics) error
		}); ok && sub.Name() != cgroup1.Blkio {
			errs = append(errs, c.Stat(g.relative(), m))
		}
	}
	if err := errors.Join(errs...); err != nil {
		return Stat{}, err
	}
	s := Stat{
		CPU: time.Duration(m.CPU.Usage.Total), CPUUser: time.Duration(m.CPU.Usage.User), CPUSystem: time.Duration(m.CPU.Usage.Kernel),
		Periods: m.CPU.Throttling.Periods, Throttled: m.CPU.Throttling.ThrottledPeriods,
		ThrottledTime: time.Duration(m.CPU.Throttling.ThrottledTime),
		MemoryLimit:   Max, PidsLimit: Max,
	}
	if mem := m.Memory; mem != nil {
		s.Memory, s.MemoryPeak = int64(mem.Usage.Usage), int64(mem.Usage.Max)
		s.MemoryFile, s.MemoryAnon = int64(mem.TotalCache), int64(mem.TotalRSS)
		s.Swap = max(0, int64(mem.Swap.Usage)-int64(mem.Usage.Usage))
		if l := mem.Usage.Limit; l > 0 && l < 1<<62 { // v1 says no limit by the largest number of pages
			s.MemoryLimit = int64(l)
		}
	}
	if p := m.Pids; p != nil {
		s.Pids = int64(p.Current)
		if p.Limit > 0 {
			s.PidsLimit = int64(p.Limit)
		}
	}
	if o := m.MemoryOomControl; o != nil {
		s.OOMKills = o.OomKill
	}
	return s, nil
}

func (g *Group) stat2() (Stat, error) {
	c, err := cgroup2.Load(g.relative(), cgroup2.WithMountpoint(g.root.unified))
	if err != nil {
		return Stat{}, err
	}
	if _, err := os.Stat(g.unified()); err != nil {
		return Stat{}, err
	}
	m, err := c.StatFiltered(cgroup2.StatCPU | cgroup2.StatMemory | cgroup2.StatMemoryEvents | cgroup2.StatPids | cgroup2.StatIO)
	if err != nil {
		return Stat{}, err
	}
	us := func(v uint64) time.Duration { return time.Duration(v) * time.Microsecond }
	s := Stat{
		CPU: us(m.CPU.UsageUsec), CPUUser: us(m.CPU.UserUsec), CPUSystem: us(m.CPU.SystemUsec),
		Periods: m.CPU.NrPeriods, Throttled: m.CPU.NrThrottled, ThrottledTime: us(m.CPU.ThrottledUsec),
		Memory: int64(m.Memory.Usage), MemoryPeak: int64(m.Memory.MaxUsage), MemoryLimit: limitOf(m.Memory.UsageLimit),
		MemoryFile: int64(m.Memory.File), MemoryAnon: int64(m.Memory.Anon), Swap: int64(m.Memory.SwapUsage),
		Pids: int64(m.Pids.Current), PidsLimit: limitOf(m.Pids.Limit),
	}
	if m.MemoryEvents != nil {
		s.OOMKills = m.MemoryEvents.OomKill
	}
	if m.Io != nil && m.Io.Usage != nil {
		s.IO = &IO{}
		for _, d := range m.Io.Usage {
			s.IO.ReadBytes += d.Rbytes
			s.IO.WriteBytes += d.Wbytes
			s.IO.ReadOps += d.Rios
			s.IO.WriteOps += d.Wios
		}
	}
	return s, nil
}

// limitOf reads the library's way to say max: zero or the largest number.
func limitOf(v uint64) int64 {
	if v == 0 || v > Max {
		return Max
	}
	return int64(v)
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
