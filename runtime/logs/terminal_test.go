package logs_test

import (
	"io"
	"testing"

	"github.com/creack/pty"
	"golang.org/x/sys/unix"

	"github.com/containercloud/cc/runtime/logs/drain"
)

// The log of a terminal comes from its master, and ends with the last slave.
func TestTerminal(t *testing.T) {
	b := newBed(t, t.TempDir())
	master, slave, err := pty.Open()
	if err != nil {
		t.Skip("needs /dev/ptmx:", err)
	}
	fd, err := unix.FcntlInt(master.Fd(), unix.F_DUPFD_CLOEXEC, 3)
	if err != nil {
		t.Fatal(err)
	}
	master.Close()
	s, err := b.pool.Add(drain.Options{Pipe: fd, Dir: b.fd, Name: "stdout"})
	if err != nil {
		t.Fatal(err)
	}
	v := b.open()
	slave.WriteString("hello\n")
	if err := v.Wait(b.ctx, 6); err != nil {
		t.Fatal(err)
	}
	slave.WriteString("end\n")
	slave.Close()
	if err := v.Wait(b.ctx, 12); err != io.EOF {
		t.Error(err)
	}
	drain.Finish(s)
	if got := all(t, v); got != "hello\r\nend\r\n" {
		t.Errorf("%q", got)
	}
}
