package keeper

import (
	"context"
	"errors"
	"log/slog"
	"strconv"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/containercloud/cc/fault"
	"github.com/containercloud/cc/runtime/keeper/wire"
)

// Options say where a keeper lives and how to start it.
type Options struct {
	Run      string       // its directory: socket, lock and log; one keeper per directory
	Instance string       // of the daemon, for messages
	Binary   string       // cc-keeper
	Init     []byte       // the ELF of ccinit; a living keeper gets it too
	Log      *slog.Logger // nil for none
}

// Client is ccd's end. Its methods may be called at the same time; none of them waits for another.
type Client struct {
	o     Options
	log   *slog.Logger
	exits *queue
	ctx   context.Context // until Close
	stop  context.CancelFunc
	guard guard
	wg    sync.WaitGroup

	mu     sync.Mutex
	link   *link
	up     chan struct{} // closed when link is good; replaced when it is lost
	pid    int
	ledger ledger
}

// Connect finds the living keeper of o.Run, else starts one. A keeper of another build than o.Binary is upgraded on
// the way; its children do not notice.
func Connect(ctx context.Context, o Options) (*Client, error) {
	c := &Client{o: o, log: o.Log, exits: newQueue(), up: make(chan struct{}), ledger: newLedger(), guard: guard{mount: -1}}
	if c.log == nil {
		c.log = slog.New(slog.DiscardHandler)
	}
	c.ctx, c.stop = context.WithCancel(context.Background())
	err := c.connect(ctx)
	for try := 0; fault.Is(err, fault.Again) && try < 3 && ctx.Err() == nil; try++ { // it was killed just now: the next one is ours
		<-time.After(20 * time.Millisecond)
		err = c.connect(ctx)
	}
	if err != nil {
		c.stop()
		c.exits.close()
		return nil, err
	}
	c.wg.Add(1)
	go c.attend()
	return c, nil
}

// Close leaves the keeper alone: children that were kept go on.
func (c *Client) Close() error {
	c.stop()
	c.mu.Lock()
	if c.link != nil {
		c.link.close()
	}
	c.mu.Unlock()
	c.wg.Wait()
	c.guard.set(-1)
	c.exits.close()
	c.mu.Lock()
	defer c.mu.Unlock()
	c.ledger.close()
	return nil
}

// PID is the keeper's.
func (c *Client) PID() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.pid
}

// connect makes a good link: right version and build, both sides know the same processes and descriptors.
func (c *Client) connect(ctx context.Context) error {
	conn, err := dial(ctx, c.o)
	if err != nil {
		return err
	}
	l := newLink(conn, c.announced)
	if err := c.settle(ctx, l); err != nil {
		l.close()
		if errors.Is(err, errLost) {
			err = fault.New(fault.Again, "the keeper has ended")
			if last := lastWords(c.o.Run); last != "" {
				err = fault.New(fault.Again, "the keeper has ended: %s", last)
			}
		}
		return fault.Wrap(err, "cannot talk to the keeper")
	}
	c.mu.Lock()
	c.link = l
	close(c.up)
	c.mu.Unlock()
	if c.ctx.Err() != nil { // Close did not see this one
		l.close()
	}
	return nil
}

func (c *Client) settle(ctx context.Context, l *link) error {
	h, err := c.hello(ctx, l, false)
	if err != nil {
		return err
	}
	tag, err := tagOf(c.o.Binary)
	if err != nil {
		return err
	}
	if h.Tag != tag || h.Version != wire.Version {
		if h, err = c.upgradeTo(ctx, l, tag); err != nil {
			return err
		}
	}
	c.mu.Lock()
	c.pid = int(h.PID)
	c.mu.Unlock()
	init, err := memfd("ccinit", c.o.Init)
	if err != nil {
		return err
	}
	defer init.Close()
	if _, _, err := l.call(ctx, wire.OpInit, nil, int(init.Fd())); err != nil {
		return err
	}
	// Ends are listened to before anything is handed over: the keeper forgets one that nobody hears of.
	if _, err := c.hello(ctx, l, true); err != nil {
		return err
	}
	if err := c.guardAgain(ctx, l); err != nil {
		c.log.Error("the mount has no guard", "error", err)
	}
	defer c.entering()()
	return c.reconcile(ctx, l)
}

