package daemon

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// sigaction is the kernel's struct sigaction (rt_sigaction(2)) on 64-bit machines.
type sigaction struct {
	handler, flags, restorer uintptr
	mask                     uint64
}

// heedSignals undoes what whoever started us ignored. An ignored signal stays so over execve, in every child: after
// `nohup make up` no container would ever hear SIGHUP. It comes before signals are notified.
func heedSignals() {
	for n := uintptr(1); n <= 64; n++ {
		var act sigaction
		_, _, errno := unix.RawSyscall6(unix.SYS_RT_SIGACTION, n, 0, uintptr(unsafe.Pointer(&act)), 8, 0, 0)
		const ignored = 1 // SIG_IGN
		if errno != 0 || act.handler != ignored {
			continue
		}
		unix.RawSyscall6(unix.SYS_RT_SIGACTION, n, uintptr(unsafe.Pointer(&sigaction{})), 0, 8, 0, 0)
	}
}
