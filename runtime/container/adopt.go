package container

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/containercloud/cc/fault"
	"github.com/containercloud/cc/object"
	"github.com/containercloud/cc/runtime/boot"
	"github.com/containercloud/cc/runtime/keeper"
)

// Adoption puts records and processes together again after the daemon was away. The keeper knows what lives; a record
// knows what it is. For each record with a run:
//
//	the process lives, executes the program       -> running (or paused, stopping): goes on
//	the process lives, still ccinit               -> a start that never happened: ended, defined as before
//	the process ended, it had been started        -> its end is taken from the keeper's record
//	the same, by ccinit's own code                -> failed, or restarting by policy: the daemon ended over the start
//	the process ended, it had not                 -> defined, or failed when a start was on its way
//	another boot of the host                      -> ended with it; nobody knows how
//
// What the keeper has without a record, and kernel objects that carry our mark without a run, are removed.

// adopt reads all records and takes the living ones over. No goroutine of the Manager runs yet.
func (m *Manager) adopt(ctx context.Context) error {
	names, err := readNames(m.dir)
	if err != nil {
		return err
	}
	states, err := m.conf.Keeper.List(ctx)
	if err != nil {
		return err
	}
	kids := make(map[string]keeper.State, len(states))
	for _, s := range states {
		kids[s.ID] = s
	}
	list := make([]*Container, len(names))
	parallel(len(names), func(i int) { list[i] = m.load(names[i], kids[names[i]]) })
	for _, c := range list {
		m.enter(c)
	}
	m.sweepKeeper(ctx, states)
	if err := m.restoreNetworks(ctx, list); err != nil {
		return err
	}
	return m.sweepGroups(list)
}

// parallel runs f(0) to f(n-1) on all processors.
func parallel(n int, f func(int)) {
	var wg sync.WaitGroup
	next := make(chan int)
	for range 2 * runtime.GOMAXPROCS(0) {
		wg.Go(func() {
			for i := range next {
				f(i)
			}
		})
	}
	for i := range n {
		next <- i
	}
	close(next)
	wg.Wait()
}

// load makes a container of its directory and the process that the keeper has under its id.
func (m *Manager) load(name string, kid keeper.State) *Container {
	dir := filepath.Join(m.dir, name)
	spec, rec, broken := loadRecords(dir)
	c := newContainer(m, dir, spec.Meta, spec.Spec, rec.Status)
	c.found = rec.State
	c.backoff.inRow, c.last, c.layer = rec.InRow, rec.Last, rec.Layer
	c.st.PID = 0
	if c.st.Digest != "" {
		if err := m.conf.Images.Use(c.st.Digest, string(c.id)); err != nil {
			broken = errors.Join(broken, err)
		}
	}
	if rec.Run != nil {
		m.loadRun(c, rec.Run, kid)
	} else {
		c.settleState()
	}
	if broken != nil {
		c.broken(broken)
	}
	return c
}

// broken makes a container with a damaged record one that can be looked at and deleted. What runs goes on.
func (c *Container) broken(err error) {
	err = fault.Wrap(err, "container %s is damaged", c.meta.Name)
	c.failures.Add(err)
	c.m.log.Error("a damaged container", "dir", c.dir, "error", err)
	if !c.st.State.Alive() {
		c.st.State, c.st.Reason, c.st.Wanted = Failed, err.Error(), false
	}
}

// loadRun finds out what became of a run.
func (m *Manager) loadRun(c *Container, rec *runRecord, kid keeper.State) {
	rec.Begun = rec.Begun || !rec.Started.IsZero()
	r := &run{rec: *rec, ended: make(chan struct{})}
	if rec.Boot != m.host.boot {
		m.endedAway(c, r, Exit{Code: -1, Time: time.Now().UTC()}, "the host was restarted")
		return
	}
	alive := m.findProcess(c, r, kid)
	if alive && !rec.Begun && m.neverStarted(r) {
		_ = pidfdSignal(r.pidfd, unix.SIGKILL, 0)
		r.pidfd.Close()
		alive = false
	}
	unsure := rec.Begun && rec.Started.IsZero()
	if alive && !(unsure && m.endsUnstarted(r)) {
		m.lives(c, r)
		return
	}
	x := m.exitAway(c, r, kid)
	if !rec.Begun {
		m.endedAway(c, r, x, "")
		return
	}
	if unsure && x.Code == boot.NeverStarted {
		m.cutShort(c, r)
		return
	}
	if g, err := m.conf.Cgroups.Find(rec.Cgroup); err == nil && x.Code == 137 {
		r.group = g
		x.OOM = r.oomKilled()
	}
	m.endedAway(c, r, x, "")
}

