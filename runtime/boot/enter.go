package boot

import (
	"context"
	"errors"
	"io"
	"os"
	"runtime"

	"golang.org/x/sys/unix"

	"github.com/containercloud/cc/fault"
	"github.com/containercloud/cc/runtime/keeper"
)

// Target is a running container to enter.
type Target struct {
	ID      string   // what the keeper calls the helper that enters; it ends at once
	PidFD   *os.File // the container's first process
	IDs     IDMap    // as the container was made
	HostNet bool

	// Cgroup puts the helper into the container's cgroups, where its child is born; nil: stays where it is.
	Cgroup     func(pid int) error
	CgroupFile *os.File   // cgroup v2 directory that the helper is born in; nil: none
	Tasks      []*os.File // as SlotOptions.Tasks

	Stem *Stem // to fork from, where that is as safe and possible; nil: the keeper spawns a helper

	Born func(keeper.Child) // told of the child before it executes; it must not wait, and PidFD stays Enter's until Enter returns
}

// EnterConfig is the program to run there.
type EnterConfig struct {
	Process      Process
	NoNewPrivs   bool
	Capabilities []string
	Ambient      []string
	Seccomp      []unix.SockFilter
	Rlimits      []Rlimit
	OOMScoreAdj  int
	Stdio        [3]*os.File // nil: the container's /dev/null
	TTY          bool
}

// Enter runs a program in a running container. The result is a child of the keeper, not of the container (CLONE_PARENT);
// it has executed when Enter returns. *OpError says that it could not.
//
// What joins is, unless it is a fork of a Stem, a helper outside the container's pid namespace: no process inside sees it. It gives up every right and loads
// the filter there; only then it makes the child, which has nothing left to do but execve. So a container that may trace its
// processes (SYS_PTRACE, host ids) gains nothing by tracing a joining one (CVE-2016-9962), and it holds no directory of the host.
func Enter(ctx context.Context, sp Spawner, t Target, c EnterConfig) (child keeper.Child, err error) {
	p, err := newProgram(c.Process, c.Capabilities, c.Ambient, c.Seccomp, c.NoNewPrivs, t.IDs)
	if err != nil {
		return child, err
	}
	p.bounding, p.stdio, p.tty = ^uint64(0), c.Stdio, c.TTY
	if err := giveStdio(c.Stdio, t.IDs, c.Process); err != nil {
		return child, err
	}
	if t.forks(&c) {
		child, err = t.Stem.enter(ctx, &t, p)
		if !errors.Is(err, io.EOF) {
			return child, err
		}
	}
	p.enter = true
	if err := p.check(); err != nil {
		return child, err
	}
	group := -1
	if t.CgroupFile != nil {
		if group, err = rawFd(t.CgroupFile); err != nil {
			return child, err
		}
	}
	helper, w, err := spawn(ctx, sp, keeper.Spawn{ID: t.ID, CgroupFD: group})
	runtime.KeepAlive(t.CgroupFile)
	if err != nil {
		return child, err
	}
	defer func() { err = errors.Join(err, w.close(), helper.PidFD.Close()) }()
	files, err := filesOf(helper.PID)
	if err == nil {
		err = t.receive(helper.PID, &c)
	}
	if err != nil {
		return child, fault.Wrap(err, "cannot enter %s", t.ID)
	}
	p.files = programFiles(files, c.Rlimits)
	scripts := []*script{hygiene(files), enterScript(thisHost(), &t, p)}
	for _, sc := range scripts {
		if err := sendScript(w, sc); err != nil {
			return child, fault.Wrap(err, "cannot enter %s", t.ID)
		}
	}
	return t.entered(ctx, w, scripts)
}

func (t *Target) receive(pid int, c *EnterConfig) error {
	now, err := oomScore(pid)
	if err != nil {
		return err
	}
	if err := fromOutside(pid, c.Rlimits, now, c.OOMScoreAdj); err != nil {
		return err
	}
	if t.Cgroup != nil {
		return t.Cgroup(pid)
	}
	return nil
}

// entered reads the answers: the child, then the end of the socket.
func (t *Target) entered(ctx context.Context, w *wire, scripts []*script) (child keeper.Child, err error) {
	for {
		r, err := await(ctx, w, scripts)
		switch {
		case err == nil && len(r.words) == 3 && r.file != nil:
			child = keeper.Child{PID: int(r.words[0]), PidFD: r.file}
			if t.Born != nil {
				t.Born(child)
			}
		case errors.Is(err, io.EOF) && child.PidFD != nil:
			return child, nil
		case errors.Is(err, io.EOF):
			return child, fault.New(fault.Internal, "cannot enter %s: its process was ended: %w", t.ID, err)
		case err != nil:
			if child.PidFD != nil { // it must not execute after all
				_ = unix.PidfdSendSignal(pidfdOf(child), unix.SIGKILL, nil, 0)
				err = errors.Join(err, child.PidFD.Close())
			}
			return keeper.Child{}, fault.Wrap(err, "cannot enter %s", t.ID)
		}
	}
}

func (t *Target) namespaces() uint64 {
	flags := uint64(unix.CLONE_NEWNS | unix.CLONE_NEWPID | unix.CLONE_NEWIPC | unix.CLONE_NEWUTS | unix.CLONE_NEWCGROUP)
	if !t.HostNet {
		flags |= unix.CLONE_NEWNET
	}
	if t.IDs.Size != 0 {
		flags |= unix.CLONE_NEWUSER
	}
	return flags
}

func namespaceBits(flags uint64) value {
	return bits(flags, "CLONE_NEWUSER", unix.CLONE_NEWUSER, "CLONE_NEWNS", unix.CLONE_NEWNS, "CLONE_NEWPID", unix.CLONE_NEWPID,
		"CLONE_NEWNET", unix.CLONE_NEWNET, "CLONE_NEWIPC", unix.CLONE_NEWIPC, "CLONE_NEWUTS", unix.CLONE_NEWUTS,
		"CLONE_NEWCGROUP", unix.CLONE_NEWCGROUP)
}

func enterScript(h *host, t *Target, p *program) *script {
	s := newScript(h, 2)
	s.join(t, p, t.namespaces())
	return s
}

func (s *script) join(t *Target, p *program, namespaces uint64) {
	s.joinTasks(t.Tasks)
	s.do(callSetns, s.fd(t.PidFD, "pidfd"), namespaceBits(namespaces))
	s.do(callSetresgid, num(0), num(0), num(0))
	s.do(callSetresuid, num(0), num(0), num(0))
	s.workDir(p.Dir)
	s.program(p)
}

// enterFlags of clone(2): the keeper becomes the parent.
const enterFlags = unix.CLONE_PARENT | unix.CLONE_PIDFD

// cloneParent makes the process inside, tells ccd about it and ends; the child goes on.
func (s *script) cloneParent() {
	control := s.rights("pidfd")
	answer := s.bytes(make([]byte, 12), "{pid}")
	child := s.label()
	s.do(callClone, name(enterFlags, "CLONE_PARENT|CLONE_PIDFD"), null, value{kind: isData, n: control.n + 16, text: "pidfd"}, null, null).
		into(value{kind: isData, n: answer.n, text: "pid"}).on(jz, child)
	s.sendWith(num(3), control, answer, 12)
	s.do(callExitGroup, num(0))
	s.place(child)
}
