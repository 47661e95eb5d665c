package daemon

import (
	"encoding/binary"
	"time"

	"golang.org/x/sys/unix"
)

// connector hears the exit of every process of the host, with its status (the kernel's process events connector,
// Documentation/driver-api/connector.rst). It is for kernels before 6.15, where nobody but the parent can ask
// for the status of a process that has been reaped: a keeper whose predecessor was killed is not the parent of what it
// takes over. It listens while there are such processes, and some time from the start, when there may be some soon.
// A filter in the kernel lets exits through only. Without it (no CONFIG_PROC_EVENTS) those statuses stay unknown.
//
//	nlmsghdr   cn_msg                       proc_event
//	16         idx val seq ack len flags    what cpu timestamp pid tgid code ...
//	0          16                           36   40  44        52  56   60
type connector struct {
	fd    int // -1 not listening
	heard []stray
}

const (
	cnProc     = 1          // CN_IDX_PROC, CN_VAL_PROC, and the multicast group
	procExit   = 0x80000000 // PROC_EVENT_EXIT
	procListen = 1          // PROC_CN_MCAST_LISTEN
	maxHeard   = 1024
)

// needsConnector reports whether the kernel is older than Linux 6.15.
func needsConnector() bool {
	var u unix.Utsname
	if unix.Uname(&u) != nil {
		return true
	}
	var v [2]int
	i := 0
	for _, c := range u.Release {
		if c >= '0' && c <= '9' {
			v[i] = 10*v[i] + int(c-'0')
		} else if i++; c != '.' || i == len(v) {
			break
		}
	}
	return v[0] < 6 || v[0] == 6 && v[1] < 15
}

// listenForExits begins to listen where that is needed.
func (k *keeper) listenForExits() {
	k.exits.fd = -1
	if !needsConnector() {
		return
	}
	fd, err := openConnector()
	if err != nil {
		say("exit codes of processes that outlive a keeper will be unknown: " + err.Error())
		return
	}
	ev := unix.EpollEvent{Events: unix.EPOLLIN, Fd: int32(fd)}
	if err := unix.EpollCtl(k.ep, unix.EPOLL_CTL_ADD, fd, &ev); err != nil {
		unix.Close(fd)
		return
	}
	k.exits.fd = fd
	time.AfterFunc(remember, k.stopListening)
}

// stopListening closes the connector when nobody needs it, or looks again later.
func (k *keeper) stopListening() {
	k.mu.Lock()
	defer k.mu.Unlock()
	if len(k.foreign) > 0 {
		time.AfterFunc(remember, k.stopListening)
		return
	}
	unix.Close(k.exits.fd)
	k.exits = connector{fd: -1}
}

func openConnector() (int, error) {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, unix.NETLINK_CONNECTOR)
	if err != nil {
		return -1, err
	}
	filter := []unix.SockFilter{
		{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, K: 36},
		// The filter reads big endian what is written in the machine's order.
		{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, Jt: 0, Jf: 1, K: swap(procExit)},
		{Code: unix.BPF_RET | unix.BPF_K, K: 0xffffffff},
		{Code: unix.BPF_RET | unix.BPF_K, K: 0},
	}
	prog := unix.SockFprog{Len: uint16(len(filter)), Filter: &filter[0]}
	err = unix.SetsockoptSockFprog(fd, unix.SOL_SOCKET, unix.SO_ATTACH_FILTER, &prog)
	if err == nil {
		err = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUF, 1<<20)
	}
	if err == nil {
		err = unix.Bind(fd, &unix.SockaddrNetlink{Family: unix.AF_NETLINK, Groups: cnProc})
	}
	if err == nil {
		err = unix.Send(fd, listenMessage(), 0)
	}
	if err != nil {
		unix.Close(fd)
		return -1, err
	}
	return fd, nil
}

func swap(v uint32) uint32 {
	var b [4]byte
	binary.NativeEndian.PutUint32(b[:], v)
	return binary.BigEndian.Uint32(b[:])
}

func listenMessage() []byte {
	b := make([]byte, 40)
	binary.NativeEndian.PutUint32(b, 40)
	binary.NativeEndian.PutUint16(b[4:], unix.NLMSG_DONE)
	binary.NativeEndian.PutUint32(b[16:], cnProc)
	binary.NativeEndian.PutUint32(b[20:], cnProc)
	binary.NativeEndian.PutUint16(b[32:], 4)
	binary.NativeEndian.PutUint32(b[36:], procListen)
	return b
}

// hearLocked takes what the kernel has told so far.
func (k *keeper) hearLocked() {
	var b [1024]byte
	for k.exits.fd >= 0 {
		n, from, err := unix.Recvfrom(k.exits.fd, b[:], 0)
		if err == unix.EINTR || err == unix.ENOBUFS {
			continue
		}
		if err != nil || n <= 0 {
			return
		}
		if a, ok := from.(*unix.SockaddrNetlink); !ok || a.Pid != 0 || n < 64 { // the kernel's own only
			continue
		}
		if s, ok := parseExit(b[:n]); ok {
			if len(k.exits.heard) >= maxHeard {
				k.exits.heard = append(k.exits.heard[:0], k.exits.heard[maxHeard/2:]...)
			}
			k.exits.heard = append(k.exits.heard, s)
		}
	}
}

func parseExit(b []byte) (stray, bool) {
	u := func(at int) uint32 { return binary.NativeEndian.Uint32(b[at:]) }
	if u(16) != cnProc || u(36) != procExit || u(52) != u(56) { // a thread that is not the first is not the process
		return stray{}, false
	}
	return stray{int(u(52)), gone{known: true, status: u(60), at: time.Now()}}, true
}

// heardLocked finds the end of a process that was heard no earlier than a time.
func (k *keeper) heardLocked(pid int, since time.Time) (gone, bool) {
	k.hearLocked()
	for i := len(k.exits.heard) - 1; i >= 0; i-- {
		if s := k.exits.heard[i]; s.pid == pid && !s.at.Before(since) {
			return s.gone, true
		}
	}
	return gone{}, false
}
