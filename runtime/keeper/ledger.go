package keeper

import (
	"context"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/containercloud/cc/fault"
	"github.com/containercloud/cc/runtime/keeper/wire"
)

// ledger is everything a new keeper must be given when the old one is killed: duplicates of all descriptors.
type ledger struct {
	procs   map[string]*proc
	holds   map[string]int
	serials map[string][]uint64 // announced and not acknowledged, by id

	entering int            // processes being spawned or watched
	early    map[string]int // pids of those whose end was announced before we knew them
}

type proc struct {
	pid    int
	pidfd  int
	kept   bool
	dir    int
	logdir int
	logs   [3]*logEntry
}

type logEntry struct {
	pipe   int
	policy wire.Policy
}

func newLedger() ledger {
	return ledger{procs: map[string]*proc{}, holds: map[string]int{}, serials: map[string][]uint64{}, early: map[string]int{}}
}

func newProc(pid, pidfd int) *proc { return &proc{pid: pid, pidfd: pidfd, dir: -1, logdir: -1} }

func (p *proc) close() {
	wire.Close([]int{p.pidfd, p.dir, p.logdir})
	for _, l := range p.logs {
		if l != nil {
			wire.Close([]int{l.pipe})
		}
	}
}

// enter notes a process that the keeper has from now on, unless it has ended already. pidfd is the ledger's.
func (g *ledger) enter(id string, pid, pidfd int) {
	if ended, ok := g.early[id]; ok && ended == pid {
		unix.Close(pidfd)
		return
	}
	g.put(id, newProc(pid, pidfd))
}

func (g *ledger) put(id string, p *proc) {
	if old := g.procs[id]; old != nil {
		old.close()
	}
	g.procs[id] = p
}

// adopt notes what an Adopt said; files are the ledger's from now on.
func (g *ledger) adopt(m wire.Adopt, files []int) {
	from := m.From
	if from == "" {
		from = m.ID
	}
	p := g.procs[from]
	if p == nil { // it ended meanwhile
		wire.Close(files)
		return
	}
	if from != m.ID {
		delete(g.procs, from)
		g.put(m.ID, p)
	}
	next := func(have bool, slot *int) {
		if !have {
			return
		}
		if *slot >= 0 {
			unix.Close(*slot)
		}
		*slot, files = files[0], files[1:]
	}
	p.kept = p.kept || m.Keep
	next(m.Dir, &p.dir)
	next(m.LogDir, &p.logdir)
	for _, l := range m.Logs {
		e := p.logs[l.Stream]
		if e == nil {
			e = &logEntry{pipe: -1}
			p.logs[l.Stream] = e
		}
		e.policy = l.Policy
		next(l.Pipe, &e.pipe)
	}
	for _, key := range m.Holds {
		fd := -1
		next(true, &fd)
		g.hold(key, fd)
	}
}

// message is the adoption that gives a new keeper what the ledger has of a process; files stay the ledger's.
func (p *proc) message(id string) (m wire.Watch, files []int) {
	a := wire.Adopt{ID: id, Keep: p.kept, Dir: p.dir >= 0, LogDir: p.logdir >= 0}
	files = []int{p.pidfd}
	for _, fd := range []int{p.dir, p.logdir} {
		if fd >= 0 {
			files = append(files, fd)
		}
	}
	for i, l := range p.logs {
		if l == nil {
			continue
		}
		a.Logs = append(a.Logs, wire.Log{Stream: wire.Stream(i), Pipe: l.pipe >= 0, Policy: l.policy})
		if l.pipe >= 0 {
			files = append(files, l.pipe)
		}
	}
	return wire.Watch{ID: id, PID: uint32(p.pid), Adopt: a}, files
}

func (g *ledger) hold(key string, fd int) {
	if old, ok := g.holds[key]; ok {
		unix.Close(old)
	}
	g.holds[key] = fd
}

func (g *ledger) drop(prefix string) {
	for key, fd := range g.holds {
		if strings.HasPrefix(key, prefix) {
			unix.Close(fd)
			delete(g.holds, key)
		}
	}
}

// ended notes an exit: there is nothing to hand over any more.
func (g *ledger) ended(e wire.Exit) {
	if p := g.procs[e.ID]; p != nil && p.pid == int(e.PID) {
		p.close()
		delete(g.procs, e.ID)
	} else if g.entering > 0 {
		g.early[e.ID] = int(e.PID)
	}
	if e.Kept {
		g.serials[e.ID] = append(g.serials[e.ID], e.Serial)
	}
}

func (g *ledger) forget(id string) {
	if p := g.procs[id]; p != nil {
		p.close()
		delete(g.procs, id)
	}
	delete(g.serials, id)
	if fd, ok := g.holds[id]; ok {
		unix.Close(fd)
		delete(g.holds, id)
	}
	g.drop(id + "/")
}

