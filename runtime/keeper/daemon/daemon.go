// Package daemon is the keeper process: the parent of all containers.
//
// It spawns ccinit, reaps, writes exit records, holds descriptors and drains logs; what a container is, it does not
// know. It lives in a mount namespace of its own (home.go) and has neither working directory nor open directory
// in the host but those it was given to write records and logs into.
//
//	goroutine   does                                               may block on
//	serve       accept, receive, answer; pidfds of strangers       nothing
//	reap        SIGCHLD, waitid, tables                            nothing
//	request     one per request                                    clone, disk
//	finish      one per exit: last log bytes, record, announce     disk
//	timer       FUSE mounts whose server has ended                 nothing
//	drain       a few, package drain: pipes into log files         disk
//
// Lock order: keeper.mu, then conn.mu. Neither is held while anything blocks.
//
// Everything is kept small on purpose: no fmt, no net, GOGC low. The process
// answers for all containers of a host in 4 MB.
package daemon

import (
	"os"
	"os/signal"
	"runtime"
	"runtime/debug"
	"strconv"
	"sync"
	"sync/atomic"

	"golang.org/x/sys/unix"

	"github.com/containercloud/cc/runtime/keeper/wire"
	"github.com/containercloud/cc/runtime/logs/drain"
)

// Descriptors a keeper is started with, beside 0 to 2.
const (
	FDLock   = 3 // the locked file: as long as it is open, no second keeper starts
	FDListen = 4 // the listening socket
	FDInit   = 5 // a memfd with ccinit
)

const (
	envStage = "CC_KEEPER_STAGE" // set in the image that has its own keyring
	envState = "CC_KEEPER_STATE" // descriptor number of the state an older image left
)

// environ is the keeper's own. Without the second the Go runtime keeps files of the host's cgroup open, to follow its
// CPU limit.
var environ = []string{envStage + "=1", "GODEBUG=containermaxprocs=0,updatemaxprocs=0"}

type keeper struct {
	tag    string
	listen int
	lock   int
	ep     int
	null   int
	home   home
	pool   *drain.Pool

	creators atomic.Uint64 // of user namespaces: each gets another user (asCreator)

	inflight  sync.WaitGroup // requests being served
	finishing sync.WaitGroup // exits being recorded
	reaping   sync.Mutex     // held while a zombie is taken and put into the tables

	mu       sync.Mutex
	kids     map[string]*kid // by id
	pids     map[int]*kid    // alive, by pid
	children map[int]*kid    // the same, by pidfd
	foreign  map[int]*kid    // alive and not our child, by pidfd
	strays   []stray         // reaped before anyone named them
	exits    connector
	guards   []guard
	holds    map[string]int
	pending  []wire.Exit // announced and not acknowledged, by serial
	serial   uint64
	conns    map[int]*conn

	stopping bool
	fewer    sync.Cond // a process has ended
}

// Main is the whole life of cc-keeper; args are its command line: cc-keeper RUN TAG. It returns the exit code.
func Main(args []string) int {
	if len(args) != 3 {
		os.Stderr.WriteString("usage: cc-keeper RUN TAG (started by ccd, with its lock, socket and init on descriptors 3 to 5)\n")
		return 2
	}
	if os.Getenv(envStage) == "" {
		return note("cannot start", freshKeyring(args))
	}
	// Containers must begin with default dispositions, whatever ccd was started under; and an end
	// of a session or a terminal is not the end of the containers.
	heedSignals()
	signal.Notify(make(chan os.Signal, 1), unix.SIGHUP, unix.SIGINT, unix.SIGQUIT, unix.SIGPIPE)
	terminate := make(chan os.Signal, 1)
	signal.Notify(terminate, unix.SIGTERM)
	debug.SetGCPercent(25)
	runtime.GOMAXPROCS(4) // a thread that waits in the kernel keeps its processor until somebody takes it away
	k, err := restoreOrStart(args[1], args[2])
	if err != nil {
		return note("cannot start", err)
	}
	k.listenForExits()
	go k.reap()
	go k.leaveWhenIdle(terminate)
	return note("cannot serve", k.serve())
}

