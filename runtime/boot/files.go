package boot

import (
	"encoding/binary"
	"fmt"
	"os"
	"strings"

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

// filesOf is what a process has from the keeper. prlimit(2) would not tell it of root of a user namespace to one who lacks
// CAP_SYS_RESOURCE, as in a virtual machine or a nested daemon.
func filesOf(pid int) (l unix.Rlimit, err error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/limits", pid))
	if err != nil {
		return l, err
	}
	_, line, _ := strings.Cut(string(text), "Max open files")
	if _, err := fmt.Sscan(line, &l.Cur, &l.Max); err != nil {
		return l, fmt.Errorf("cannot read the limit of open files of process %d: %w", pid, err)
	}
	return l, nil
}

// limitFiles sets the limit of open files.
func (s *script) limitFiles(l unix.Rlimit) {
	b := binary.LittleEndian.AppendUint64(nil, l.Cur)
	b = binary.LittleEndian.AppendUint64(b, l.Max)
	s.do(callPrlimit, num(0), name(unix.RLIMIT_NOFILE, "RLIMIT_NOFILE"), s.bytes(b, fmt.Sprintf("{%d, %d}", l.Cur, l.Max)), null)
}
