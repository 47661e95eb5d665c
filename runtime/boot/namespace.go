package boot

import (
	"fmt"
	"os"

	"golang.org/x/sys/unix"

	"github.com/containercloud/cc/fault"
)

// ioctls on a pidfd, Linux 6.11 (include/uapi/linux/pidfd.h): _IO(0xff, n).
var pidfdNamespaces = map[string]uintptr{
	"cgroup": 0xff01, "ipc": 0xff02, "mnt": 0xff03, "net": 0xff04, "pid": 0xff05, "user": 0xff09, "uts": 0xff0a,
}

// Namespace opens a namespace (a name of /proc/PID/ns) of a process. pid must be that of pidfd; it is used where
// the kernel has no ioctl for it.
func Namespace(pidfd *os.File, pid int, kind string) (*os.File, error) {
	fd, err := rawFd(pidfd)
	if err != nil {
		return nil, err
	}
	if n, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), pidfdNamespaces[kind], 0); errno == 0 {
		return os.NewFile(n, kind), nil
	}
	f, err := os.Open(fmt.Sprintf("/proc/%d/ns/%s", pid, kind))
	if err != nil {
		return nil, err
	}
	// Had the process ended before the open, the number could be another's by now.
	if err := unix.PidfdSendSignal(fd, 0, nil, 0); err != nil {
		f.Close()
		return nil, fault.New(fault.NotFound, "cannot open the %s namespace of %d: it has ended", kind, pid)
	}
	return f, nil
}
