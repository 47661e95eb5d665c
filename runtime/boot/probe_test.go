package boot

import (
	"debug/elf"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"sort"
	"strings"
	"syscall"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"
)

// The test binary again, this time as the hostile program in a container: `/bin/probe NAME` with
// BOOT_TEST_PART=probe. It prints what it found as JSON.
var probes = map[string]func(args []string) any{
	"fds":    probeFds,
	"calls":  func([]string) any { return probeCalls() },
	"tunes":  func(a []string) any { return probeWritable(a) },
	"status": func([]string) any { return procFields("/proc/self/status") },
	"errnos": func([]string) any { return probeErrnos() },
	"hunt":   func(a []string) any { return probeHunt(a[0]) },
	"escape": func([]string) any { return probeEscape() },
	"keys":   func([]string) any { return probeKeys() },
	"tty":    func([]string) any { return probeTTY() },
	"ping":   func([]string) any { return probePing() },
	"flood":  func(a []string) any { flood(a[0]); return nil },
	"args":   func(a []string) any { return []int{len(a), len(strings.Join(a, "")), len(os.Environ())} },
}

func probe(args []string) {
	f, ok := probes[args[0]]
	if !ok {
		fmt.Println("no such probe")
		os.Exit(1)
	}
	json.NewEncoder(os.Stdout).Encode(f(args[1:]))
}

// withProbe puts the test binary into an image, and its libraries when it was built with cgo.
func withProbe(t testing.TB, lower string) {
	t.Helper()
	copyFile(t, "/proc/self/exe", lower+"/bin/probe")
	exe, err := elf.Open("/proc/self/exe")
	must(t, err)
	defer exe.Close()
	interp := exe.Section(".interp")
	if interp == nil {
		return
	}
	b, err := interp.Data()
	must(t, err)
	loader := strings.TrimRight(string(b), "\x00")
	copyFile(t, loader, lower+loader)
	real, err := filepath.EvalSymlinks(loader)
	must(t, err)
	libs, err := exe.ImportedLibraries()
	must(t, err)
	for _, l := range libs {
		p := filepath.Join(filepath.Dir(real), l)
		copyFile(t, p, lower+strings.TrimPrefix(p, "/usr"))
	}
}

func copyFile(t testing.TB, from, to string) {
	t.Helper()
	b, err := os.ReadFile(from)
	must(t, err)
	must(t, os.MkdirAll(filepath.Dir(to), 0o755))
	must(t, os.WriteFile(to, b, 0o755))
}

// probeIn runs a probe in a container and decodes what it says.
func probeIn[T any](t testing.TB, o SlotOptions, lower string, change func(*Config), args ...string) T {
	t.Helper()
	withProbe(t, lower)
	got := runIn(t, o, lower, func(c *Config) {
		c.Process.Env = append(c.Process.Env, "BOOT_TEST_PART=probe")
		if change != nil {
			change(c)
		}
	}, append([]string{"/bin/probe"}, args...)...)
	var v T
	if err := json.Unmarshal([]byte(got.out), &v); err != nil {
		t.Fatalf("probe %v: %v: %q", args, err, got.out)
	}
	return v
}

type fdList struct {
	Fds map[string]string
	Cwd string
	Up  bool // the way up from the working directory ends at the root
}

func probeFds([]string) any {
	list := fdList{Fds: map[string]string{}}
	entries, _ := os.ReadDir("/proc/self/fd")
	for _, e := range entries {
		if target, err := os.Readlink("/proc/self/fd/" + e.Name()); err == nil && !strings.HasPrefix(target, "/proc/") && !strings.Contains(target, "eventpoll") && !strings.Contains(target, "eventfd") {
			list.Fds[e.Name()] = strings.SplitN(target, ":", 2)[0]
		}
	}
	var buf [4096]byte
	n, err := unix.Getcwd(buf[:])
	if err == nil {
		list.Cwd = string(buf[:n-1])
	}
	os.Chdir(strings.Repeat("../", 40))
	var here, root unix.Stat_t
	list.Up = unix.Stat(".", &here) == nil && unix.Stat("/", &root) == nil && here.Ino == root.Ino && here.Dev == root.Dev
	return list
}

