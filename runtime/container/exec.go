package container

import (
	"context"
	"errors"
	"os"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/containercloud/cc/fault"
	"github.com/containercloud/cc/runtime/boot"
	"github.com/containercloud/cc/runtime/image"
	"github.com/containercloud/cc/runtime/keeper"
)

// ExecSpec is a command to run in a running container.
type ExecSpec struct {
	Args    []string
	Env     []string // over the container's
	Dir     string   // "": the container's
	User    string   // "": the container's
	TTY     Terminal
	NoStdin bool // its input is /dev/null
}

// Run starts the session's command and answers when it runs.
func (s *Session) Run(ctx context.Context, e ExecSpec) error {
	err := s.run(ctx, e)
	if err == nil {
		s.c.m.tell(s.c, "exec")
	}
	return fault.Wrap(err, "cannot exec in container %s", s.c.Meta().Name)
}

func (s *Session) run(ctx context.Context, e ExecSpec) error {
	if err := e.check(); err != nil {
		return err
	}
	r, err := s.c.living()
	if err != nil {
		return err
	}
	if s.c.State() == Paused {
		return fault.New(fault.Busy, "it is paused").WithHint("resume it first")
	}
	s.mu.Lock()
	if s.running || s.closed {
		s.mu.Unlock()
		return fault.New(fault.Busy, "session %s ran its command already", s.Name()).WithHint("open exec/new again")
	}
	s.running = true // no lock is held while the kernel works
	s.mu.Unlock()
	var ends sessionEnds
	p, err := s.begin(ctx, r, e, &ends)
	if err != nil {
		err = r.orEnded(err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if err == nil && s.closed {
		_ = killGroup(ends.pidfd)
		err = fault.New(fault.Interrupted, "the session was closed")
	}
	if err != nil {
		s.running = false
		ends.close()
		return err
	}
	s.sessionEnds = ends
	s.attend()
	now := time.Now().UTC()
	s.st.State, s.st.Since, s.st.PID = "running", now, s.pid
	s.st.Args, s.st.User, s.st.Dir, s.st.TTY = e.Args, e.User, p.Dir, e.TTY
	close(s.began)
	return nil
}

// orEnded says that the run ended, where that is why entering it failed: whoever lost the race against a stop or a delete
// finds processes, namespaces and files in /proc gone, one by one. The end is announced a moment after they went.
func (r *run) orEnded(err error) error {
	var op *boot.OpError
	if errors.As(err, &op) && op.Op == "execve" {
		return err
	}
	select {
	case <-r.ended:
		return fault.New(fault.Busy, "it has ended")
	case <-time.After(200 * time.Millisecond):
		return err
	}
}

// sessionEnds is the daemon's side of a session's command.
type sessionEnds struct {
	pid    int
	pidfd  *os.File
	stdin  *os.File // write end
	stdout *os.File // read ends
	stderr *os.File
	tty    *os.File // master
}

func (e *sessionEnds) close() {
	closeAll(e.pidfd, e.stdin, e.stdout, e.stderr, e.tty)
	*e = sessionEnds{}
}

// begin runs the command.
func (s *Session) begin(ctx context.Context, r *run, e ExecSpec, ends *sessionEnds) (boot.Process, error) {
	p, err := s.c.process(r, e)
	if err != nil {
		return p, err
	}
	cfg := boot.EnterConfig{Process: p, NoNewPrivs: true, Capabilities: r.rec.Caps, TTY: e.TTY.On()}
	if cfg.Seccomp, err = s.c.m.filters.get(r.rec.Seccomp, r.rec.Caps); err != nil {
		return p, err
	}
	var theirs fileList
	defer theirs.close()
	if err := s.streams(ctx, r, e, &cfg, &theirs, ends); err != nil {
		return p, err
	}
	return p, s.enter(ctx, r, cfg, ends)
}

func (e *ExecSpec) check() error {
	if len(e.Args) == 0 || e.Args[0] == "" {
		return fault.New(fault.Invalid, "no command").WithHint("run -- COMMAND [ARG]...")
	}
	s := Spec{Args: e.Args, Env: e.Env, Dir: e.Dir, User: e.User}
	for _, err := range []error{checkWords(s.Args), s.checkEnv(), s.checkDir(), s.checkUser()} {
		if err != nil {
			return err
		}
	}
	return nil
}

// process is the command with the container's defaults under it.
func (c *Container) process(r *run, e ExecSpec) (boot.Process, error) {
	p := r.rec.Process
	p.Args = e.Args
	var own []string
	if e.TTY.On() {
		own = []string{"TERM=xterm"}
	}
	if e.User != "" {
		root, err := openRoot(r)
		if err != nil {
			return p, err
		}
		defer root.Close()
		u, err := image.Users(root, e.User)
		if err != nil {
			return p, err
		}
		p.UID, p.GID, p.Groups = u.UID, u.GID, u.Groups
		own = append(own, "HOME="+u.Home)
	}
	p.Env = mergeEnv(p.Env, own, e.Env)
	if e.Dir != "" {
		p.Dir = e.Dir
	}
	return p, nil
}

// openRoot opens the root directory that a run's first process sees.
func openRoot(r *run) (*os.File, error) {
	f, err := openDir("/proc/" + strconv.Itoa(r.rec.PID) + "/root/")
	if err != nil {
		return nil, err
	}
	if err := alive(r.pidfd); err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

// streams makes the command's three streams.
func (s *Session) streams(ctx context.Context, r *run, e ExecSpec, cfg *boot.EnterConfig, theirs *fileList, to *sessionEnds) error {
	uid := cfg.Process.UID
	m := s.c.m
	if e.TTY.On() {
		pts, err := s.c.devpts(ctx, r)
		if err != nil {
			return err
		}
		defer pts.Close()
		master, slave, err := boot.OpenTerminal(pts, m.idsOf(!r.rec.UserNS), uid, e.TTY.Rows, e.TTY.Cols)
		if err != nil {
			return err
		}
		theirs.add(slave)
		to.tty = master
		cfg.Stdio = [3]*os.File{slave, slave, slave}
		return nil
	}
	uid += m.base(r)
	ends := []struct {
		read bool
		size int
		ours **os.File
	}{{false, 0, &to.stdin}, {true, pipeSize, &to.stdout}, {true, pipeSize, &to.stderr}}
	for i, end := range ends {
		if i == 0 && e.NoStdin {
			continue
		}
		ours, their, err := pipe(end.read, end.size, uid)
		if err != nil {
			return err
		}
		theirs.add(their)
		*end.ours, cfg.Stdio[i] = ours, their
	}
	return nil
}

// devpts is the root of the container's devpts, as it was before its program ran; the caller closes it.
func (c *Container) devpts(ctx context.Context, r *run) (*os.File, error) {
	if r.slot != nil && r.slot.Devpts() != nil {
		return dup(r.slot.Devpts())
	}
	return c.m.conf.Keeper.Fetch(ctx, c.holdKey(r, holdPts))
}

// enter has the kernel do it.
func (s *Session) enter(ctx context.Context, r *run, cfg boot.EnterConfig, to *sessionEnds) error {
	m := s.c.m
	pidfd, err := dup(r.pidfd) // the run may end, and close it, any time
	if err != nil {
		return fault.New(fault.Busy, "it has ended")
	}
	defer pidfd.Close()
	in, err := r.group.Birth()
	if err != nil {
		return err
	}
	defer in.Close()
	target := boot.Target{ID: s.id() + "/enter", PidFD: pidfd, IDs: m.idsOf(!r.rec.UserNS), CgroupFile: in.Dir, Tasks: in.Tasks, Stem: m.stemFor()}
	var watched chan error
	target.Born = func(c keeper.Child) { // while the command executes
		watched = make(chan error, 1)
		go func() { watched <- m.conf.Keeper.Watch(ctx, s.id(), c.PID, c.PidFD) }()
	}
	child, err := boot.Enter(ctx, m.conf.Keeper, target, cfg)
	if fault.Is(err, fault.Again) { // the keeper was lost before it had answered; there is another one
		child, err = boot.Enter(ctx, m.conf.Keeper, target, cfg)
	}
	var unwatched error
	if watched != nil {
		unwatched = <-watched
	}
	if err != nil {
		var op *boot.OpError
		if errors.As(err, &op) && op.Op == "execve" {
			return notExecuted(cfg.Process.Args[0], op)
		}
		return err
	}
	defer child.PidFD.Close()
	if unwatched != nil {
		_ = killGroup(child.PidFD)
		return unwatched
	}
	to.pid = child.PID
	to.pidfd, err = derive(child.PidFD, func(fd int) (int, error) {
		n, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 3)
		if err == nil {
			err = unix.SetNonblock(n, true) // so that Go's poller waits for it
		}
		return n, err
	})
	return err
}

// split returns container and session of a keeper's id UUID/exec/N; helpers (UUID/exec/N/enter) are no session.
func splitSession(id string) (container, session string, ok bool) {
	container, rest, found := strings.Cut(id, "/exec/")
	return container, rest, found
}
