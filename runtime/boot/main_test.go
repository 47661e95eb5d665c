package boot

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/containercloud/cc/runtime/keeper"
)

// The test binary plays three parts: the one `go test` starts, which only starts the second; the tests, in
// a mount and a network namespace of their own; and a small keeper, the parent of every ccinit.
func TestMain(m *testing.M) {
	switch os.Getenv("BOOT_TEST_PART") {
	case "probe":
		probe(os.Args[1:])
		os.Exit(0)
	case "keeper":
		runKeeper()
	case "tests":
		os.Exit(m.Run())
	}
	if os.Getuid() != 0 {
		os.Setenv("BOOT_TEST_PART", "tests") // what needs root says so and is skipped
		os.Exit(m.Run())
	}
	cmd := exec.Command("/proc/self/exe", os.Args[1:]...)
	cmd.Env = append(os.Environ(), "BOOT_TEST_PART=tests")
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Unshareflags: unix.CLONE_NEWNS | unix.CLONE_NEWNET, Pdeathsig: syscall.SIGKILL}
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(cmd.ProcessState.ExitCode())
}

func needRoot(t testing.TB) {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("needs root: makes namespaces and mounts")
	}
}

// testKeeper is the tests' Spawner.
type testKeeper struct {
	mu     sync.Mutex
	sock   int
	cmd    *exec.Cmd
	mu2    sync.Mutex
	status map[int]unix.WaitStatus
}

type spawnRequest struct {
	Flags  uintptr
	IDs    IDMap
	Cgroup bool
}

var startKeeper = sync.OnceValues(func() (*testKeeper, error) {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	theirs := os.NewFile(uintptr(fds[1]), "keeper")
	defer theirs.Close()
	exits, w, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	defer w.Close()
	cmd := exec.Command("/proc/self/exe")
	cmd.Env = []string{"BOOT_TEST_PART=keeper", "PATH=" + os.Getenv("PATH")}
	cmd.Stderr = os.Stderr
	cmd.ExtraFiles = []*os.File{theirs, w}
	cmd.SysProcAttr = &syscall.SysProcAttr{Unshareflags: unix.CLONE_NEWNS, Pdeathsig: syscall.SIGKILL}
	k := &testKeeper{sock: fds[0], cmd: cmd, status: map[int]unix.WaitStatus{}}
	go k.collect(exits)
	return k, cmd.Start()
})

// collect notes how the keeper's children ended.
func (k *testKeeper) collect(exits *os.File) {
	for {
		var pid int
		var st unix.WaitStatus
		if _, err := fmt.Fscanln(exits, &pid, &st); err != nil {
			return
		}
		k.mu2.Lock()
		k.status[pid] = st
		k.mu2.Unlock()
	}
}

