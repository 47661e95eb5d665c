package container

import (
	"context"
	"net/netip"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/containercloud/cc/fault"
	"github.com/containercloud/cc/object"
)

// Container is one container. Its methods are safe for concurrent use.
type Container struct {
	m        *Manager
	id       object.ID
	dir      string // its record, STATE/container/UUID
	failures object.Failures
	op       chan struct{} // full while an operation on its life runs

	mu    sync.Mutex
	meta  object.Meta
	spec  Spec
	st    Status
	moved chan struct{} // closed and replaced at every transition
	gone  bool          // deleted

	body    *run          // armed, being started, or living
	armed   bool          // body waits for its start
	rootfs  *rootfs       // the mounted root file system, while something needs it
	view    *rootView     // of root/, while somebody looks
	lent    bool          // somebody else may have a file of it open: a reader of root/ or a log, who shares a bind mount with it
	backoff backoff       // of the restart policy
	last    netip.Addr    // the address of the last run
	layer   string        // digest of the image that the layer belongs to; "" before the first mount
	leaving chan struct{} // closed when the teardown of the last run is done
	app     *os.File      // a mount of app/ made in advance, for the first start
	timer   *time.Timer
	arming  *time.Timer
	saved   saveState
	early   *early // the slot of a container that is made to be started; c.op guards it
	found   State  // the state that adoption found in the record
	late    func() // clean-up that adoption leaves for later

	sampled  time.Time // when sampleOf was read
	sampleOf Stat

	sessions map[int]*Session
	session  int // the number of the newest one
}

func newContainer(m *Manager, dir string, meta object.Meta, spec Spec, st Status) *Container {
	return &Container{
		m: m, id: meta.ID, dir: dir, op: make(chan struct{}, 1),
		meta: meta, spec: spec, st: st,
		moved: make(chan struct{}),
	}
}

// Meta is the container's identity, owner, modes and labels.
func (c *Container) Meta() object.Meta {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.meta.Clone()
}

// Identity is the cheap part of Meta, for listings.
func (c *Container) Identity() (object.ID, string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.id, c.meta.Name
}

// Failures are the last sentences of its error file.
func (c *Container) Failures() *object.Failures { return &c.failures }

// Spec is the present spec.
func (c *Container) Spec() Spec {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.spec.Clone()
}

// Status is the present status.
func (c *Container) Status() Status {
	c.mu.Lock()
	defer c.mu.Unlock()
	st := c.st
	st.Warm = c.armed
	if r := c.bodyAliveLocked(); r != nil {
		st.Image = r.rec.Spec.Image
		st.Digest, _, _ = strings.Cut(c.layer, " ")
		for _, s := range Changed(r.rec.Spec, c.spec) {
			if s.When == AtStart {
				st.Next = append(st.Next, s.Name)
			}
		}
	}
	if c.spec.Disk != Max {
		st.Notes = append(st.Notes[:len(st.Notes):len(st.Notes)], "disk is kept, not enforced: there are no volumes yet")
	}
	return st
}

// State is the present state, Gone when the container was deleted.
func (c *Container) State() State {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.stateLocked()
}

func (c *Container) stateLocked() State {
	if c.gone {
		return Gone
	}
	return c.st.State
}

// Wait returns when the container is in one of the states, at once if it is; Exited stands for Failed too, and Gone
// for deleted. A container that is deleted before it gets there is fault.NotFound.
func (c *Container) Wait(ctx context.Context, states ...State) error {
	for {
		c.mu.Lock()
		now, moved := c.stateLocked(), c.moved
		c.mu.Unlock()
		for _, s := range states {
			if s == now || s == Exited && now == Failed {
				return nil
			}
		}
		if now == Gone {
			return fault.New(fault.NotFound, "the container was deleted")
		}
		select {
		case <-moved:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// lock takes the container for one operation on its life.
func (c *Container) lock(ctx context.Context) error {
	select {
	case c.op <- struct{}{}:
	case <-ctx.Done():
		return ctx.Err()
	}
	c.mu.Lock()
	gone, name := c.gone, c.meta.Name
	c.mu.Unlock()
	if gone {
		c.unlock()
		return fault.New(fault.NotFound, "container %s was deleted", name)
	}
	return nil
}

func (c *Container) unlock() { <-c.op }

// legal is the fault of a verb that the present state forbids, or nil.
func (c *Container) legal(verb string) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.st.State.Legal(verb) {
		return nil
	}
	return fault.New(fault.Busy, "cannot %s container %s: it is %s", verb, c.meta.Name, c.st.State)
}