func (c *Client) hello(ctx context.Context, l *link, events bool) (wire.Hello, error) {
	b, _, err := l.call(ctx, wire.OpHello, wire.Hello{Version: wire.Version, PID: uint32(unix.Getpid()), Events: events}.Encode())
	if err != nil {
		return wire.Hello{}, err
	}
	return wire.DecodeHello(b)
}

// upgradeTo replaces the keeper's program by ours. When that fails an older one will do, as long as it speaks our version.
func (c *Client) upgradeTo(ctx context.Context, l *link, tag string) (wire.Hello, error) {
	f, err := openBinary(c.o.Binary)
	if err != nil {
		return wire.Hello{}, err
	}
	defer unix.Close(f)
	_, _, failed := l.call(ctx, wire.OpUpgrade, wire.Text{S: tag}.Encode(), f)
	h, err := c.hello(ctx, l, false)
	if err != nil {
		return h, errors.Join(failed, err)
	}
	if h.Version != wire.Version {
		return h, fault.New(fault.Unsupported, "cannot upgrade the keeper: it speaks version %d, not %d: %v", h.Version, wire.Version, failed).
			WithHint("stop all containers and the keeper with `echo shutdown > /cc/ctl`, and start ccd again")
	}
	if failed != nil {
		c.log.Warn("cannot upgrade the keeper; the old one goes on", "error", failed)
	}
	return h, nil
}

func openBinary(path string) (int, error) {
	return unix.Open(path, unix.O_RDONLY|unix.O_CLOEXEC, 0)
}

// attend makes a new link whenever the old one is lost.
func (c *Client) attend() {
	defer c.wg.Done()
	for {
		c.mu.Lock()
		l := c.link
		c.mu.Unlock()
		<-l.gone
		if c.ctx.Err() != nil {
			return
		}
		c.lost(l)
		c.log.Warn("lost the keeper", "instance", c.o.Instance, "pid", c.PID())
		if !c.reconnect() {
			return
		}
	}
}

func (c *Client) reconnect() bool {
	for wait := 10 * time.Millisecond; ; wait = min(2*wait, 5*time.Second) {
		err := c.connect(c.ctx)
		if err == nil {
			c.log.Warn("found or started a keeper again", "instance", c.o.Instance, "pid", c.PID())
			return true
		}
		if c.ctx.Err() != nil {
			return false
		}
		c.log.Error("no keeper", "instance", c.o.Instance, "error", err)
		t := time.NewTimer(wait)
		select {
		case <-t.C:
		case <-c.ctx.Done():
			t.Stop()
			return false
		}
	}
}

// once sends a request over the link there is, or that will be there.
func (c *Client) once(ctx context.Context, op wire.Op, body []byte, files ...int) ([]byte, []int, error) {
	for {
		c.mu.Lock()
		up := c.up
		c.mu.Unlock()
		select {
		case <-up:
		case <-ctx.Done():
			return nil, nil, ctx.Err()
		case <-c.ctx.Done():
			return nil, nil, fault.New(fault.Again, "the connection to the keeper is closed")
		}
		c.mu.Lock()
		l, same := c.link, c.up == up
		c.mu.Unlock()
		if !same {
			continue
		}
		select {
		case <-l.gone:
			c.lost(l)
		default:
			b, got, err := l.call(ctx, op, body, files...)
			if errors.Is(err, errLost) {
				c.lost(l) // whoever asks next waits for the next link
			}
			return b, got, err
		}
	}
}

// call is once, and once again after a new link when the first is lost: for what may be done twice.
func (c *Client) call(ctx context.Context, op wire.Op, body []byte, files ...int) ([]byte, []int, error) {
	for {
		b, got, err := c.once(ctx, op, body, files...)
		if !errors.Is(err, errLost) {
			return b, got, err
		}
	}
}

// lost notes that there is no good link, when l was the last one.
func (c *Client) lost(l *link) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.link != l {
		return
	}
	select {
	case <-c.up:
		c.up = make(chan struct{})
	default:
	}
}

func itoa(n int) string { return strconv.Itoa(n) }
