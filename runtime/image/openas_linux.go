package image

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// setThreadIDs changes what this one thread may open: raw calls, because the library's change all threads. Setting the file
// system uid to one that is not root also drops CAP_DAC_OVERRIDE and its like from the thread.
func setThreadIDs(uid, gid uint32, groups []uint32) error {
	var p unsafe.Pointer
	if len(groups) > 0 {
		p = unsafe.Pointer(&groups[0])
	}
	if _, _, e := unix.RawSyscall(unix.SYS_SETGROUPS, uintptr(len(groups)), uintptr(p), 0); e != 0 {
		return e
	}
	for _, set := range []struct{ nr, id uintptr }{{unix.SYS_SETFSGID, uintptr(gid)}, {unix.SYS_SETFSUID, uintptr(uid)}} {
		unix.RawSyscall(set.nr, set.id, 0, 0)
		if now, _, _ := unix.RawSyscall(set.nr, ^uintptr(0), 0, 0); uint32(now) != uint32(set.id) { // asks, and changes nothing
			return unix.EPERM
		}
	}
	return nil
}
