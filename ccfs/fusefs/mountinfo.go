package fusefs

import (
	"bufio"
	"os"
	"strings"
	"sync"

	"golang.org/x/sys/unix"
)

// mountLine is what we need of one line of /proc/self/mountinfo (proc_pid_mountinfo(5)).
type mountLine struct {
	Dev    string // "0:52", of the superblock
	Point  string
	Type   string // "fuse.cc"
	Source string
}

// mountsAt lists the mounts whose mount point is dir, the topmost last. It reads text only, so a dead mount does no harm.
func mountsAt(dir string) ([]mountLine, error) {
	f, err := os.Open("/proc/self/mountinfo")
	if err != nil {
		return nil, err
	}
	defer f.Close()
	var at []mountLine
	lines := bufio.NewScanner(f)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		if m, ok := parseMountLine(lines.Text()); ok && m.Point == dir {
			at = append(at, m)
		}
	}
	return at, lines.Err()
}

// parseMountLine reads `ID PARENT MAJ:MIN ROOT POINT OPTIONS [TAG...] - TYPE SOURCE SUPEROPTIONS`.
func parseMountLine(line string) (mountLine, bool) {
	left, right, ok := strings.Cut(line, " - ")
	l, r := strings.Fields(left), strings.Fields(right)
	if !ok || len(l) < 6 || len(r) < 2 {
		return mountLine{}, false
	}
	return mountLine{Dev: l[2], Point: unescape(l[4]), Type: r[0], Source: unescape(r[1])}, true
}

var octal = strings.NewReplacer(`\040`, " ", `\011`, "\t", `\012`, "\n", `\134`, `\`, `\043`, "#")

func unescape(s string) string { return octal.Replace(s) }

// mountWatch says when the mount table changed. The kernel announces it as an exceptional condition on mountinfo.
type mountWatch struct {
	changed chan struct{}
	info    *os.File
	wake    *os.File // write end: closing it ends the goroutine
	gone    sync.WaitGroup
}

func newMountWatch() (*mountWatch, error) {
	info, err := os.Open("/proc/self/mountinfo")
	if err != nil {
		return nil, err
	}
	var p [2]int
	if err := unix.Pipe2(p[:], unix.O_CLOEXEC); err != nil {
		info.Close()
		return nil, err
	}
	w := &mountWatch{changed: make(chan struct{}, 1), info: info, wake: os.NewFile(uintptr(p[1]), "wake")}
	w.gone.Add(1)
	go w.run(p[0])
	return w, nil
}

func (w *mountWatch) run(wake int) {
	defer w.gone.Done()
	defer unix.Close(wake)
	defer w.info.Close()
	fds := []unix.PollFd{{Fd: int32(w.info.Fd()), Events: unix.POLLPRI}, {Fd: int32(wake)}}
	for {
		if _, err := unix.Poll(fds, -1); err != nil && err != unix.EINTR {
			return
		}
		if fds[1].Revents != 0 {
			return
		}
		select {
		case w.changed <- struct{}{}:
		default:
		}
	}
}

func (w *mountWatch) close() {
	w.wake.Close()
	w.gone.Wait()
}
