package logs

import (
	"os"

	"golang.org/x/sys/unix"

	"github.com/containercloud/cc/fault"
)

// pipeSize is what a writer can put into a pipe before it must wait for the keeper.
const pipeSize = 1 << 20

// Pipe makes the pipe for one stream of a process. It belongs to the ids the process has on the host, so that it
// may open its own /dev/stdout and /dev/stderr again. w blocks, as programs expect of their output.
//
// The size falls short of 1 MiB when the system says so (fs.pipe-max-size, fs.pipe-user-pages-soft).
func Pipe(uid, gid uint32) (r, w *os.File, err error) {
	var p [2]int
	if err := unix.Pipe2(p[:], unix.O_CLOEXEC); err != nil {
		return nil, nil, fault.Wrap(os.NewSyscallError("pipe2", err), "cannot make a log pipe")
	}
	if err := unix.Fchown(p[0], int(uid), int(gid)); err != nil {
		unix.Close(p[0])
		unix.Close(p[1])
		return nil, nil, fault.Wrap(os.NewSyscallError("fchown", err), "cannot make a log pipe")
	}
	for size := pipeSize; size >= 64<<10; size /= 2 {
		if _, err := unix.FcntlInt(uintptr(p[0]), unix.F_SETPIPE_SZ, size); err == nil {
			break
		}
	}
	return os.NewFile(uintptr(p[0]), "log"), os.NewFile(uintptr(p[1]), "log"), nil
}