// findProcess opens the run's process if it still is the one of the record, and brings a keeper that lost it to know it again.
func (m *Manager) findProcess(c *Container, r *run, kid keeper.State) bool {
	start := r.rec.Start
	known := kid.PID == r.rec.PID && kid.Kept
	if known {
		if kid.Exited {
			return false
		}
		start = kid.Start
	}
	if start == 0 {
		return false
	}
	f, err := keeper.Open(r.rec.PID, start)
	if err != nil {
		return false
	}
	r.pidfd, r.rec.Start = f, start
	if !known {
		m.takeBack(c, r)
	}
	return true
}

// neverStarted reports whether a process still is ccinit, whose armed state ends with the daemon. With init on the program is its
// child.
func (m *Manager) neverStarted(r *run) bool {
	comm, err := os.ReadFile("/proc/" + strconv.Itoa(r.rec.PID) + "/comm")
	if err != nil || strings.TrimSpace(string(comm)) != "ccinit" {
		return false
	}
	if !r.rec.Init {
		return true
	}
	kids, err := os.ReadFile("/proc/" + strconv.Itoa(r.rec.PID) + "/task/" + strconv.Itoa(r.rec.PID) + "/children")
	return err == nil && len(kids) == 0
}

// soon is how long adoption waits for what takes milliseconds.
const soon = 2 * time.Second

// endsUnstarted waits until a process that may have got the byte by which it starts has executed its program, or has ended.
func (m *Manager) endsUnstarted(r *run) bool {
	unstarted := eventually(func() bool { return alive(r.pidfd) != nil || !m.neverStarted(r) }) && alive(r.pidfd) != nil
	if unstarted {
		r.pidfd.Close()
	}
	return unstarted
}

// exitAway is how a run ended. Of a process that the keeper knows the record comes when the last byte of its logs is written.
func (m *Manager) exitAway(c *Container, r *run, kid keeper.State) Exit {
	x := Exit{Code: -1, Time: time.Now().UTC()}
	read := func() bool {
		e, err := keeper.ReadExit(c.dir)
		if err != nil || e.PID != r.rec.PID {
			return false
		}
		x = exitOf(e)
		return true
	}
	if r.rec.Begun && kid.PID == r.rec.PID && kid.Kept {
		eventually(read)
	} else {
		read()
	}
	return x
}

// eventually waits for something that happens by itself soon, and reports whether it has.
func eventually(ok func() bool) bool {
	if ok() {
		return true
	}
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for range soon / (5 * time.Millisecond) {
		<-tick.C
		if ok() {
			return true
		}
	}
	return false
}

// lives makes the container one that runs.
func (m *Manager) lives(c *Container, r *run) {
	if g, err := m.conf.Cgroups.Find(r.rec.Cgroup); err == nil {
		r.group = g
	} else {
		m.log.Warn("a container's cgroup is gone", "id", c.id, "error", err)
	}
	c.body = r
	if !c.st.State.Alive() {
		c.st.State, c.st.Since, c.st.Reason = Running, r.rec.Started, ""
		if r.rec.Started.IsZero() {
			c.st.Since = time.Now().UTC()
			r.rec.Started = c.st.Since
		}
		c.st.Wanted = true
		c.st.Started = r.rec.Started
	}
	c.st.PID = r.rec.PID
	c.setAddressLocked(r)
}

// endedAway notes the end of a run that the daemon did not see.
func (m *Manager) endedAway(c *Container, r *run, x Exit, reason string) {
	m.clearAway(c, r)
	if !r.rec.Begun {
		c.settleState()
		return
	}
	c.keepAddressLocked(r)
	again := c.st.State == Stopping && c.st.Wanted // by the verb restart
	c.st.Exit = &x
	c.st.State, c.st.Since = Exited, x.Time
	if again {
		c.st.State = Restarting
	}
	if reason != "" {
		c.st.Reason = reason
	}
	c.st.Wanted = c.st.Wanted || r.rec.Started.IsZero()
}

