package main

import (
	"io"
	"os"
	"testing"
	"time"

	"github.com/creack/pty"
	"golang.org/x/sys/unix"
)

// TestTopRestoresTheTerminal: q and signals leave the endless table, and the terminal is as it was.
func TestTopRestoresTheTerminal(t *testing.T) {
	for _, c := range []struct {
		keys string
		sig  unix.Signal
		code int
	}{
		{"xq\n", 0, 0},
		{"", unix.SIGINT, 0},
		{"", unix.SIGTERM, 128 + int(unix.SIGTERM)},
		{"", unix.SIGHUP, 128 + int(unix.SIGHUP)},
	} {
		user, tty, err := pty.Open()
		if err != nil {
			t.Skipf("no terminal here: %v", err)
		}
		defer user.Close()
		defer tty.Close()
		go func() { _, _ = io.Copy(io.Discard, user) }()
		modes := func() uint32 {
			m, err := unix.IoctlGetTermios(int(tty.Fd()), unix.TCGETS)
			if err != nil {
				t.Fatal(err)
			}
			return m.Lflag
		}
		before := modes()
		f := newFake()
		f.put("container/index", "")
		if _, err := user.WriteString(c.keys); err != nil {
			t.Fatal(err)
		}
		code := make(chan int)
		go func() { code <- run([]string{"top"}, tty, tty, tty, func(string) FS { return f }) }()
		if c.sig != 0 {
			for modes() == before { // from then on the signal is awaited
				time.Sleep(time.Millisecond)
			}
			if err := unix.Kill(os.Getpid(), c.sig); err != nil {
				t.Fatal(err)
			}
		}
		if got := <-code; got != c.code {
			t.Errorf("%q, %v: code %d, want %d", c.keys, c.sig, got, c.code)
		}
		if after := modes(); before != after {
			t.Errorf("%q, %v: local modes %x were %x", c.keys, c.sig, after, before)
		}
	}
}
