package daemon

import (
	"time"

	"golang.org/x/sys/unix"

	"github.com/containercloud/cc/runtime/keeper/wire"
	"github.com/containercloud/cc/runtime/logs/drain"
)

// names of the log files by stream.
var names = [3]string{wire.Stdout: "stdout", wire.Stderr: "stderr"}

// prepared is an adoption whose descriptors are sorted and whose logs are open.
type prepared struct {
	keep   bool
	dir    int
	logdir int
	logs   [3]*drain.Stream
	holds  map[string]int
}

func (p *prepared) close() {
	for _, s := range p.logs {
		if s != nil {
			drain.Finish(s)
		}
	}
	wire.Close([]int{p.dir, p.logdir})
	for _, fd := range p.holds {
		unix.Close(fd)
	}
}

// adopt does what the message says with a process the keeper knows. It owns files whatever it returns.
func (k *keeper) adopt(m wire.Adopt, files []int) error {
	from := m.From
	if from == "" {
		from = m.ID
	}
	c, err := k.renamable(from, m.ID)
	if err != nil {
		wire.Close(files)
		return err
	}
	p, err := k.prepare(m, files)
	if err != nil {
		return err
	}
	k.mu.Lock()
	if c.exited || k.kids[from] != c {
		k.mu.Unlock()
		p.close()
		return unix.ESRCH
	}
	delete(k.kids, from)
	c.id = m.ID
	k.kids[c.id] = c
	old := k.installLocked(c, p)
	k.mu.Unlock()
	drain.Finish(old...)
	return nil
}

// waitsForNobody reports whether an adoption gives a process a name that nobody has.
func (k *keeper) waitsForNobody(m wire.Adopt) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	return m.From != "" && m.From != m.ID && k.kids[m.ID] == nil
}

// renamable finds the process and waits until the one that had the new name before, dead or just killed, has written its last
// log byte.
func (k *keeper) renamable(from, to string) (*kid, error) {
	k.mu.Lock()
	c, old := k.kids[from], k.kids[to]
	k.mu.Unlock()
	switch {
	case c == nil:
		return nil, unix.ENOENT
	case c.done == nil: // reserved, not there yet
		return nil, unix.EBUSY
	case old == nil || old == c:
		return c, nil
	case old.done == nil:
		return nil, unix.EEXIST
	}
	if !k.ending(old) {
		return nil, unix.EEXIST
	}
	<-old.done
	return c, nil
}

// ending reports whether a process is dead or was just killed. Between a signal that is pending and the end there is a moment
// in which nothing shows it, so a living process is looked at for a while.
func (k *keeper) ending(c *kid) bool {
	for range 10 {
		k.mu.Lock()
		living := !c.exited && alive(c.pidfd)
		k.mu.Unlock()
		if !living || dying(c.pid) {
			return true
		}
		time.Sleep(time.Millisecond)
	}
	return false
}

// prepare sorts the descriptors of an adoption and opens its logs. It owns files whatever it returns.
func (k *keeper) prepare(m wire.Adopt, files []int) (*prepared, error) {
	if len(files) != m.Files() || len(m.Logs) > 0 && !m.LogDir {
		wire.Close(files)
		return nil, unix.EINVAL
	}
	next := func(have bool) int {
		if !have {
			return -1
		}
		fd := files[0]
		files = files[1:]
		return fd
	}
	p := &prepared{keep: m.Keep, dir: next(m.Dir), logdir: next(m.LogDir), holds: map[string]int{}}
	var failed error
	var beside *drain.Stream
	for _, l := range m.Logs {
		pipe := next(l.Pipe)
		if failed != nil || p.logs[l.Stream] != nil {
			wire.Close([]int{pipe})
			continue
		}
		p.logs[l.Stream], failed = k.pool.Add(drain.Options{
			Pipe: pipe, Dir: p.logdir, Name: names[l.Stream], Policy: drain.Policy(l.Policy), Beside: beside})
		beside = p.logs[l.Stream]
	}
	for _, key := range m.Holds {
		fd := next(true)
		if old, ok := p.holds[key]; ok {
			unix.Close(old)
		}
		p.holds[key] = fd
	}
	if failed != nil {
		p.close()
		return nil, failed
	}
	return p, nil
}

// installLocked gives c what p has and returns the logs that were replaced.
func (k *keeper) installLocked(c *kid, p *prepared) (old []*drain.Stream) {
	c.kept = c.kept || p.keep
	if p.dir >= 0 {
		wire.Close([]int{c.dir})
		c.dir = p.dir
	}
	if p.logdir >= 0 {
		if c.logdir >= 0 {
			c.older = append(c.older, c.logdir)
		}
		c.logdir = p.logdir
	}
	for i, s := range p.logs {
		if s == nil {
			continue
		}
		if c.logs[i] != nil {
			old = append(old, c.logs[i])
		}
		c.logs[i] = s
	}
	for key, fd := range p.holds {
		k.holdLocked(key, fd)
	}
	return old
}

func (k *keeper) setPolicy(m wire.SetPolicy) error {
	c, err := k.find(m.ID)
	if err != nil {
		return err
	}
	k.mu.Lock()
	streams := c.streams()
	k.mu.Unlock()
	for _, s := range streams {
		s.SetPolicy(drain.Policy(m.Policy))
	}
	return nil
}

func (k *keeper) find(id string) (*kid, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	c := k.kids[id]
	if c == nil || c.done == nil {
		return nil, unix.ENOENT
	}
	return c, nil
}
