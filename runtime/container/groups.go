package container

import (
	"context"
	"strconv"

	"github.com/containercloud/cc/runtime/cgroup"
)

// limits are the spec's in the cgroup's terms.
func limits(s Spec) cgroup.Limits {
	return cgroup.Limits{Memory: s.Memory, CPUShares: s.CPU, CPUMax: int64(s.CPUMax), Pids: s.Pids}
}

// statOf turns a group's counters into a container's.
func statOf(g cgroup.Stat) Stat {
	s := Stat{
		CPU: g.CPU, CPUUser: g.CPUUser, CPUSystem: g.CPUSystem, Throttled: g.ThrottledTime,
		Memory: g.Memory, MemoryPeak: g.MemoryPeak, MemoryLimit: g.MemoryLimit,
		Pids: g.Pids, PidsLimit: g.PidsLimit, OOMKills: g.OOMKills,
	}
	if g.IO != nil {
		s.ReadBytes, s.WriteBytes = g.IO.ReadBytes, g.IO.WriteBytes
	}
	return s
}

// oomKilled reports whether the kernel killed a process of the run for memory.
func (r *run) oomKilled() bool {
	n, err := r.group.OOMKills()
	return err == nil && n > 0
}

// watchOOM tells of processes that the kernel kills for memory, while the container has a memory limit: without one
// its cgroup cannot run out.
func (m *Manager) watchOOM(c *Container, r *run) {
	c.mu.Lock()
	watch := c.spec.Memory != Max && !r.watched && r.exit == nil && r.group != nil
	r.watched = r.watched || watch
	c.mu.Unlock()
	if !watch {
		return
	}
	m.spawn(func() {
		ctx, cancel := context.WithCancel(m.ctx)
		defer cancel()
		go func() {
			select {
			case <-r.ended:
				cancel()
			case <-ctx.Done():
			}
		}()
		var seen uint64
		for {
			n, err := r.group.WaitOOM(ctx, seen)
			if err != nil {
				return
			}
			seen = n
			m.event("oom", c.Meta(), "kills", strconv.FormatUint(n, 10))
			m.tell(c, "stat")
		}
	})
}

// sweepGroups removes the cgroups of this instance that belong to no living container, with what still runs in them.
func (m *Manager) sweepGroups(list []*Container) error {
	keep := map[string]bool{}
	for _, c := range list {
		if c.body != nil {
			keep[c.body.rec.Cgroup] = true
		}
	}
	return m.conf.Cgroups.Sweep(func(name string) bool { return keep[name] })
}
