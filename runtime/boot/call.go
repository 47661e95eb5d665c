package boot

import "runtime"

// call is a system call that a script may hold. The table is the allow-list: the builder takes nothing
// else, so no value from outside can become another call.
type call uint8

const (
	callWrite call = iota
	callRead
	callClose
	callIoctl
	callSendmsg
	callSocket
	callFcntl
	callDup3
	callFchdir
	callChdir
	callChroot
	callPivotRoot
	callMount
	callUmount2
	callMkdirat
	callSymlinkat
	callMknodat
	callOpenat
	callOpenat2
	callFaccessat2
	callOpenTree
	callMoveMount
	callMountSetattr
	callFsopen
	callFsconfig
	callFsmount
	callCloseRange
	callPrctl
	callPrlimit
	callCapset
	callSetgroups
	callSetresgid
	callSetresuid
	callSethostname
	callSetsid
	callUmask
	callKeyctl
	callUnshare
	callSetns
	callClone
	callClone3
	callSigaction
	callSigprocmask
	callSeccomp
	callExecve
	callExitGroup
	callGetpid
	callWait4 // by INIT only
	callKill
	callSigtimedwait
	callInit // no system call: ccinit stays as pid 1 (`init on`)
)

var calls = [...]struct {
	name         string
	amd64, arm64 uint16
}{
	callWrite:        {"write", 1, 64},
	callRead:         {"read", 0, 63},
	callClose:        {"close", 3, 57},
	callIoctl:        {"ioctl", 16, 29},
	callSendmsg:      {"sendmsg", 46, 211},
	callSocket:       {"socket", 41, 198},
	callFcntl:        {"fcntl", 72, 25},
	callDup3:         {"dup3", 292, 24},
	callFchdir:       {"fchdir", 81, 50},
	callChdir:        {"chdir", 80, 49},
	callChroot:       {"chroot", 161, 51},
	callPivotRoot:    {"pivot_root", 155, 41},
	callMount:        {"mount", 165, 40},
	callUmount2:      {"umount2", 166, 39},
	callMkdirat:      {"mkdirat", 258, 34},
	callSymlinkat:    {"symlinkat", 266, 36},
	callMknodat:      {"mknodat", 259, 33},
	callOpenat:       {"openat", 257, 56},
	callOpenat2:      {"openat2", 437, 437},
	callFaccessat2:   {"faccessat2", 439, 439},
	callOpenTree:     {"open_tree", 428, 428},
	callMoveMount:    {"move_mount", 429, 429},
	callMountSetattr: {"mount_setattr", 442, 442},
	callFsopen:       {"fsopen", 430, 430},
	callFsconfig:     {"fsconfig", 431, 431},
	callFsmount:      {"fsmount", 432, 432},
	callCloseRange:   {"close_range", 436, 436},
	callPrctl:        {"prctl", 157, 167},
	callPrlimit:      {"prlimit64", 302, 261},
	callCapset:       {"capset", 126, 91},
	callSetgroups:    {"setgroups", 116, 159},
	callSetresgid:    {"setresgid", 119, 149},
	callSetresuid:    {"setresuid", 117, 147},
	callSethostname:  {"sethostname", 170, 161},
	callSetsid:       {"setsid", 112, 157},
	callUmask:        {"umask", 95, 166},
	callKeyctl:       {"keyctl", 250, 219},
	callUnshare:      {"unshare", 272, 97},
	callSetns:        {"setns", 308, 268},
	callClone:        {"clone", 56, 220},
	callClone3:       {"clone3", 435, 435},
	callSigaction:    {"rt_sigaction", 13, 134},
	callSigprocmask:  {"rt_sigprocmask", 14, 135},
	callSeccomp:      {"seccomp", 317, 277},
	callExecve:       {"execve", 59, 221},
	callExitGroup:    {"exit_group", 231, 94},
	callGetpid:       {"getpid", 39, 172},
	callWait4:        {"wait4", 61, 260},
	callKill:         {"kill", 62, 129},
	callSigtimedwait: {"rt_sigtimedwait", 128, 137},
	callInit:         {"INIT", 0xffff, 0xffff},
}

func (c call) String() string { return calls[c].name }

// nr is the call's number on the machine this program was built for.
func (c call) nr() uint16 { return c.nrOn(runtime.GOARCH) }

func (c call) nrOn(arch string) uint16 {
	if arch == "arm64" {
		return calls[c].arm64
	}
	return calls[c].amd64
}
