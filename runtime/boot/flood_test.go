package boot

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// What one container can use up of what the kernel counts for several.

// flood takes as much as the kernel gives, says how much that was and what ended it, and keeps it.
func flood(what string) {
	var l unix.Rlimit
	unix.Getrlimit(unix.RLIMIT_NOFILE, &l)
	l.Cur = l.Max
	unix.Setrlimit(unix.RLIMIT_NOFILE, &l)
	n, err := 0, error(nil)
	for take := floods[what]; err == nil; {
		var m int
		m, err = take()
		n += m
	}
	var e syscall.Errno
	errors.As(err, &e)
	fmt.Println(n, int(e))
	time.Sleep(time.Hour)
}

var floods = map[string]func() (int, error){
	"inflight":  sendForNobody,
	"terminals": func() (int, error) { _, err := unix.Open("/dev/ptmx", unix.O_RDWR|unix.O_NOCTTY, 0); return count(err) },
}

func count(err error) (int, error) {
	if err != nil {
		return 0, err
	}
	return 1, nil
}

// sendForNobody puts descriptors into messages that nobody receives.
func sendForNobody() (int, error) {
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_DGRAM|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return 0, err
	}
	rights := unix.UnixRights(make([]int, 200)...)
	for n := 0; ; n += 200 {
		if err := unix.Sendmsg(pair[0], []byte{0}, rights, nil, 0); err == unix.EAGAIN { // the socket is full
			return n, nil
		} else if err != nil {
			return n, err
		}
	}
}

// flooded runs flood in a container and returns what it says; the container goes on.
func flooded(t *testing.T, o SlotOptions, what string) (s *Slot, n int, e syscall.Errno) {
	t.Helper()
	lower := image(t)
	withProbe(t, lower)
	r, w, err := os.Pipe()
	must(t, err)
	s = running(t, o, lower, func(c *Config) {
		c.Process = Process{Args: []string{"/bin/probe", "flood", what}, Env: []string{"BOOT_TEST_PART=probe"}}
		c.Stdio = [3]*os.File{nil, w, w}
	})
	w.Close()
	t.Cleanup(func() { r.Close() })
	line, err := bufio.NewReader(r).ReadString('\n')
	must(t, err)
	if _, err := fmt.Sscan(line, &n, &e); err != nil {
		t.Fatalf("%v: %q", err, line)
	}
	return s, n, e
}

// The containers are one user of the host, whose descriptors in flight are counted together: starting and entering send some.
func TestDescriptorsInFlight(t *testing.T) {
	ids := IDMap{Base: 300_000_000, Size: 65536} // a user of no other test that runs now
	full, n, e := flooded(t, SlotOptions{ID: "slot/full", IDs: ids}, "inflight")
	if e != unix.ETOOMANYREFS {
		t.Fatalf("the flood of %d ended with %v", n, e)
	}
	_, n, e = flooded(t, SlotOptions{ID: "slot/next", IDs: ids}, "inflight")
	if n != 0 || e != unix.ETOOMANYREFS {
		t.Errorf("a program could still send %d: %v; this test proves nothing", n, e)
	}
	if got := run(t, SlotOptions{ID: "slot/third", IDs: ids}, nil, "echo", "third"); got.out != "third\n" {
		t.Errorf("got %q", got.out)
	}
	for _, uid := range []uint32{0, 1000} {
		got := enterRun(t, target(full), func(c *EnterConfig) { c.Process.UID = uid }, "sh", "-c", "ulimit -Hn; ulimit -Sn")
		var hard, soft uint64
		fmt.Sscan(got.out, &hard, &soft)
		if have, err := filesOf(os.Getpid()); err != nil || hard >= have.Max || soft > hard {
			t.Errorf("as %d: limits %q, where this process has %+v %v", uid, got.out, have, err)
		}
	}
}

// Terminals are counted for the whole host.
func TestTerminals(t *testing.T) {
	both(t, func(t *testing.T, o SlotOptions) {
		o.ID = "slot/full"
		if _, n, e := flooded(t, o, "terminals"); n != maxTerminals || e != unix.ENOSPC {
			t.Errorf("it got %d: %v", n, e)
		}
		o.ID = "slot/next"
		s := running(t, o, image(t), nil)
		master, slave, err := OpenTerminal(s.Devpts(), o.IDs, 0, 24, 80)
		must(t, err)
		master.Close()
		slave.Close()
	})
}
