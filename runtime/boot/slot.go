package boot

import (
	"context"
	"errors"
	"io"
	"os"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/containercloud/cc/fault"
	"github.com/containercloud/cc/runtime/keeper"
)

// state is where a slot is on its way.
//
//	preparing --Ready--> prepared --Arm--> armed --Start--> running
//	any but running --a failure, Close--> ended
type state string

const (
	slotPreparing state = "preparing" // the stage script was sent
	slotPrepared  state = "prepared"  // and has answered
	slotArmed     state = "armed"
	slotRunning   state = "running"
	slotEnded     state = "ended"
)

// Slot is a process on its way to become a container. Its methods are not for several goroutines at once.
type Slot struct {
	o           SlotOptions
	child       keeper.Child
	wire        *wire
	bounding    uint64
	oomScoreAdj int // as it was spawned
	files       unix.Rlimit
	state       state
	pts         *os.File
	scripts     []*script // sent, in order; the index is the serial less one
}

// NewSlot makes the process with its namespaces and prepares it. It returns when the namespaces are there (a
// network may be attached at once); Ready tells when, and whether, the preparation has ended.
func NewSlot(ctx context.Context, sp Spawner, o SlotOptions) (*Slot, error) {
	if o.Capabilities == nil {
		o.Capabilities = DefaultCapabilities()
	}
	bounding, err := capSet(o.Capabilities)
	if err != nil {
		return nil, err
	}
	dev, err := newDev(o.IDs)
	if err != nil {
		return nil, err
	}
	defer dev.Close()
	s := &Slot{o: o, bounding: bounding, state: slotPreparing}
	s.child, s.wire, err = spawn(ctx, sp, keeper.Spawn{ID: o.ID, Flags: o.namespaces(), IDs: o.IDs, CgroupFD: cgroupFD(o.CgroupFD)})
	if err != nil {
		return nil, err
	}
	if err := s.prepare(dev); err != nil {
		return nil, errors.Join(fault.Wrap(err, "cannot prepare %s", o.ID), s.Close())
	}
	return s, nil
}

func (s *Slot) prepare(dev *os.File) error {
	if s.o.Cgroup != nil {
		if err := s.o.Cgroup(s.child.PID, s.child.PidFD); err != nil {
			return err
		}
	}
	var err error
	if s.files, err = filesOf(s.child.PID); err != nil {
		return err
	}
	if err := s.send(hygiene(s.files)); err != nil {
		return err
	}
	if s.oomScoreAdj, err = oomScore(s.child.PID); err != nil {
		return err
	}
	return s.send(stage(thisHost(), &s.o, s.bounding, dev))
}

func (o *SlotOptions) namespaces() uintptr {
	flags := uintptr(unix.CLONE_NEWNS | unix.CLONE_NEWPID | unix.CLONE_NEWIPC | unix.CLONE_NEWUTS)
	if !o.HostNet {
		flags |= unix.CLONE_NEWNET
	}
	if o.IDs.Size != 0 {
		flags |= unix.CLONE_NEWUSER
	}
	return flags
}

func cgroupFD(n int) int {
	if n > 0 {
		return n
	}
	return -1
}

func spawn(ctx context.Context, sp Spawner, req keeper.Spawn) (keeper.Child, *wire, error) {
	w, theirs, err := pair()
	if err != nil {
		return keeper.Child{}, nil, err
	}
	defer theirs.Close()
	req.Sock = theirs
	child, err := sp.Spawn(ctx, req)
	if err != nil {
		w.close()
		return keeper.Child{}, nil, err
	}
	return child, w, nil
}

func (s *Slot) send(sc *script) error {
	s.scripts = append(s.scripts, sc)
	return sendScript(s.wire, sc)
}

func sendScript(w *wire, sc *script) error {
	packets, err := sc.encode()
	if err != nil {
		return err
	}
	sc.sent()
	for _, p := range packets {
		// A peer that has ended has said why: the reader finds it.
		if err := w.send(p); err != nil && !errors.Is(err, unix.EPIPE) && !errors.Is(err, unix.ECONNRESET) {
			return os.NewSyscallError("sendmsg", err)
		}
	}
	return nil
}

// await reads one answer: an acknowledgement, the end (io.EOF), or the failure of an op.
func await(ctx context.Context, w *wire, scripts []*script) (reply, error) {
	defer w.interrupt(ctx)()
	r, err := w.recv()
	switch {
	case errors.Is(err, os.ErrDeadlineExceeded) && ctx.Err() != nil:
		return r, ctx.Err()
	case err != nil:
		return r, err
	case len(r.words) == 2:
		return r, failure(scripts, r.words[0], syscall.Errno(r.words[1]))
	}
	return r, nil
}

