package treetest

import (
	"io"
	"strings"
	"syscall"
	"testing"
)

var ctlFunctions = map[string]func(*testing.T, Env){
	"ctl/prints-legal-verbs": func(t *testing.T, e Env) {
		b := e.newBox(t)
		before := e.read(t, b+"/ctl")
		e.write(t, b+"/ctl", "start\n")
		after := e.read(t, b+"/ctl")
		if !strings.Contains(before, "\nstart\n") || strings.Contains(before, "\nstop ") || strings.Contains(after, "\nstart\n") ||
			!strings.Contains(after, "\nstop [timeout=DURATION] [wait=DURATION]\n") {
			t.Errorf("%q, then %q", before, after)
		}
	},
	// What a ctl prints may be written back, as cp -r does, and runs nothing.
	"ctl/copy-of-a-listing-does-nothing": func(t *testing.T, e Env) {
		b := e.newBox(t)
		e.write(t, b+"/ctl", e.read(t, b+"/ctl"))
		e.has(t, b+"/status", "state defined")
	},
	"ctl/lines-in-order-until-one-fails": func(t *testing.T, e Env) {
		b := e.newBox(t)
		fails(t, e.put(b+"/ctl", "say one\n\n# comment\nsay two\nfly\nsay three\n"), syscall.EINVAL)
		e.wants(t, b+"/stdout", "one\ntwo\n")
		e.has(t, b+"/error", "line 5: cannot tell "+b+": there is no verb \"fly\"")
	},
	"ctl/unterminated-line-counts": func(t *testing.T, e Env) {
		b := e.newBox(t)
		e.write(t, b+"/ctl", "say one\nsay two")
		e.wants(t, b+"/stdout", "one\ntwo\n")
	},
	"ctl/offsets-mean-nothing": func(t *testing.T, e Env) {
		b := e.newBox(t)
		f, err := e.FS.Open(b+"/ctl", syscall.O_WRONLY, 0)
		ok(t, err)
		for _, off := range []int64{0, 100, 7, 0} {
			_, err = f.Seek(off, 0)
			ok(t, err)
			_, err = f.Write([]byte("say x\n"))
			ok(t, err)
		}
		ok(t, f.Close())
		ok(t, e.open(b+"/ctl", syscall.O_APPEND, "say y\n"))
		e.wants(t, b+"/stdout", "x\nx\nx\nx\ny\n")
	},
	// A line longer than a program's buffer comes in pieces of whole pages.
	"ctl/long-line-in-pieces": func(t *testing.T, e Env) {
		b := e.newBox(t)
		line := "say " + strings.Repeat("x", 9000)
		ok(t, e.open(b+"/ctl", syscall.O_TRUNC, line[:4096], line[4096:8192], line[8192:]+"\n"))
		e.wants(t, b+"/stdout", line[4:]+"\n")
	},
	"ctl/quoted-newline": func(t *testing.T, e Env) {
		b := e.newBox(t)
		e.write(t, b+"/ctl", "say 'a\nb'\nsay c\n")
		e.wants(t, b+"/stdout", "a\nb\nc\n")
	},
	"ctl/illegal-verb": func(t *testing.T, e Env) {
		b := e.newBox(t)
		fails(t, e.put(b+"/ctl", "stop\n"), syscall.EBUSY)
		e.has(t, b+"/error", "busy cannot stop "+b+": it is defined")
	},
	"ctl/if-version": func(t *testing.T, e Env) {
		b := e.newBox(t)
		fails(t, e.put(b+"/ctl", "start if-version=7\n"), syscall.ESTALE)
		fails(t, e.put(b+"/ctl", "start if-version=x\n"), syscall.EINVAL)
		e.has(t, b+"/error", "the version is 1, not 7")
		e.write(t, b+"/ctl", "start if-version=1\n")
		e.has(t, b+"/status", "state running")
	},
	"ctl/wait": func(t *testing.T, e Env) {
		b := e.newBox(t)
		e.write(t, b+"/ctl", "start\nexit 3 after=100ms wait=5s\n")
		e.has(t, b+"/status", "state exited\nexit 3\n")
		e.write(t, b+"/ctl", "start\n")
		fails(t, e.put(b+"/ctl", "exit 0 after=1h wait=50ms\n"), syscall.ETIMEDOUT)
		fails(t, e.put(b+"/ctl", "exit 0 wait=soon\n"), syscall.EINVAL)
	},
	// The answer to a line is read from the same descriptor, at 0 and where the write ended.
	"ctl/reply": func(t *testing.T, e Env) {
		for _, rewind := range []bool{true, false} {
			f, err := e.FS.Open("ctl", syscall.O_RDWR, 0)
			ok(t, err)
			for _, word := range []string{"hello", "again"} {
				_, err = f.Write([]byte("echo " + word + "\n"))
				ok(t, err)
				if rewind {
					_, err = f.Seek(0, io.SeekStart)
					ok(t, err)
				}
				if b, err := io.ReadAll(f); err != nil || string(b) != word+"\n" {
					t.Errorf("rewind %v: %q, %v", rewind, b, err)
				}
			}
			ok(t, f.Close())
		}
	},
	"ctl/run-in-one-line": func(t *testing.T, e Env) {
		name := "run" + strings.TrimPrefix(e.newBox(t), "box/")
		e.write(t, "box/ctl", "run name="+name+" memory=64M env=A=b env='C=d e' -- sh -c 'echo hi'\n")
		b := "box/" + name
		e.wants(t, b+"/memory", "67108864\n")
		e.wants(t, b+"/env", "A b\nC d e\n")
		e.wants(t, b+"/args", "sh\n-c\necho hi\n")
		e.has(t, b+"/status", "state running")
		e.write(t, b+"/ctl", "delete force\n")
		_, err := e.FS.Lstat(b)
		fails(t, err, syscall.ENOENT)
		fails(t, e.put("box/ctl", "run name=x"+name+" memroy=1 -- x\n"), syscall.EINVAL)
		_, err = e.FS.Lstat("box/x" + name)
		fails(t, err, syscall.ENOENT)
	},
}
