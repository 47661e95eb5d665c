package container

import (
	"context"
	"errors"
	"io"
	"os"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/containercloud/cc/fault"
	"github.com/containercloud/cc/object"
	"github.com/containercloud/cc/runtime/keeper"
)

// Session is one exec conversation of a container: new --Run--> running --> exited. Output waits in pipes of 1 MiB until it is
// read, after the end too; a command that writes more waits for a reader. Nothing of it is kept after Close.
type Session struct {
	c        *Container
	n        int
	meta     object.Meta
	failures object.Failures
	writers  atomic.Int32 // of stdin

	mu      sync.Mutex
	st      SessionStatus
	running bool // Run was called
	closed  bool
	began   chan struct{} // closed when Run has succeeded, or the session is closed
	done    chan struct{} // closed when the command has ended, or never will begin
	sessionEnds
}

// SessionStatus is what an exec session is doing.
type SessionStatus struct {
	State   string // `new`, `running`, `exited`
	Since   time.Time
	PID     int // on the host
	Args    []string
	User    string
	Dir     string
	TTY     Terminal
	Exit    *Exit
	Created time.Time
}

// Exec makes an exec session of a user: a conversation N that lives until Close.
func (c *Container) Exec(uid, gid uint32) (*Session, error) {
	if _, err := c.living(); err != nil {
		return nil, fault.Wrap(err, "cannot exec in container %s", c.Meta().Name)
	}
	now := time.Now().UTC()
	c.mu.Lock()
	c.session++
	s := &Session{
		c: c, n: c.session,
		st:    SessionStatus{State: "new", Since: now, Created: now},
		began: make(chan struct{}), done: make(chan struct{}),
	}
	name := strconv.Itoa(s.n)
	s.meta = object.Meta{ID: c.id + object.ID("/exec/"+name), Name: name, Created: now, Version: 1, UID: uid, GID: gid}
	if c.sessions == nil {
		c.sessions = map[int]*Session{}
	}
	c.sessions[s.n] = s
	c.mu.Unlock()
	c.m.tell(c, "exec")
	return s, nil
}

// Sessions are the open exec sessions by number.
func (c *Container) Sessions() []*Session {
	c.mu.Lock()
	defer c.mu.Unlock()
	list := make([]*Session, 0, len(c.sessions))
	for _, s := range c.sessions {
		list = append(list, s)
	}
	slices.SortFunc(list, func(a, b *Session) int { return a.n - b.n })
	return list
}

// Session finds an open one by its number.
func (c *Container) Session(n string) (*Session, error) {
	i, err := strconv.Atoi(n)
	c.mu.Lock()
	defer c.mu.Unlock()
	if s := c.sessions[i]; err == nil && s != nil && strconv.Itoa(i) == n {
		return s, nil
	}
	return nil, fault.New(fault.NotFound, "container %s has no exec session %q", c.meta.Name, n)
}

// Name is the session's number in decimal, unique while the daemon runs.
func (s *Session) Name() string { return s.meta.Name }

// Meta says whose it is.
func (s *Session) Meta() object.Meta { return s.meta }

// SetMeta refuses: a session is not given away.
func (s *Session) SetMeta(context.Context, func(*object.Meta) error) error {
	return fault.New(fault.Fixed, "an exec session belongs to whoever opened it")
}

// Failures are the last sentences of its error file.
func (s *Session) Failures() *object.Failures { return &s.failures }

// Container is whose session it is.
func (s *Session) Container() *Container { return s.c }

func (s *Session) id() string { return string(s.meta.ID) }

func (s *Session) what(file string) string { return file + " of exec " + s.Name() }

// Status is what the session is doing.
func (s *Session) Status() SessionStatus {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.st
}

// Stdin opens the command's standard input; it waits for Run. CloseStdin ends the input, and so does the Close of the last Stream.
func (s *Session) Stdin() (Stream, error) {
	s.writers.Add(1)
	return &sessionInput{&lateStream{s: s, which: 0}, s}, nil
}

// sessionInput is a session's stdin opened by one writer; with the last of them the input ends, as a pipe's does.
type sessionInput struct {
	Stream
	of *Session
}

func (i *sessionInput) Close() error {
	err := i.Stream.Close()
	if i.of.writers.Add(-1) == 0 {
		err = errors.Join(err, i.of.CloseStdin())
	}
	return err
}

// Stdout opens the command's output, which with a terminal is all of it. Several readers share the bytes.
func (s *Session) Stdout() (Stream, error) { return &lateStream{s: s, which: 1}, nil }

// Stderr opens the command's other output.
func (s *Session) Stderr() (Stream, error) { return &lateStream{s: s, which: 2}, nil }

// open gives the descriptor of a stream a description of its own. io.EOF where there is none (any more).
func (s *Session) open(which int) (*fileStream, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	from := [3]*os.File{s.stdin, s.stdout, s.stderr}[which]
	if s.tty != nil && which < 2 {
		f, err := dup(s.tty)
		return &fileStream{f, s.what("terminal")}, err
	}
	if from == nil {
		return nil, io.EOF
	}
	flags, name := unix.O_RDONLY, "stdout"
	if which == 0 {
		flags, name = unix.O_WRONLY, "stdin"
	}
	f, err := reopen(from, flags)
	if err != nil {
		return nil, err
	}
	return &fileStream{f, s.what(name)}, nil
}

// lateStream is a stream of a session that may not have begun.
type lateStream struct {
	s     *Session
	which int

	mu sync.Mutex
	fs *fileStream
}