// probeCalls tries what no container may do and gives the errno of each.
func probeCalls() map[string]int {
	out := map[string]int{}
	try := func(name string, nr uintptr, args ...uintptr) {
		var a [6]uintptr
		copy(a[:], args)
		r, _, e := unix.RawSyscall6(nr, a[0], a[1], a[2], a[3], a[4], a[5])
		if nr == unix.SYS_CLONE && r == 0 && e == 0 { // it worked, and this is the child
			unix.RawSyscall(unix.SYS_EXIT_GROUP, 0, 0, 0)
		}
		out[name] = int(e)
	}
	var buf [256]byte
	p := uintptr(unsafe.Pointer(&buf))
	try("AF_ALG", unix.SYS_SOCKET, unix.AF_ALG, unix.SOCK_SEQPACKET, 0)
	try("AF_VSOCK", unix.SYS_SOCKET, unix.AF_VSOCK, unix.SOCK_STREAM, 0)
	try("SOCK_RAW", unix.SYS_SOCKET, unix.AF_INET, unix.SOCK_RAW, unix.IPPROTO_ICMP)
	try("AF_PACKET", unix.SYS_SOCKET, unix.AF_PACKET, unix.SOCK_RAW, 0)
	try("io_uring_setup", unix.SYS_IO_URING_SETUP, 1, p)
	try("io_uring_enter", unix.SYS_IO_URING_ENTER, ^uintptr(0), 0)
	try("keyctl", unix.SYS_KEYCTL, unix.KEYCTL_GET_KEYRING_ID, ^uintptr(3), 0)
	try("add_key", unix.SYS_ADD_KEY, p, p, p, 0, ^uintptr(3))
	try("request_key", unix.SYS_REQUEST_KEY, p, p, 0, 0)
	try("bpf", unix.SYS_BPF, 0, p, 0)
	try("perf_event_open", unix.SYS_PERF_EVENT_OPEN, p, 0, ^uintptr(0), ^uintptr(0), 0)
	try("userfaultfd", unix.SYS_USERFAULTFD, 0)
	try("kexec_load", unix.SYS_KEXEC_LOAD, 0, 0, 0, 0)
	try("init_module", unix.SYS_INIT_MODULE, p, 0, p)
	try("finit_module", unix.SYS_FINIT_MODULE, ^uintptr(0), p, 0)
	try("delete_module", unix.SYS_DELETE_MODULE, p, 0)
	try("clock_settime", unix.SYS_CLOCK_SETTIME, 0, p)
	try("settimeofday", unix.SYS_SETTIMEOFDAY, p, 0)
	try("mount", unix.SYS_MOUNT, p, p, p, 0, 0)
	try("umount2", unix.SYS_UMOUNT2, p, 0)
	try("pivot_root", unix.SYS_PIVOT_ROOT, p, p)
	try("open_tree", unix.SYS_OPEN_TREE, ^uintptr(99), p, 1)
	try("fsopen", unix.SYS_FSOPEN, p, 0)
	try("mount_setattr", unix.SYS_MOUNT_SETATTR, ^uintptr(99), p, 0, p, 32)
	try("setns", unix.SYS_SETNS, 0, 0)
	try("unshare user", unix.SYS_UNSHARE, unix.CLONE_NEWUSER)
	try("unshare mnt", unix.SYS_UNSHARE, unix.CLONE_NEWNS)
	try("clone user", unix.SYS_CLONE, unix.CLONE_NEWUSER|uintptr(unix.SIGCHLD), 0, 0, 0, 0)
	try("clone3", unix.SYS_CLONE3, p, 88)
	try("open_by_handle_at", unix.SYS_OPEN_BY_HANDLE_AT, ^uintptr(99), p, 0)
	try("swapon", unix.SYS_SWAPON, p, 0)
	try("reboot", unix.SYS_REBOOT, 0xfee1dead, 672274793, 0, 0)
	try("acct", unix.SYS_ACCT, p)
	try("syslog", unix.SYS_SYSLOG, 3, p, 10)
	try("quotactl", unix.SYS_QUOTACTL, 0, 0, 0, 0)
	if runtime.GOARCH == "amd64" {
		try("x32 getpid", 0x40000000+39)
		out["i386 getpid"] = int32Call(20)
	}
	return out
}

