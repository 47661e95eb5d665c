package daemon

import (
	"runtime"

	"golang.org/x/sys/unix"

	"github.com/containercloud/cc/runtime/keeper/wire"
)

// dispatch serves one request. What only touches tables is done here and now, the rest in a goroutine of
// its own, so that a slow clone or disk holds up nobody else. The adoption of a new process is done here too: every start waits for it, and it
// opens files that its directory has already. body is only valid until it returns.
func (k *keeper) dispatch(c *conn, h wire.Header, body []byte, files []int) {
	switch h.Op {
	case wire.OpHello:
		k.hello(c, h, body)
	case wire.OpUpgrade:
		k.upgrade(c, h, body, files)
		return
	case wire.OpInit:
		k.replaceInit(c, h, files)
	case wire.OpHold:
		k.hold(c, h, body, files)
		return
	case wire.OpGuard:
		if err := k.watchOver(c, files); err != nil {
			c.fail(h, err)
		} else {
			c.answer(h, nil, nil)
		}
		return
	case wire.OpAdopt:
		if m, err := wire.DecodeAdopt(body); err == nil && k.waitsForNobody(m) {
			c.outcome(h, k.adopt(m, files))
			return
		}
		fallthrough
	case wire.OpSpawn, wire.OpWatch, wire.OpPolicy, wire.OpShutdown:
		work, err := k.work(c, h, body, files)
		if err != nil {
			wire.Close(files)
			c.fail(h, err)
			return
		}
		k.inflight.Add(1)
		go func() {
			defer k.inflight.Done()
			work()
		}()
		runtime.Gosched() // now, on this thread; another one would sleep before it may steal it from a thread that still runs
		return
	default:
		k.tables(c, h, body)
	}
	wire.Close(files)
}

// work decodes a request that may take its time and returns what does it.
func (k *keeper) work(c *conn, h wire.Header, body []byte, files []int) (func(), error) {
	done := func(err error) { c.outcome(h, err) }
	switch h.Op {
	case wire.OpSpawn:
		m, err := wire.DecodeSpawn(body)
		return func() { k.spawned(c, h, m, files) }, err
	case wire.OpWatch:
		m, err := wire.DecodeWatch(body)
		return func() { done(k.watch(m, files)) }, err
	case wire.OpAdopt:
		m, err := wire.DecodeAdopt(body)
		return func() { done(k.adopt(m, files)) }, err
	case wire.OpPolicy:
		m, err := wire.DecodeSetPolicy(body)
		return func() { wire.Close(files); done(k.setPolicy(m)) }, err
	default:
		return func() { k.shutdown(); done(nil); k.bye() }, nil
	}
}

func (k *keeper) spawned(c *conn, h wire.Header, m wire.Spawn, files []int) {
	pid, pidfd, err := k.spawn(m, files)
	wire.Close(files)
	if err != nil {
		c.fail(h, err)
		return
	}
	c.answer(h, wire.Number{N: uint64(pid)}.Encode(), []int{pidfd})
}

func (k *keeper) hello(c *conn, h wire.Header, body []byte) {
	m, err := wire.DecodeHello(body)
	if err != nil {
		c.fail(h, err)
		return
	}
	c.answer(h, wire.Hello{Version: wire.Version, PID: uint32(unix.Getpid()), Tag: k.tag}.Encode(), nil)
	if !m.Events || m.Version != wire.Version {
		return
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	c.events = true
	for _, e := range k.pending {
		c.send(wire.Header{Op: wire.OpExit}, e.Encode(), nil)
	}
}

func (k *keeper) replaceInit(c *conn, h wire.Header, files []int) {
	if len(files) != 1 {
		c.fail(h, unix.EINVAL)
	} else if err := install(k.home.tree, files[0]); err != nil {
		c.fail(h, err)
	} else {
		c.answer(h, nil, nil)
	}
}

func (k *keeper) hold(c *conn, h wire.Header, body []byte, files []int) {
	m, err := wire.DecodeText(body)
	if err == nil && (!wire.GoodID(m.S) || len(files) != 1) {
		err = unix.EINVAL
	}
	if err != nil {
		wire.Close(files)
		c.fail(h, err)
		return
	}
	k.mu.Lock()
	k.holdLocked(m.S, files[0])
	k.mu.Unlock()
	c.answer(h, nil, nil)
}

// tables serves the requests that only look at tables.
func (k *keeper) tables(c *conn, h wire.Header, body []byte) {
	if h.Op == wire.OpAck {
		m, err := wire.DecodeNumber(body)
		if err != nil {
			c.fail(h, err)
			return
		}
		k.acknowledge(m.N)
		c.answer(h, nil, nil)
		return
	}
	m, err := wire.DecodeText(body)
	if err != nil {
		c.fail(h, err)
		return
	}
	switch h.Op {
	case wire.OpFetch:
		k.fetch(c, h, m.S)
	case wire.OpDrop:
		k.mu.Lock()
		k.dropLocked(m.S)
		k.mu.Unlock()
		c.answer(h, nil, nil)
	case wire.OpForget:
		if err := k.forget(m.S); err != nil {
			c.fail(h, err)
			return
		}
		c.answer(h, nil, nil)
	case wire.OpList:
		c.answer(h, k.list(m.S).Encode(), nil)
	case wire.OpHolds:
		c.answer(h, k.names(m.S).Encode(), nil)
	case wire.OpExport:
		m, files, err := k.export(m.S)
		if err != nil {
			c.fail(h, err)
			return
		}
		c.answer(h, m.Encode(), files)
	default:
		c.fail(h, unix.EOPNOTSUPP)
	}
}

func (k *keeper) fetch(c *conn, h wire.Header, key string) {
	k.mu.Lock()
	fd, ok := k.holds[key]
	dup := -1
	err := error(unix.ENOENT)
	if ok {
		dup, err = unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 3)
	}
	k.mu.Unlock()
	if err != nil {
		c.fail(h, err)
		return
	}
	c.answer(h, nil, []int{dup})
}
