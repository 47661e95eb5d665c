package daemon

import (
	"strconv"

	"golang.org/x/sys/unix"

	"github.com/containercloud/cc/runtime/keeper/wire"
)

// RecordName is the exit record's name in its directory.
const RecordName = "exit"

// record writes DIR/exit: whole or not at all, there before anyone is told. It is not forced to the disk: it
// outlives ccd and the keeper, and after a crash of the host no process is left that it could be mistaken for.
func record(dir int, e wire.Exit) error {
	line := text(e)
	if fillRecord(dir, line) {
		return nil
	}
	const tmp = ".exit"
	fd, err := unix.Openat(dir, tmp, unix.O_CREAT|unix.O_TRUNC|unix.O_WRONLY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0o600)
	if err != nil {
		return err
	}
	err = writeAll(fd, line)
	unix.Close(fd)
	if err == nil {
		err = unix.Renameat(dir, tmp, dir, RecordName)
	}
	if err != nil {
		unix.Unlinkat(dir, tmp, 0)
	}
	return err
}

// fillRecord writes the record into a file that ccd made in advance and left empty: to make one costs ten times as much, and
// a process is dead for its waiters only when its record is there. An empty file is no record, one write is not split.
func fillRecord(dir int, line []byte) bool {
	fd, err := unix.Openat(dir, RecordName, unix.O_WRONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		return false
	}
	defer unix.Close(fd)
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil || st.Mode&unix.S_IFMT != unix.S_IFREG || st.Size != 0 {
		return false
	}
	return writeAll(fd, line) == nil
}

func writeAll(fd int, b []byte) error {
	n, err := unix.Write(fd, b)
	if err == nil && n != len(b) {
		err = unix.ENOSPC
	}
	return err
}

// text is a record as `key value` lines.
func text(e wire.Exit) []byte {
	b := make([]byte, 0, 256)
	line := func(key string, v int64) {
		b = append(b, key...)
		b = append(b, ' ')
		b = strconv.AppendInt(b, v, 10)
		b = append(b, '\n')
	}
	known := int64(0)
	if e.Known {
		known = 1
	}
	line("pid", int64(e.PID))
	line("start", int64(e.Start))
	line("known", known)
	line("status", int64(e.Status))
	line("time", e.Time)
	line("user", e.User)
	line("system", e.System)
	line("maxrss", e.MaxRSS)
	return b
}
