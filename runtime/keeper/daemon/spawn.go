package daemon

import (
	"runtime"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/containercloud/cc/runtime/keeper/wire"
)

// namespaces is what a request may ask clone for.
const namespaces = unix.CLONE_NEWNS | unix.CLONE_NEWPID | unix.CLONE_NEWNET | unix.CLONE_NEWIPC | unix.CLONE_NEWUTS |
	unix.CLONE_NEWUSER | unix.CLONE_NEWCGROUP | unix.CLONE_NEWTIME

// spawn starts ccinit. files: its socket, and the cgroup when the message says so. The pidfd is the caller's.
func (k *keeper) spawn(m wire.Spawn, files []int) (pid, dup int, err error) {
	want := 1
	if m.Cgroup {
		want = 2
	}
	if len(files) != want || m.Flags&^namespaces != 0 {
		return 0, -1, unix.EINVAL
	}
	if err := k.reserve(m.ID); err != nil {
		return 0, -1, err
	}
	begin := time.Now()
	pid, pidfd, err := k.clone(m, files)
	if err != nil {
		k.unreserve(m.ID)
		return 0, -1, err
	}
	dup, err = unix.FcntlInt(uintptr(pidfd), unix.F_DUPFD_CLOEXEC, 3)
	if err != nil {
		unix.PidfdSendSignal(pidfd, unix.SIGKILL, nil, 0)
		unix.Close(pidfd)
		k.unreserve(m.ID)
		return 0, -1, err
	}
	k.enter(newKid(m.ID, pid, pidfd, true), begin)
	return pid, dup, nil
}

// reserve takes an id for a process that is not there yet. One that had it before and is dead must have
// written its last log byte.
func (k *keeper) reserve(id string) error {
	for {
		k.mu.Lock()
		old := k.kids[id]
		switch {
		case k.stopping:
			k.mu.Unlock()
			return unix.ESHUTDOWN
		case old == nil || old.exited && old.over():
			k.kids[id] = &kid{id: id, pidfd: -1, dir: -1, logdir: -1}
			k.mu.Unlock()
			return nil
		case !old.exited:
			k.mu.Unlock()
			return unix.EEXIST
		}
		k.mu.Unlock()
		<-old.done
	}
}

func (k *keeper) unreserve(id string) {
	k.mu.Lock()
	delete(k.kids, id)
	k.mu.Unlock()
}

func (k *keeper) clone(m wire.Spawn, files []int) (pid, pidfd int, err error) {
	pidfd = -1
	fork := func() (err error) {
		pid, err = forkInit(m, k.null, files, &pidfd)
		return err
	}
	if m.Flags&unix.CLONE_NEWUSER != 0 && m.Size > 0 {
		err = asCreator(m.Base+uint32(k.creators.Add(1)%uint64(m.Size)), fork)
	} else {
		err = fork()
	}
	if err == nil && pidfd < 0 {
		pidfd, err = unix.PidfdOpen(pid, 0)
	}
	return pid, pidfd, err
}

func forkInit(m wire.Spawn, devNull int, files []int, pidfd *int) (pid int, err error) {
	sys := &syscall.SysProcAttr{Cloneflags: uintptr(m.Flags), PidFD: pidfd}
	if m.Flags&unix.CLONE_NEWUSER != 0 {
		ids := []syscall.SysProcIDMap{{ContainerID: 0, HostID: int(m.Base), Size: int(m.Size)}}
		sys.UidMappings, sys.GidMappings = ids, ids
		sys.GidMappingsEnableSetgroups = true
		// Without being uid 0 inside, execve would take the capabilities away.
		sys.Credential = &syscall.Credential{}
	}
	if m.Cgroup {
		sys.UseCgroupFD, sys.CgroupFD = true, files[1]
	}
	null := uintptr(devNull)
	// The pidfd that Go puts into the child's table for a moment, and ours, are close-on-exec.
	pid, err = syscall.ForkExec("/ccinit", []string{"ccinit"}, &syscall.ProcAttr{
		Dir:   "/",
		Env:   []string{},
		Files: []uintptr{null, null, null, uintptr(files[0])},
		Sys:   sys,
	})
	runtime.KeepAlive(sys)
	return pid, err
}

// enter puts a child into the tables. When it has ended since a time its exit follows at once.
func (k *keeper) enter(c *kid, since time.Time) {
	k.mu.Lock()
	k.kids[c.id] = c
	if k.stopping {
		unix.PidfdSendSignal(c.pidfd, unix.SIGKILL, nil, 0)
	}
	gone, ok := k.claimLocked(c.pid, since)
	if !ok {
		k.childLocked(c)
	}
	k.mu.Unlock()
	if ok {
		k.end(c, gone)
	}
}

// childLocked waits for the end of a child: its pidfd tells of it, or else SIGCHLD.
func (k *keeper) childLocked(c *kid) {
	k.pids[c.pid] = c
	k.children[c.pidfd] = c
	ev := unix.EpollEvent{Events: unix.EPOLLIN | unix.EPOLLET, Fd: int32(c.pidfd)}
	unix.EpollCtl(k.ep, unix.EPOLL_CTL_ADD, c.pidfd, &ev)
}

// childlessLocked is the end of childLocked. ccd has the same pidfd, so closing ours would not end its events.
func (k *keeper) childlessLocked(c *kid) {
	if k.pids[c.pid] != c {
		return
	}
	delete(k.pids, c.pid)
	delete(k.children, c.pidfd)
	unix.EpollCtl(k.ep, unix.EPOLL_CTL_DEL, c.pidfd, nil)
}
