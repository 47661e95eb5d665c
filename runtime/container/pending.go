package container

import (
	"context"
	"syscall"
	"time"

	"github.com/containercloud/cc/fault"
)

// This file holds the signatures whose bodies follow when the mechanisms below have landed.

var errPending = fault.New(fault.Unsupported, "not built yet")

// Create makes a container that does not run yet. An empty name makes one from sha1(time + command).
func (m *Manager) Create(ctx context.Context, name string, uid, gid uint32, change func(*Spec) error) (*Container, error) {
	return nil, errPending
}

// Run is Create and Start in one go; a container that cannot start is not made.
func (m *Manager) Run(ctx context.Context, name string, uid, gid uint32, change func(*Spec) error) (*Container, error) {
	return nil, errPending
}

// Delete ends a container for good; one that runs only with force.
func (m *Manager) Delete(ctx context.Context, c *Container, force bool) error { return errPending }

// Start starts the container and answers when its program runs; an error says why it does not.
func (c *Container) Start(ctx context.Context) error { return errPending }

// Stop asks the program to end (stop.signal) and answers at once; after timeout (negative: the setting) the whole
// container is killed. It is remembered: no restart policy undoes it. Wait(Exited) for the end.
func (c *Container) Stop(ctx context.Context, timeout time.Duration) error { return errPending }

// Kill sends sig to the container's first process; SIGKILL ends all of them. A restart policy does not undo it.
func (c *Container) Kill(ctx context.Context, sig syscall.Signal) error { return errPending }

// Signal sends sig to the first process.
func (c *Container) Signal(sig syscall.Signal) error { return errPending }

// Restart is Stop, waiting for the end, and Start.
func (c *Container) Restart(ctx context.Context) error { return errPending }

// Pause freezes every process.
func (c *Container) Pause(ctx context.Context) error { return errPending }

// Resume thaws them.
func (c *Container) Resume(ctx context.Context) error { return errPending }

// Resize sets the terminal's size.
func (c *Container) Resize(cols, rows uint16) error { return errPending }

// CloseStdin ends the program's standard input.
func (c *Container) CloseStdin(ctx context.Context) error { return errPending }

// Stdin opens the program's standard input for writing; closing the Stream does not end the input.
func (c *Container) Stdin() (Stream, error) { return nil, errPending }

// Log opens a view of a stream's log: `stdout` or `stderr`.
func (c *Container) Log(stream string) (LogView, error) { return nil, errPending }

// LogLines returns the kept lines of both streams, oldest first, and at most n of them (0: all).
func (c *Container) LogLines(n int) ([]LogLine, error) { return nil, errPending }

// Exec makes an exec session: a conversation N that lives while the caller holds it.
func (c *Container) Exec() (*Session, error) { return nil, errPending }

// Sessions are the open exec sessions by number.
func (c *Container) Sessions() []*Session { return nil }

// Session finds an open one.
func (c *Container) Session(n string) (*Session, error) { return nil, errPending }

// Root opens the root file system: of the living container, or of a stopped one mounted for this caller.
func (c *Container) Root() (*Root, error) { return nil, errPending }

// Diff lists what differs from the image.
func (c *Container) Diff() ([]Change, error) { return nil, errPending }

// Stat reads the counters.
func (c *Container) Stat() (Stat, error) { return Stat{}, errPending }

// Procs lists the processes.
func (c *Container) Procs() ([]Proc, error) { return nil, errPending }

// Pressure is the PSI of the container's cgroup as the kernel prints it, each line with cpu, memory or io in front.
func (c *Container) Pressure() (string, error) { return "", errPending }

// Samples are the container's metrics.
func (c *Container) Samples() ([]Sample, error) { return nil, errPending }

// UsedBy names the objects that refer to the container.
func (c *Container) UsedBy() []string { return nil }

// Run starts the session's command.
func (s *Session) Run(ctx context.Context, e ExecSpec) error { return errPending }

// Stdin, Stdout, Stderr open the session's streams; they wait for Run.
func (s *Session) Stdin() (Stream, error)  { return nil, errPending }
func (s *Session) Stdout() (Stream, error) { return nil, errPending }
func (s *Session) Stderr() (Stream, error) { return nil, errPending }

// CloseStdin ends the command's standard input.
func (s *Session) CloseStdin() error { return errPending }

// Signal sends sig to the command.
func (s *Session) Signal(sig syscall.Signal) error { return errPending }

// Resize sets the terminal's size.
func (s *Session) Resize(cols, rows uint16) error { return errPending }

// Wait returns when the command ended.
func (s *Session) Wait(ctx context.Context) (Exit, error) { return Exit{}, errPending }

// Status is what the session is doing: `new`, `running` or `exited`.
func (s *Session) Status() SessionStatus { return SessionStatus{} }

// Close ends the session and kills what is left of its command.
func (s *Session) Close() error { return errPending }
