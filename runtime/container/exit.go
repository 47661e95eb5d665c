package container

import (
	"context"
	"strconv"
	"syscall"
	"time"

	"github.com/containercloud/cc/fault"
	"github.com/containercloud/cc/object"
	"github.com/containercloud/cc/runtime/keeper"
)

// exits is the goroutine that hears from the keeper what ended.
func (m *Manager) exits() {
	for {
		select {
		case e, ok := <-m.conf.Keeper.Exits():
			if !ok {
				return
			}
			m.exited(e)
		case <-m.ctx.Done():
			return
		}
	}
}

// exited finds whom an exit belongs to: `UUID` a container, `UUID/exec/N` a session, `slot/UUID` a warm part, `stem/UUID` the stem.
func (m *Manager) exited(e keeper.Exit) {
	id, session, isSession := splitSession(e.ID)
	switch c := m.byUUID(object.ID(id)); {
	case c == nil:
		m.conf.Keeper.Ack(e.ID)
	case isSession:
		c.sessionExited(session, e)
		m.conf.Keeper.Ack(e.ID)
	default:
		m.bodyExited(c, e)
	}
}

// bodyExited notes the end of a container's first process. One that ends in the middle of its start is looked at again when the
// start has returned.
func (m *Manager) bodyExited(c *Container, e keeper.Exit) {
	c.mu.Lock()
	r := c.body
	if r == nil || r.rec.PID != e.PID || r.exit != nil {
		c.mu.Unlock()
		m.conf.Keeper.Ack(e.ID)
		return
	}
	r.exit = &exited{Exit: exitOf(e)}
	if r.group != nil && (r.exit.Signal == "SIGKILL" || r.exit.Code == 137) {
		r.exit.OOM = r.oomKilled()
	}
	if r.stopping != nil {
		r.stopping.Stop()
	}
	armed, state := c.armed, c.st.State
	var rest func()
	if armed {
		c.body, c.armed = nil, false
		rest = m.departLocked(c, r, true)
	}
	c.mu.Unlock()
	switch {
	case armed:
		m.janitor.later(rest)
		m.tell(c, "status")
	case state.Alive():
		m.noteEnd(c, r)
	}
}

// exitOf reads the keeper's message.
func exitOf(e keeper.Exit) Exit {
	x := Exit{Code: -1, Time: e.Time.UTC()}
	if !e.Known {
		return x
	}
	switch {
	case e.Status.Exited():
		x.Code = e.Status.ExitStatus()
	case e.Status.Signaled():
		x.Code = 128 + int(e.Status.Signal())
		x.Signal = SignalName(syscall.Signal(e.Status.Signal()))
	}
	return x
}

// noteEnd brings a container whose run has ended to the state that its policy asks for, once.
func (m *Manager) noteEnd(c *Container, r *run) {
	c.mu.Lock()
	if c.body != r {
		c.mu.Unlock()
		return
	}
	x := r.exit.Exit
	c.st.Exit = &x
	c.st.PID = 0
	c.body = nil
	c.saved.ended = true
	c.keepAddressLocked(r)
	stopping := c.st.State == Stopping
	var ch change
	var err error
	again := c.st.Wanted && !m.isEnding() && (stopping || c.spec.Restart.again(x, c.backoff.inRow))
	switch {
	case again && !stopping:
		wait := c.backoff.next(x.Time.Sub(r.rec.Started))
		ch, err = c.toLocked(Restarting, "again in "+wait.String())
		c.stopTimersLocked()
		c.timer = time.AfterFunc(wait, func() { m.startAgain(c, Restarting) })
	default:
		ch, err = c.toLocked(Exited, c.st.Reason)
		if !again {
			m.scheduleTTLLocked(c)
		}
	}
	if ch.From != Stopping && !again {
		c.st.Reason, ch.Reason = "", ""
	}
	rest := m.departLocked(c, r, ch.To == Exited)
	c.mu.Unlock()
	if err != nil {
		m.log.Error("a container's end is no legal step", "id", c.id, "error", err)
	}
	m.giveBack(r.rec.Attachment)
	close(r.ended)
	m.told(c, ch, "code", strconv.Itoa(x.Code), "signal", x.Signal, "oom", strconv.FormatBool(x.OOM))
	m.janitor.later(rest)
	m.saveSoon(c)
	if again && stopping {
		m.spawn(func() { m.startAgain(c, Exited) })
	}
}

// startAgain is a start that a policy or the verb restart asks for.
func (m *Manager) startAgain(c *Container, from State) {
	m.spawn(func() {
		if err := c.lock(m.ctx); err != nil {
			return
		}
		defer c.unlock()
		c.mu.Lock()
		due := c.st.State == from && c.st.Wanted
		if due && from == Restarting {
			c.st.Restarts++
		}
		c.mu.Unlock()
		if !due {
			return
		}
		if err := m.start(c, from == Exited); err != nil {
			c.failures.Add(err)
			m.tell(c, "error")
		}
	})
}

// scheduleTTLLocked plans the deletion of a container that ended for good.
func (m *Manager) scheduleTTLLocked(c *Container) {
	c.stopTimersLocked()
	if c.spec.TTL == Never || !c.st.State.Ended() {
		return
	}
	at := c.st.Since
	if c.st.Exit != nil && c.st.Exit.Time.After(at) {
		at = c.st.Exit.Time
	}
	wait := max(time.Until(at.Add(c.spec.TTL)), 0)
	c.timer = time.AfterFunc(wait, func() { m.spawn(func() { m.expire(c) }) })
}

// expire deletes a container whose ttl has passed, unless it was started meanwhile.
func (m *Manager) expire(c *Container) {
	ctx, cancel := context.WithTimeout(m.ctx, time.Minute)
	defer cancel()
	if err := c.lock(ctx); err != nil {
		return
	}
	defer c.unlock()
	c.mu.Lock()
	due := c.st.State.Ended() && c.spec.TTL != Never
	c.mu.Unlock()
	if !due {
		return
	}
	if err := m.delete(ctx, c, false); err != nil && !fault.Is(err, fault.NotFound) {
		c.failures.Add(err)
	}
}

// stopTimersLocked cancels what was planned: a restart or a deletion.
func (c *Container) stopTimersLocked() {
	if c.timer != nil {
		c.timer.Stop()
		c.timer = nil
	}
}
