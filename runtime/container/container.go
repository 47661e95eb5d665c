package container

import (
	"context"
	"sync"
	"time"

	"github.com/containercloud/cc/fault"
	"github.com/containercloud/cc/object"
)

// Container is one container. Its methods are safe for concurrent use.
type Container struct {
	m        *Manager
	failures object.Failures
	op       chan struct{} // full while an operation on its life runs

	mu    sync.Mutex
	meta  object.Meta
	spec  Spec
	st    Status
	moved chan struct{} // closed and replaced at every transition
	gone  bool          // deleted
}

// Meta is the container's identity, owner, modes and labels.
func (c *Container) Meta() object.Meta {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.meta.Clone()
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
	return c.st
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
func (c *Container) Wait(ctx context.Context, states ...State) (State, error) {
	for {
		c.mu.Lock()
		now, moved := c.stateLocked(), c.moved
		c.mu.Unlock()
		for _, s := range states {
			if s == now || s == Exited && now == Failed {
				return now, nil
			}
		}
		if now == Gone {
			return Gone, fault.New(fault.NotFound, "the container was deleted")
		}
		select {
		case <-moved:
		case <-ctx.Done():
			return now, ctx.Err()
		}
	}
}

// lock takes the container for one operation on its life.
func (c *Container) lock(ctx context.Context) error {
	select {
	case c.op <- struct{}{}:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (c *Container) unlock() { <-c.op }

// Session is one exec conversation of a container.
type Session struct {
	c *Container
	n string
}

// SessionStatus is what an exec session is doing.
type SessionStatus struct {
	State   string // `new`, `running`, `exited`
	Since   time.Time
	PID     int // on the host
	Args    []string
	User    string
	Dir     string
	TTY     Terminal
	Exit    *Exit
	Created time.Time
}

// Name is the session's number in decimal, unique within the container's life.
func (s *Session) Name() string { return s.n }

// Container is whose session it is.
func (s *Session) Container() *Container { return s.c }
