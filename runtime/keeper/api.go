package keeper

import (
	"context"
	"errors"
	"os"

	"golang.org/x/sys/unix"

	"github.com/containercloud/cc/fault"
	"github.com/containercloud/cc/runtime/keeper/wire"
	"github.com/containercloud/cc/runtime/logs"
)

// Stream is one of the two outputs of a process.
type Stream = wire.Stream

// The streams.
const (
	Stdout = wire.Stdout
	Stderr = wire.Stderr
)

// Spawn starts one process, in about the time clone needs; any number at once. When the keeper is lost meanwhile the error is fault.Again
// and the process, if there is one, ends with the caller's end of Sock.
func (c *Client) Spawn(ctx context.Context, s Spawn) (Child, error) {
	sock, err := dup(s.Sock)
	if err == nil && sock < 0 {
		err = fault.New(fault.Invalid, "no socket")
	}
	if err != nil {
		return Child{}, fault.Wrap(err, "cannot spawn %s", s.ID)
	}
	defer unix.Close(sock)
	m := wire.Spawn{ID: s.ID, Flags: uint64(s.Flags), Base: s.IDs.Base, Size: s.IDs.Size, Cgroup: s.CgroupFD > 0}
	files := []int{sock}
	if m.Cgroup {
		files = append(files, s.CgroupFD)
	}
	defer c.entering()()
	b, got, err := c.once(ctx, wire.OpSpawn, m.Encode(), files...)
	if err != nil {
		if errors.Is(err, errLost) {
			err = fault.New(fault.Again, "%w", errLost)
		}
		return Child{}, fault.Wrap(err, "cannot spawn %s", s.ID)
	}
	pid, err := wire.DecodeNumber(b)
	if err != nil || len(got) != 1 {
		wire.Close(got)
		return Child{}, fault.New(fault.Internal, "cannot spawn %s: the keeper's answer is malformed", s.ID)
	}
	child := Child{PID: int(pid.N), PidFD: os.NewFile(uintptr(got[0]), "pidfd")}
	c.note(s.ID, child.PID, child.PidFD)
	return child, nil
}

// entering is called before a process is asked for, what it returns when it is in the ledger.
func (c *Client) entering() (entered func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.ledger.entering++
	return func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		if c.ledger.entering--; c.ledger.entering == 0 {
			clear(c.ledger.early)
		}
	}
}

