package treetest

import (
	"io"
	"strings"
	"syscall"
	"testing"
	"time"
)

// cloneFunctions are rule 21 of docs/TREE.md.
var cloneFunctions = map[string]func(*testing.T, Env){
	// Name by reading, then the command through the same descriptor.
	"clone/conversation": func(t *testing.T, e Env) {
		b := e.newBox(t)
		f, n := e.converse(t, b)
		defer f.Close()
		dir := b + "/exec/" + n
		e.has(t, dir+"/status", "box "+strings.TrimPrefix(b, "box/"))
		out, code := e.reading(dir+"/stdout"), e.reading(dir+"/wait")
		still(t, out)
		_, err := f.Write([]byte("run -- ls -l /\n"))
		ok(t, err)
		if got := soon(t, out); got != "ls -l /\n" {
			t.Errorf("%q", got)
		}
		if got := soon(t, code); got != "0\n" {
			t.Errorf("%q", got)
		}
		_, err = f.Write([]byte("run -- again\n"))
		fails(t, err, syscall.EBUSY)
		if _, err := f.Seek(0, io.SeekStart); err != nil {
			t.Fatal(err)
		}
		if text, err := io.ReadAll(f); err != nil || string(text) != n+"\n" {
			t.Errorf("%q, %v", text, err)
		}
	},
	"clone/each-open-is-a-new-one": func(t *testing.T, e Env) {
		b := e.newBox(t)
		f, n := e.converse(t, b)
		g, m := e.converse(t, b)
		if n == m {
			t.Errorf("both are %s", n)
		}
		ok(t, f.Close())
		ok(t, g.Close())
	},
	"clone/lives-while-a-file-of-it-is-open": func(t *testing.T, e Env) {
		b := e.newBox(t)
		f, n := e.converse(t, b)
		dir := b + "/exec/" + n
		out, err := e.FS.Open(dir+"/stdout", syscall.O_RDONLY, 0)
		ok(t, err)
		_, err = f.Write([]byte("run -- true\n"))
		ok(t, err)
		ok(t, f.Close())
		e.has(t, dir+"/status", "state exited")
		if text, err := io.ReadAll(out); err != nil || string(text) != "true\n" {
			t.Errorf("%q, %v", text, err)
		}
		ok(t, out.Close())
		// A kernel tells of the last close when it likes.
		for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(time.Millisecond) {
			if _, err := e.FS.Lstat(dir); Errno(err) == syscall.ENOENT {
				return
			}
			if time.Now().After(deadline) {
				t.Fatal("it lives on")
			}
		}
	},
}

// converse opens a conversation and reads its name.
func (e Env) converse(t *testing.T, box string) (File, string) {
	t.Helper()
	f, err := e.FS.Open(box+"/exec/new", syscall.O_RDWR, 0)
	ok(t, err)
	buf := make([]byte, 128)
	n, err := f.Read(buf)
	ok(t, err)
	return f, strings.TrimSpace(string(buf[:n]))
}
