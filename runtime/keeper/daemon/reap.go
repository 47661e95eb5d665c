package daemon

import (
	"os"
	"os/signal"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/containercloud/cc/runtime/keeper/wire"
	"github.com/containercloud/cc/runtime/logs/drain"
)

// remember is how long the end of a process that nobody has named is remembered: an executor in a
// container clones with CLONE_PARENT, its child may be dead before ccd has heard of it.
const remember = 30 * time.Second

// maxStrays bounds them; a container cannot make strays, as its own orphans go to its own init.
const maxStrays = 4096

// gone is the end of a process.
type gone struct {
	known  bool
	status uint32
	at     time.Time
	usage  unix.Rusage
}

type stray struct {
	pid int
	gone
}

// siginfo is siginfo_t as waitid fills it, on 64-bit machines.
type siginfo struct {
	signo, errno, code, _ int32
	pid                   int32
	uid                   uint32
	status                int32
	_                     [100]byte
}

// reap takes zombies as long as the keeper lives.
func (k *keeper) reap() {
	c := make(chan os.Signal, 1)
	signal.Notify(c, unix.SIGCHLD)
	for {
		for k.reapOne() {
		}
		<-c
	}
}

func (k *keeper) reapOne() bool {
	k.reaping.Lock()
	defer k.reaping.Unlock()
	var g gone
	pid := waitid(unix.P_ALL, 0, &g)
	if pid == 0 {
		return false
	}
	k.reaped(pid, g)
	return true
}

// childReady is called when a child's pidfd says that it is dead, which is sooner known than its signal is delivered.
func (k *keeper) childReady(c *kid) {
	k.reaping.Lock()
	defer k.reaping.Unlock()
	k.mu.Lock()
	alive := k.pids[c.pid] == c
	k.mu.Unlock()
	var g gone
	if alive && waitid(unix.P_PID, c.pid, &g) == c.pid {
		k.reaped(c.pid, g)
	}
}

// reaped notes the end of a child; k.reaping is held.
func (k *keeper) reaped(pid int, g gone) {
	k.mu.Lock()
	c := k.pids[pid]
	if c == nil {
		k.strayLocked(stray{pid, g})
	} else {
		k.childlessLocked(c)
	}
	k.mu.Unlock()
	if c != nil {
		k.end(c, g)
	}
}

// waitid takes one zombie and returns its pid, 0 when there is none.
func waitid(kind, id int, g *gone) int {
	var si siginfo
	for {
		err := unix.Waitid(kind, id, (*unix.Siginfo)(unsafe.Pointer(&si)), unix.WEXITED|unix.WNOHANG|unix.WALL, &g.usage)
		if err == unix.EINTR {
			continue
		}
		if err != nil || si.pid == 0 {
			return 0
		}
		break
	}
	g.known, g.at = true, time.Now()
	switch si.code {
	case 1: // CLD_EXITED
		g.status = uint32(si.status&0xff) << 8
	case 3: // CLD_DUMPED
		g.status = uint32(si.status) | 0x80
	default:
		g.status = uint32(si.status)
	}
	return int(si.pid)
}

func (k *keeper) strayLocked(s stray) {
	old := 0
	for old < len(k.strays) && (s.at.Sub(k.strays[old].at) > remember || len(k.strays)-old >= maxStrays) {
		old++
	}
	k.strays = append(k.strays[old:], s)
}

// claimLocked takes a stray's end, the newest of that pid that is not older than a time: a pid is used again.
func (k *keeper) claimLocked(pid int, since time.Time) (gone, bool) {
	for i := len(k.strays) - 1; i >= 0; i-- {
		if k.strays[i].pid == pid && !k.strays[i].at.Before(since) {
			g := k.strays[i].gone
			k.strays = append(k.strays[:i], k.strays[i+1:]...)
			return g, true
		}
	}
	return gone{}, false
}

// end is called once per process, when it is dead and out of the table of the living.
func (k *keeper) end(c *kid, g gone) {
	k.mu.Lock()
	c.exited = true
	k.finishing.Add(1) // before shutdown can see that nobody lives
	k.fewer.Broadcast()
	k.mu.Unlock()
	go k.finish(c, g)
}

// finish brings the logs of a dead process to their end, writes its record and announces it.
func (k *keeper) finish(c *kid, g gone) {
	defer k.finishing.Done()
	defer close(c.done)
	k.mu.Lock()
	streams := c.streams()
	c.logs = [3]*drain.Stream{}
	k.mu.Unlock()
	drain.Finish(streams...)
	k.mu.Lock()
	e := wire.Exit{ID: c.id, PID: uint32(c.pid), Start: c.start, Kept: c.kept, Known: g.known, Status: g.status,
		Time: g.at.UnixNano(), User: micros(g.usage.Utime), System: micros(g.usage.Stime), MaxRSS: g.usage.Maxrss}
	dir := c.dir
	k.mu.Unlock()
	if dir >= 0 {
		if err := record(dir, e); err != nil {
			say("cannot record the exit of " + c.id + ": " + err.Error())
		}
	}
	k.mu.Lock()
	c.closeDescriptors()
	if !c.kept && k.kids[c.id] == c {
		delete(k.kids, c.id)
	}
	k.announceLocked(e)
	k.mu.Unlock()
}

func micros(t unix.Timeval) int64 { return t.Sec*1e6 + int64(t.Usec) }