func failure(scripts []*script, tag uint32, errno syscall.Errno) error {
	serial, i := int(tag>>16)-1, int(tag&0xffff)
	if serial < 0 || serial >= len(scripts) || i >= len(scripts[serial].ops) {
		return &OpError{Op: "script", Errno: errno}
	}
	o := &scripts[serial].ops[i]
	return &OpError{Op: o.call.String(), Call: o.text(), Errno: errno}
}

// Ready waits until the slot is prepared. Arm does it too.
func (s *Slot) Ready(ctx context.Context) error {
	switch s.state {
	case slotPreparing:
	case slotEnded:
		return fault.New(fault.Busy, "cannot use %s: it has ended", s.o.ID)
	default:
		return nil
	}
	r, err := await(ctx, s.wire, s.scripts)
	if err != nil {
		return s.broken(err, "prepare")
	}
	s.pts = r.file
	s.state = slotPrepared
	return nil
}

// broken notes that the process is of no more use. It ends by itself after a failed op; after anything else
// Close ends it.
func (s *Slot) broken(err error, verb string) error {
	if errors.Is(err, io.EOF) {
		err = fault.New(fault.Internal, "its process was ended")
	}
	s.state = slotEnded
	return fault.Wrap(err, "cannot %s %s", verb, s.o.ID)
}

// Arm makes everything of the container but its execve. It may be called once; after an error the slot can only be closed.
func (s *Slot) Arm(ctx context.Context, c Config) error {
	sc, err := s.plan(ctx, &c)
	if err != nil {
		return err
	}
	if err := s.send(sc); err != nil {
		return s.broken(err, "arm")
	}
	if err := s.Ready(ctx); err != nil {
		return err
	}
	if _, err := await(ctx, s.wire, s.scripts); err != nil {
		return s.broken(err, "arm")
	}
	s.state = slotArmed
	return nil
}

// Start lets an armed slot run its program. nil means that execve has succeeded, *OpError that it has not.
func (s *Slot) Start(ctx context.Context) error {
	if s.state != slotArmed {
		return fault.New(fault.Busy, "cannot start %s: it is %s", s.o.ID, s.state)
	}
	if err := s.wire.send(packet{data: []byte{1}}); err != nil && !errors.Is(err, unix.EPIPE) {
		return s.broken(os.NewSyscallError("sendmsg", err), "start")
	}
	return s.finish(ctx)
}

// finish waits for the execve: the socket's end, because ccinit's side closes with it.
func (s *Slot) finish(ctx context.Context) error {
	_, err := await(ctx, s.wire, s.scripts)
	if !errors.Is(err, io.EOF) {
		return s.broken(err, "start")
	}
	s.state, s.scripts = slotRunning, nil
	return s.wire.close()
}

// Close ends a slot that was not started and releases what the Slot holds. A running container stays.
func (s *Slot) Close() error {
	if s.wire == nil {
		return nil
	}
	var errs []error
	if s.state != slotRunning {
		// End of file ends a waiting ccinit; the signal is for one that hangs in a call.
		if err := unix.PidfdSendSignal(pidfdOf(s.child), unix.SIGKILL, nil, 0); err != nil && err != unix.ESRCH {
			errs = append(errs, os.NewSyscallError("pidfd_send_signal", err))
		}
		errs = append(errs, s.wire.close())
		s.state = slotEnded
	}
	if s.pts != nil {
		errs = append(errs, s.pts.Close())
	}
	errs = append(errs, s.child.PidFD.Close())
	s.wire = nil
	return errors.Join(errs...)
}

func pidfdOf(c keeper.Child) int {
	n, err := rawFd(c.PidFD)
	if err != nil {
		return -1
	}
	return n
}

// PID is the process's id on the host.
func (s *Slot) PID() int { return s.child.PID }

// PidFD stays the slot's; Close closes it.
func (s *Slot) PidFD() *os.File { return s.child.PidFD }

// Devpts is the root of the container's devpts, for OpenTerminal; it belongs to the slot. nil before Ready.
func (s *Slot) Devpts() *os.File { return s.pts }

// NetNS opens the network namespace. The caller closes it.
func (s *Slot) NetNS() (*os.File, error) { return Namespace(s.child.PidFD, s.child.PID, "net") }

// MountNS opens the mount namespace. Holding it open takes its end out of the container's exit path.
func (s *Slot) MountNS() (*os.File, error) { return Namespace(s.child.PidFD, s.child.PID, "mnt") }