func spawner(t testing.TB) *testKeeper {
	t.Helper()
	needRoot(t)
	k, err := startKeeper()
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func (k *testKeeper) Spawn(ctx context.Context, s keeper.Spawn) (keeper.Child, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	fd, err := rawFd(s.Sock)
	if err != nil {
		return keeper.Child{}, err
	}
	fds := []int{fd}
	if s.CgroupFD > 0 {
		fds = append(fds, s.CgroupFD)
	}
	b, _ := json.Marshal(spawnRequest{s.Flags, s.IDs, s.CgroupFD > 0})
	if err := unix.Sendmsg(k.sock, b, unix.UnixRights(fds...), nil, 0); err != nil {
		return keeper.Child{}, err
	}
	var data, oob [256]byte
	n, oobn, _, _, err := unix.Recvmsg(k.sock, data[:], oob[:], unix.MSG_CMSG_CLOEXEC)
	if err != nil {
		return keeper.Child{}, err
	}
	f := firstFile(oob[:oobn])
	if f == nil {
		return keeper.Child{}, errors.New("keeper: " + string(data[:n]))
	}
	var pid int
	fmt.Sscan(string(data[:n]), &pid)
	return keeper.Child{PID: pid, PidFD: f}, nil
}

// runKeeper is the keeper process: minimal root, spawn, reap.
func runKeeper() {
	if err := keeperRoot(); err != nil {
		fmt.Fprintln(os.Stderr, "test keeper:", err)
		os.Exit(1)
	}
	var mu sync.Mutex
	exits := os.NewFile(4, "exits")
	syscall.CloseOnExec(3)
	syscall.CloseOnExec(4)
	ch := make(chan os.Signal, 16)
	signal.Notify(ch, unix.SIGCHLD)
	go func() {
		for range ch {
			mu.Lock()
			for {
				var st syscall.WaitStatus
				pid, err := syscall.Wait4(-1, &st, syscall.WNOHANG, nil)
				if pid <= 0 || err != nil {
					break
				}
				fmt.Fprintln(exits, pid, uint32(st))
			}
			mu.Unlock()
		}
	}()
	for {
		var data, oob [512]byte
		n, oobn, _, _, err := unix.Recvmsg(3, data[:], oob[:], unix.MSG_CMSG_CLOEXEC)
		if err == unix.EINTR {
			continue
		}
		if err != nil || n == 0 {
			os.Exit(0)
		}
		msgs, _ := unix.ParseSocketControlMessage(oob[:oobn])
		fds, _ := unix.ParseUnixRights(&msgs[0])
		var r spawnRequest
		json.Unmarshal(data[:n], &r)
		mu.Lock()
		pid, pidfd, err := keeperSpawn(r, fds)
		mu.Unlock()
		if err != nil {
			unix.Sendmsg(3, []byte(err.Error()), nil, nil, 0)
		} else {
			unix.Sendmsg(3, []byte(fmt.Sprint(pid)), unix.UnixRights(pidfd), nil, 0)
			unix.Close(pidfd)
		}
		for _, fd := range fds {
			unix.Close(fd)
		}
	}
}

func keeperSpawn(r spawnRequest, fds []int) (pid, pidfd int, err error) {
	sys := &syscall.SysProcAttr{Cloneflags: r.Flags, PidFD: &pidfd}
	if r.Flags&unix.CLONE_NEWUSER != 0 {
		m := []syscall.SysProcIDMap{{HostID: int(r.IDs.Base), Size: int(r.IDs.Size)}}
		sys.UidMappings, sys.GidMappings, sys.GidMappingsEnableSetgroups = m, m, true
		sys.Credential = &syscall.Credential{}
	}
	if r.Cgroup {
		sys.UseCgroupFD, sys.CgroupFD = true, fds[1]
	}
	pid, err = syscall.ForkExec("/ccinit", []string{"ccinit"}, &syscall.ProcAttr{
		Dir: "/", Files: []uintptr{0, 0, 0, uintptr(fds[0])}, Sys: sys,
	})
	return pid, pidfd, err
}

func keeperRoot() error {
	const at = "/tmp"
	do := func(errs ...error) error { return errors.Join(errs...) }
	if err := do(unix.Mount("keeper", at, "tmpfs", 0, "mode=755")); err != nil {
		return err
	}
	for _, d := range []string{"proc", "sys", "dev", "slot"} {
		if err := os.Mkdir(at+"/"+d, 0o755); err != nil {
			return err
		}
	}
	return do(os.WriteFile(at+"/ccinit", Init(), 0o555),
		unix.Mount("proc", at+"/proc", "proc", 0, ""),
		unix.Mount("sysfs", at+"/sys", "sysfs", 0, ""),
		os.Chdir(at),
		unix.PivotRoot(".", "."),
		unix.Unmount(".", unix.MNT_DETACH),
		os.Chdir("/"),
		unix.Mount("", "/", "", unix.MS_REMOUNT|unix.MS_BIND|unix.MS_RDONLY, ""))
}

// waitExit waits until the keeper has reaped the process, and returns its wait status.
func waitExit(t testing.TB, c keeper.Child) unix.WaitStatus {
	t.Helper()
	k := spawner(t)
	for begin := time.Now(); time.Since(begin) < 10*time.Second; time.Sleep(100 * time.Microsecond) {
		k.mu2.Lock()
		st, ok := k.status[c.PID]
		delete(k.status, c.PID)
		k.mu2.Unlock()
		if ok {
			return st
		}
	}
	t.Fatalf("%d did not end, or nobody reaped it, in 10 s", c.PID)
	return 0
}
