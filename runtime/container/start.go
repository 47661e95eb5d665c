package container

import (
	"context"
	"errors"
	"strconv"
	"time"

	"golang.org/x/sys/unix"

	"github.com/containercloud/cc/fault"
	"github.com/containercloud/cc/runtime/boot"
)

// Start starts the container and answers when its program runs (its execve has succeeded); an error says why it does not.
func (c *Container) Start(ctx context.Context) error {
	if err := c.lock(ctx); err != nil {
		return err
	}
	defer c.unlock()
	return c.m.start(c, true)
}

// start is Start with c.op held. byUser is false for a restart by policy, whose failure is repeated after a back-off; a user's start that
// fails ends in failed.
func (m *Manager) start(c *Container, byUser bool) error {
	if m.isEnding() {
		return fault.New(fault.Again, "the daemon is stopping")
	}
	if err := c.legal("start"); err != nil {
		return err
	}
	c.dropView(nil)
	// A caller who gives up does not leave half a start behind.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(m.ctx), startDeadline)
	defer cancel()
	c.mu.Lock()
	c.stopTimersLocked()
	c.st.Wanted = true
	if byUser {
		c.backoff = backoff{}
	}
	r := c.body
	warm := c.armed && r != nil
	ch, err := c.toLocked(Creating, "")
	c.armed = false
	c.mu.Unlock()
	if err != nil {
		return err
	}
	m.unlistArmed(c)
	if warm {
		err = nil
	} else {
		m.told(c, ch)
		r, err = m.prepare(ctx, c, false)
	}
	if err == nil {
		err = c.mark(r)
	}
	if err == nil {
		err = r.slot.Start(ctx)
	}
	if err != nil {
		return m.startFailed(c, r, err, byUser)
	}
	m.running(c, r)
	return nil
}

// running notes that the program runs, and its end if that has come already.
func (m *Manager) running(c *Container, r *run) {
	now := time.Now().UTC()
	c.mu.Lock()
	if c.rootfs != nil {
		c.rootfs.fresh = false
	}
	r.rec.Started = now
	c.st.Started, c.st.PID, c.st.Exit, c.st.Notes = now, r.rec.PID, nil, m.notes()
	ch, err := c.toLocked(Running, "")
	ended := r.exit != nil
	c.mu.Unlock()
	if err != nil {
		m.log.Error("a start is no legal step", "id", c.id, "error", err)
	}
	m.told(c, ch, "pid", strconv.Itoa(r.rec.PID))
	if ended {
		m.noteEnd(c, r)
		return
	}
	m.saveSoon(c)
}

// notes are what this host cannot do for the container.
func (m *Manager) notes() []string {
	if m.host.note == "" {
		return nil
	}
	return []string{m.host.note}
}

// startFailed brings the container to failed, or to its next try, and returns the sentence for the user.
func (m *Manager) startFailed(c *Container, r *run, err error, byUser bool) error {
	var op *boot.OpError
	if errors.As(err, &op) && op.Op == "execve" && r != nil && len(r.rec.Process.Args) > 0 {
		err = notExecuted(r.rec.Process.Args[0], op)
	}
	c.mu.Lock()
	if c.body == r {
		c.body = nil
	}
	name := c.meta.Name
	err = fault.Wrap(err, "cannot start container %s", name)
	var ch change
	var illegal error
	if !byUser && c.spec.Restart.again(Exit{Code: 1}, c.backoff.inRow) {
		wait := c.backoff.next(0)
		ch, illegal = c.toLocked(Restarting, err.Error()+"; again in "+wait.String())
		c.timer = time.AfterFunc(wait, func() { m.startAgain(c, Restarting) })
	} else {
		c.st.Wanted = false
		ch, illegal = c.toLocked(Failed, err.Error())
		m.scheduleTTLLocked(c)
	}
	c.st.PID = 0
	c.mu.Unlock()
	if r != nil {
		m.teardown(c, r, true)
	}
	if illegal != nil {
		m.log.Error("a failed start is no legal step", "id", c.id, "error", illegal)
		return err
	}
	m.told(c, ch)
	m.save(c)
	return err
}

// notExecuted is the sentence of a program that cannot be executed.
func notExecuted(program string, op *boot.OpError) error {
	err := fault.New(fault.KindOf(op), "execve %s: %w", program, op.Errno)
	switch op.Errno {
	case unix.ENOENT:
		return err.WithHint("the image has no such program, or not the interpreter it names")
	case unix.ENOEXEC:
		return err.WithHint("the program is for another processor, or a script without #! line")
	}
	return err
}

func (m *Manager) isEnding() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.ending || m.closed
}
