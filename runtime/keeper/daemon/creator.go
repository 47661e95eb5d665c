package daemon

import (
	"runtime"

	"golang.org/x/sys/unix"
)

// secureNoFixup keeps the capabilities of a thread that changes its user (SECBIT_NO_SETUID_FIXUP, capabilities(7)).
const secureNoFixup = 1 << 2

// asCreator runs f on a thread with this effective user and all the keeper's capabilities.
//
// What a user namespace uses up of what is counted by user (inotify instances, queued signals and timers, message queues; ucounts in
// user_namespaces(7)) is charged to its creator too. Were that root for all of them, one container could take all that
// root of the host has of them. Nothing else ever runs as that user outside of a container, so what it owns (the namespace)
// is nobody's.
//
// The process is not dumpable from then on: the kernel sees to that when a user changes.
func asCreator(id uint32, f func() error) error {
	runtime.LockOSThread()
	if err := become(secureNoFixup, int(id)); err != nil {
		return err // the thread ends with its goroutine
	}
	err := f()
	if become(0, 0) == nil {
		runtime.UnlockOSThread()
	}
	return err
}

// become changes the calling thread alone, which the functions of package unix would not.
func become(secureBits, euid int) error {
	set := func() error {
		return unix.Prctl(unix.PR_SET_SECUREBITS, uintptr(secureBits), 0, 0, 0)
	}
	if secureBits != 0 {
		if err := set(); err != nil {
			return err
		}
	}
	const same = ^uintptr(0)
	if _, _, e := unix.RawSyscall(unix.SYS_SETRESUID, same, uintptr(euid), same); e != 0 {
		return e
	}
	if secureBits == 0 {
		return set()
	}
	return nil
}
