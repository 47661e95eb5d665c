package main

import (
	"io"
	"strings"
	"syscall"
	"time"
)

// FS is a tree as cc uses it. Names are relative to the tree's root: "container/web/ctl". Errors hold a
// syscall.Errno. It is implemented over the kernel's mount (osfs.go) and wrapped to print (tracefs.go).
type FS interface {
	Open(name string, flag int) (File, error)     // syscall.O_RDONLY, O_WRONLY (a stream to write) or O_RDWR (a conversation)
	WriteFile(name, text string, more bool) error // one message or value in one write; more appends
	Mkdir(name string) error
	Remove(name string) error // the directory of an object, or a file
	Rename(old, new string) error
	List(name string) ([]string, error)
	Stat(name string) (Info, error)
	Root(name string) (Root, error) // a container's own files
}

// File is an open file. A conversation answers at offset 0.
type File interface {
	io.ReadWriteCloser
	io.ReaderAt
}

// Info is what cc wants to know about a file.
type Info struct {
	Dir   bool
	Size  int64
	Perm  uint32
	Mtime time.Time
}

// tree is the tree with cc's habits: it reads small files whole, says lines to ctl files, and turns an errno
// into the tree's own sentence.
type tree struct {
	fs    FS
	root  string    // where the tree is for people and shells: "/cc"
	since time.Time // when this process began: older failures are not ours
	dry   bool      // nothing is written
}

// maxText bounds what is read into memory; logs and streams are copied, not read.
const maxText = 64 << 20

// readAll reads a finite file. A short read is its end: the tree renders a file whole.
func readAll(f FS, name string) ([]byte, error) {
	file, err := f.Open(name, syscall.O_RDONLY)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	buf := make([]byte, 0, 16<<10)
	for {
		n, err := file.Read(buf[len(buf):cap(buf)])
		buf = buf[:len(buf)+n]
		switch {
		case err == io.EOF || err == nil && len(buf) < cap(buf):
			return buf, nil
		case err != nil:
			return nil, err
		case len(buf) >= maxText:
			return buf, nil
		}
		buf = append(make([]byte, 0, 4*cap(buf)), buf...)
	}
}

// read returns a file's text.
func (t *tree) read(name string) (string, error) {
	b, err := readAll(t.fs, name)
	if err != nil {
		return "", t.explain(err, "read "+name)
	}
	return string(b), nil
}

// value returns a file's text without its newline, empty when there is no such file.
func (t *tree) value(name string) string {
	b, err := readAll(t.fs, name)
	if err != nil {
		return ""
	}
	return strings.TrimRight(string(b), "\n")
}

// set writes a value; say sends one message to a ctl file. Both are one write.
func (t *tree) set(name, text string) error {
	return t.explain(t.fs.WriteFile(name, line(text), false), "set "+ofObject(name))
}

func (t *tree) add(name, text string) error {
	return t.explain(t.fs.WriteFile(name, line(text), true), "add to "+ofObject(name))
}

func (t *tree) say(ctl, message string) error {
	verb, _, _ := strings.Cut(message, " ")
	return t.explain(t.fs.WriteFile(ctl, line(message), false), verb+" "+strings.TrimSuffix(ctl, "/ctl"))
}

func (t *tree) list(name string) ([]string, error) {
	names, err := t.fs.List(name)
	return names, t.explain(err, "list "+name)
}

// has reports whether the tree has this file or directory: whether the daemon knows such a thing at all.
func (t *tree) has(name string) bool {
	_, err := t.fs.Stat(name)
	return err == nil
}

// alive reports whether a tree answers at the root.
func (t *tree) alive() bool {
	_, err := readAll(t.fs, "version")
	return err == nil
}

func line(s string) string {
	if strings.HasSuffix(s, "\n") {
		return s
	}
	return s + "\n"
}

// ofObject is "vpc/foo/cidr" as people say it: "cidr of vpc/foo".
func ofObject(name string) string {
	parts := strings.SplitN(name, "/", 3)
	if len(parts) < 3 {
		return name
	}
	return parts[2] + " of " + parts[0] + "/" + parts[1]
}
