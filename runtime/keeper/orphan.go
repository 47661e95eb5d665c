package keeper

import (
	"bytes"
	"errors"
	"io"
	"os"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/containercloud/cc/fault"
	"github.com/containercloud/cc/runtime/keeper/wire"
)

// Open opens the process that had this pid and start time (State.Start, Exit.Start): never another one that has
// got the pid since. The error is fault.NotFound when it is gone; a zombie is still there.
func Open(pid int, start uint64) (*os.File, error) {
	fd, err := unix.PidfdOpen(pid, 0)
	if errors.Is(err, unix.ESRCH) {
		return nil, fault.New(fault.NotFound, "process %d has ended: %w", pid, err)
	}
	if err != nil {
		return nil, fault.Wrap(os.NewSyscallError("pidfd_open", err), "cannot open process %d", pid)
	}
	// The descriptor is of whoever had the pid just now; when the start time fits after that, it is the one.
	if got, err := StartTime(pid); err != nil || got != start {
		unix.Close(fd)
		return nil, fault.New(fault.NotFound, "process %d has ended", pid)
	}
	return os.NewFile(uintptr(fd), "pidfd"), nil
}

// EndOf asks the kernel whether the process of a pidfd has ended, and how, which anybody may know once its parent has reaped it
// (PIDFD_GET_INFO, Linux 6.15; never known on an older kernel).
func EndOf(pidfd int) (status unix.WaitStatus, known, ended bool) {
	info := unix.PidfdInfo{Mask: unix.PIDFD_INFO_EXIT}
	if err := unix.IoctlPidfdInfo(pidfd, &info); err == nil && info.Mask&unix.PIDFD_INFO_EXIT != 0 {
		return unix.WaitStatus(info.Exit_code), true, true
	}
	n, err := unix.Poll([]unix.PollFd{{Fd: int32(pidfd), Events: unix.POLLIN}}, 0)
	return 0, false, err == nil && n > 0
}

// StartTime returns when a process began, in clock ticks after boot (proc_pid_stat(5), field 22).
func StartTime(pid int) (uint64, error) {
	b, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		return 0, fault.Wrap(err, "cannot see process %d", pid)
	}
	i := bytes.LastIndexByte(b, ')')
	f := bytes.Fields(b[i+1:])
	if i < 0 || len(f) < 20 {
		return 0, fault.New(fault.Internal, "cannot understand /proc/%d/stat", pid)
	}
	return strconv.ParseUint(string(f[19]), 10, 64)
}

// ReadExit reads the record the keeper wrote into the directory given to Adopt: the last exit there was, of the
// process that Exit.PID and Exit.Start name. The error is fault.NotFound when nothing has ended yet.
func ReadExit(dir string) (Exit, error) {
	f, err := os.OpenFile(dir+"/"+RecordName, os.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
	if err != nil {
		return Exit{}, fault.Wrap(err, "cannot read the exit record")
	}
	defer f.Close()
	b := make([]byte, 1024)
	n, err := f.Read(b)
	if err == io.EOF { // made in advance
		return Exit{}, fault.New(fault.NotFound, "nothing has ended yet")
	}
	if err != nil {
		return Exit{}, fault.Wrap(err, "cannot read the exit record")
	}
	return parseRecord(string(b[:n]))
}

// RecordName is the name of the exit record in its directory. A file of that name may be made in advance; empty, it is no record.
const RecordName = "exit" // daemon.RecordName, whose package is not imported here

func parseRecord(text string) (Exit, error) {
	var e wire.Exit
	seen := 0
	for line := range strings.Lines(text) {
		key, value, _ := strings.Cut(strings.TrimSuffix(line, "\n"), " ")
		v, err := strconv.ParseInt(value, 10, 64)
		if err != nil {
			return Exit{}, fault.New(fault.Invalid, "bad exit record: %q", line)
		}
		seen++
		switch key {
		case "pid":
			e.PID = uint32(v)
		case "start":
			e.Start = uint64(v)
		case "known":
			e.Known = v != 0
		case "status":
			e.Status = uint32(v)
		case "time":
			e.Time = v
		case "user":
			e.User = v
		case "system":
			e.System = v
		case "maxrss":
			e.MaxRSS = v
		default:
			seen--
		}
	}
	if seen != 8 {
		return Exit{}, fault.New(fault.Invalid, "bad exit record: %d of 8 lines", seen)
	}
	e.Kept = true
	x := exitOf(e)
	if e.Time == 0 {
		x.Time = time.Time{}
	}
	return x, nil
}
