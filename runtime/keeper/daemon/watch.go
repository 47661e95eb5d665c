package daemon

import (
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/containercloud/cc/runtime/keeper/wire"
)

// unreaped is how long a dead process may stay a zombie of someone else before its status counts as unknown.
const unreaped = 10 * time.Second

// watch takes up a process that the keeper did not spawn: a child made with CLONE_PARENT, or one whose
// keeper died. files: the pidfd, then what the adoption has. It owns them whatever it returns.
func (k *keeper) watch(m wire.Watch, files []int) error {
	if len(files) < 1 {
		return unix.EINVAL
	}
	if pid := pidOf(files[0]); pid != int(m.PID) && pid != reaped {
		wire.Close(files)
		return unix.EINVAL
	}
	if err := k.reserve(m.ID); err != nil {
		wire.Close(files)
		return err
	}
	c := newKid(m.ID, int(m.PID), files[0], false)
	if m.Adopt.ID != "" {
		p, err := k.prepare(m.Adopt, files[1:])
		if err != nil {
			unix.Close(files[0])
			k.unreserve(m.ID)
			return err
		}
		k.mu.Lock()
		k.installLocked(c, p)
		k.mu.Unlock()
	} else {
		wire.Close(files[1:])
	}
	k.takeUp(c)
	return nil
}

// takeUp finds out whose child c is. No zombie is taken meanwhile, so that the answer stays true.
func (k *keeper) takeUp(c *kid) {
	k.reaping.Lock()
	defer k.reaping.Unlock()
	if pidOf(c.pidfd) == reaped {
		k.mu.Lock()
		g, known := k.claimLocked(c.pid, time.Time{})
		if !known {
			g, _ = k.strangersEndLocked(c, time.Time{})
		}
		k.kids[c.id] = c
		k.mu.Unlock()
		if g.at.IsZero() {
			g.at = time.Now()
		}
		k.end(c, g)
		return
	}
	if parentOf(c) == unix.Getpid() {
		c.child = true
		k.enter(c, time.Now())
		return
	}
	k.mu.Lock()
	k.kids[c.id] = c
	k.foreign[c.pidfd] = c
	c.since = time.Now()
	ev := unix.EpollEvent{Events: unix.EPOLLIN | unix.EPOLLET, Fd: int32(c.pidfd)}
	err := unix.EpollCtl(k.ep, unix.EPOLL_CTL_ADD, c.pidfd, &ev)
	k.mu.Unlock()
	if err != nil {
		k.strangerReady(c, unix.EPOLLHUP)
	}
}

// strangerReady is called when the pidfd of a process that is not our child has something to say: that it is
// dead, and later (EPOLLHUP) that its parent has reaped it. It ends the process once.
func (k *keeper) strangerReady(c *kid, events uint32) {
	k.mu.Lock()
	if k.kids[c.id] != c || c.exited || k.foreign[c.pidfd] != c {
		k.mu.Unlock()
		return
	}
	g, ok := k.strangersEndLocked(c, c.since)
	if !ok && events&unix.EPOLLHUP == 0 {
		k.mu.Unlock()
		time.AfterFunc(unreaped, func() { k.strangerReady(c, unix.EPOLLHUP) })
		return
	}
	delete(k.foreign, c.pidfd)
	unix.EpollCtl(k.ep, unix.EPOLL_CTL_DEL, c.pidfd, nil)
	k.mu.Unlock()
	k.end(c, g)
}

// strangersEndLocked asks the kernel for the status of a dead process that is not our child: by its pidfd once it is
// reaped (Linux 6.15, PIDFD_INFO_EXIT), else what the connector heard since a time, else in /proc as long as it is a
// zombie (field 52, exit_code).
func (k *keeper) strangersEndLocked(c *kid, since time.Time) (gone, bool) {
	g := gone{at: time.Now()}
	info := unix.PidfdInfo{Mask: unix.PIDFD_INFO_EXIT}
	if err := unix.IoctlPidfdInfo(c.pidfd, &info); err == nil && info.Mask&unix.PIDFD_INFO_EXIT != 0 {
		g.known, g.status = true, uint32(info.Exit_code)
		return g, true
	}
	if heard, ok := k.heardLocked(c.pid, since); ok && !alive(c.pidfd) {
		return heard, true
	}
	if start := startTime(c.pid); start == 0 || start != c.start || alive(c.pidfd) {
		return g, false
	}
	code, ok := stat(c.pid, 52)
	g.known, g.status = ok, uint32(code)
	return g, ok
}

// alive reports whether the process of a pidfd has not ended yet.
func alive(pidfd int) bool {
	p := []unix.PollFd{{Fd: int32(pidfd), Events: unix.POLLIN}}
	n, err := unix.Poll(p, 0)
	return err == nil && n == 0
}

const (
	reaped  = -1
	noPidfd = 0
)

// pidOf returns whose pidfd fd is, or reaped, or noPidfd.
func pidOf(fd int) int {
	info := unix.PidfdInfo{Mask: unix.PIDFD_INFO_PID}
	switch unix.IoctlPidfdInfo(fd, &info) { // Linux 6.13
	case nil:
		return int(info.Pid)
	case unix.ESRCH:
		return reaped
	}
	f, err := unix.Open("/proc/self/fdinfo/"+strconv.Itoa(fd), unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return noPidfd
	}
	defer unix.Close(f)
	var b [512]byte
	n, _ := unix.Read(f, b[:])
	_, rest, ok := strings.Cut(string(b[:max(n, 0)]), "\nPid:\t")
	if !ok {
		return noPidfd
	}
	line, _, _ := strings.Cut(rest, "\n")
	pid, err := strconv.Atoi(line)
	if err != nil {
		return noPidfd
	}
	return pid
}
