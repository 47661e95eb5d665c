package treetest

import (
	"io"
	"strings"
	"syscall"
	"testing"
	"time"
)

const nonblock = syscall.O_NONBLOCK

// soon waits for a result that must come, however slow the machine is.
func soon[T any](t *testing.T, c <-chan T) (v T) {
	t.Helper()
	select {
	case v = <-c:
	case <-time.After(20 * time.Second):
		t.Fatal("it does not come")
	}
	return v
}

// reading reads a file to its end in the background.
func (e Env) reading(p string) <-chan string {
	c := make(chan string, 1)
	go func() {
		text, err := e.get(p)
		if err != nil {
			text += "error " + Errno(err).Error()
		}
		c <- text
	}()
	return c
}

// still checks that a background read has not ended.
func still(t *testing.T, c <-chan string) {
	t.Helper()
	select {
	case got := <-c:
		t.Fatalf("it ended with %q", got)
	case <-time.After(30 * time.Millisecond):
	}
}

var streamFunctions = map[string]func(*testing.T, Env){
	"wait/returns-when-reached": func(t *testing.T, e Env) {
		b := e.newBox(t)
		c := e.reading(b + "/wait/running")
		still(t, c)
		e.write(t, b+"/ctl", "start\n")
		if got := soon(t, c); got != "running\n" {
			t.Errorf("%q", got)
		}
		if got := e.read(t, b+"/wait/running"); got != "running\n" { // at once when it is so already
			t.Errorf("%q", got)
		}
	},
	"wait/has-a-deadline": func(t *testing.T, e Env) {
		b := e.newBox(t)
		_, err := e.get(b + "/wait/running.50ms")
		fails(t, err, syscall.ETIMEDOUT)
		e.write(t, b+"/ctl", "start\n")
		if got := e.read(t, b+"/wait/running.5s"); got != "running\n" {
			t.Errorf("%q", got)
		}
	},
	"wait/gone": func(t *testing.T, e Env) {
		b := e.newBox(t)
		c, other := e.reading(b+"/wait/gone"), e.reading(b+"/wait/exited")
		still(t, c)
		ok(t, e.FS.Rmdir(b))
		if got := soon(t, c); got != "gone\n" {
			t.Errorf("%q", got)
		}
		if got := soon(t, other); got != "" { // the end of the file
			t.Errorf("%q", got)
		}
	},
	"wait/unknown-state": func(t *testing.T, e Env) {
		b := e.newBox(t)
		for _, name := range []string{"flying", "running.soon", "running."} {
			_, err := e.FS.Lstat(b + "/wait/" + name)
			fails(t, err, syscall.ENOENT)
		}
		names, err := e.FS.ReadDir(b + "/wait")
		if err != nil || len(names) != 0 {
			t.Errorf("%q, %v", names, err)
		}
	},
	// Rule 19 of docs/TREE.md.
	"stream/nonblock": func(t *testing.T, e Env) {
		b := e.newBox(t)
		for _, p := range []string{"/live/stdout", "/live/events", "/wait/running"} {
			f, err := e.FS.Open(b+p, syscall.O_RDONLY|nonblock, 0)
			ok(t, err)
			_, err = f.Read(make([]byte, 10))
			fails(t, err, syscall.EAGAIN)
			ok(t, f.Close())
		}
	},
	// The position is the handle's; a shell reads byte by byte.
	"stream/small-buffers": func(t *testing.T, e Env) {
		b := e.newBox(t)
		f, err := e.FS.Open(b+"/live/stdout", syscall.O_RDONLY, 0)
		ok(t, err)
		defer f.Close()
		e.write(t, b+"/ctl", "say hello\nsay world\n")
		var got strings.Builder
		for got.Len() < len("hello\nworld\n") {
			one := make([]byte, 1)
			n, err := f.Read(one)
			ok(t, err)
			got.Write(one[:n])
		}
		if got.String() != "hello\nworld\n" {
			t.Errorf("%q", got.String())
		}
	},
	"stream/ends-with-its-object": func(t *testing.T, e Env) {
		b := e.newBox(t)
		c, d, f := e.reading(b+"/live/stdout"), e.reading(b+"/live/events"), e.reading(b+"/live/status")
		still(t, c)
		e.write(t, b+"/ctl", "say bye\n")
		still(t, d)
		ok(t, e.FS.Rmdir(b))
		if got := soon(t, c); got != "bye\n" {
			t.Errorf("%q", got)
		}
		soon(t, d)
		if got := soon(t, f); !strings.HasPrefix(got, "state defined\n") {
			t.Errorf("%q", got)
		}
	},
	"stream/status-at-every-change": func(t *testing.T, e Env) {
		b := e.newBox(t)
		f, err := e.FS.Open(b+"/live/status", syscall.O_RDONLY, 0)
		ok(t, err)
		defer f.Close()
		next := func() string {
			buf := make([]byte, 8192)
			n, err := f.Read(buf)
			ok(t, err)
			line, _, _ := strings.Cut(string(buf[:n]), "\n")
			return line
		}
		if got := next(); got != "state defined" {
			t.Errorf("%q", got)
		}
		e.write(t, b+"/ctl", "start\n")
		if got := next(); got != "state running" {
			t.Errorf("%q", got)
		}
		e.write(t, b+"/memory", "64M\n") // no change of status
		e.write(t, b+"/ctl", "stop\n")
		if got := next(); got != "state exited" {
			t.Errorf("%q", got)
		}
	},
	"stream/events-as-chosen": func(t *testing.T, e Env) {
		a, b := e.newBox(t), e.newBox(t)
		f, err := e.FS.Open("live/events", syscall.O_RDWR, 0)
		ok(t, err)
		defer f.Close()
		_, err = f.Write([]byte("kind=running object=" + b + "\n"))
		ok(t, err)
		_, err = f.Write([]byte("colour=red\n"))
		fails(t, err, syscall.EINVAL)
		e.write(t, a+"/ctl", "start\n")
		e.write(t, b+"/ctl", "start\n")
		buf := make([]byte, 8192)
		n, err := f.Read(buf)
		ok(t, err)
		if got := string(buf[:n]); !strings.Contains(got, " running "+b+" from=defined id=") || strings.Count(got, "\n") != 1 {
			t.Errorf("%q", got)
		}
		e.has(t, "events", " running "+a+" from=defined id=")
	},
	"stream/stdin": func(t *testing.T, e Env) {
		b := e.newBox(t)
		e.write(t, b+"/ctl", "start\n")
		ok(t, e.open(b+"/stdin", syscall.O_APPEND, "one\n", "two\n"))
		e.wants(t, b+"/stdout", "one\ntwo\n")
		_, err := e.get(b + "/stdin") // root may, and there is nothing
		ok(t, err)
	},
	// Rule 20 of docs/TREE.md: a log is a real file.
	"log/grows-and-rotates": func(t *testing.T, e Env) {
		b := e.newBox(t)
		e.write(t, b+"/ctl", "say one\n")
		f, err := e.FS.Open(b+"/stdout", syscall.O_RDONLY, 0)
		ok(t, err)
		defer f.Close()
		first, err := e.FS.Lstat(b + "/stdout")
		ok(t, err)
		if text, err := io.ReadAll(f); err != nil || string(text) != "one\n" {
			t.Errorf("%q, %v", text, err)
		}
		e.write(t, b+"/ctl", "say two\n")
		if st, err := f.Stat(); err != nil || st.Size != 8 {
			t.Errorf("size %d, %v", st.Size, err)
		}
		if text, err := io.ReadAll(f); err != nil || string(text) != "two\n" { // it goes on where it stood
			t.Errorf("%q, %v", text, err)
		}
		e.write(t, b+"/ctl", "rotate\nsay three\n")
		if text, err := io.ReadAll(f); err != nil || string(text) != "three\n" { // the old view goes on over rotation
			t.Errorf("%q, %v", text, err)
		}
		e.wants(t, b+"/stdout", "three\n")
		if st, err := e.FS.Lstat(b + "/stdout"); err != nil || st.Ino == first.Ino {
			t.Errorf("the name has the same number %d after rotation, %v", st.Ino, err)
		}
	},
}