// int32Call makes a call of i386 from a 64-bit program: `mov eax, nr; int 0x80; ret`.
func int32Call(nr uint32) int {
	page, err := unix.Mmap(-1, 0, 4096, unix.PROT_READ|unix.PROT_WRITE|unix.PROT_EXEC, unix.MAP_PRIVATE|unix.MAP_ANON)
	if err != nil {
		return -1
	}
	copy(page, []byte{0xb8, byte(nr), byte(nr >> 8), 0, 0, 0xcd, 0x80, 0xc3})
	entry := uintptr(unsafe.Pointer(&page[0]))
	at := &entry
	r := (*(*func() int)(unsafe.Pointer(&at)))()
	return -int(int32(r))
}

// probeWritable tries to write nothing to every file below the given trees and lists those that take it.
func probeWritable(roots []string) []string {
	open := []string{}
	for _, root := range roots {
		filepath.WalkDir(root, func(p string, d os.DirEntry, err error) error {
			if err != nil || d.IsDir() || d.Type()&os.ModeSymlink != 0 {
				return nil
			}
			fd, err := unix.Open(p, unix.O_WRONLY|unix.O_NONBLOCK|unix.O_NOCTTY, 0)
			if err != nil {
				return nil
			}
			// Root may open what it cannot write: a file without a write operation gives EINVAL or EIO.
			if _, err := unix.Write(fd, nil); err == nil {
				open = append(open, p)
			}
			unix.Close(fd)
			return nil
		})
	}
	sort.Strings(open)
	return open
}

// probeErrnos calls everything there is with arguments that mean nothing.
func probeErrnos() map[int]int {
	skip := map[int]bool{unix.SYS_EXIT: true, unix.SYS_EXIT_GROUP: true, unix.SYS_RT_SIGRETURN: true, unix.SYS_RT_SIGSUSPEND: true,
		unix.SYS_CLONE: true, unix.SYS_RESTART_SYSCALL: true, unix.SYS_MUNMAP: true, unix.SYS_SCHED_YIELD: true, unix.SYS_VHANGUP: true}
	if runtime.GOARCH == "amd64" {
		for _, nr := range []int{57, 58, 34, 335, 336} { // fork, vfork, pause, uretprobe, uprobe
			skip[nr] = true
		}
	}
	out := map[int]int{}
	for nr := range 480 {
		if skip[nr] {
			continue
		}
		m := ^uintptr(0)
		_, _, e := unix.RawSyscall6(uintptr(nr), m, m, m, m, m, m)
		out[nr] = int(e)
	}
	return out
}

// prey is what probeHunt got hold of in processes that joined the container: a writable program, a link, a directory, a
// trace; a trace of a process that has more rights than the hunter.
type prey struct{ Seen, Exe, Links, Dirs, Traced, Stronger int }

// probeHunt looks at every other process as long as the file stop does not exist.
func probeHunt(stop string) prey {
	runtime.LockOSThread() // a tracer is a thread
	var got prey
	me, own := fmt.Sprint(os.Getpid()), procFields("/proc/self/status")
	for {
		entries, _ := os.ReadDir("/proc")
		for _, e := range entries {
			dir := "/proc/" + e.Name()
			if e.Name() != me && isInit(dir) {
				got.Seen++
				got.bite(dir, own)
			}
		}
		if _, err := os.Stat(stop); err == nil {
			return got
		}
	}
}

