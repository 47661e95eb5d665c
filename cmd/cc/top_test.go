package main

import (
	"io"
	"testing"

	"github.com/creack/pty"
	"golang.org/x/sys/unix"
)

// TestTopEndsWithQ: q leaves the endless table, and the terminal is as it was.
func TestTopEndsWithQ(t *testing.T) {
	user, tty, err := pty.Open()
	if err != nil {
		t.Skipf("no terminal here: %v", err)
	}
	defer user.Close()
	defer tty.Close()
	go func() { _, _ = io.Copy(io.Discard, user) }()
	before, _ := unix.IoctlGetTermios(int(tty.Fd()), unix.TCGETS)
	f := newFake()
	f.put("container/index", "")
	if _, err := user.Write([]byte("xq\n")); err != nil {
		t.Fatal(err)
	}
	if code := run([]string{"top"}, tty, tty, tty, func(string) FS { return f }); code != 0 {
		t.Errorf("code %d", code)
	}
	after, _ := unix.IoctlGetTermios(int(tty.Fd()), unix.TCGETS)
	if before.Lflag != after.Lflag {
		t.Errorf("local modes %x were %x", after.Lflag, before.Lflag)
	}
}
