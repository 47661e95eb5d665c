package container

import (
	"context"
	"os"

	"github.com/containercloud/cc/fault"
	"github.com/containercloud/cc/net/vpc"
	"github.com/containercloud/cc/runtime/cgroup"
)

// teardown gives back what a run held, in the background. final also lets go of the root file system; a container that is
// about to be started again keeps it.
func (m *Manager) teardown(c *Container, r *run, final bool) {
	c.mu.Lock()
	rest := m.departLocked(c, r, final)
	c.mu.Unlock()
	m.janitor.later(rest)
}

// departLocked takes from the container what was its run's, before anybody sees the new state: a start that follows at once waits
// for the rest (Container.left), which is to be done by the janitor.
func (m *Manager) departLocked(c *Container, r *run, final bool) (rest func()) {
	if r.departed {
		return func() {}
	}
	r.departed = true
	files := []*os.File{r.stdin, r.tty, r.mntns, r.mark}
	r.stdin, r.tty, r.mntns, r.mark = nil, nil, nil, nil
	if fs := c.rootfs; final && c.body == nil && fs != nil && !c.gone {
		m.dropLater(c, fs)
	}
	view := c.view
	c.view = nil
	gone := make(chan struct{})
	c.leaving = gone
	return func() {
		defer close(gone)
		view.drop()
		closeAll(files...)
		m.forgetRun(c, r)
	}
}

// forgetRun gives back the kernel objects of an ended (or never started) run. It runs in the janitor.
func (m *Manager) forgetRun(c *Container, r *run) {
	id := string(c.id)
	if r.slot != nil {
		if err := r.slot.Close(); err != nil {
			m.log.Debug("a slot did not close well", "container", id, "error", err)
		}
	} else if r.pidfd != nil {
		r.pidfd.Close()
	}
	if r.part != nil {
		closeAll(r.part.netns)
	}
	m.giveBack(r.rec.Attachment)
	if err := m.conf.Keeper.Drop(context.Background(), c.holdKey(r, "")); err != nil && m.ctx.Err() == nil {
		m.log.Warn("the keeper did not let go", "container", id, "error", err)
	}
	m.deleteGroup(r.group)
	c.mu.Lock()
	idle := c.body == nil
	c.mu.Unlock()
	if idle {
		m.etc.remove(id)
	}
}

// giveBack returns an address. It costs microseconds and comes before anybody hears of the end: a
// network may be deleted as soon as its last container is.
func (m *Manager) giveBack(att *vpc.Attachment) {
	if att == nil || m.conf.Networks == nil {
		return
	}
	if err := m.conf.Networks.Release(context.Background(), att); err != nil && !fault.Is(err, fault.NotFound) {
		m.log.Warn("an address was not given back", "vpc", att.VPC, "ip", att.IP, "error", err)
	}
}

// deleteGroup removes a cgroup whose processes have ended or are about to.
func (m *Manager) deleteGroup(g *cgroup.Group) {
	if g == nil {
		return
	}
	if err := g.Delete(); err != nil {
		m.log.Warn("a cgroup stays behind", "error", err)
	}
}
