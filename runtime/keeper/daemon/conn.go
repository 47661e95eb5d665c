package daemon

import (
	"sync"

	"golang.org/x/sys/unix"

	"github.com/containercloud/cc/runtime/keeper/wire"
)

// maxQueue is how many answers wait for a client that does not read; then it is cut off. It finds everything
// again when it comes back.
const maxQueue = 4096

// conn is one client. Answers are sent from any goroutine and never block: what the socket does not take is
// queued, and the serve loop sends it on EPOLLOUT.
type conn struct {
	ep  int
	pid int // of the client

	mu     sync.Mutex
	fd     int // -1 after the end
	events bool
	queue  []outgoing
	full   bool // the socket took no more: EPOLLOUT is asked for
}

type outgoing struct {
	packet []byte
	files  []int // owned
}

// send takes over files.
func (c *conn) send(h wire.Header, body []byte, files []int) {
	p, err := wire.Packet(h, body)
	if err != nil {
		say("answer too long")
		p, _ = wire.Packet(wire.Header{Op: h.Op, Flags: wire.Answer | wire.Failed, Seq: h.Seq},
			wire.Failure{Errno: uint32(unix.EMSGSIZE)}.Encode())
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.fd < 0 {
		wire.Close(files)
		return
	}
	c.queue = append(c.queue, outgoing{p, files})
	if len(c.queue) == 1 {
		c.flushLocked()
	} else if len(c.queue) > maxQueue {
		unix.Shutdown(c.fd, unix.SHUT_RDWR)
	}
}

func (c *conn) flush() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.flushLocked()
}

func (c *conn) flushLocked() {
	for len(c.queue) > 0 && c.fd >= 0 {
		o := c.queue[0]
		err := wire.Send(c.fd, o.packet, o.files, unix.MSG_DONTWAIT)
		if err == unix.EAGAIN || err == unix.ENOBUFS || err == unix.ETOOMANYREFS {
			c.fullLocked(true)
			return
		}
		if err != nil {
			unix.Shutdown(c.fd, unix.SHUT_RDWR)
		}
		wire.Close(o.files)
		c.queue = c.queue[1:]
	}
	c.queue = nil
	c.fullLocked(false)
}

func (c *conn) fullLocked(full bool) {
	if c.fd < 0 || full == c.full {
		return
	}
	c.full = full
	ev := unix.EpollEvent{Events: unix.EPOLLIN, Fd: int32(c.fd)}
	if full {
		ev.Events |= unix.EPOLLOUT
	}
	unix.EpollCtl(c.ep, unix.EPOLL_CTL_MOD, c.fd, &ev)
}

func (c *conn) answer(h wire.Header, body []byte, files []int) {
	c.send(wire.Header{Op: h.Op, Flags: wire.Answer, Seq: h.Seq}, body, files)
}

// outcome answers a request whose answer says nothing but whether it was done.
func (c *conn) outcome(h wire.Header, err error) {
	if err != nil {
		c.fail(h, err)
	} else {
		c.answer(h, nil, nil)
	}
}

func (c *conn) fail(h wire.Header, err error) {
	f := wire.Failure{Errno: uint32(unix.EIO), Text: err.Error()}
	if err == wire.ErrMalformed {
		f.Errno = uint32(unix.EBADMSG)
	}
	if no, ok := errnoOf(err); ok {
		f.Errno = uint32(no)
	}
	c.send(wire.Header{Op: h.Op, Flags: wire.Answer | wire.Failed, Seq: h.Seq}, f.Encode(), nil)
}

func errnoOf(err error) (unix.Errno, bool) {
	for err != nil {
		if no, ok := err.(unix.Errno); ok {
			return no, true
		}
		u, ok := err.(interface{ Unwrap() error })
		if !ok {
			break
		}
		err = u.Unwrap()
	}
	return 0, false
}