func (l *lateStream) get(ctx context.Context, nonblock bool) (*fileStream, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.fs != nil {
		return l.fs, nil
	}
	select {
	case <-l.s.began:
	default:
		if nonblock {
			return nil, fault.New(fault.NoData, "exec %s: nothing runs yet", l.s.Name())
		}
		select {
		case <-l.s.began:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	fs, err := l.s.open(l.which)
	l.fs = fs
	return fs, err
}

// Read implements Stream.
func (l *lateStream) Read(ctx context.Context, p []byte, nonblock bool) (int, error) {
	fs, err := l.get(ctx, nonblock)
	if err != nil {
		return 0, err
	}
	return fs.Read(ctx, p, nonblock)
}

// Write implements Stream.
func (l *lateStream) Write(ctx context.Context, p []byte) (int, error) {
	fs, err := l.get(ctx, false)
	if err == io.EOF {
		return 0, fault.New(fault.Busy, "%s is closed", l.s.what("stdin"))
	}
	if err != nil {
		return 0, err
	}
	return fs.Write(ctx, p)
}

// Close implements Stream.
func (l *lateStream) Close() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.fs == nil {
		return nil
	}
	return l.fs.Close()
}

// CloseStdin ends the command's standard input.
func (s *Session) CloseStdin() error {
	s.mu.Lock()
	in, tty := s.stdin, s.tty
	s.stdin = nil
	s.mu.Unlock()
	if tty != nil {
		_, err := tty.Write([]byte{4})
		return err
	}
	if in != nil {
		return in.Close()
	}
	return nil
}

// Signal sends sig to the command.
func (s *Session) Signal(sig syscall.Signal) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.st.State != "running" {
		return fault.New(fault.Busy, "cannot signal exec %s: it is %s", s.Name(), s.st.State)
	}
	err := pidfdSignal(s.pidfd, unix.Signal(sig), 0)
	if err == unix.ESRCH {
		return nil
	}
	return os.NewSyscallError("pidfd_send_signal", err)
}

// Resize sets the terminal's size.
func (s *Session) Resize(cols, rows uint16) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.tty == nil {
		return fault.New(fault.Invalid, "exec %s has no terminal", s.Name()).WithHint("run tty=80x24 -- COMMAND")
	}
	return resize(s.tty, Terminal{cols, rows})
}

// Wait returns when the command ended.
func (s *Session) Wait(ctx context.Context) (Exit, error) {
	select {
	case <-s.done:
	case <-ctx.Done():
		return Exit{}, ctx.Err()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.st.Exit == nil {
		return Exit{}, fault.New(fault.NotFound, "exec %s was closed before it ran anything", s.Name())
	}
	return *s.st.Exit, nil
}

// sessionExited notes the end of a session's command as the keeper tells it.
func (c *Container) sessionExited(n string, e keeper.Exit) {
	if s, err := c.Session(n); err == nil {
		s.exited(e.PID, exitOf(e))
	}
}

// exited notes the end of the session's command, once.
func (s *Session) exited(pid int, x Exit) {
	s.mu.Lock()
	if s.st.State != "running" || s.pid != pid {
		s.mu.Unlock()
		return
	}
	s.exitLocked(x)
	s.mu.Unlock()
	s.c.m.tell(s.c, "exec")
}

// unheard is how long a command that has ended may be a zombie, or unknown to the keeper, before its exit code counts as unknown.
const unheard = 15 * time.Second

// attend looks for the end of the session's command beside the keeper, which may be killed before it has told of it. What comes
// first counts.
func (s *Session) attend() {
	pid, pidfd := s.pid, s.pidfd
	s.c.m.spawn(func() {
		if x, ok := endOf(pidfd); ok {
			s.exited(pid, x)
		}
	})
}

// endOf waits for the end of a process. It is not ok when the pidfd was closed before.
func endOf(pidfd *os.File) (x Exit, ok bool) {
	x = Exit{Code: -1}
	conn, err := pidfd.SyscallConn()
	if err != nil {
		return x, false
	}
	dead := false
	err = conn.Read(func(fd uintptr) bool {
		status, known, ended := keeper.EndOf(int(fd))
		if known {
			x = exitOf(keeper.Exit{Known: true, Status: status})
			return true
		}
		if ended && !dead {
			dead = true
			_ = pidfd.SetReadDeadline(time.Now().Add(unheard))
		}
		return false
	})
	x.Time = time.Now().UTC()
	return x, err == nil || errors.Is(err, os.ErrDeadlineExceeded)
}

func (s *Session) exitLocked(x Exit) {
	s.st.State, s.st.Since, s.st.Exit, s.st.PID = "exited", x.Time, &x, 0
	close(s.done)
	if s.stdin != nil {
		s.stdin.Close()
		s.stdin = nil
	}
	if s.pidfd != nil {
		s.pidfd.Close()
		s.pidfd = nil
	}
}

// Close ends the session and kills its command.
func (s *Session) Close() error {
	s.c.mu.Lock()
	delete(s.c.sessions, s.n)
	s.c.mu.Unlock()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil
	}
	s.closed = true
	if !s.running {
		close(s.began)
		close(s.done)
	}
	if s.st.State == "running" {
		_ = killGroup(s.pidfd)
		s.exitLocked(Exit{Code: 128 + int(syscall.SIGKILL), Signal: "SIGKILL", Time: time.Now().UTC()})
	}
	closeAll(s.stdin, s.stdout, s.stderr, s.tty)
	s.stdin, s.stdout, s.stderr, s.tty = nil, nil, nil, nil
	return nil
}

// closeSessions ends what runs beside a container that goes.
func (m *Manager) closeSessions(c *Container) {
	for _, s := range c.Sessions() {
		_ = s.Close()
	}
}
