package treetest

import (
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
)

// Env is where a conformance function looks.
type Env struct {
	FS FS                    // as root
	As func(uid, gid int) FS // as somebody else, without supplementary groups
}

// Functions are the conformance functions by name. Each makes its own objects and removes them, so they may run side by
// side on one tree.
func Functions() map[string]func(*testing.T, Env) {
	all := map[string]func(*testing.T, Env){}
	for _, group := range []map[string]func(*testing.T, Env){
		readFunctions, writeFunctions, specFunctions, ctlFunctions, objectFunctions, scratchFunctions, rightsFunctions,
		streamFunctions, cloneFunctions, hostFunctions, errorFunctions,
	} {
		maps.Copy(all, group)
	}
	return all
}

// Run runs all functions as subtests.
func Run(t *testing.T, e Env) {
	all := Functions()
	for _, name := range slices.Sorted(maps.Keys(all)) {
		t.Run(name, func(t *testing.T) { all[name](t, e) })
	}
}

var unique atomic.Uint64

// newNet and newBox make an object that the test removes at its end.
func (e Env) newNet(t *testing.T) string { return e.newObject(t, "net") }
func (e Env) newBox(t *testing.T) string { return e.newObject(t, "box") }

func (e Env) newObject(t *testing.T, kind string) string {
	t.Helper()
	p := fmt.Sprintf("%s/t%d", kind, unique.Add(1))
	e.mkdir(t, p)
	t.Cleanup(func() {
		if _, err := e.FS.Lstat(p); err == nil {
			_ = e.put(p+"/ctl", "stop\n")
			ok(t, e.FS.Rmdir(p))
		}
	})
	return p
}

// mkdir makes an object and reads its id, which tells the tree that this process is no copier (see tree/draft.go).
func (e Env) mkdir(t *testing.T, p string) {
	t.Helper()
	ok(t, e.FS.Mkdir(p, 0o777))
	e.read(t, p+"/id")
}

func ok(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// fails checks an error's number.
func fails(t *testing.T, err error, want syscall.Errno) {
	t.Helper()
	if err == nil {
		t.Fatalf("no error, want %v", want)
	}
	if got := Errno(err); got != want {
		t.Fatalf("%v: errno %v, want %v", err, got, want)
	}
}

// read reads a file whole.
func (e Env) read(t *testing.T, p string) string {
	t.Helper()
	text, err := e.get(p)
	if err != nil {
		t.Fatalf("reading %s: %v", p, err)
	}
	return text
}

func (e Env) get(p string) (string, error) {
	f, err := e.FS.Open(p, syscall.O_RDONLY, 0)
	if err != nil {
		return "", err
	}
	defer f.Close()
	b, err := io.ReadAll(f)
	return string(b), err
}

// put writes as `echo > p` does; add as `>>`.
func (e Env) put(p, text string) error { return e.open(p, syscall.O_TRUNC, text) }
func (e Env) add(p, text string) error { return e.open(p, syscall.O_APPEND, text) }

func (e Env) open(p string, flags int, writes ...string) error {
	f, err := e.FS.Open(p, syscall.O_WRONLY|syscall.O_CREAT|flags, 0o666)
	if err != nil {
		return err
	}
	for _, w := range writes {
		if _, err := f.Write([]byte(w)); err != nil {
			return errors.Join(err, f.Close())
		}
	}
	return f.Close()
}

func (e Env) write(t *testing.T, p, text string) {
	t.Helper()
	if err := e.put(p, text); err != nil {
		t.Fatalf("writing %s: %v", p, err)
	}
}

func (e Env) append(t *testing.T, p, text string) {
	t.Helper()
	if err := e.add(p, text); err != nil {
		t.Fatalf("adding to %s: %v", p, err)
	}
}

// wants checks a file's content, and that stat knew its size.
func (e Env) wants(t *testing.T, p, want string) {
	t.Helper()
	if got := e.read(t, p); got != want {
		t.Fatalf("%s holds %q, want %q", p, got, want)
	}
	st, err := e.FS.Lstat(p)
	ok(t, err)
	if st.Size != int64(len(want)) {
		t.Fatalf("%s has size %d, want %d", p, st.Size, len(want))
	}
}

// has checks that a file holds a text.
func (e Env) has(t *testing.T, p, part string) {
	t.Helper()
	if got := e.read(t, p); !strings.Contains(got, part) {
		t.Fatalf("%s holds %q, want %q in it", p, got, part)
	}
}

// each visits every file that readdir shows below p.
func (e Env) each(t *testing.T, p string, f func(p string, st Stat)) {
	t.Helper()
	names, err := e.FS.ReadDir(p)
	ok(t, err)
	for _, name := range names {
		name, isDir := strings.CutSuffix(name, "/")
		full := strings.TrimPrefix(p+"/"+name, "/")
		st, err := e.FS.Lstat(full)
		ok(t, err)
		if isDir != (st.Mode&syscall.S_IFMT == syscall.S_IFDIR) {
			t.Fatalf("%s: readdir and stat disagree about its type (%o)", full, st.Mode)
		}
		if isDir {
			e.each(t, full, f)
			continue
		}
		f(full, st)
	}
}
