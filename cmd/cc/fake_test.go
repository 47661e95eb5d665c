package main

import (
	"bytes"
	"fmt"
	"io"
	"maps"
	"path"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/containercloud/cc/words"
)

// fakeTree is a daemon of paper: files in a map, ctl files that understand a few verbs, and errors that leave
// their sentence in self/error, as the real tree's do.
type fakeTree struct {
	mu    sync.Mutex
	files map[string]string
	dirs  map[string]bool
	log   []string // every change, as it was asked for
	fail  map[string]error
}

func newFake() *fakeTree {
	return &fakeTree{
		files: map[string]string{"version": "ccd test\n"},
		dirs:  map[string]bool{"": true, "container": true, "vpc": true, "image": true},
		fail:  map[string]error{},
	}
}

// put makes a file, and the directories around it.
func (f *fakeTree) put(name, text string) {
	f.files[name] = text
	for d := path.Dir(name); d != "."; d = path.Dir(d) {
		f.dirs[d] = true
	}
}

// container makes a container that is in a state.
func (f *fakeTree) container(name, state string) {
	dir := "container/" + name + "/"
	f.put(dir+"id", name+"-1111-2222\n")
	f.put(dir+"status", "state "+state+"\nsince 2026-01-02T03:04:05Z\n")
	f.put(dir+"usedby", "")
	f.put(dir+"exit", "3 - 0 2026-01-02T03:04:06Z 0\n")
	f.put(dir+"image", "builtin\n")
	f.put(dir+"args", "sh\n-c\n'echo hi'\n")
}

// refuse notes a sentence in self/error and returns its errno.
func (f *fakeTree) refuse(no syscall.Errno, word, sentence string) error {
	f.files["self/error"] = time.Now().UTC().Format(time.RFC3339) + " " + word + " " + sentence + "\n"
	return no
}

func (f *fakeTree) Open(name string, flag int) (File, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := f.fail[name]; err != nil {
		return nil, err
	}
	if flag&syscall.O_ACCMODE == syscall.O_RDWR {
		h := &fakeFile{tree: f, name: name}
		if strings.HasSuffix(name, "/exec/new") {
			h.answer = "7\n"
		}
		return h, nil
	}
	text, ok := f.files[name]
	if !ok {
		return nil, syscall.ENOENT
	}
	return &fakeFile{tree: f, name: name, r: bytes.NewReader([]byte(text))}, nil
}

func (f *fakeTree) WriteFile(name, text string, more bool) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := f.fail[name]; err != nil {
		return err
	}
	op := ">"
	if more {
		op = ">>"
	}
	f.log = append(f.log, fmt.Sprintf("%s %s %q", name, op, text))
	dir, file := path.Split(name)
	switch {
	case file == "ctl":
		_, err := f.verb(dir, strings.TrimSuffix(text, "\n"))
		return err
	case !f.dirs[strings.TrimSuffix(dir, "/")]:
		return syscall.ENOENT
	}
	if more {
		text = f.files[name] + text
	}
	f.files[name] = text
	return nil
}

// verb does what a line says to a ctl file, and returns the answer.
func (f *fakeTree) verb(dir, line string) (string, error) {
	m, err := words.Parse(line)
	if err != nil {
		return "", syscall.EINVAL
	}
	switch {
	case dir == "image/" && m.Verb == "pull":
		return "", f.refuse(syscall.EHOSTDOWN, "host-down", "cannot pull "+m.Args[0]+": nobody there")
	case dir == "image/" && m.Verb == "rm" && m.Args[0] == "nosuch":
		return "", f.refuse(syscall.ENOENT, "not-found", `no image "nosuch" here`)
	case dir == "image/" && m.Verb == "load":
		return "app:1 sha256:11\n- sha256:22\n", nil
	case dir == "image/" && m.Verb == "gc":
		return "2 4096\n", nil
	case dir == "vpc/":
		if cidr, _ := m.Opt("cidr"); strings.HasPrefix(cidr, "300.") {
			return "", f.refuse(syscall.EINVAL, "invalid", `cannot create vpc bad: cidr: "300.1.2.0/24" is no network; hint: an address and its bits`)
		}
		name, _ := m.Opt("name")
		f.put("vpc/"+name+"/id", "1234-5678\n")
	case dir == "container/" && (m.Verb == "run" || m.Verb == "create"):
		return f.run(m)
	case m.Verb == "stop" && !strings.Contains(f.files[dir+"status"], "running"):
		return "", f.refuse(syscall.EBUSY, "busy", "cannot stop "+dir)
	case m.Verb == "stop":
		f.files[dir+"status"] = "state exited\n"
		f.files[dir+"wait/exited"] = "exited\n"
	case m.Verb == "delete":
		f.drop(strings.TrimSuffix(dir, "/"))
	}
	return "", nil
}

