package treetest

import (
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/containercloud/cc/fault"
)

// errorFunctions are rule 17 of docs/TREE.md.
var errorFunctions = map[string]func(*testing.T, Env){
	"error/each-class-has-its-number": func(t *testing.T, e Env) {
		for k := fault.Invalid; k <= fault.Unsupported; k++ {
			if k == fault.Interrupted {
				continue
			}
			fails(t, e.put("ctl", "fail "+k.String()+"\n"), k.Errno())
		}
	},
	"error/in-three-places": func(t *testing.T, e Env) {
		n := e.newNet(t)
		fails(t, e.put(n+"/cidr", "300.1.2.0/24\n"), syscall.EINVAL)
		want := " invalid cannot set " + n + "/cidr: \"300.1.2.0/24\" is not a network; hint: write it like 10.1.0.0/24"
		e.has(t, n+"/error", want+"\n")
		xattr, err := e.FS.Getxattr(n+"/cidr", "user.cc.error")
		if err != nil || !strings.HasSuffix(xattr, want) {
			t.Errorf("%q, %v", xattr, err)
		}
		line := strings.TrimSpace(e.read(t, n+"/error"))
		if when, err := time.Parse(time.RFC3339, strings.Fields(line)[0]); err != nil || time.Since(when) > time.Minute {
			t.Errorf("%q: %v", line, err)
		}
	},
	"error/self": func(t *testing.T, e Env) {
		n := e.newNet(t)
		other := Env{FS: e.As(1002, 1002)}
		fails(t, other.put(n+"/note", "x\n"), syscall.EACCES)
		if got := other.read(t, "self/error"); !strings.Contains(got, " denied cannot open "+n+"/note: ") || strings.Count(got, "\n") != 1 {
			t.Errorf("%q", got)
		}
		other.has(t, "self/whoami", "uid 1002\n")
		if got := e.read(t, n+"/error"); got != "" { // strangers do not fill the owner's file
			t.Errorf("%q", got)
		}
	},
	"error/last-sixteen": func(t *testing.T, e Env) {
		b := e.newBox(t)
		for range 20 {
			fails(t, e.put(b+"/memory", "lots\n"), syscall.EINVAL)
			fails(t, e.put(b+"/stop.timeout", "long\n"), syscall.EINVAL)
		}
		text := e.read(t, b+"/error")
		if lines := strings.Count(text, "\n"); lines != 16 || !strings.Contains(text[strings.LastIndex(text[:len(text)-1], "\n")+1:], "stop.timeout") {
			t.Errorf("%d lines: %s", lines, text)
		}
	},
	"error/xattrs": func(t *testing.T, e Env) {
		n := e.newNet(t)
		fails(t, e.FS.Setxattr(n+"/note", "user.x", "y"), syscall.EOPNOTSUPP)
		_, err := e.FS.Getxattr(n+"/note", "user.other")
		fails(t, err, syscall.ENODATA)
		_, err = e.FS.Getxattr(n+"/note", "user.cc.error") // nothing failed yet
		fails(t, err, syscall.ENODATA)
	},
	// One bad row must not unmount the cloud.
	"error/panic": func(t *testing.T, e Env) {
		_, err := e.get("broken")
		fails(t, err, syscall.EIO)
		fails(t, e.put("ctl", "panic\n"), syscall.EIO)
		e.has(t, "version", "sample")
	},
	// Rule 24 of docs/TREE.md: every request has a deadline, even where a row does not listen.
	"error/stuck-row": func(t *testing.T, e Env) {
		if testing.Short() {
			t.Skip("short: waits for the deadline of 5 s")
		}
		fails(t, e.put("ctl", "stuck\n"), syscall.ETIMEDOUT)
	},
}
