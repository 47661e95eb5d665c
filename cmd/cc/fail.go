package main

import (
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"syscall"
	"time"

	"github.com/containercloud/cc/fault"
)

// Exit codes. `run` and `exec` end with the program's own code, 128+signal, or one of the last three.
const (
	exitFailed      = 1
	exitUsage       = 2
	exitNotFound    = 3
	exitAuth        = 4
	exitForbidden   = 5
	exitConflict    = 6 // exists, busy, in use, compare failed
	exitTimeout     = 7
	exitUnreachable = 8
	exitEngine      = 125 // run, exec: could not be started
	exitNoExec      = 126 // the program cannot be executed
	exitNoProgram   = 127 // the program is not there
	exitInterrupted = 130
	exitUnread      = 141 // run, exec: nobody reads the output any more; as of a program that SIGPIPE ended
)

// failure is what cc tells the user: a sentence, what to do about it, and the exit code.
type failure struct {
	code  int
	word  string // the tree's stable code word, empty when the failure is not the tree's
	text  string
	hint  string
	errno syscall.Errno
}

func (f *failure) Error() string { return f.text }
func (f *failure) Unwrap() error {
	if f.errno == 0 {
		return nil
	}
	return f.errno
}

// exitStatus ends cc with a code and no message: the container's own.
type exitStatus int

func (e exitStatus) Error() string { return fmt.Sprintf("exit status %d", int(e)) }

func usagef(format string, args ...any) *failure {
	return &failure{code: exitUsage, text: fmt.Sprintf(format, args...)}
}

func failedf(code int, format string, args ...any) *failure {
	return &failure{code: code, text: fmt.Sprintf(format, args...)}
}

func (f *failure) withHint(format string, args ...any) *failure {
	f.hint = fmt.Sprintf(format, args...)
	return f
}

// exitCodes are the exit codes of the tree's kinds of failure; all others are exitFailed.
var exitCodes = map[fault.Kind]int{
	fault.NotFound:    exitNotFound,
	fault.Denied:      exitForbidden,
	fault.ReadOnly:    exitForbidden,
	fault.Exists:      exitConflict,
	fault.Fixed:       exitConflict,
	fault.Busy:        exitConflict,
	fault.NotEmpty:    exitConflict,
	fault.AddrInUse:   exitConflict,
	fault.Again:       exitConflict,
	fault.NoData:      exitConflict,
	fault.Stale:       exitConflict,
	fault.Timeout:     exitTimeout,
	fault.HostDown:    exitUnreachable,
	fault.Interrupted: exitInterrupted,
}

// exitOf is the exit code of a failed file operation. The tree's code word says more than the errno: EPERM is
// `fixed` when the object's state forbids the change, and has no word when the kernel refused.
func exitOf(no syscall.Errno, word string) int {
	kind, said := fault.Parse(word)
	switch {
	case said:
	case no == syscall.EPERM:
		return exitForbidden
	case no == syscall.ENOKEY || no == syscall.EKEYEXPIRED || no == syscall.EKEYREVOKED || no == syscall.EKEYREJECTED:
		return exitAuth
	case no == syscall.ENOTCONN || no == syscall.ECONNABORTED || no == syscall.EHOSTUNREACH:
		return exitUnreachable
	case no != 0:
		kind = fault.KindOf(no)
	}
	if code, ok := exitCodes[kind]; ok {
		return code
	}
	return exitFailed
}

// answers reports whether a failure of the kind called word is answered with this errno. The unknown pass through
// as they are.
func answers(word string, no syscall.Errno) bool {
	kind, ok := fault.Parse(word)
	return ok && (kind.Errno() == no || kind == fault.Internal && fault.KindOf(no) == kind)
}

func errnoOf(err error) syscall.Errno {
	var no syscall.Errno
	switch {
	case errors.As(err, &no):
		return no
	case errors.Is(err, fs.ErrNotExist):
		return syscall.ENOENT
	}
	return 0
}

// explain turns a failed file operation into what the tree says about it in self/error; doing is
// "set cidr of vpc/foo", for failures on which the tree has nothing to say (the kernel's own).
func (t *tree) explain(err error, doing string) error {
	if err == nil {
		return nil
	}
	no := errnoOf(err)
	if no == syscall.ENOTCONN || no == syscall.ECONNABORTED || !t.alive() {
		return t.diagnose(no)
	}
	if f := t.selfError(no); f != nil {
		return f
	}
	return &failure{code: exitOf(no, ""), errno: no, text: "cannot " + doing + ": " + strerror(err, no)}
}

func strerror(err error, no syscall.Errno) string {
	if no != 0 {
		return strings.ToLower(no.Error()[:1]) + no.Error()[1:]
	}
	return err.Error()
}

// selfError is the caller's last failure as the tree remembers it, if it is the one that just happened:
// newer than this process and of the same errno.
func (t *tree) selfError(no syscall.Errno) *failure {
	text, err := readAll(t.fs, "self/error")
	if err != nil {
		return nil
	}
	f, when := parseErrorLine(lastLine(string(text)))
	if f == nil || when.Before(t.since.Add(-2*time.Second)) || f.word != "" && !answers(f.word, no) {
		return nil
	}
	f.errno, f.code = no, exitOf(no, f.word)
	return f
}

// parseErrorLine reads `TIME CODE sentence; hint: ...`.
func parseErrorLine(line string) (*failure, time.Time) {
	stamp, rest, ok := strings.Cut(line, " ")
	when, err := time.Parse(time.RFC3339Nano, stamp)
	if !ok || err != nil {
		return nil, time.Time{}
	}
	word, text, ok := strings.Cut(rest, " ")
	if !ok {
		return nil, time.Time{}
	}
	text, hint, _ := strings.Cut(text, "; hint: ")
	return &failure{word: word, text: text, hint: hint}, when
}

func lastLine(s string) string {
	s = strings.TrimRight(s, "\n")
	return s[strings.LastIndexByte(s, '\n')+1:]
}

// is reports whether err is a failure with one of these errnos.
func is(err error, nos ...syscall.Errno) bool {
	got := errnoOf(err)
	for _, no := range nos {
		if err != nil && got == no {
			return true
		}
	}
	return false
}

// failureLines are the sentences of err, several when several objects failed.
func failureLines(err error) []string {
	var many interface{ Unwrap() []error }
	if !errors.As(err, &many) {
		return []string{err.Error()}
	}
	var lines []string
	for _, e := range many.Unwrap() {
		lines = append(lines, failureLines(e)...)
	}
	return lines
}

func (f *failure) json(err error) map[string]any {
	m := map[string]any{"message": strings.Join(failureLines(err), "\n"), "exit": f.code}
	if f.word != "" {
		m["code"] = f.word
	}
	if f.hint != "" {
		m["hint"] = f.hint
	}
	return m
}