const cutReason = "the daemon ended while it was being started"

// cutShort notes a start that the daemon did not live to see through: nothing ran.
func (m *Manager) cutShort(c *Container, r *run) {
	m.clearAway(c, r)
	c.st.Wanted = c.spec.Restart.again(Exit{Code: 1}, c.backoff.inRow)
	c.st.State, c.st.Since, c.st.Reason = Failed, time.Now().UTC(), cutReason
	if c.st.Wanted {
		c.st.State = Restarting
	}
}

// settleState brings a state that only a living daemon can be in to one that fits.
func (c *Container) settleState() {
	switch c.st.State {
	case Creating:
		c.st.State, c.st.Reason = Failed, cutReason
		if c.st.Exit != nil {
			c.st.State = Exited
		}
	case Running, Paused, Stopping:
		c.st.State, c.st.Reason = Exited, "nothing of it was found after the daemon was away"
		c.st.Exit = &Exit{Code: -1, Time: time.Now().UTC()}
	}
}

// clearAway removes what a run of another daemon left, as soon as there is somebody to do it.
func (m *Manager) clearAway(c *Container, r *run) {
	c.late = func() { m.forgetRun(c, r) }
}

// enter puts an adopted container into the lists. A name that is taken (a damaged record) gives way.
func (m *Manager) enter(c *Container) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for n := 2; m.byName[c.meta.Name] != nil; n++ {
		c.meta.Name = string(c.id[:8]) + "-" + strconv.Itoa(n)
	}
	m.byName[c.meta.Name] = c
	m.byID[c.id] = c
}

// sweepKeeper ends what the keeper has and no container: exec sessions of the last daemon, half-made containers.
func (m *Manager) sweepKeeper(ctx context.Context, states []keeper.State) {
	for _, s := range states {
		c := m.byID[object.ID(s.ID)]
		if c != nil && c.body != nil && c.body.rec.PID == s.PID {
			continue
		}
		if !s.Exited {
			if f, err := keeper.Open(s.PID, s.Start); err == nil {
				_ = pidfdSignal(f, unix.SIGKILL, 0)
				f.Close()
			}
		}
		if s.Exited {
			_ = m.conf.Keeper.Forget(ctx, s.ID)
		}
	}
}

// resume does what the records ask for now that everything runs: restarts, stops that were on their way, deletions.
func (m *Manager) resume() {
	for _, c := range m.List() {
		c.mu.Lock()
		news := c.late != nil || c.st.State != c.found
		if c.late != nil {
			m.janitor.later(c.late)
			c.late = nil
		}
		st, r := c.st, c.body
		switch {
		case st.State == Stopping && r != nil:
			timeout := c.spec.StopTimeout
			m.spawn(func() { m.askToEnd(c, r, timeout) })
		case st.State == Restarting, st.State == Exited && st.Wanted && m.wantedAgain(c):
			wait := c.backoff.again
			if st.State == Exited {
				c.st.State, c.st.Reason = Restarting, "it ended while the daemon was away"
				wait, news = func() time.Duration { return c.backoff.next(0) }, true
			}
			c.timer = time.AfterFunc(wait(), func() { m.startAgain(c, Restarting) })
		case st.State.Ended():
			m.scheduleTTLLocked(c)
		case st.State == Defined:
			c.arming = time.AfterFunc(time.Second, func() { m.spawn(func() { m.arm(c) }) })
		}
		c.mu.Unlock()
		if news {
			m.saveSoon(c)
		}
		if r != nil {
			m.watchOOM(c, r)
		}
	}
}

// wantedAgain reports whether the policy starts a container that ended while nobody looked.
func (m *Manager) wantedAgain(c *Container) bool {
	x := Exit{Code: -1}
	if c.st.Exit != nil {
		x = *c.st.Exit
	}
	return c.spec.Restart.again(x, c.backoff.inRow)
}
