package daemon

import (
	"os"

	"golang.org/x/sys/unix"

	"github.com/containercloud/cc/runtime/keeper/wire"
)

// serve accepts and receives until the process ends. It is the only goroutine that does, and the one that executes an
// upgrade.
func (k *keeper) serve() error {
	ev := unix.EpollEvent{Events: unix.EPOLLIN, Fd: int32(k.listen)}
	if err := unix.EpollCtl(k.ep, unix.EPOLL_CTL_ADD, k.listen, &ev); err != nil {
		return os.NewSyscallError("epoll_ctl", err)
	}
	buf := make([]byte, wire.MaxPacket+1)
	events := make([]unix.EpollEvent, 32)
	for {
		n, err := unix.EpollWait(k.ep, events, -1)
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			return os.NewSyscallError("epoll_wait", err)
		}
		for _, e := range events[:n] {
			k.ready(int(e.Fd), e.Events, buf)
		}
	}
}

func (k *keeper) ready(fd int, events uint32, buf []byte) {
	if fd == k.listen {
		k.accept()
		return
	}
	k.mu.Lock()
	c, child, stranger := k.conns[fd], k.children[fd], k.foreign[fd]
	if fd == k.exits.fd {
		k.hearLocked()
	}
	k.mu.Unlock()
	switch {
	case c != nil:
		if events&unix.EPOLLOUT != 0 {
			c.flush()
		}
		if events&^unix.EPOLLOUT != 0 {
			k.receive(c, fd, buf)
		}
	case child != nil:
		k.childReady(child)
	case stranger != nil:
		k.strangerReady(stranger, events)
	}
}

func (k *keeper) accept() {
	fd, _, err := unix.Accept4(k.listen, unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK)
	if err != nil {
		return
	}
	cred, err := unix.GetsockoptUcred(fd, unix.SOL_SOCKET, unix.SO_PEERCRED)
	if err != nil || cred.Uid != 0 {
		unix.Close(fd)
		return
	}
	c := &conn{ep: k.ep, pid: int(cred.Pid), fd: fd}
	k.mu.Lock()
	k.conns[fd] = c
	k.mu.Unlock()
	ev := unix.EpollEvent{Events: unix.EPOLLIN, Fd: int32(fd)}
	if err := unix.EpollCtl(k.ep, unix.EPOLL_CTL_ADD, fd, &ev); err != nil {
		k.hangUp(c)
	}
}

// hangUp ends a connection. Exits of processes that were never kept are nobody's business any more.
func (k *keeper) hangUp(c *conn) {
	k.mu.Lock()
	defer k.mu.Unlock()
	c.mu.Lock()
	delete(k.conns, c.fd)
	unix.Close(c.fd)
	c.fd = -1
	for _, o := range c.queue {
		wire.Close(o.files)
	}
	c.queue = nil
	c.mu.Unlock()
	if k.listenedLocked() {
		return
	}
	rest := k.pending[:0]
	for _, e := range k.pending {
		if e.Kept {
			rest = append(rest, e)
		}
	}
	k.pending = rest
}

func (k *keeper) listenedLocked() bool {
	for _, c := range k.conns {
		if c.events {
			return true
		}
	}
	return false
}

// receive takes one packet; epoll comes back for the next.
func (k *keeper) receive(c *conn, fd int, buf []byte) {
	n, files, err := wire.Recv(fd, buf, unix.MSG_DONTWAIT)
	if err == unix.EAGAIN {
		return
	}
	if err != nil || n == 0 {
		wire.Close(files)
		k.hangUp(c)
		return
	}
	h, body, err := wire.Split(buf[:n])
	if err != nil || h.Flags != 0 || h.Seq == 0 {
		wire.Close(files)
		k.hangUp(c)
		return
	}
	k.dispatch(c, h, body, files)
}

// announceLocked tells every listening client of an exit, and remembers it until one has acknowledged it.
func (k *keeper) announceLocked(e wire.Exit) {
	if !e.Kept && !k.listenedLocked() {
		return
	}
	k.serial++
	e.Serial = k.serial
	k.pending = append(k.pending, e)
	for _, c := range k.conns {
		if c.events {
			c.send(wire.Header{Op: wire.OpExit}, e.Encode(), nil)
		}
	}
}

func (k *keeper) acknowledge(serial uint64) {
	k.mu.Lock()
	defer k.mu.Unlock()
	for i := range k.pending {
		if k.pending[i].Serial == serial {
			k.pending = append(k.pending[:i], k.pending[i+1:]...)
			return
		}
	}
}
