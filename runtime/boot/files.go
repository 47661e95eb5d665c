package boot

import (
	"encoding/binary"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// The kernel counts the descriptors that are on their way in messages of unix(7) for all processes of a user together, and lets
// nobody add to them who has fewer open files allowed than there are. The root users of all containers are one user of the host,
// and so are their other users. So ccinit, which sends descriptors to ccd, is allowed more files than any program: else one
// container could keep all others from starting, and be entered by nobody.
const spareFiles = 4096

// programFiles is the limit of open files for a program, from that of the process that is to become it and what was asked for.
func programFiles(have unix.Rlimit, asked []Rlimit) unix.Rlimit {
	most := have.Max - min(spareFiles, have.Max/8)
	l := unix.Rlimit{Cur: min(have.Cur, most), Max: most}
	for _, a := range asked {
		if a.Resource == unix.RLIMIT_NOFILE {
			l = unix.Rlimit{Cur: min(a.Soft, most), Max: min(a.Hard, most)}
		}
	}
	return l
}

// filesOf is what a process has from the keeper.
func filesOf(pid int) (l unix.Rlimit, err error) {
	return l, os.NewSyscallError("prlimit", unix.Prlimit(pid, unix.RLIMIT_NOFILE, nil, &l))
}

// limitFiles sets the limit of open files.
func (s *script) limitFiles(l unix.Rlimit) {
	b := binary.LittleEndian.AppendUint64(nil, l.Cur)
	b = binary.LittleEndian.AppendUint64(b, l.Max)
	s.do(callPrlimit, num(0), name(unix.RLIMIT_NOFILE, "RLIMIT_NOFILE"), s.bytes(b, fmt.Sprintf("{%d, %d}", l.Cur, l.Max)), null)
}