// bite tries one process. What it gets counts only if it was ccinit still, not the program it became.
func (got *prey) bite(dir string, own map[string]string) {
	if fd, err := unix.Open(dir+"/exe", unix.O_WRONLY, 0); err == nil && isInit(dir) {
		got.Exe++
		unix.Close(fd)
	}
	for _, link := range []string{"/cwd", "/root", "/fd/0", "/fd/3", "/fd/4", "/fd/5", "/fd/6"} {
		if _, err := os.Readlink(dir + link); err == nil && isInit(dir) {
			got.Links++
		}
		var st unix.Stat_t
		if strings.HasPrefix(link, "/fd/") && unix.Stat(dir+link, &st) == nil && st.Mode&unix.S_IFMT == unix.S_IFDIR && isInit(dir) {
			got.Dirs++
		}
	}
	var pid int
	fmt.Sscan(filepath.Base(dir), &pid)
	if unix.PtraceSeize(pid) != nil {
		return
	}
	unix.PtraceInterrupt(pid)
	unix.Wait4(pid, nil, unix.WALL, nil)
	if isInit(dir) {
		got.Traced++
		its := procFields(dir + "/status")
		if its["CapPrm"] != own["CapPrm"] || its["CapBnd"] != own["CapBnd"] || its["Seccomp"] != own["Seccomp"] || its["NoNewPrivs"] != own["NoNewPrivs"] {
			got.Stronger++
		}
	}
	unix.PtraceDetach(pid)
}

func isInit(dir string) bool {
	comm, _ := os.ReadFile(dir + "/comm")
	return string(comm) == "ccinit\n"
}

// probeEscape is the classic way out of a chroot. It gives the inode numbers of the root as it was and as it is in the end.
func probeEscape() [2]uint64 {
	var before, after unix.Stat_t
	unix.Stat("/", &before)
	os.Mkdir("/tmp/jail", 0o755)
	fd, _ := unix.Open("/", unix.O_RDONLY|unix.O_DIRECTORY, 0)
	if err := unix.Chroot("/tmp/jail"); err != nil {
		return [2]uint64{uint64(err.(syscall.Errno)), 0}
	}
	unix.Fchdir(fd)
	for range 50 {
		unix.Chdir("..")
	}
	unix.Chroot(".")
	unix.Stat("/", &after)
	return [2]uint64{before.Ino, after.Ino}
}

func probeKeys() map[string]int {
	out := map[string]int{}
	for name, id := range map[string]int{"session": unix.KEY_SPEC_SESSION_KEYRING, "user": unix.KEY_SPEC_USER_KEYRING} {
		if key, err := unix.KeyctlSearch(id, "user", "cc-boot-secret", 0); err == nil {
			out[name] = key
		}
	}
	return out
}

func probeTTY() map[string]string {
	out := map[string]string{}
	for fd := range 3 {
		out[fmt.Sprint(fd)], _ = os.Readlink(fmt.Sprintf("/proc/self/fd/%d", fd))
	}
	var a, b unix.Stat_t
	if unix.Fstat(0, &a) == nil && unix.Stat("/dev/console", &b) == nil && a.Rdev == b.Rdev {
		out["console"] = "same"
	}
	if f, err := os.OpenFile("/dev/tty", os.O_RDWR, 0); err == nil {
		out["tty"] = "open"
		f.Close()
	}
	if w, err := unix.IoctlGetWinsize(0, unix.TIOCGWINSZ); err == nil {
		out["size"] = fmt.Sprintf("%dx%d", w.Col, w.Row)
	}
	sid, _ := unix.Getsid(0)
	out["leader"] = fmt.Sprint(sid == os.Getpid())
	return out
}

func procFields(file string) map[string]string {
	out := map[string]string{}
	b, _ := os.ReadFile(file)
	for _, line := range strings.Split(string(b), "\n") {
		if k, v, ok := strings.Cut(line, ":"); ok {
			out[k] = strings.Join(strings.Fields(v), " ")
		}
	}
	return out
}

// probePing sends one ICMP echo over lo without a raw socket.
func probePing() string {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM, unix.IPPROTO_ICMP)
	if err != nil {
		return err.Error()
	}
	unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &unix.Timeval{Sec: 2})
	if err := unix.Sendto(fd, []byte{8, 0, 0, 0, 0, 0, 0, 1}, 0, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}); err != nil {
		return err.Error()
	}
	var b [64]byte
	if n, _, err := unix.Recvfrom(fd, b[:], 0); err != nil || n < 8 || b[0] != 0 {
		return fmt.Sprint("no answer: ", err)
	}
	return "pong"
}
