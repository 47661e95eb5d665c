package container

import (
	"context"
	"errors"
	"maps"
	"strings"

	"github.com/containercloud/cc/fault"
	"github.com/containercloud/cc/object"
)

// Update changes the spec: change edits a copy, which is checked as a whole and then recorded. Live settings apply to
// the running container before the call returns; when the kernel refuses one, nothing is changed.
func (c *Container) Update(ctx context.Context, change func(*Spec) error) error {
	if err := c.lock(ctx); err != nil {
		return err
	}
	defer c.unlock()
	c.mu.Lock()
	old, meta := c.spec, c.meta
	c.mu.Unlock()
	spec := old.Clone()
	if err := change(&spec); err != nil {
		return err
	}
	if err := spec.Validate(meta.UID); err != nil {
		return err
	}
	if spec.VPC != old.VPC {
		if err := c.m.checkNetwork(&spec); err != nil {
			return err
		}
	}
	settings := Changed(old, spec)
	if len(settings) == 0 {
		return nil
	}
	return c.m.update(ctx, c, old, spec, settings)
}

func (m *Manager) update(ctx context.Context, c *Container, old, spec Spec, settings []Setting) error {
	if err := m.applyLive(ctx, c, old, spec); err != nil {
		return fault.Wrap(err, "container %s", c.meta.Name)
	}
	meta := c.meta // only holders of op change it
	meta.Version++
	if err := writeRecord(c.dir, specFile, specRecord{meta, spec}); err != nil {
		return fault.Wrap(errors.Join(err, m.applyLive(ctx, c, spec, old)), "container %s", meta.Name)
	}
	names := make([]string, len(settings))
	atStart := false
	for i, s := range settings {
		names[i] = s.Name
		atStart = atStart || s.When == AtStart
	}
	c.mu.Lock()
	c.spec, c.meta = spec, meta
	if old.Image != spec.Image {
		c.st.Digest = "" // found anew at the next start; what runs has the digest of its layer
	}
	c.mu.Unlock()
	if atStart {
		m.disarm(c)
		m.armSoon(c)
	}
	m.settled(c)
	if r, err := c.living(); err == nil {
		m.watchOOM(c, r)
	}
	m.event("changed", meta, "settings", strings.Join(names, ","))
	m.tell(c, append(names, "spec", "version")...)
	return nil
}

// applyLive brings the live settings of the running container from one spec to the other.
func (m *Manager) applyLive(ctx context.Context, c *Container, from, to Spec) error {
	c.mu.Lock()
	r := c.body
	c.mu.Unlock()
	if r == nil || r.exit != nil {
		return nil
	}
	if a, b := limits(from), limits(to); a != b {
		if err := r.group.Set(b); err != nil {
			return fault.Wrap(errors.Join(err, r.group.Set(a)), "cannot change its limits")
		}
	}
	if a, b := logPolicy(from), logPolicy(to); a != b {
		if a.Direct != b.Direct {
			return nil // what the streams are made of changes with the next start
		}
		return m.conf.Keeper.SetLogPolicy(ctx, string(c.id), b)
	}
	return nil
}

// checkNetwork refuses a network that there is not, and puts a name in the place of an id.
func (m *Manager) checkNetwork(s *Spec) error {
	if s.VPC == "" || m.conf.Networks == nil {
		return nil
	}
	v, err := m.conf.Networks.Get(s.VPC)
	if err != nil {
		return fault.Wrap(err, "cannot set vpc")
	}
	s.VPC = v.Meta().Name
	return nil
}

// settled makes the timers agree with a changed spec.
func (m *Manager) settled(c *Container) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.st.State == Restarting && c.spec.Restart.Policy == No:
		c.stopTimersLocked()
		ch, err := c.toLocked(Exited, "the restart policy is no")
		if err == nil {
			m.spawn(func() { m.told(c, ch); m.save(c) })
		}
	case c.st.State.Ended():
		m.scheduleTTLLocked(c)
	}
}

// SetMeta changes owner, modes or labels.
func (c *Container) SetMeta(ctx context.Context, change func(*object.Meta) error) error {
	if err := c.lock(ctx); err != nil {
		return err
	}
	defer c.unlock()
	old := c.Meta()
	meta := old.Clone()
	if err := change(&meta); err != nil {
		return err
	}
	spec := c.Spec()
	if meta.UID != old.UID {
		if err := spec.Validate(meta.UID); err != nil {
			return fault.Wrap(err, "cannot give container %s to user %d", old.Name, meta.UID)
		}
	}
	meta.ID, meta.Name, meta.Created, meta.Version = old.ID, old.Name, old.Created, old.Version+1
	if err := writeRecord(c.dir, specFile, specRecord{meta, spec}); err != nil {
		return fault.Wrap(err, "container %s", old.Name)
	}
	c.mu.Lock()
	c.meta = meta
	c.mu.Unlock()
	what := []string{"owner", "version"}
	if !maps.Equal(old.Labels, meta.Labels) {
		what = append(what, "labels")
		c.m.event("changed", meta, "settings", "labels")
	}
	c.m.tell(c, what...)
	return nil
}
