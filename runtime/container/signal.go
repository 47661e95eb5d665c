package container

import (
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/containercloud/cc/fault"
)

// ParseSignal reads `TERM`, `SIGTERM`, `15`, `RTMIN+3`.
func ParseSignal(s string) (syscall.Signal, error) {
	bad := fault.New(fault.Invalid, "%q is no signal", s).WithHint("a name as TERM or SIGTERM, or a number from 1 to 64")
	if n, err := strconv.ParseUint(s, 10, 8); err == nil {
		if n < 1 || n > 64 {
			return 0, bad
		}
		return syscall.Signal(n), nil
	}
	name := strings.TrimPrefix(strings.ToUpper(s), "SIG")
	if n, ok := realtime(name); ok {
		return n, nil
	}
	if n := unix.SignalNum("SIG" + name); n != 0 {
		return n, nil
	}
	return 0, bad
}

// realtime reads RTMIN, RTMIN+N, RTMAX, RTMAX-N as the C library numbers them (34 to 64).
func realtime(name string) (syscall.Signal, bool) {
	const low, high = 34, 64
	at := 0
	switch {
	case name == "RTMIN":
		at = low
	case name == "RTMAX":
		at = high
	case strings.HasPrefix(name, "RTMIN+"):
		n, err := strconv.ParseUint(name[6:], 10, 8)
		if err != nil {
			return 0, false
		}
		at = low + int(n)
	case strings.HasPrefix(name, "RTMAX-"):
		n, err := strconv.ParseUint(name[6:], 10, 8)
		if err != nil {
			return 0, false
		}
		at = high - int(n)
	}
	return syscall.Signal(at), at >= low && at <= high
}

// SignalName is the one spelling out: `SIGTERM`, `SIGRTMIN+3`.
func SignalName(sig syscall.Signal) string {
	if name := unix.SignalName(sig); name != "" {
		return name
	}
	if sig >= 34 {
		return "SIGRTMIN+" + strconv.Itoa(int(sig)-34)
	}
	return strconv.Itoa(int(sig))
}
