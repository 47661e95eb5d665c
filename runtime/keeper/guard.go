package keeper

import (
	"context"
	"os"
	"sync"

	"golang.org/x/sys/unix"

	"github.com/containercloud/cc/fault"
	"github.com/containercloud/cc/runtime/keeper/wire"
)

// guard is the FUSE mount that the keeper watches over for this process. Its lock may be held over a call: exits are
// told meanwhile.
type guard struct {
	mu    sync.Mutex
	mount int // a duplicate, -1 none
}

// Guard has the keeper abort the FUSE connection of a mount, in place of the one before, when this process ends: who waits
// for an answer gets ECONNABORTED, and ENOTCONN from then on. The kernel does that by itself when the last thread of a
// server has ended; but a thread that is sending a notification may wait in the kernel, deaf to SIGKILL, for a request
// that nobody answers any more. The caller keeps mount.
func (c *Client) Guard(ctx context.Context, mount *os.File) error {
	fd, err := dup(mount)
	if err != nil {
		return fault.Wrap(err, "cannot guard the mount")
	}
	c.guard.set(fd)
	_, _, err = c.call(ctx, wire.OpGuard, nil, fd)
	return fault.Wrap(err, "cannot guard the mount")
}

func (g *guard) set(fd int) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.mount >= 0 {
		unix.Close(g.mount)
	}
	g.mount = fd
}

// guardAgain tells a keeper that does not know of the guarded mount.
func (c *Client) guardAgain(ctx context.Context, l *link) error {
	c.guard.mu.Lock()
	defer c.guard.mu.Unlock()
	if c.guard.mount < 0 {
		return nil
	}
	_, _, err := l.call(ctx, wire.OpGuard, nil, c.guard.mount)
	return err
}
