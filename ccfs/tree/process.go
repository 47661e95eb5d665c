package tree

import (
	"bytes"
	"os"
	"strconv"
)

// process is one process for ever: numbers are used again, start times with them are not.
type process struct {
	pid   uint32
	start uint64 // clock ticks after boot
}

// maxAncestry bounds how far up a line of processes we look.
const maxAncestry = 16

// ancestry is a thread's process, its parent, and so on up to the leader of its session, as far as /proc shows.
func ancestry(tid uint32) []process {
	var line []process
	pid, session := threadGroup(tid), uint32(0)
	for len(line) < maxAncestry && pid > 1 {
		p, ok := readStat(pid)
		if !ok || session != 0 && p.session != session {
			break
		}
		session = p.session
		line = append(line, process{pid, p.start})
		if pid == session {
			break
		}
		pid = p.parent
	}
	return line
}

type procStat struct {
	parent, session uint32
	start           uint64
}

// readStat reads /proc/PID/stat (proc_pid_stat(5)): the fields behind the name, which may hold anything but ends at
// the last parenthesis.
func readStat(pid uint32) (s procStat, ok bool) {
	text, err := os.ReadFile("/proc/" + strconv.FormatUint(uint64(pid), 10) + "/stat")
	if err != nil {
		return s, false
	}
	fields := bytes.Fields(text[bytes.LastIndexByte(text, ')')+1:])
	if len(fields) < 20 {
		return s, false
	}
	number := func(i int) uint64 {
		n, _ := strconv.ParseUint(string(fields[i]), 10, 64)
		return n
	}
	return procStat{uint32(number(1)), uint32(number(3)), number(19)}, true
}
