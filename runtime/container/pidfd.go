package container

import (
	"errors"
	"os"

	"golang.org/x/sys/unix"
)

// pidfdSignal sends a signal by a pidfd that another goroutine may close meanwhile. A process that has ended, or a
// closed pidfd, is unix.ESRCH.
func pidfdSignal(f *os.File, sig unix.Signal, flags int) error {
	conn, err := f.SyscallConn()
	if err != nil {
		return unix.ESRCH
	}
	var no error
	if err := conn.Control(func(fd uintptr) { no = unix.PidfdSendSignal(int(fd), sig, nil, flags) }); err != nil {
		return unix.ESRCH
	}
	return no
}

// alive reports whether the process of a pidfd is still there; its number is then not another's.
func alive(f *os.File) error {
	return os.NewSyscallError("pidfd_send_signal", pidfdSignal(f, 0, 0))
}

// killGroup kills a command with what it started in its process group, where the kernel can do that by pidfd (6.9).
func killGroup(f *os.File) error {
	const processGroup = 1 << 2 // PIDFD_SIGNAL_PROCESS_GROUP
	err := pidfdSignal(f, unix.SIGKILL, processGroup)
	if errors.Is(err, unix.EINVAL) {
		err = pidfdSignal(f, unix.SIGKILL, 0)
	}
	return err
}
