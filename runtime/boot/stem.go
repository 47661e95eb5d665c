package boot

import (
	"context"
	"errors"
	"os"

	"golang.org/x/sys/unix"

	"github.com/containercloud/cc/fault"
	"github.com/containercloud/cc/runtime/keeper"
)

// Stem is a ccinit outside of all containers whose forks enter them. It knows no container: each message brings what one fork
// needs, its socket, its cgroup and its script, and the stem forgets it again. It ends with ccd's end of its socket.
//
//	message --> join the pid namespace --> fork --> tell ccd its pid --> leave the pid namespace --> next message
//	                                        |
//	                                        join the rest --> give up every right --> filter --> execve
//
// That saves a Spawn and the helper of Enter, two thirds of the time to execve. The price is that the fork is seen in the container
// before it has given up its rights. Where the container has a user namespace of its own nothing in there can touch it: the fork
// is not dumpable, and its memory is the host's user namespace's, in which the container has no capability (ptrace(2), access mode
// checking; that is how runc answers CVE-2016-9962). So a stem is for those containers only.
type Stem struct {
	child keeper.Child
	wire  *wire
	files unix.Rlimit // of open files, as the keeper gave it
}

// stemOOM is the oom_score_adj of a stem and its forks: that of EnterConfig's zero value.
const stemOOM = 0

// NewStem makes one that the keeper calls id.
func NewStem(ctx context.Context, sp Spawner, id string) (*Stem, error) {
	child, w, err := spawn(ctx, sp, keeper.Spawn{ID: id, CgroupFD: -1})
	if err != nil {
		return nil, err
	}
	s := &Stem{child: child, wire: w}
	if err := s.prepare(); err != nil {
		return nil, errors.Join(fault.Wrap(err, "cannot prepare %s", id), s.Close())
	}
	return s, nil
}

func (s *Stem) prepare() error {
	now, err := oomScore(s.child.PID)
	if err != nil {
		return err
	}
	if err := setOOMScore(s.child.PID, now, stemOOM); err != nil {
		return err
	}
	if s.files, err = filesOf(s.child.PID); err != nil {
		return err
	}
	return sendScript(s.wire, hygiene(s.files))
}

// Close ends the stem; its forks go on.
func (s *Stem) Close() error { return errors.Join(s.wire.close(), s.child.PidFD.Close()) }

// Ended reports whether its process has.
func (s *Stem) Ended() bool {
	return unix.PidfdSendSignal(pidfdOf(s.child), 0, nil, 0) != nil
}

// enter is Enter by a fork of the stem. io.EOF says that there was none, or that it was ended before it could say more.
func (s *Stem) enter(ctx context.Context, t *Target, p *program) (child keeper.Child, err error) {
	if err := p.check(); err != nil {
		return child, err
	}
	w, theirs, err := pair()
	if err != nil {
		return child, err
	}
	defer func() { err = errors.Join(err, w.close()) }()
	p.files = programFiles(s.files, nil)
	sc := stemScript(thisHost(), t, p, theirs, s.child.PidFD)
	err = sendScript(s.wire, sc)
	theirs.Close()
	if err != nil {
		return child, fault.Wrap(err, "cannot enter %s", t.ID)
	}
	return t.entered(ctx, w, []*script{sc})
}

// forks reports whether a fork of a stem can enter so. It has the stem's limits, and its message must be one.
func (t *Target) forks(c *EnterConfig) bool {
	size := 0
	for _, list := range [][]string{c.Process.Args, c.Process.Env} {
		for _, str := range list {
			size += 8 + len(str) + 1
		}
	}
	return t.Stem != nil && t.IDs.Size != 0 && t.Cgroup == nil && len(c.Rlimits) == 0 && c.OOMScoreAdj == stemOOM && size < bigData
}

// stemScript forks a child on a socket of its own. own is the stem's pidfd. Where there is no child the socket closes unused.
func stemScript(h *host, t *Target, p *program, sock, own *os.File) *script {
	s := newScript(h, 1)
	forked, over := s.label(), s.label()
	theirs, pidfd := s.fd(sock, "sock"), s.fd(t.PidFD, "pidfd")
	newPID := name(unix.CLONE_NEWPID, "CLONE_NEWPID")
	control := s.rights("child")
	answer := s.bytes(make([]byte, 12), "{pid}")
	args := s.cloneInto(t, value{kind: isData, n: control.n + 16, text: "child"})
	s.do(callSetns, pidfd, newPID).on(jn, over)
	s.do(callClone3, args, num(cloneArgsLen)).into(value{kind: isData, n: answer.n, text: "pid"}).on(jn|jp, forked)
	s.do(callDup3, theirs, num(3), name(unix.O_CLOEXEC, "O_CLOEXEC"))
	s.join(t, p, t.namespaces()&^unix.CLONE_NEWPID)
	s.place(forked)
	s.sendWith(theirs, control, answer, 12).orNext()
	s.place(over)
	s.do(callSetns, s.fd(own, "self"), newPID)
	s.do(callCloseRange, num(4), name(0xffffffff, "~0"), num(0))
	return s
}

// cloneArgsLen is the size of struct clone_args (clone(2)), eleven 64-bit numbers:
//
//	flags pidfd child_tid parent_tid exit_signal stack stack_size tls set_tid set_tid_size cgroup
const cloneArgsLen = 88

// cloneInto is for a child of the caller's parent, in the target's cgroup v2 where it has one.
func (s *script) cloneInto(t *Target, pidfd value) value {
	flags, text := uint64(enterFlags), "{CLONE_PARENT|CLONE_PIDFD, child}"
	if t.CgroupFile != nil {
		flags, text = enterFlags|unix.CLONE_INTO_CGROUP, "{CLONE_PARENT|CLONE_PIDFD|CLONE_INTO_CGROUP, child, cgroup}"
	}
	zero := num(0)
	args := s.words(text, num(int(flags)), pidfd, zero, zero, zero, zero, zero, zero, zero, zero, zero)
	if t.CgroupFile != nil {
		s.do(callFcntl, s.fd(t.CgroupFile, "cgroup"), name(unix.F_DUPFD_CLOEXEC, "F_DUPFD_CLOEXEC"), num(4)).
			into(value{kind: isData, n: args.n + cloneArgsLen - 8, text: "cgroup"})
	}
	return args
}
