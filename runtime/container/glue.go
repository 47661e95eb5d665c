package container

import (
	"github.com/containercloud/cc/runtime/cgroup"
)

func (m *Manager) sweepGroups(list []*Container) error { return nil }
func (r *run) oomKilled() bool                         { return false }
func statOf(g cgroup.Stat) Stat                        { return Stat{} }
