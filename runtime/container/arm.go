package container

import (
	"context"
	"time"
)

// maxArmed bounds how many containers wait armed: each has 0.65 MB of kernel memory and a process of 24 KB.
func (m *Manager) maxArmed() int { return 4 * m.conf.Warm }

// armSoon arms the container in the background when its settings have been quiet for a moment: its start is then one message.
// Any change of a setting that a start uses disarms it.
func (m *Manager) armSoon(c *Container) {
	if m.conf.Warm == 0 {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.arming != nil {
		c.arming.Stop()
	}
	c.arming = time.AfterFunc(armQuiet, func() { m.spawn(func() { m.arm(c) }) })
}

// arm does everything of a start but the last message. What is wrong with the container its start will say.
func (m *Manager) arm(c *Container) {
	if c.lock(m.ctx) != nil {
		return
	}
	defer c.unlock()
	c.mu.Lock()
	fit := c.st.State == Defined && c.body == nil
	c.mu.Unlock()
	if !fit || !m.listArmed(c) {
		return
	}
	ctx, cancel := context.WithTimeout(m.ctx, startDeadline)
	defer cancel()
	if _, err := m.prepare(ctx, c, true); err != nil {
		m.unlistArmed(c)
		m.log.Debug("cannot arm", "container", c.Meta().Name, "error", err)
	}
}

// listArmed takes one of the armed places.
func (m *Manager) listArmed(c *Container) bool {
	w := m.warm
	w.mu.Lock()
	defer w.mu.Unlock()
	if _, have := w.armed[c]; !have && len(w.armed) >= m.maxArmed() || w.shut {
		return false
	}
	w.armed[c] = time.Now()
	return true
}

func (m *Manager) unlistArmed(c *Container) {
	w := m.warm
	w.mu.Lock()
	defer w.mu.Unlock()
	delete(w.armed, c)
}

// disarm takes an armed container's slot away again; c.op is held.
func (m *Manager) disarm(c *Container) {
	c.mu.Lock()
	if c.arming != nil {
		c.arming.Stop()
		c.arming = nil
	}
	r := c.body
	if !c.armed || r == nil {
		c.mu.Unlock()
		return
	}
	c.body, c.armed = nil, false
	c.mu.Unlock()
	m.unlistArmed(c)
	m.teardown(c, r, true)
	m.saveSoon(c)
}
