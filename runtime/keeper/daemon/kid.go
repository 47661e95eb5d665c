package daemon

import (
	"strconv"
	"time"

	"golang.org/x/sys/unix"

	"github.com/containercloud/cc/runtime/keeper/wire"
	"github.com/containercloud/cc/runtime/logs/drain"
)

// kid is one process the keeper answers for.
//
//	spawned/watched ---- adopt(keep) ----> kept
//	      |                                 |
//	    exit: announced if                exit: logs drained, record written,
//	    someone listens, forgotten        announced until acknowledged
//	                                        |
//	                                     exited ---- forget, or its id is taken again
type kid struct {
	id    string
	pid   int
	pidfd int
	start uint64
	child bool // we are its parent
	kept  bool
	since time.Time // foreign: watched from then on

	dir    int   // directory of the exit record, -1 none
	logdir int   // directory of the logs, -1 none
	older  []int // directories that streams begun before logdir go on to use
	logs   [3]*drain.Stream
	exited bool
	done   chan struct{} // closed when its exit is announced and its logs are closed
}

func newKid(id string, pid, pidfd int, child bool) *kid {
	return &kid{id: id, pid: pid, pidfd: pidfd, start: startTime(pid), child: child,
		dir: -1, logdir: -1, done: make(chan struct{})}
}

// over reports whether nothing is left to do for a dead process.
func (c *kid) over() bool {
	select {
	case <-c.done:
		return true
	default:
		return false
	}
}

func (c *kid) closeDescriptors() {
	wire.Close([]int{c.pidfd, c.dir, c.logdir})
	wire.Close(c.older)
	c.pidfd, c.dir, c.logdir, c.older = -1, -1, -1, nil
}

// streams returns the open logs.
func (c *kid) streams() []*drain.Stream {
	var list []*drain.Stream
	for _, s := range c.logs {
		if s != nil {
			list = append(list, s)
		}
	}
	return list
}

func (c *kid) state() wire.State {
	s := wire.State{ID: c.id, PID: uint32(c.pid), Start: c.start, Kept: c.kept, Child: c.child, Exited: c.exited}
	for i, l := range c.logs {
		if l == nil {
			continue
		}
		s.Streams |= 1 << i
		received, dropped := l.Counts()
		s.Received += received
		s.Dropped += dropped
	}
	return s
}

// stat returns field n, counted from 1 as proc_pid_stat(5) does and greater than 2, of /proc/PID/stat.
func stat(pid, n int) (uint64, bool) {
	fd, err := unix.Open("/proc/"+strconv.Itoa(pid)+"/stat", unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return 0, false
	}
	defer unix.Close(fd)
	var b [1024]byte
	got, err := unix.Read(fd, b[:])
	if err != nil {
		return 0, false
	}
	line := b[:got]
	i := len(line) - 1
	for i >= 0 && line[i] != ')' { // the name may hold anything, even ')'
		i--
	}
	field := 2
	for i++; i < len(line) && field < n; i++ {
		if line[i] == ' ' {
			field++
		}
	}
	j := i
	for j < len(line) && line[j] >= '0' && line[j] <= '9' {
		j++
	}
	v, err := strconv.ParseUint(string(line[i:j]), 10, 64)
	return v, err == nil && field == n
}

// dying reports whether the first thread of a process has SIGKILL pending, or is a zombie with an exit code (proc_pid_stat(5),
// fields 31 and 52): it ends without anybody's help.
func dying(pid int) bool {
	pending, _ := stat(pid, 31)
	code, _ := stat(pid, 52)
	return pending&(1<<(unix.SIGKILL-1)) != 0 || code != 0
}

func startTime(pid int) uint64 {
	v, _ := stat(pid, 22)
	return v
}

func parentOf(c *kid) int {
	info := unix.PidfdInfo{Mask: unix.PIDFD_INFO_PID}
	if unix.IoctlPidfdInfo(c.pidfd, &info) == nil { // Linux 6.13
		return int(info.Ppid)
	}
	v, _ := stat(c.pid, 4)
	return int(v)
}
