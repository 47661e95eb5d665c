package container

import (
	"bytes"
	"os"
	"strconv"
	"strings"
	"syscall"
	"time"
)

type unixStat = syscall.Stat_t

// clockTick is USER_HZ, which Linux fixes at 100 on all our platforms.
const clockTick = time.Second / 100

// readProc describes one process of the host as its container sees it; base is what the container's user
// namespace adds to ids. A process that ended meanwhile is !ok.
func readProc(pid int, base uint32) (p Proc, ok bool) {
	dir := "/proc/" + strconv.Itoa(pid) + "/"
	status, err := os.ReadFile(dir + "status")
	if err != nil {
		return p, false
	}
	stat, err := os.ReadFile(dir + "stat")
	if err != nil {
		return p, false
	}
	cmdline, _ := os.ReadFile(dir + "cmdline")
	p = parseStatus(string(status), base)
	p.HostPID = pid
	p.CPU = parseStatTimes(string(stat))
	if args := string(bytes.TrimRight(cmdline, "\x00")); args != "" {
		p.Args = strings.Split(args, "\x00")
	} else {
		p.Args = []string{"[" + field(string(status), "Name:") + "]"}
	}
	return p, true
}

// field finds a line of /proc/PID/status.
func field(status, key string) string {
	for line := range strings.Lines(status) {
		if v, ok := strings.CutPrefix(line, key); ok {
			return strings.TrimSpace(v)
		}
	}
	return ""
}

func parseStatus(status string, base uint32) Proc {
	var p Proc
	p.PID = last(field(status, "NSpid:"))
	p.PPID = last(field(status, "PPid:")) // the host's number: procs() turns it into the container's
	if uids := strings.Fields(field(status, "Uid:")); len(uids) > 1 {
		uid, _ := strconv.ParseUint(uids[1], 10, 32)
		p.UID = uint32(uid) - base
		if uint32(uid) < base {
			p.UID = 65534 // not of this container: the kernel's overflow id
		}
	}
	p.User = strconv.FormatUint(uint64(p.UID), 10)
	kb, _ := strconv.ParseInt(strings.TrimSuffix(field(status, "VmRSS:"), " kB"), 10, 64)
	p.Memory = kb << 10
	p.State, _, _ = strings.Cut(field(status, "State:"), " ")
	return p
}

// last is the last number of a line.
func last(line string) int {
	w := strings.Fields(line)
	if len(w) == 0 {
		return 0
	}
	n, _ := strconv.Atoi(w[len(w)-1])
	return n
}

// parseStatTimes adds utime and stime of /proc/PID/stat; the name before them may hold anything, ")" too.
func parseStatTimes(stat string) time.Duration {
	i := strings.LastIndexByte(stat, ')')
	if i < 0 {
		return 0
	}
	w := strings.Fields(stat[i+1:])
	if len(w) < 13 {
		return 0
	}
	u, _ := strconv.ParseInt(w[11], 10, 64)
	s, _ := strconv.ParseInt(w[12], 10, 64)
	return time.Duration(u+s) * clockTick
}

// ignores reports whether a process would not notice sig: as pid 1 of its namespace the kernel delivers only what it
// catches (pid_namespaces(7)). status is /proc/PID/status; onlyInit is whether that rule holds for it.
func ignores(status string, sig syscall.Signal, onlyInit bool) bool {
	bit := uint64(1) << (uint(sig) - 1)
	caught, err := strconv.ParseUint(field(status, "SigCgt:"), 16, 64)
	if err != nil {
		return false
	}
	ignored, _ := strconv.ParseUint(field(status, "SigIgn:"), 16, 64)
	if ignored&bit != 0 {
		return true
	}
	return onlyInit && caught&bit == 0
}
