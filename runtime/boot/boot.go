// Package boot turns a process into a container: it prepares one, arms it and starts it, and lets a further
// process into a running one.
//
// The process is ccinit (ccinit_amd64.S, 691 bytes), which runs lists of system calls that this package
// builds (script.go) and nothing else: no Go code, no library and no part of the daemon ever runs in a
// container's namespaces, so there is nothing to re-exec and nothing to overwrite (CVE-2019-5736), and what
// a start does can be read as text (testdata/*.txt).
//
//	NewSlot   clone (by the keeper) into new namespaces; own root with /proc, /sys, /dev, masks; bounding set
//	  Arm     the image's root over it, mounts, user, capabilities, seccomp: everything but execve
//	    Start one byte on the socket
//
//	prepared --Arm--> armed --Start--> running
//	    \______Launch (Arm and Start in one message)____/
//
// A slot whose socket ends without that byte ends too: a daemon that dies starts nothing.
//
// Rejected: a re-exec of the daemon or of a small Go program as init (2.5x and 1.7x the time of a cold start, 40x the
// memory of a waiting one), C with cgo, and libcontainer (an init in Go, no armed start).
package boot

import (
	"context"
	"os"

	"golang.org/x/sys/unix"

	"github.com/containercloud/cc/runtime/keeper"
)

// NeverStarted is the exit code of a process that has not executed its program: its socket ended before, or an op failed. A
// program may end with the same code, so it says something only of a process that may not have been started.
const NeverStarted = 204

// Spawner starts ccinit processes; it is *keeper.Client.
type Spawner interface {
	Spawn(ctx context.Context, s keeper.Spawn) (keeper.Child, error)
}

// IDMap says which ids of the host a container's ids are. The zero value: the host's own, no user namespace.
type IDMap = keeper.IDMap

// SlotOptions is what must be known of a container before anything else is.
type SlotOptions struct {
	ID           string   // what the keeper calls the process
	IDs          IDMap    // user namespace, or zero
	HostNet      bool     // the host's network namespace
	Capabilities []string // the most that Arm may give; nil means DefaultCapabilities

	// Cgroup puts pid into its cgroups. It runs before the cgroup namespace is made, which then shows
	// them as "/". nil: no cgroup file system in the container, unless CgroupFD is set.
	Cgroup   func(pid int, pidfd *os.File) error
	CgroupFD int // cgroup v2 directory to be born in; 0 and -1: none
	// Tasks are `tasks` files of cgroup v1, open for writing; the process enters these cgroups by itself. A single thread that moves
	// itself takes no lock; being moved by another (Cgroup) waits for a grace period on a quiet host: 10 ms and more.
	Tasks []*os.File
}

// Config is everything else. Files stay the caller's.
type Config struct {
	Root         *os.File // detached mount of the root file system, see Overlay
	ReadOnly     bool
	Mounts       []Mount // in order
	Hostname     string
	NoNewPrivs   bool
	Capabilities []string // "NET_ADMIN" or "CAP_NET_ADMIN"; nil means none
	Ambient      []string // those of Capabilities that a user other than root keeps
	Seccomp      []unix.SockFilter
	Rlimits      []Rlimit
	OOMScoreAdj  int
	Process      Process
	Stdio        [3]*os.File // nil: the container's /dev/null
	TTY          bool        // Stdio[0] is a terminal: new session, controlling terminal, /dev/console
	Init         bool        // ccinit stays as pid 1: reaps, forwards signals, ends with the program's status
}

// Mount is one mount below the root.
type Mount struct {
	Target   string   // absolute path; made when missing
	Source   *os.File // detached mount, see CloneMount; nil for a tmpfs
	Tmpfs    int64    // bytes of the tmpfs; 0: half of the memory, as tmpfs(5) does
	ReadOnly bool
	NoExec   bool
	File     bool // the target is a file
}

// Process is the program and who runs it. Ids are the container's.
type Process struct {
	Args   []string
	Env    []string
	Dir    string // made when missing; "" is "/"
	UID    uint32
	GID    uint32
	Groups []uint32
}

// Rlimit is one resource limit. A hard limit above what the host allows is cut to that.
type Rlimit struct {
	Resource   int // unix.RLIMIT_*
	Soft, Hard uint64
}
