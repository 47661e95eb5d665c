package tree

import (
	"runtime"

	"golang.org/x/sys/unix"

	"github.com/containercloud/cc/fault"
)

// asRoot runs do as the container's root as far as the owners of new files go. Files cannot be made as the host's root and
// given away afterwards: below an idmapped mount in the directory (a container's /app) the host's root has no id, and
// the kernel refuses with EOVERFLOW.
//
// The ids for files belong to the thread (setfsuid(2)). Leaving 0 also drops the capabilities that have to do with files,
// which the container's root has in its own container; so they are raised again.
func (h HostDir) asRoot(do func() error) error {
	if h.UIDBase == 0 {
		return do()
	}
	runtime.LockOSThread()
	if err := setFileIDs(int(h.UIDBase)); err != nil {
		return err // the thread stays locked, and ends with its goroutine
	}
	err := do()
	if back := setFileIDs(0); back != nil {
		return back
	}
	runtime.UnlockOSThread()
	return err
}

func setFileIDs(id int) error {
	for _, call := range []uintptr{unix.SYS_SETFSGID, unix.SYS_SETFSUID} {
		_, _, _ = unix.RawSyscall(call, uintptr(id), 0, 0)
		if now, _, _ := unix.RawSyscall(call, ^uintptr(0), 0, 0); int(uint32(now)) != id { // -1 changes nothing
			return fault.New(fault.Denied, "cannot act as id %d", id)
		}
	}
	if id == 0 {
		return nil
	}
	head := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var caps [2]unix.CapUserData
	if err := unix.Capget(&head, &caps[0]); err != nil {
		return err
	}
	for i := range caps {
		caps[i].Effective = caps[i].Permitted
	}
	return unix.Capset(&head, &caps[0])
}