func (g *ledger) close() {
	for id := range g.procs {
		g.procs[id].close()
		delete(g.procs, id)
	}
	g.drop("")
}

// reconcile makes keeper and ledger equal: what only the keeper has is copied, what only the ledger has is
// handed over. No call is answered meanwhile, so the ledger does not change but by exits and by what Watch asks for.
func (c *Client) reconcile(ctx context.Context, l *link) error {
	states, err := listAll(ctx, l.call)
	if err != nil {
		return err
	}
	known := map[string]bool{}
	for _, s := range states {
		known[s.ID] = true
		if err := c.learn(ctx, l, s); err != nil {
			return err
		}
	}
	c.mu.Lock()
	var missing []string
	for id := range c.ledger.procs {
		if !known[id] {
			missing = append(missing, id)
		}
	}
	c.mu.Unlock()
	for _, id := range missing {
		c.handOver(ctx, l, id)
	}
	return c.reconcileHolds(ctx, l)
}

func (c *Client) learn(ctx context.Context, l *link, s wire.State) error {
	c.mu.Lock()
	have := c.ledger.procs[s.ID]
	c.mu.Unlock()
	if s.Exited || have != nil && have.pid == int(s.PID) {
		return nil
	}
	b, files, err := l.call(ctx, wire.OpExport, wire.Text{S: s.ID}.Encode())
	if fault.Is(err, fault.NotFound) {
		return nil // ended since
	}
	if err != nil {
		return err
	}
	m, err := wire.DecodeAdopt(b)
	if err != nil || len(files) != 1+m.Files() {
		wire.Close(files)
		return wire.ErrMalformed
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.ledger.enter(s.ID, int(s.PID), files[0])
	c.ledger.adopt(m, files[1:])
	return nil
}

// handOver gives one process to a new keeper. One that it does not take is told and given up: the others must go on.
func (c *Client) handOver(ctx context.Context, l *link, id string) {
	c.mu.Lock()
	p := c.ledger.procs[id]
	if p == nil {
		c.mu.Unlock()
		return
	}
	m, files := p.message(id)
	c.mu.Unlock()
	if _, _, err := l.call(ctx, wire.OpWatch, m.Encode(), files...); err != nil {
		c.log.Error("cannot hand a process to the new keeper", "id", id, "pid", m.PID, "error", err)
	}
}

func (c *Client) reconcileHolds(ctx context.Context, l *link) error {
	names, err := namesAll(ctx, l.call)
	if err != nil {
		return err
	}
	known := map[string]bool{}
	for _, key := range names {
		known[key] = true
		c.mu.Lock()
		_, have := c.ledger.holds[key]
		c.mu.Unlock()
		if have {
			continue
		}
		_, files, err := l.call(ctx, wire.OpFetch, wire.Text{S: key}.Encode())
		if err != nil || len(files) != 1 {
			wire.Close(files)
			return err
		}
		c.mu.Lock()
		c.ledger.hold(key, files[0])
		c.mu.Unlock()
	}
	c.mu.Lock()
	missing := map[string]int{}
	for key, fd := range c.ledger.holds {
		if !known[key] {
			missing[key] = fd
		}
	}
	c.mu.Unlock()
	for key, fd := range missing {
		if _, _, err := l.call(ctx, wire.OpHold, wire.Text{S: key}.Encode(), fd); err != nil {
			return err
		}
	}
	return nil
}

// caller sends a request: over one link, or over the one there is.
type caller func(ctx context.Context, op wire.Op, body []byte, files ...int) ([]byte, []int, error)

func listAll(ctx context.Context, call caller) ([]wire.State, error) {
	return pages(ctx, call, wire.OpList, func(b []byte) ([]wire.State, bool, error) {
		m, err := wire.DecodeStates(b)
		return m.List, m.More, err
	}, func(s wire.State) string { return s.ID })
}

func namesAll(ctx context.Context, call caller) ([]string, error) {
	return pages(ctx, call, wire.OpHolds, func(b []byte) ([]string, bool, error) {
		m, err := wire.DecodeNames(b)
		return m.List, m.More, err
	}, func(name string) string { return name })
}

// pages asks for a list that comes in pages: each request names the last that has come.
func pages[T any](ctx context.Context, call caller, op wire.Op, decode func([]byte) ([]T, bool, error), name func(T) string) (all []T, err error) {
	for after := ""; ; after = name(all[len(all)-1]) {
		b, _, err := call(ctx, op, wire.Text{S: after}.Encode())
		if err != nil {
			return nil, err
		}
		page, more, err := decode(b)
		if err != nil {
			return nil, err
		}
		all = append(all, page...)
		if !more || len(page) == 0 {
			return all, nil
		}
	}
}
