package container

import (
	"context"
	"os"
	"strconv"
	"syscall"
	"time"

	"github.com/containercloud/cc/fault"
)

// Stop asks the program to end (stop.signal) and answers at once; after timeout (negative: the setting) everything in the
// container is killed. It is remembered: no restart policy undoes it. Wait(Exited) for the end.
func (c *Container) Stop(ctx context.Context, timeout time.Duration) error {
	if err := c.lock(ctx); err != nil {
		return err
	}
	defer c.unlock()
	return c.m.stop(c, timeout, false)
}

// Restart is Stop and, when everything has ended, Start: it answers as Start does. One that is not waited for long enough
// goes on.
func (c *Container) Restart(ctx context.Context) error {
	before, err := c.beginRestart(ctx)
	if err != nil || before.IsZero() {
		return err
	}
	return c.restarted(ctx, before)
}

// beginRestart stops the container for a start that follows, and returns when it was started before; the zero time when nothing
// was to be stopped, so that it is started already.
func (c *Container) beginRestart(ctx context.Context) (before time.Time, err error) {
	if err := c.lock(ctx); err != nil {
		return before, err
	}
	defer c.unlock()
	if err := c.legal("restart"); err != nil {
		return before, err
	}
	c.mu.Lock()
	alive := c.st.State.Alive()
	if alive {
		before = c.st.Started
	}
	c.mu.Unlock()
	if !alive {
		return before, c.m.start(c, true)
	}
	return before, c.m.stop(c, -1, true)
}

// restarted waits for the start behind the one at that time.
func (c *Container) restarted(ctx context.Context, before time.Time) error {
	for {
		c.mu.Lock()
		st, state, name, moved := c.st, c.stateLocked(), c.meta.Name, c.moved
		c.mu.Unlock()
		switch {
		case state == Gone:
			return fault.New(fault.NotFound, "container %s was deleted", name)
		case !st.Started.Equal(before):
			return nil
		case state == Failed:
			return fault.New(fault.Busy, "%s", st.Reason)
		case state == Exited && !st.Wanted:
			return fault.New(fault.Interrupted, "cannot restart container %s: it was stopped again", name)
		}
		select {
		case <-moved:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// stop brings the container to its end; again says that it is to be started after it. c.op is held.
func (m *Manager) stop(c *Container, timeout time.Duration, again bool) error {
	c.mu.Lock()
	if timeout < 0 {
		timeout = c.spec.StopTimeout
	}
	c.stopTimersLocked()
	c.st.Wanted = again
	state, r := c.st.State, c.body
	var ch change
	var err error
	reason := "stopped by a user"
	if again {
		reason = "restarted by a user"
	}
	switch state {
	case Restarting:
		ch, err = c.toLocked(Exited, reason)
		m.scheduleTTLLocked(c)
	case Running, Paused:
		ch, err = c.toLocked(Stopping, reason)
	case Stopping:
	default:
		c.mu.Unlock()
		m.save(c)
		return nil
	}
	c.mu.Unlock()
	if err != nil {
		return err
	}
	m.save(c) // a user's stop is remembered even when the daemon is killed now
	if ch.To != "" {
		m.told(c, ch)
	}
	if state == Paused {
		if err := r.group.Thaw(); err != nil {
			m.log.Warn("cannot thaw a container", "id", c.id, "error", err)
		}
	}
	if state != Restarting {
		m.askToEnd(c, r, timeout)
	}
	return nil
}

// askToEnd sends the stop signal and makes sure that the end comes.
func (m *Manager) askToEnd(c *Container, r *run, timeout time.Duration) {
	sig := c.stopSignal()
	if timeout == 0 || r.deaf(sig) {
		r.kill()
		return
	}
	if err := r.signal(sig); err != nil {
		r.kill()
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if r.exit != nil {
		return
	}
	if r.stopping != nil {
		r.stopping.Stop()
	}
	r.stopping = time.AfterFunc(timeout, r.kill)
}

// stopSignal is the spec's, the image's or SIGTERM.
func (c *Container) stopSignal() syscall.Signal {
	c.mu.Lock()
	word, digest := c.spec.StopSignal, c.st.Digest
	c.mu.Unlock()
	if word == "" {
		if img, err := c.m.conf.Images.Find(digest); err == nil {
			word = img.Config.StopSignal
		}
	}
	if sig, err := ParseSignal(word); err == nil {
		return sig
	}
	return syscall.SIGTERM
}

// deaf reports whether the first process would never notice the signal: waiting for it would be in vain. With init on the
// first process is ccinit, which passes signals on.
func (r *run) deaf(sig syscall.Signal) bool {
	if sig == syscall.SIGKILL {
		return true
	}
	if r.rec.Init {
		return false
	}
	status, err := os.ReadFile("/proc/" + strconv.Itoa(r.rec.PID) + "/status")
	return err == nil && ignores(string(status), sig, true)
}

// Kill sends sig to the container's first process; SIGKILL ends all of them. SIGKILL and the stop signal count as a stop: no restart
// policy undoes them.
func (c *Container) Kill(ctx context.Context, sig syscall.Signal) error {
	c.mu.Lock()
	state, name := c.st.State, c.meta.Name
	c.mu.Unlock()
	if !state.Legal("kill") {
		return fault.New(fault.Busy, "cannot kill container %s: it is %s", name, state)
	}
	if state == Restarting {
		return c.Stop(ctx, 0)
	}
	r, err := c.living()
	if err != nil {
		return err
	}
	if sig == syscall.SIGKILL || sig == c.stopSignal() {
		c.mu.Lock()
		c.st.Wanted = false
		c.mu.Unlock()
		c.m.save(c)
	}
	if sig == syscall.SIGKILL {
		if state == Paused {
			defer r.group.Thaw()
		}
		r.kill()
		return nil
	}
	return fault.Wrap(r.signal(sig), "cannot kill container %s", name)
}

// Signal sends sig to the first process. The kernel drops a signal that the first process of a container neither catches nor ignores.
func (c *Container) Signal(sig syscall.Signal) error {
	r, err := c.living()
	if err != nil {
		return err
	}
	return fault.Wrap(r.signal(sig), "cannot signal container %s", c.Meta().Name)
}

// Pause freezes every process.
func (c *Container) Pause(ctx context.Context) error {
	return c.freeze(ctx, "pause", Running, Paused, func(r *run) error { return r.group.Freeze() })
}

// Resume thaws them.
func (c *Container) Resume(ctx context.Context) error {
	return c.freeze(ctx, "resume", Paused, Running, func(r *run) error { return r.group.Thaw() })
}

func (c *Container) freeze(ctx context.Context, verb string, from, to State, do func(*run) error) error {
	if err := c.lock(ctx); err != nil {
		return err
	}
	defer c.unlock()
	if err := c.legal(verb); err != nil {
		return err
	}
	r, err := c.living()
	if err != nil {
		return err
	}
	name := c.Meta().Name
	if err := do(r); err != nil {
		return fault.Wrap(err, "cannot %s container %s", verb, name)
	}
	c.mu.Lock()
	if c.st.State != from { // it ended meanwhile
		state := c.st.State
		c.mu.Unlock()
		return fault.New(fault.Busy, "cannot %s container %s: it is %s", verb, name, state)
	}
	ch, err := c.toLocked(to, "")
	c.mu.Unlock()
	if err != nil {
		return err
	}
	c.m.saveSoon(c)
	c.m.told(c, ch)
	return nil
}