func restoreOrStart(run, tag string) (*keeper, error) {
	if s := os.Getenv(envState); s != "" {
		fd, err := strconv.Atoi(s)
		if err != nil {
			return nil, err
		}
		return restore(fd, tag)
	}
	return start(run, tag)
}

func start(run, tag string) (*keeper, error) {
	k, err := newKeeper(tag)
	if err != nil {
		return nil, err
	}
	k.listen, k.lock = FDListen, FDLock
	for _, fd := range []int{FDLock, FDListen, FDInit} {
		unix.CloseOnExec(fd)
	}
	k.home, err = enterHome(run, FDInit)
	unix.Close(FDInit)
	if err != nil {
		return nil, err
	}
	k.pool, err = drain.New(min(runtime.NumCPU(), 2))
	if err != nil {
		return nil, err
	}
	if k.null, err = unix.Open("/dev/null", unix.O_RDWR|unix.O_CLOEXEC, 0); err != nil {
		return nil, os.NewSyscallError("open /dev/null", err)
	}
	lessLikelyKilled()
	return k, nil
}

func newKeeper(tag string) (*keeper, error) {
	k := &keeper{
		tag:      tag,
		kids:     map[string]*kid{},
		pids:     map[int]*kid{},
		children: map[int]*kid{},
		foreign:  map[int]*kid{},
		holds:    map[string]int{},
		conns:    map[int]*conn{},
	}
	k.fewer.L = &k.mu
	if err := unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0); err != nil {
		return nil, os.NewSyscallError("prctl PR_SET_CHILD_SUBREAPER", err)
	}
	var err error
	if k.ep, err = unix.EpollCreate1(unix.EPOLL_CLOEXEC); err != nil {
		return nil, os.NewSyscallError("epoll_create1", err)
	}
	return k, nil
}

// freshKeyring executes this program again with a session keyring of its own, so that a container whose own
// join fails on quota reaches nothing of root's. A keyring belongs to a thread, and Go has several: only
// after an execve there is one.
func freshKeyring(args []string) error {
	runtime.LockOSThread()
	// x/sys has the call with a name only; without one the keyring is anonymous and nobody finds it.
	if _, _, no := unix.Syscall(unix.SYS_KEYCTL, unix.KEYCTL_JOIN_SESSION_KEYRING, 0, 0); no != 0 && no != unix.ENOSYS {
		say("no session keyring of its own: " + no.Error())
	}
	closeFrom(FDInit + 1)
	for fd := FDLock; fd <= FDInit; fd++ {
		if err := keepOnExec(fd); err != nil {
			return os.NewSyscallError("fcntl", err)
		}
	}
	return os.NewSyscallError("execve", unix.Exec("/proc/self/exe", args, environ))
}

func keepOnExec(fd int) error {
	_, err := unix.FcntlInt(uintptr(fd), unix.F_SETFD, 0)
	return err
}

// closeFrom has the next execve close what is open from fd on: whatever ccd's parents left open is neither ours nor a
// container's.
func closeFrom(fd int) {
	_ = unix.CloseRange(uint(fd), 1<<20, unix.CLOSE_RANGE_CLOEXEC)
}

// lessLikelyKilled asks the OOM killer to take others first. It needs CAP_SYS_RESOURCE.
func lessLikelyKilled() {
	fd, err := unix.Open("/proc/self/oom_score_adj", unix.O_WRONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return
	}
	unix.Write(fd, []byte("-900"))
	unix.Close(fd)
}

func note(what string, err error) int {
	if err == nil {
		return 0
	}
	say(what + ": " + err.Error())
	return 1
}

// say writes a line to RUN/keeper.log, which is descriptor 2.
func say(line string) { os.Stderr.WriteString("cc-keeper: " + line + "\n") }
