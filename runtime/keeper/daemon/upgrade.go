package daemon

import (
	"os"
	"runtime"
	"strconv"
	"time"

	"golang.org/x/sys/unix"

	"github.com/containercloud/cc/runtime/keeper/wire"
	"github.com/containercloud/cc/runtime/logs/drain"
)

// An upgrade is an execve of a newer cc-keeper over this one: the process, its children, its descriptors and its mount
// namespace stay, the tables cross in a memfd. It happens in the serve goroutine:
//
//	no more requests -> those running end -> no more reaping -> exits recorded -> drains stand still
//	-> tables into the memfd -> descriptors lose close-on-exec -> execve -> tables out -> answer, go on
//
// stateVersion changes when the tables do; restore reads every version there ever was.
const stateVersion = 1

// upgrade answers only when it fails; the new image answers otherwise. files: the program.
func (k *keeper) upgrade(c *conn, h wire.Header, body []byte, files []int) {
	defer wire.Close(files)
	m, err := wire.DecodeText(body)
	if err != nil || len(files) != 1 {
		c.fail(h, unix.EINVAL)
		return
	}
	k.inflight.Wait()
	k.reaping.Lock()
	defer k.reaping.Unlock()
	k.finishing.Wait()
	resume := k.pool.Pause()
	defer resume()
	k.mu.Lock()
	defer k.mu.Unlock()
	c.fail(h, k.execLocked(c, h, m.S, files[0]))
}

func (k *keeper) execLocked(c *conn, h wire.Header, tag string, program int) error {
	mem, err := unix.MemfdCreate("cc-keeper-state", unix.MFD_CLOEXEC)
	if err != nil {
		return err
	}
	defer unix.Close(mem)
	b, fds := k.encodeLocked(c, h.Seq)
	if n, err := unix.Write(mem, b); err != nil || n != len(b) {
		return unix.ENOSPC
	}
	fds = append(fds, mem)
	for _, fd := range fds {
		keepOnExec(fd)
	}
	err = unix.Exec("/proc/self/fd/"+strconv.Itoa(program), []string{"cc-keeper", os.Args[1], tag},
		append([]string{envState + "=" + strconv.Itoa(mem)}, environ...))
	for _, fd := range fds {
		unix.CloseOnExec(fd)
	}
	return err
}

// encodeLocked writes the tables and lists the descriptors in them.
func (k *keeper) encodeLocked(asker *conn, seq uint32) ([]byte, []int) {
	var e wire.Encoder
	var fds []int
	fd := func(n int) {
		e.I64(int64(n))
		if n >= 0 {
			fds = append(fds, n)
		}
	}
	e.U16(stateVersion)
	fd(k.lock)
	fd(k.listen)
	fd(k.null)
	fd(k.home.tree)
	e.U64(k.serial)
	e.U32(uint32(len(k.kids)))
	for _, c := range k.kids {
		c.encode(&e, fd)
	}
	e.U32(uint32(len(k.strays)))
	for _, s := range k.strays {
		e.U32(uint32(s.pid))
		wire.Exit{ID: "stray", Known: s.known, Status: s.status, Time: s.at.UnixNano(),
			User: micros(s.usage.Utime), System: micros(s.usage.Stime), MaxRSS: s.usage.Maxrss}.Put(&e)
	}
	e.U32(uint32(len(k.holds)))
	for key, n := range k.holds {
		e.Str(key)
		fd(n)
	}
	e.U32(uint32(len(k.pending)))
	for _, x := range k.pending {
		x.Put(&e)
	}
	k.encodeConnsLocked(&e, fd, asker, seq)
	return e.B, fds
}

// encodeConnsLocked hands over the clients that read what they are sent; the others come back by themselves.
func (k *keeper) encodeConnsLocked(e *wire.Encoder, fd func(int), asker *conn, seq uint32) {
	var list []*conn
	for _, c := range k.conns {
		if c.mu.Lock(); len(c.queue) == 0 {
			list = append(list, c)
		}
		c.mu.Unlock()
	}
	e.U32(uint32(len(list)))
	for _, c := range list {
		fd(c.fd)
		e.Bool(c.events)
		if c == asker {
			e.U32(seq)
		} else {
			e.U32(0)
		}
	}
}

