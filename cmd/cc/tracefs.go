package main

import (
	"fmt"
	"io"
	"strings"
	"sync"
	"syscall"
)

// traceFS prints every operation as a shell line that can be pasted, and then does it; when dry, it prints
// only: reads of what exists still happen, writes and everything that blocks do not.
type traceFS struct {
	next FS
	root string
	dry  bool

	mu sync.Mutex
	w  io.Writer
	fd int // of the last conversation
}

func newTraceFS(next FS, root string, w io.Writer, dry bool) *traceFS {
	return &traceFS{next: next, root: root, w: w, dry: dry, fd: 2}
}

func (t *traceFS) print(format string, args ...any) {
	t.mu.Lock()
	defer t.mu.Unlock()
	fmt.Fprintf(t.w, format+"\n", args...)
}

// path is the shell word for a file. The names of things that a dry run did not make are shell variables.
func (t *traceFS) path(name string) string {
	return shellPath(t.root + "/" + name)
}

func shellPath(p string) string {
	if strings.Contains(p, "/$") {
		return p
	}
	return shellQuote(p)
}

// unborn reports whether name leads through something that a dry run did not make.
func (t *traceFS) unborn(name string) bool {
	return t.dry && (strings.Contains(name, "/$") || blocks(name))
}

// blocks reports whether reading a file can wait (docs/TREE.md, rule 18).
func blocks(name string) bool {
	return strings.Contains(name, "/live/") || strings.Contains(name, "/wait") || strings.Contains(name, "/exec/")
}

func (t *traceFS) Open(name string, flag int) (File, error) {
	switch flag & syscall.O_ACCMODE {
	case syscall.O_RDWR:
		t.mu.Lock()
		t.fd++
		fd := t.fd
		t.mu.Unlock()
		t.print("exec %d<>%s", fd, t.path(name))
		f := &traceFile{t: t, fd: fd, variable: answerOf(name)}
		if t.dry {
			return f, nil
		}
		var err error
		f.File, err = t.next.Open(name, flag)
		return f, err
	case syscall.O_WRONLY:
		t.print("cat > %s", t.path(name))
	default:
		if quiet(name) {
			return t.next.Open(name, flag)
		}
		t.print("cat %s", t.path(name))
	}
	if t.unborn(name) {
		return nothing{}, nil
	}
	f, err := t.next.Open(name, flag)
	if err != nil && t.dry { // what the lines above would have made
		return nothing{}, nil
	}
	return f, err
}

// quiet are the files that cc reads to explain itself, not for the user.
func quiet(name string) bool { return name == "self/error" || name == "version" }

// answerOf is the shell variables for what a conversation answers.
func answerOf(name string) string {
	if strings.HasSuffix(name, "/new") {
		return "n"
	}
	return "name id"
}

func (t *traceFS) WriteFile(name, text string, more bool) error {
	op := ">"
	if more {
		op = ">>"
	}
	t.print("%s", shellWrite(text, op+" "+t.path(name)))
	if t.dry {
		return nil
	}
	return t.next.WriteFile(name, text, more)
}

func (t *traceFS) Mkdir(name string) error {
	t.print("mkdir %s", t.path(name))
	if t.dry {
		return nil
	}
	return t.next.Mkdir(name)
}

func (t *traceFS) Remove(name string) error {
	t.print("rmdir %s", t.path(name))
	if t.dry {
		return nil
	}
	return t.next.Remove(name)
}

func (t *traceFS) Rename(old, new string) error {
	t.print("mv %s %s", t.path(old), t.path(new))
	if t.dry {
		return nil
	}
	return t.next.Rename(old, new)
}

func (t *traceFS) List(name string) ([]string, error) {
	t.print("ls %s", t.path(name))
	return t.next.List(name)
}

func (t *traceFS) Stat(name string) (Info, error) { return t.next.Stat(name) }
func (t *traceFS) Root(name string) (Root, error) { return t.next.Root(name) }

// traceFile is a conversation on a shell's descriptor.
type traceFile struct {
	File
	t        *traceFS
	fd       int
	variable string
	said     bool
}

func (f *traceFile) Write(p []byte) (int, error) {
	f.t.print("%s", shellWrite(string(p), fmt.Sprintf(">&%d", f.fd)))
	if f.t.dry {
		return len(p), nil
	}
	return f.File.Write(p)
}

func (f *traceFile) ReadAt(p []byte, off int64) (int, error) {
	if !f.said {
		f.said = true
		f.t.print("read -r %s <&%d", f.variable, f.fd)
	}
	if f.t.dry {
		if off > 0 {
			return 0, io.EOF
		}
		return copy(p, "$"+strings.ReplaceAll(f.variable, " ", " $")+"\n"), nil
	}
	return f.File.ReadAt(p, off)
}

func (f *traceFile) Close() error {
	f.t.print("exec %d>&-", f.fd)
	if f.t.dry {
		return nil
	}
	return f.File.Close()
}

// nothing is an empty file.
type nothing struct{}

func (nothing) Read([]byte) (int, error)          { return 0, io.EOF }
func (nothing) ReadAt([]byte, int64) (int, error) { return 0, io.EOF }
func (nothing) Write(p []byte) (int, error)       { return len(p), nil }
func (nothing) Close() error                      { return nil }

// shellWrite is the shell line that makes one write of text.
func shellWrite(text, to string) string {
	one := strings.TrimSuffix(text, "\n")
	switch {
	case text == "":
		return ": " + to
	case strings.Contains(one, "\n"): // bash's echo and printf make one write a line, cat makes one
		return "cat " + to + " <<'EOF'\n" + one + "\nEOF"
	case strings.Contains(one, `\`) || strings.HasPrefix(one, "-"): // dash's echo reads \n
		return `printf '%s\n' ` + shellQuote(one) + " " + to
	}
	return "echo " + shellQuote(one) + " " + to
}

// shellQuote makes a POSIX shell word of s.
func shellQuote(s string) string {
	if s != "" && strings.IndexFunc(s, special) < 0 {
		return s
	}
	if strings.Contains(s, `'`) && !strings.ContainsAny(s, "\"$\\`!") {
		return `"` + s + `"`
	}
	return `'` + strings.ReplaceAll(s, `'`, `'\''`) + `'`
}

func special(r rune) bool {
	switch {
	case 'a' <= r && r <= 'z', 'A' <= r && r <= 'Z', '0' <= r && r <= '9':
		return false
	}
	return !strings.ContainsRune("-_./:,@%+", r)
}