func (f *fakeTree) run(m words.Message) (string, error) {
	if image, _ := m.Opt("image"); image == "missing" {
		return "", f.refuse(syscall.ENOENT, "not-found", "cannot run container: no image missing; hint: cc image pull missing")
	}
	if len(m.Cmd) > 0 && m.Cmd[0] == "nosuch" {
		return "", f.refuse(syscall.ENOENT, "not-found", "cannot run container: execve nosuch: no such file or directory")
	}
	name, ok := m.Opt("name")
	if !ok {
		name = "c0ffee00"
	}
	f.container(name, "running")
	dir := "container/" + name + "/"
	f.put(dir+"live/stdout", strings.Join(m.Cmd, " ")+"\n")
	f.put(dir+"live/stderr", "")
	f.put(dir+"wait/exited", "exited\n")
	return name + " " + name + "-1111-2222\n", nil
}

func (f *fakeTree) drop(dir string) {
	delete(f.dirs, dir)
	maps.DeleteFunc(f.files, func(name, _ string) bool { return strings.HasPrefix(name, dir+"/") })
}

func (f *fakeTree) Mkdir(name string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.log = append(f.log, "mkdir "+name)
	if f.dirs[name] {
		return f.refuse(syscall.EEXIST, "exists", "cannot create "+name+": the name is taken")
	}
	f.put(name+"/id", "1234-5678\n")
	return nil
}

func (f *fakeTree) Remove(name string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.log = append(f.log, "rmdir "+name)
	if !f.dirs[name] {
		return syscall.ENOENT
	}
	f.drop(name)
	return nil
}

func (f *fakeTree) Rename(old, new string) error {
	f.log = append(f.log, "mv "+old+" "+new)
	return nil
}

func (f *fakeTree) List(name string) ([]string, error) {
	if !f.dirs[name] {
		return nil, syscall.ENOENT
	}
	seen := map[string]bool{}
	for _, all := range []any{f.files, f.dirs} {
		var keys []string
		switch m := all.(type) {
		case map[string]string:
			keys = slices.Collect(maps.Keys(m))
		case map[string]bool:
			keys = slices.Collect(maps.Keys(m))
		}
		for _, k := range keys {
			if rest, ok := strings.CutPrefix(k, name+"/"); ok {
				first, _, _ := strings.Cut(rest, "/")
				seen[first] = true
			}
		}
	}
	return slices.Sorted(maps.Keys(seen)), nil
}

func (f *fakeTree) Stat(name string) (Info, error) {
	if f.dirs[name] {
		return Info{Dir: true}, nil
	}
	text, ok := f.files[name]
	if !ok {
		return Info{}, syscall.ENOENT
	}
	return Info{Size: int64(len(text))}, nil
}

func (f *fakeTree) Root(string) (Root, error) { return nil, syscall.ENOENT }

// fakeFile is an open file or a conversation.
type fakeFile struct {
	tree   *fakeTree
	name   string
	r      *bytes.Reader
	answer string
}

func (h *fakeFile) Read(p []byte) (int, error) { return h.r.Read(p) }
func (h *fakeFile) ReadAt(p []byte, off int64) (int, error) {
	if h.r != nil {
		return h.r.ReadAt(p, off)
	}
	return strings.NewReader(h.answer).ReadAt(p, off)
}
func (h *fakeFile) Close() error { return nil }
func (h *fakeFile) Write(p []byte) (int, error) {
	h.tree.mu.Lock()
	defer h.tree.mu.Unlock()
	h.tree.log = append(h.tree.log, fmt.Sprintf("%s <> %q", h.name, p))
	if dir, ok := strings.CutSuffix(h.name, "exec/new"); ok {
		m, _ := words.Parse(strings.TrimSpace(string(p)))
		h.tree.put(dir+"exec/7/stdout", strings.Join(m.Cmd, " ")+"\n")
		h.tree.put(dir+"exec/7/stderr", "oops\n")
		h.tree.put(dir+"exec/7/wait", "4 - 0 2026-01-02T03:04:05Z 0\n")
		return len(p), nil
	}
	var err error
	h.answer, err = h.tree.verb(path.Dir(h.name)+"/", strings.TrimSuffix(string(p), "\n"))
	return len(p), err
}

// cc runs one command line against the fake tree.
func (f *fakeTree) cc(t *testing.T, argv ...string) (code int, out, errs string) {
	t.Helper()
	var o, e bytes.Buffer
	code = run(argv, strings.NewReader(""), &o, &e, func(string) FS { return f })
	return code, o.String(), e.String()
}

var _ io.Reader = (*fakeFile)(nil)
