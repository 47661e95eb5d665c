package fusefs

import (
	"bytes"
	"os"
	"strconv"

	"github.com/hanwen/go-fuse/v2/fuse"
	"golang.org/x/sys/unix"

	"github.com/containercloud/cc/ccfs/tree"
)

// callerOf translates who asks. The ids are those of the caller's file system user, translated by the kernel to the
// host's; pid is its thread, 0 when it is in no pid namespace that we see.
func callerOf(c fuse.Caller) tree.Caller {
	return tree.Caller{UID: c.Uid, GID: c.Gid, PID: c.Pid, Door: "fuse"}
}

// groupsOf reads the supplementary groups of a thread. It waits for our answer, so it cannot end and its number cannot be
// taken by another one meanwhile. Nil when it is not known.
func groupsOf(pid uint32) []uint32 {
	var groups []uint32
	for _, f := range bytes.Fields(statusLine(pid, "Groups:")) {
		if g, err := strconv.ParseUint(string(f), 10, 32); err == nil {
			groups = append(groups, uint32(g))
		}
	}
	return groups
}

// stopWishes are the signals by which people and service managers ask a program to stop, as bits of SigPnd
// (proc_pid_status(5): signal n is bit n-1).
const stopWishes uint64 = (1<<unix.SIGHUP | 1<<unix.SIGINT | 1<<unix.SIGQUIT | 1<<unix.SIGKILL | 1<<unix.SIGTERM) >> 1

// wantsToStop reports whether the caller has a signal pending that should end a write in which it waits. A caller that we
// cannot see counts as gone.
func wantsToStop(pid uint32) bool {
	for _, line := range []string{"SigPnd:", "ShdPnd:"} {
		text := bytes.TrimSpace(statusLine(pid, line))
		set, err := strconv.ParseUint(string(text), 16, 64)
		if err != nil || set&stopWishes != 0 {
			return true
		}
	}
	return false
}

// statusLine returns what follows a name in /proc/PID/status, nil when there is none.
func statusLine(pid uint32, name string) []byte {
	if pid == 0 {
		return nil
	}
	text, err := os.ReadFile("/proc/" + strconv.FormatUint(uint64(pid), 10) + "/status")
	if err != nil {
		return nil
	}
	for line := range bytes.Lines(text) {
		if rest, ok := bytes.CutPrefix(line, []byte(name)); ok {
			return rest
		}
	}
	return nil
}
