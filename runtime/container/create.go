package container

import (
	"context"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/containercloud/cc/fault"
	"github.com/containercloud/cc/object"
)

// New says what container to make.
type New struct {
	Name     string // "": the first 8 hexadecimal digits of sha1(time + command)
	UID, GID uint32 // who owns it, on the host
	Labels   map[string]string
	Spec     func(*Spec) error // changes the default spec; may be nil
	Start    bool              // and runs it; a container that cannot start is not made
}

// Make makes a container.
func (m *Manager) Make(ctx context.Context, n New) (*Container, error) {
	c, err := m.create(n)
	if err != nil {
		return nil, err
	}
	defer c.unlock()
	if !n.Start {
		m.armSoon(c)
		return c, nil
	}
	err = m.start(c, true)
	m.dropEarly(c)
	if err != nil {
		if e := m.delete(context.WithoutCancel(ctx), c, true); e != nil {
			m.log.Error("a container that could not start stays", "id", c.id, "error", e)
		}
		return nil, err
	}
	return c, nil
}

// Create makes a container that does not run yet.
func (m *Manager) Create(ctx context.Context, name string, uid, gid uint32, change func(*Spec) error) (*Container, error) {
	return m.Make(ctx, New{Name: name, UID: uid, GID: gid, Spec: change})
}

// Run is Create and Start in one go; a container that cannot start is not made.
func (m *Manager) Run(ctx context.Context, name string, uid, gid uint32, change func(*Spec) error) (*Container, error) {
	return m.Make(ctx, New{Name: name, UID: uid, GID: gid, Spec: change, Start: true})
}

// create makes the record and returns the container with its op lock held.
func (m *Manager) create(n New) (*Container, error) {
	m.janitor.breathe()
	spec := Default()
	if n.Spec != nil {
		if err := n.Spec(&spec); err != nil {
			return nil, err
		}
	}
	if err := spec.Validate(n.UID); err != nil {
		return nil, err
	}
	if err := m.checkNetwork(&spec); err != nil {
		return nil, err
	}
	now := time.Now().UTC()
	meta := object.Meta{ID: object.NewID(), Name: n.Name, Created: now, Version: 1, UID: n.UID, GID: n.GID, Labels: maps.Clone(n.Labels)}
	c := newContainer(m, filepath.Join(m.dir, string(meta.ID)), meta, spec, Status{State: Defined, Since: now})
	c.op <- struct{}{}
	if err := m.name(c, now); err != nil {
		return nil, err
	}
	if n.Start {
		m.beginSlot(c)
	}
	if err := m.settle(c, n.Start); err != nil {
		m.dropEarly(c)
		m.forget(c.meta.Name, c.id)
		c.mu.Lock()
		c.gone = true
		close(c.moved)
		c.mu.Unlock()
		c.unlock()
		return nil, fault.Wrap(err, "cannot create container %s", c.meta.Name)
	}
	m.event("created", c.meta, "image", spec.Image)
	m.tell(c, "created")
	return c, nil
}

// name reserves the container's name, or one made for it.
func (m *Manager) name(c *Container, now time.Time) error {
	if c.meta.Name != "" {
		if err := object.CheckName(c.meta.Name); err != nil {
			return fault.Wrap(err, "cannot create container")
		}
		return fault.Wrap(m.reserve(c.meta.Name, c), "cannot create container %s", c.meta.Name)
	}
	for try := 0; ; try++ {
		c.meta.Name = autoName(now, slices.Concat(c.spec.Entrypoint, c.spec.Args), try)
		err := m.reserve(c.meta.Name, c)
		if !fault.Is(err, fault.Exists) {
			return err
		}
	}
}

// settle gives the container a directory: one of those made in advance, with the record written into it before one rename
// makes it a container's. start: it runs at once.
func (m *Manager) settle(c *Container, start bool) error {
	home, err := m.warm.home(c.spec, start)
	if err != nil {
		return err
	}
	err = writeRecord(home.dir, specFile, specRecord{c.meta, c.spec})
	if err == nil && home.rootfs != nil {
		err = m.conf.Images.Use(home.rootfs.digest, string(c.id))
	}
	if err == nil {
		err = os.Rename(home.dir, c.dir)
	}
	if err != nil {
		m.conf.Images.Release(string(c.id))
		home.close(m)
		return err
	}
	m.conf.Images.Release(warmUser(home.dir))
	c.mu.Lock()
	c.rootfs, c.app = home.rootfs, home.app
	if c.rootfs != nil {
		if !m.host.fineTimes && time.Since(c.rootfs.newest) < settling {
			c.rootfs.newest = time.Time{}
		}
		c.layer = layerOf(c.rootfs.digest, c.rootfs.host)
	}
	c.mu.Unlock()
	return nil
}

// Delete ends a container for good; one that runs only with force. Its name is free when Delete returns; what is left of it
// goes in the background.
func (m *Manager) Delete(ctx context.Context, c *Container, force bool) error {
	if err := c.lock(ctx); err != nil {
		return err
	}
	defer c.unlock()
	return m.delete(ctx, c, force)
}

func (m *Manager) delete(ctx context.Context, c *Container, force bool) error {
	c.mu.Lock()
	state, name := c.st.State, c.meta.Name
	c.mu.Unlock()
	if state.Active() && !force {
		return fault.New(fault.Busy, "cannot delete container %s: it is %s", name, state).
			WithHint("stop it first, or `delete force`")
	}
	if err := m.end(ctx, c); err != nil {
		return fault.Wrap(err, "cannot delete container %s", name)
	}
	m.closeSessions(c)
	pristine := c.pristine()
	m.disarm(c)
	c.dropView(nil)
	m.forget(name, c.id) // before those who wait for the end are told
	c.mu.Lock()
	c.stopTimersLocked()
	rootfs, app := c.rootfs, c.app
	c.rootfs, c.app, c.gone = nil, nil, true
	meta := c.meta
	close(c.moved)
	c.moved = make(chan struct{})
	c.mu.Unlock()
	closeAll(app)
	rest := func(dir string) { removeTree(dir, m.log) }
	if pristine {
		rest = func(dir string) { m.recycle(dir, rootfs) }
	} else {
		rootfs.drop()
	}
	c.saved.write.Lock() // a record being written is done, and none is written after that
	err := m.discard(c.dir, rest)
	c.saved.write.Unlock()
	if err != nil && !os.IsNotExist(err) {
		m.log.Error("a container's directory stays behind", "dir", c.dir, "error", err)
		rootfs.drop()
	}
	m.conf.Images.Release(string(c.id))
	m.event("deleted", meta)
	m.tell(c, "deleted")
	return nil
}

// end kills what runs and waits until it is gone; c.op is held.
func (m *Manager) end(ctx context.Context, c *Container) error {
	c.mu.Lock()
	c.stopTimersLocked()
	c.st.Wanted = false
	r := c.body
	if c.armed {
		r = nil
	}
	if c.st.State == Restarting {
		c.toLocked(Exited, "deleted")
	}
	c.mu.Unlock()
	if r == nil {
		return nil
	}
	r.kill()
	select {
	case <-r.ended:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