func (c *kid) encode(e *wire.Encoder, fd func(int)) {
	e.Str(c.id)
	e.U32(uint32(c.pid))
	fd(c.pidfd)
	e.U64(c.start)
	e.Bool(c.child)
	e.Bool(c.kept)
	e.Bool(c.exited)
	fd(c.dir)
	fd(c.logdir)
	for i := wire.Stdout; i <= wire.Stderr; i++ {
		s := c.logs[i]
		e.Bool(s != nil)
		if s == nil {
			continue
		}
		fd(s.Pipe())
		p := s.Policy()
		e.I64(p.Max)
		e.Bool(p.Block)
		e.Bool(p.Direct)
		received, dropped := s.Counts()
		e.I64(received)
		e.I64(dropped)
	}
}

// restore is the beginning of the new image.
func restore(mem int, tag string) (*keeper, error) {
	closeFrom(3)
	var st unix.Stat_t
	if err := unix.Fstat(mem, &st); err != nil {
		return nil, os.NewSyscallError("fstat of the state", err)
	}
	b := make([]byte, st.Size)
	if n, err := unix.Pread(mem, b, 0); err != nil || n != len(b) {
		return nil, os.NewSyscallError("read of the state", unix.EIO)
	}
	unix.Close(mem)
	k, err := newKeeper(tag)
	if err != nil {
		return nil, err
	}
	if k.pool, err = drain.New(min(runtime.NumCPU(), 2)); err != nil {
		return nil, err
	}
	d := wire.NewDecoder(b)
	if v := d.U16(); v != stateVersion {
		return nil, os.NewSyscallError("version of the state", unix.EPROTO)
	}
	k.decode(d)
	return k, d.Done()
}

func (k *keeper) decode(d *wire.Decoder) {
	fd := func() int { return int(d.I64()) }
	k.lock, k.listen, k.null, k.home.tree = fd(), fd(), fd(), fd()
	k.serial = d.U64()
	for range int(d.U32()) {
		k.decodeKid(d, fd)
	}
	for range int(d.U32()) {
		pid := int(d.U32())
		x := d.Exit()
		g := gone{known: x.Known, status: x.Status, at: time.Unix(0, x.Time)}
		g.usage.Utime, g.usage.Stime = unix.NsecToTimeval(x.User*1000), unix.NsecToTimeval(x.System*1000)
		g.usage.Maxrss = x.MaxRSS
		k.strays = append(k.strays, stray{pid, g})
	}
	for range int(d.U32()) {
		key := d.Str(wire.MaxID)
		k.holds[key] = fd()
	}
	for range int(d.U32()) {
		k.pending = append(k.pending, d.Exit())
	}
	for range int(d.U32()) {
		c := &conn{ep: k.ep, fd: fd(), events: d.Bool()}
		if cred, err := unix.GetsockoptUcred(c.fd, unix.SOL_SOCKET, unix.SO_PEERCRED); err == nil {
			c.pid = int(cred.Pid)
		}
		k.conns[c.fd] = c
		ev := unix.EpollEvent{Events: unix.EPOLLIN, Fd: int32(c.fd)}
		unix.EpollCtl(k.ep, unix.EPOLL_CTL_ADD, c.fd, &ev)
		if seq := d.U32(); seq != 0 {
			c.answer(wire.Header{Op: wire.OpUpgrade, Seq: seq}, nil, nil)
		}
	}
}

func (k *keeper) decodeKid(d *wire.Decoder, fd func() int) {
	c := &kid{id: d.Str(wire.MaxID), pid: int(d.U32()), pidfd: fd(), start: d.U64(),
		child: d.Bool(), kept: d.Bool(), exited: d.Bool(), dir: fd(), logdir: fd(), done: make(chan struct{})}
	for i := wire.Stdout; i <= wire.Stderr; i++ {
		if !d.Bool() {
			continue
		}
		o := drain.Options{Pipe: fd(), Dir: c.logdir, Name: names[i]}
		o.Policy = drain.Policy{Max: d.I64(), Block: d.Bool(), Direct: d.Bool()}
		o.Received, o.Dropped = d.I64(), d.I64()
		if o.Pipe < 0 && !o.Policy.Direct {
			continue // it had ended
		}
		s, err := k.pool.Add(o)
		if err != nil {
			say("cannot go on with the log of " + c.id + ": " + err.Error())
			continue
		}
		c.logs[i] = s
	}
	k.kids[c.id] = c
	switch {
	case c.exited:
		close(c.done)
	case c.child:
		k.childLocked(c)
	default:
		k.foreign[c.pidfd] = c
		c.since = time.Now()
		ev := unix.EpollEvent{Events: unix.EPOLLIN | unix.EPOLLET, Fd: int32(c.pidfd)}
		unix.EpollCtl(k.ep, unix.EPOLL_CTL_ADD, c.pidfd, &ev)
	}
}