// note enters a process into the ledger.
func (c *Client) note(id string, pid int, pidfd *os.File) {
	fd, err := dup(pidfd)
	if err != nil {
		c.log.Error("cannot duplicate a pidfd; the process would not outlive the keeper", "id", id, "error", err)
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.ledger.enter(id, pid, fd)
}

// Watch has the keeper take up a process it did not spawn: a child made with CLONE_PARENT, or an orphan (see
// Open). The caller keeps pidfd.
func (c *Client) Watch(ctx context.Context, id string, pid int, pidfd *os.File) error {
	fd, err := dup(pidfd)
	if err == nil && fd < 0 {
		err = fault.New(fault.Invalid, "no pidfd")
	}
	if err != nil {
		return fault.Wrap(err, "cannot watch %s", id)
	}
	defer unix.Close(fd)
	own, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 3)
	if err != nil {
		return fault.Wrap(os.NewSyscallError("fcntl F_DUPFD_CLOEXEC", err), "cannot watch %s", id)
	}
	// It is in the ledger before it is asked for: a keeper that is started meanwhile has it from there, and then says that it
	// knows the id.
	c.mu.Lock()
	c.ledger.enter(id, pid, own)
	c.mu.Unlock()
	_, _, err = c.call(ctx, wire.OpWatch, wire.Watch{ID: id, PID: uint32(pid)}.Encode(), fd)
	if err == nil || fault.Is(err, fault.Exists) {
		return nil
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.ledger.ended(wire.Exit{ID: id, PID: uint32(pid)})
	return fault.Wrap(err, "cannot watch %s", id)
}

// Adoption is what a process becomes. Everything but ID may be left out. The caller keeps its files.
type Adoption struct {
	ID      string              // its name from now on
	Dir     *os.File            // where its exit record is written: DIR/exit
	LogDir  *os.File            // where its logs are: DIR/stdout, DIR/stderr; needed with the next two
	Stdout  *os.File            // read ends of its pipes
	Stderr  *os.File            //
	Policy  logs.Policy         // of both logs
	Streams []Stream            // with Policy.Direct, which has no pipes: the logs there are
	Hold    map[string]*os.File // descriptors to keep, by key, in place of those that were there; at most 16. Forget of an
	// id drops the key of that name and those below it (ID/...)
}

// Adopt makes a process a container in one message: it gets a name, outlives ccd, its exit is recorded durably, its logs
// are drained. The name may have belonged to a process that has ended.
func (c *Client) Adopt(ctx context.Context, id string, a Adoption) error {
	m := wire.Adopt{From: id, ID: a.ID, Keep: true, Dir: a.Dir != nil, LogDir: a.LogDir != nil}
	if m.ID == "" {
		m.ID = id
	}
	files := []*os.File{a.Dir, a.LogDir}
	p := wire.Policy(a.Policy)
	for _, s := range []struct {
		stream Stream
		pipe   *os.File
	}{{Stdout, a.Stdout}, {Stderr, a.Stderr}} {
		if s.pipe != nil {
			m.Logs = append(m.Logs, wire.Log{Stream: s.stream, Pipe: true, Policy: p})
			files = append(files, s.pipe)
		}
	}
	if p.Direct {
		for _, s := range a.Streams {
			m.Logs = append(m.Logs, wire.Log{Stream: s, Policy: p})
		}
	}
	for key, f := range a.Hold {
		m.Holds = append(m.Holds, key)
		files = append(files, f)
	}
	return fault.Wrap(c.adopt(ctx, m, files), "cannot keep %s as %s", id, m.ID)
}

// adopt sends the message with duplicates of the files that are there, and notes them in the ledger.
func (c *Client) adopt(ctx context.Context, m wire.Adopt, files []*os.File) error {
	var fds []int
	for _, f := range files {
		fd, err := dup(f)
		if err != nil {
			wire.Close(fds)
			return err
		}
		if fd >= 0 {
			fds = append(fds, fd)
		}
	}
	if len(fds) != m.Files() {
		wire.Close(fds)
		return fault.New(fault.Invalid, "a file is missing")
	}
	_, _, err := c.call(ctx, wire.OpAdopt, m.Encode(), fds...)
	c.mu.Lock()
	defer c.mu.Unlock()
	// A second try, after the link was lost, finds what the first one did.
	if fault.Is(err, fault.NotFound) && m.From != "" && m.From != m.ID && c.ledger.procs[m.ID] != nil {
		err = nil
	}
	if err != nil {
		wire.Close(fds)
		return err
	}
	c.ledger.adopt(m, fds)
	return nil
}

// SetLogPolicy changes the policy of the running logs of a process.
func (c *Client) SetLogPolicy(ctx context.Context, id string, p logs.Policy) error {
	_, _, err := c.call(ctx, wire.OpPolicy, wire.SetPolicy{ID: id, Policy: wire.Policy(p)}.Encode())
	if err != nil {
		return fault.Wrap(err, "cannot change the log policy of %s", id)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if e := c.ledger.procs[id]; e != nil {
		for _, l := range e.logs {
			if l != nil {
				p.Direct = l.policy.Direct
				l.policy = wire.Policy(p)
			}
		}
	}
	return nil
}

// Fetch returns a duplicate of a descriptor that was handed over with Adoption.Hold.
func (c *Client) Fetch(ctx context.Context, key string) (*os.File, error) {
	_, files, err := c.call(ctx, wire.OpFetch, wire.Text{S: key}.Encode())
	if err != nil {
		return nil, fault.Wrap(err, "cannot fetch %s", key)
	}
	if len(files) != 1 {
		wire.Close(files)
		return nil, fault.New(fault.Internal, "cannot fetch %s: the keeper's answer is malformed", key)
	}
	return os.NewFile(uintptr(files[0]), key), nil
}

// Drop lets go of every descriptor whose key begins with prefix.
func (c *Client) Drop(ctx context.Context, prefix string) error {
	_, _, err := c.call(ctx, wire.OpDrop, wire.Text{S: prefix}.Encode())
	if err != nil {
		return fault.Wrap(err, "cannot drop %s", prefix)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.ledger.drop(prefix)
	return nil
}

// Forget removes what the keeper knows of a process that has ended, acknowledged or not, and what was held
// for it. A running one that was never kept is not watched any more; a running container is fault.Busy.
func (c *Client) Forget(ctx context.Context, id string) error {
	_, _, err := c.call(ctx, wire.OpForget, wire.Text{S: id}.Encode())
	if err != nil && !fault.Is(err, fault.NotFound) {
		return fault.Wrap(err, "cannot forget %s", id)
	}
	c.mu.Lock()
	c.ledger.forget(id)
	c.mu.Unlock()
	return fault.Wrap(err, "cannot forget %s", id)
}

// State is what the keeper knows of a process.
type State struct {
	ID       string
	PID      int
	Start    uint64 // start time in clock ticks after boot
	Kept     bool
	Child    bool // the keeper is its parent
	Exited   bool
	Stdout   bool // logs being written
	Stderr   bool
	Received int64 // bytes that came into the logs since the process was started or handed over
	Dropped  int64 // bytes of them thrown away because the disk was full
}

// List returns all processes in the order of their ids.
func (c *Client) List(ctx context.Context) ([]State, error) {
	states, err := listAll(ctx, c.call)
	if err != nil {
		return nil, fault.Wrap(err, "cannot list what the keeper has")
	}
	list := make([]State, len(states))
	for i, s := range states {
		list[i] = State{s.ID, int(s.PID), s.Start, s.Kept, s.Child, s.Exited,
			s.Streams&(1<<Stdout) != 0, s.Streams&(1<<Stderr) != 0, s.Received, s.Dropped}
	}
	return list, nil
}

// Shutdown kills everything the keeper has, waits for it, and ends the keeper. The client is closed.
func (c *Client) Shutdown(ctx context.Context) error {
	c.stop() // no new keeper
	c.mu.Lock()
	l := c.link
	c.mu.Unlock()
	_, _, err := l.call(ctx, wire.OpShutdown, nil)
	if errors.Is(err, errLost) {
		err = nil
	}
	return errors.Join(fault.Wrap(err, "cannot shut the keeper down"), c.Close())
}
