package keeper

import (
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/containercloud/cc/runtime/keeper/wire"
)

// Exit is the end of a process.
type Exit struct {
	ID     string
	PID    int
	Start  uint64 // start time in clock ticks after boot; 0 unknown
	Kept   bool
	Known  bool // whether Status and the numbers below are
	Status unix.WaitStatus
	Time   time.Time     // when the keeper learned of it
	User   time.Duration // CPU time of the process and the children it waited for
	System time.Duration
	MaxRSS int64 // bytes
}

func exitOf(e wire.Exit) Exit {
	return Exit{ID: e.ID, PID: int(e.PID), Start: e.Start, Kept: e.Kept, Known: e.Known,
		Status: unix.WaitStatus(e.Status), Time: time.Unix(0, e.Time),
		User: time.Duration(e.User) * time.Microsecond, System: time.Duration(e.System) * time.Microsecond,
		MaxRSS: e.MaxRSS << 10}
}

// queue hands exits to a reader that may be slow, without holding up the connection.
type queue struct {
	out  chan Exit
	done chan struct{}
	wg   sync.WaitGroup

	mu   sync.Mutex
	list []Exit
	wake chan struct{}
}

func newQueue() *queue {
	q := &queue{out: make(chan Exit), done: make(chan struct{}), wake: make(chan struct{}, 1)}
	q.wg.Add(1)
	go q.run()
	return q
}

func (q *queue) add(e Exit) {
	q.mu.Lock()
	q.list = append(q.list, e)
	q.mu.Unlock()
	select {
	case q.wake <- struct{}{}:
	default:
	}
}

func (q *queue) run() {
	defer q.wg.Done()
	defer close(q.out)
	for {
		q.mu.Lock()
		list := q.list
		q.list = nil
		q.mu.Unlock()
		for _, e := range list {
			select {
			case q.out <- e:
			case <-q.done:
				return
			}
		}
		if len(list) > 0 {
			continue
		}
		select {
		case <-q.wake:
		case <-q.done:
			return
		}
	}
}

func (q *queue) close() {
	close(q.done)
	q.wg.Wait()
}

// Exits delivers the ends of processes, logs drained and records written before. Those of kept processes come
// again, to this client or a later one, until Ack. The channel closes with Close.
func (c *Client) Exits() <-chan Exit { return c.exits.out }

// announced is called by the link for every Exit message.
func (c *Client) announced(l *link, e wire.Exit) {
	c.mu.Lock()
	c.ledger.ended(e)
	c.mu.Unlock()
	if !e.Kept {
		c.tell(l, e.Serial)
	}
	c.exits.add(exitOf(e))
}

// Ack says that the ends of a process delivered so far are known for good.
func (c *Client) Ack(id string) {
	c.mu.Lock()
	serials := c.ledger.serials[id]
	delete(c.ledger.serials, id)
	l := c.link
	c.mu.Unlock()
	for _, s := range serials {
		c.tell(l, s)
	}
}

// tell sends an Ack and does not wait. One that gets lost only means that the exit comes again.
func (c *Client) tell(l *link, serial uint64) {
	if seq, _, err := l.enlist(); err == nil {
		l.send(wire.Header{Op: wire.OpAck, Seq: seq}, wire.Number{N: serial}.Encode(), nil)
	}
}
