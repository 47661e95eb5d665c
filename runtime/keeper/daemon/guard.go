package daemon

import (
	"os"
	"strconv"
	"time"

	"golang.org/x/sys/unix"

	"github.com/containercloud/cc/runtime/keeper/wire"
)

// guard is a FUSE connection that is aborted when its server has ended.
//
// The end of the server's socket or its pidfd would not tell: both wait for its last thread, and that is the one which
// cannot end before the connection is aborted. So it is looked at, as long as there is one.
type guard struct {
	mount int    // attached nowhere; it keeps the superblock, and so the number
	minor uint32 // of the superblock's device: what fusectl calls the connection
	pid   int    // the server, and when it was started
	start uint64
}

const guardInterval = 500 * time.Millisecond

// watchOver takes the mount of a client; the one before is dropped. It owns files whatever it returns.
func (k *keeper) watchOver(c *conn, files []int) error {
	if len(files) != 1 {
		wire.Close(files)
		return unix.EINVAL
	}
	var st unix.Statx_t
	err := unix.Statx(files[0], "", unix.AT_EMPTY_PATH|unix.AT_STATX_DONT_SYNC, 0, &st)
	if err == nil && st.Dev_major != 0 {
		err = unix.EINVAL
	}
	if err != nil {
		wire.Close(files)
		return err
	}
	g := guard{files[0], st.Dev_minor, c.pid, startTime(c.pid)}
	k.mu.Lock()
	defer k.mu.Unlock()
	if len(k.guards) == 0 {
		time.AfterFunc(guardInterval, k.lookAtServers)
	}
	for i, old := range k.guards {
		if old.pid == g.pid && old.start == g.start {
			unix.Close(old.mount)
			k.guards[i] = g
			return nil
		}
	}
	k.guards = append(k.guards, g)
	return nil
}

// lookAtServers aborts the connections whose server has ended. One that was unmounted in an orderly way is aborted already;
// that does no harm.
func (k *keeper) lookAtServers() {
	k.mu.Lock()
	var ended, rest []guard
	for _, g := range k.guards {
		if g.ended() {
			ended = append(ended, g)
		} else {
			rest = append(rest, g)
		}
	}
	k.guards = rest
	if len(rest) > 0 {
		time.AfterFunc(guardInterval, k.lookAtServers)
	}
	k.mu.Unlock()
	for _, g := range ended {
		if err := abort(g.minor); err != nil {
			say("cannot abort FUSE connection " + strconv.Itoa(int(g.minor)) + ": " + err.Error())
		}
		unix.Close(g.mount)
	}
}

// ended reports whether the server is gone, or has only to leave the kernel.
func (g guard) ended() bool {
	return startTime(g.pid) != g.start || dying(g.pid)
}

// abort tells the kernel to end a FUSE connection, through a fusectl file system (Documentation/filesystems/fuse) of our own:
// the host may have mounted none.
func abort(connection uint32) error {
	fs, err := unix.Fsopen("fusectl", unix.FSOPEN_CLOEXEC)
	if err != nil {
		return os.NewSyscallError("fsopen", err)
	}
	defer unix.Close(fs)
	if err := unix.FsconfigCreate(fs); err != nil {
		return os.NewSyscallError("fsconfig", err)
	}
	dir, err := unix.Fsmount(fs, unix.FSMOUNT_CLOEXEC, 0)
	if err != nil {
		return os.NewSyscallError("fsmount", err)
	}
	defer unix.Close(dir)
	f, err := unix.Openat(dir, strconv.Itoa(int(connection))+"/abort", unix.O_WRONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return os.NewSyscallError("open", err)
	}
	defer unix.Close(f)
	_, err = unix.Write(f, []byte("1"))
	return os.NewSyscallError("write", err)
}
