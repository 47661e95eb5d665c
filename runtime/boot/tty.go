package boot

import (
	"fmt"
	"os"

	"golang.org/x/sys/unix"

	"github.com/containercloud/cc/fault"
)

// OpenTerminal opens a new terminal of a container, below the root of its devpts (Slot.Devpts), for uid and gid 5 of the
// container. It looks nothing up in the container and enters nothing: the descriptor was taken before the container's first
// program ran. tty(1) inside shows its name.
func OpenTerminal(devpts *os.File, ids IDMap, uid uint32, rows, cols uint16) (master, slave *os.File, err error) {
	defer func() { err = fault.Wrap(err, "cannot open a terminal") }()
	at, err := rawFd(devpts)
	if err != nil {
		return nil, nil, err
	}
	m, err := unix.Openat(at, "ptmx", unix.O_RDWR|unix.O_NOCTTY|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, nil, &os.PathError{Op: "open", Path: "ptmx", Err: err}
	}
	master = os.NewFile(uintptr(m), "ptmx")
	defer func() {
		if err != nil {
			master.Close()
		}
	}()
	if err := unix.IoctlSetPointerInt(m, unix.TIOCSPTLCK, 0); err != nil {
		return nil, nil, os.NewSyscallError("TIOCSPTLCK", err)
	}
	if rows != 0 || cols != 0 {
		if err := unix.IoctlSetWinsize(m, unix.TIOCSWINSZ, &unix.Winsize{Row: rows, Col: cols}); err != nil {
			return nil, nil, os.NewSyscallError("TIOCSWINSZ", err)
		}
	}
	s, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(m), unix.TIOCGPTPEER, unix.O_RDWR|unix.O_NOCTTY|unix.O_CLOEXEC)
	if errno != 0 {
		return nil, nil, os.NewSyscallError("TIOCGPTPEER", errno)
	}
	slave = os.NewFile(s, "pts")
	if err := unix.Fchown(int(s), int(ids.Base+uid), -1); err != nil {
		slave.Close()
		return nil, nil, os.NewSyscallError("fchown", err)
	}
	return master, slave, nil
}

// console makes the terminal /dev/console too. A terminal of the host's devpts cannot be mounted here: then
// there is no /dev/console.
func (s *script) console(slave *os.File) {
	none := s.label()
	from := s.keep(s.do(callOpenTree, s.fd(slave, "stdin"), s.str(""),
		name(unix.AT_EMPTY_PATH|unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC, "AT_EMPTY_PATH|OPEN_TREE_CLONE")).on(jn, none))
	file := s.keep(s.do(callOpenat, regDev.value(), s.str("console"),
		name(unix.O_CREAT|unix.O_EXCL|unix.O_NOFOLLOW|unix.O_CLOEXEC, "O_CREAT|O_EXCL|O_NOFOLLOW"), octal(0o600)))
	s.do(callMoveMount, from, s.str(""), file, s.str(""), bothEmpty)
	s.place(none)
}

// giveStdio makes pipes and terminals the user's, so that /dev/stdout can be opened again by name, and blocking, as programs
// expect them.
func giveStdio(files [3]*os.File, ids IDMap, p Process) error {
	for _, f := range files {
		if f == nil {
			continue
		}
		fd, err := rawFd(f)
		if err != nil {
			return err
		}
		var st unix.Stat_t
		if err := unix.Fstat(fd, &st); err != nil {
			return os.NewSyscallError("fstat", err)
		}
		kind := st.Mode & unix.S_IFMT
		if kind != unix.S_IFIFO && kind != unix.S_IFSOCK && !isTerminal(kind, st.Rdev) {
			continue
		}
		if err := unix.SetNonblock(fd, false); err != nil {
			return os.NewSyscallError("fcntl", err)
		}
		if kind == unix.S_IFSOCK {
			continue
		}
		if err := unix.Fchown(fd, int(ids.Base+p.UID), -1); err != nil {
			return fmt.Errorf("chown of stdio: %w", err)
		}
	}
	return nil
}

// isTerminal: the slave side of a pseudo terminal has one of the majors 136 to 143.
func isTerminal(kind uint32, rdev uint64) bool {
	m := unix.Major(rdev)
	return kind == unix.S_IFCHR && m >= 136 && m <= 143
}
