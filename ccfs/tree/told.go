package tree

import (
	"maps"
	"time"

	"github.com/containercloud/cc/fault"
)

// A Linux kernel reads up to the size that it heard last when it copies by itself: sendfile(2), which busybox cat uses,
// also from files with direct I/O, and without asking anew. The answer to an open cannot tell it a size; but it can
// be ESTALE, and then the kernel looks the name up again and opens again, and the lookup tells it. So the engine
// remembers what the kernel may believe, and refuses an open, once, whose content is longer.
//
// Other ways were worse: keeping no names costs every open a round trip, and a notification for each change of size
// comes too late.

// retryFor is how long after a refusal the same thread's next open is let through: it is the kernel's second try, and
// where there is none to come (a file opened again through /proc/self/fd) nobody must be turned away for long.
const retryFor = 100 * time.Millisecond

// tell notes the size in an answer.
func (n *node) tell(size uint64) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.told = size
}

// checkTold refuses to open a file that is longer than the kernel believes.
func (n *node) checkTold(c Caller, size int) error {
	if c.Door != "fuse" {
		return nil
	}
	now := time.Now()
	n.mu.Lock()
	defer n.mu.Unlock()
	again := now.Sub(n.refused[c.PID]) < retryFor
	delete(n.refused, c.PID)
	if uint64(size) <= n.told || again {
		n.told = uint64(size) // a read that comes back short tells it as well
		return nil
	}
	maps.DeleteFunc(n.refused, func(_ uint32, at time.Time) bool { return now.Sub(at) >= retryFor })
	if n.refused == nil {
		n.refused = map[uint32]time.Time{}
	}
	n.refused[c.PID] = now
	return errGrown
}

var errGrown error = fault.New(fault.Stale, "it has grown: look it up again")
