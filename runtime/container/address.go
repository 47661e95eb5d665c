package container

import (
	"context"
	"net/netip"

	"github.com/containercloud/cc/net/vpc"
)

// setAddressLocked shows the run's address in the status.
func (c *Container) setAddressLocked(r *run) {
	if a := r.rec.Attachment; a != nil {
		c.st.VPC, c.st.IP, c.st.MAC = a.VPC, a.IP, a.MAC.String()
		return
	}
	c.clearAddressLocked()
}

// keepAddressLocked remembers the address of a run that ended: the next one gets it again where it is still free.
func (c *Container) keepAddressLocked(r *run) {
	if a := r.rec.Attachment; a != nil {
		c.last = a.IP.Addr()
	}
	c.clearAddressLocked()
}

func (c *Container) clearAddressLocked() {
	c.st.VPC, c.st.MAC = "", ""
	c.st.IP = netip.Prefix{}
}

// renamed tells the network the new name of a container.
func (m *Manager) renamed(ctx context.Context, c *Container) {
	c.mu.Lock()
	r, name := c.body, c.meta.Name
	c.mu.Unlock()
	if r == nil || r.rec.Attachment == nil || m.conf.Networks == nil {
		return
	}
	if err := m.conf.Networks.Assign(ctx, r.rec.Attachment, c.id, name); err != nil {
		m.log.Warn("the network has the old name of a container", "name", name, "error", err)
	}
}

// restoreNetworks tells the networks which addresses living containers have. Everything else of ours in the kernel goes.
func (m *Manager) restoreNetworks(ctx context.Context, list []*Container) error {
	if m.conf.Networks == nil {
		return nil
	}
	var held []vpc.Held
	for _, c := range list {
		if r := c.body; r != nil && r.rec.Attachment != nil {
			held = append(held, vpc.Held{Attachment: *r.rec.Attachment, Container: c.id, Name: c.meta.Name, Since: c.st.Started})
		}
	}
	return m.conf.Networks.Restore(ctx, held)
}
