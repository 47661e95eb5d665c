package container

import (
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/containercloud/cc/fault"
	"github.com/containercloud/cc/runtime/boot"
	"github.com/containercloud/cc/runtime/cgroup"
)

// run is one life of a container's processes, from the slot that was taken for it to the teardown.
//
// rec and the descriptors are set before the run is shown to anyone else, or by adoption; what changes later is
// guarded by Container.mu.
type run struct {
	rec   runRecord
	slot  *boot.Slot // nil after adoption
	group *cgroup.Group
	part  *part // what the slot came with

	pidfd *os.File
	mntns *os.File // held: the end of the mounts is then not in the program's exit path
	stdin *os.File // write end of the pipe; nil without, or after close-stdin
	tty   *os.File // master of the terminal

	mark *os.File // the status record, for mark

	watched bool // watchOOM runs

	exit     *exited // set once
	ended    chan struct{}
	stopping *time.Timer // kills when stop.timeout has passed

	departed bool // departLocked was called
}

// exited is what the keeper said about the end.
type exited struct {
	Exit
}

// signal sends sig to the first process. One that has ended already is no error.
func (r *run) signal(sig syscall.Signal) error {
	err := pidfdSignal(r.pidfd, unix.Signal(sig), 0)
	if err == unix.ESRCH {
		return nil
	}
	return os.NewSyscallError("pidfd_send_signal", err)
}

// kill ends every process: the kernel ends a PID namespace with its first process, and the cgroup has what came in from
// outside (exec sessions) too.
func (r *run) kill() {
	_ = r.signal(syscall.SIGKILL)
	if r.group != nil {
		_ = r.group.Kill()
	}
}

// living returns the run whose processes are there, or says why there is none.
func (c *Container) living() (*run, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.st.State.Alive() && c.body != nil && !c.armed {
		return c.body, nil
	}
	return nil, fault.New(fault.Busy, "container %s is %s: it has no processes", c.meta.Name, c.stateLocked())
}
