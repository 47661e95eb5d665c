package tree

import (
	"encoding/binary"
	"os"
	"runtime"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/containercloud/cc/fault"
)

// Linux's system calls that only amd64 has, and those of 32-bit programs on it: calls which have these numbers on amd64
// (fstat, preadv, getpid, pwritev) look no name up.
const (
	amd64Open  = 2
	amd64Mkdir = 83

	i386Open    = 5
	i386Openat  = 295
	i386Mkdir   = 39
	i386Mkdirat = 296
)

// creates reports whether a thread is in a system call that makes a file or directory that must not be there yet. It may
// be asked while the thread waits for an answer of ours, so that it stays in the call. FUSE does not say what a lookup is
// for; proc_pid_syscall(5) does. Where that cannot be read (Yama's ptrace_scope 3) the answer is yes.
func creates(tid uint32) bool {
	call, args, err := systemCall(tid)
	if err != nil {
		return true
	}
	const excl = unix.O_CREAT | unix.O_EXCL
	switch call {
	case unix.SYS_MKDIRAT:
		return true
	case unix.SYS_OPENAT:
		return args[2]&excl == excl
	case unix.SYS_OPENAT2:
		return openHow(tid, args[2])&excl == excl
	}
	if runtime.GOARCH != "amd64" {
		return false
	}
	switch call {
	case amd64Mkdir, i386Mkdir, i386Mkdirat:
		return true
	case amd64Open, i386Open:
		return args[1]&excl == excl
	case i386Openat:
		return args[2]&excl == excl
	}
	return false
}

var errRunning error = fault.New(fault.Again, "the thread does not wait yet")

// systemCall is the number and the arguments of the call that a thread waits in. A thread that has just asked us
// something may not have gone to sleep yet; on a busy machine others run before it does.
func systemCall(tid uint32) (call int, args [6]uint64, err error) {
	for pause := 10 * time.Microsecond; ; pause *= 2 {
		call, args, err = readCall(tid)
		if err != errRunning || pause > 200*time.Millisecond {
			return call, args, err
		}
		time.Sleep(pause)
	}
}

func readCall(tid uint32) (call int, args [6]uint64, err error) {
	text, err := os.ReadFile("/proc/" + strconv.FormatUint(uint64(tid), 10) + "/syscall")
	if err != nil {
		return 0, args, err
	}
	f := strings.Fields(string(text))
	if len(f) == 1 { // the word "running"
		return 0, args, errRunning
	}
	if call, err = strconv.Atoi(f[0]); err != nil || len(f) < 1+len(args) {
		return call, args, err // -1: in no call
	}
	for i := range args {
		if args[i], err = strconv.ParseUint(f[1+i], 0, 64); err != nil {
			return call, args, err
		}
	}
	return call, args, nil
}

// openHow reads the flags of openat2(2), which are the first word of its struct open_how.
func openHow(tid uint32, addr uint64) uint64 {
	var flags [8]byte
	local := unix.Iovec{Base: &flags[0]}
	local.SetLen(len(flags))
	remote := unix.RemoteIovec{Base: uintptr(addr), Len: len(flags)}
	if n, err := unix.ProcessVMReadv(int(tid), []unix.Iovec{local}, []unix.RemoteIovec{remote}, 0); err != nil || n != len(flags) {
		return unix.O_CREAT | unix.O_EXCL
	}
	return binary.NativeEndian.Uint64(flags[:])
}
