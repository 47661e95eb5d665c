// Package fault is the one kind of error that every door of Container Cloud understands.
//
// A fault says which operation failed on which object, why, and what to do about it. Its Kind decides
// the errno that FUSE and 9P answer and the status that HTTP answers; the table below is the only place
// where a kind meets an errno (docs/TREE.md, rule 17).
package fault

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"syscall"
)

// Kind is the class of a failure: what a program may decide on.
type Kind uint8

const (
	Internal     Kind = iota // a cause we do not know: EIO
	Invalid                  // syntax or value
	NotFound                 // no such object, or a named object is unknown
	Exists                   // name taken
	Fixed                    // may not change any more after start, or never allowed here
	Denied                   // the caller has not the right
	Busy                     // in use, or the state forbids it now
	NotEmpty                 // has children
	AddrInUse                // address or port taken
	AddrUnusable             // address outside the network, or not on this host
	Range                    // number outside its limits
	TooLong                  // line longer than 64 KiB
	NoSpace                  // pool or disk full
	Quota                    // a quota is used up
	Again                    // trying again is right
	Timeout                  // wait= or a deadline passed
	HostDown                 // the host that has it does not answer
	ReadOnly                 // no quorum, or a read-only token
	Stale                    // compare-and-set failed
	Unsupported              // not on this host or through this door
	Interrupted              // the caller went away or sent a signal
	NoData                   // nothing there yet for a non-blocking read
)

var table = [...]struct {
	errno syscall.Errno
	word  string
}{
	Internal:     {syscall.EIO, "internal"},
	Invalid:      {syscall.EINVAL, "invalid"},
	NotFound:     {syscall.ENOENT, "not-found"},
	Exists:       {syscall.EEXIST, "exists"},
	Fixed:        {syscall.EPERM, "fixed"},
	Denied:       {syscall.EACCES, "denied"},
	Busy:         {syscall.EBUSY, "busy"},
	NotEmpty:     {syscall.ENOTEMPTY, "not-empty"},
	AddrInUse:    {syscall.EADDRINUSE, "address-in-use"},
	AddrUnusable: {syscall.EADDRNOTAVAIL, "address-unusable"},
	Range:        {syscall.ERANGE, "range"},
	TooLong:      {syscall.EMSGSIZE, "too-long"},
	NoSpace:      {syscall.ENOSPC, "no-space"},
	Quota:        {syscall.EDQUOT, "quota"},
	Again:        {syscall.EAGAIN, "again"},
	Timeout:      {syscall.ETIMEDOUT, "timeout"},
	HostDown:     {syscall.EHOSTDOWN, "host-down"},
	ReadOnly:     {syscall.EROFS, "read-only"},
	Stale:        {syscall.ESTALE, "stale"},
	Unsupported:  {syscall.EOPNOTSUPP, "unsupported"},
	Interrupted:  {syscall.EINTR, "interrupted"},
	NoData:       {syscall.EAGAIN, "no-data"},
}

// String is the kind's stable code word, as the error files print it.
func (k Kind) String() string { return table[k].word }

// Parse finds the kind of a code word.
func Parse(word string) (Kind, bool) {
	for k, row := range table {
		if row.word == word {
			return Kind(k), true
		}
	}
	return Internal, false
}

// Errno is the number every door answers for the kind.
func (k Kind) Errno() syscall.Errno { return table[k].errno }

// Error is one failure. Its text is a sentence in lower case without a full stop:
// "cannot VERB OBJECT: cause".
type Error struct {
	Kind Kind
	Text string // the sentence
	Hint string // what to do, or empty
	Err  error  // the cause, or nil
}

func (e *Error) Error() string { return e.Text }
func (e *Error) Unwrap() error { return e.Err }

// New makes a fault from a format. A %w among the arguments becomes its cause.
func New(k Kind, format string, args ...any) *Error {
	err := fmt.Errorf(format, args...)
	return &Error{Kind: k, Text: err.Error(), Err: errors.Unwrap(err)}
}

// WithHint returns the fault with one line of advice: a command to run, a file to look at.
func (e *Error) WithHint(format string, args ...any) *Error {
	c := *e
	c.Hint = fmt.Sprintf(format, args...)
	return &c
}

// Wrap puts "cannot VERB OBJECT" in front of err and keeps its kind and hint. A nil err stays nil.
func Wrap(err error, format string, args ...any) error {
	if err == nil {
		return nil
	}
	return &Error{
		Kind: KindOf(err),
		Text: fmt.Sprintf(format, args...) + ": " + err.Error(),
		Hint: HintOf(err),
		Err:  err,
	}
}

// KindOf finds the kind of any error: that of the fault in its chain, else the kind whose errno the
// chain holds, else Internal. It must not be asked about nil.
func KindOf(err error) Kind {
	var f *Error
	if errors.As(err, &f) {
		return f.Kind
	}
	switch {
	case errors.Is(err, context.DeadlineExceeded):
		return Timeout
	case errors.Is(err, context.Canceled):
		return Interrupted
	}
	var no syscall.Errno
	if errors.As(err, &no) {
		for k, row := range table {
			if row.errno == no {
				return Kind(k)
			}
		}
		return Internal
	}
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return NotFound
	case errors.Is(err, fs.ErrExist):
		return Exists
	case errors.Is(err, fs.ErrPermission):
		return Denied
	case errors.Is(err, fs.ErrInvalid):
		return Invalid
	}
	return Internal
}

// HintOf returns the first hint in err's chain.
func HintOf(err error) string {
	for err != nil {
		var f *Error
		if !errors.As(err, &f) {
			return ""
		}
		if f.Hint != "" {
			return f.Hint
		}
		err = f.Err
	}
	return ""
}

// Errno is what a door answers for err: 0 for nil, else 1..511 (a larger number hangs a FUSE caller).
// An errno in the chain that has no kind of its own passes through as it is.
func Errno(err error) syscall.Errno {
	if err == nil {
		return 0
	}
	k := KindOf(err)
	var no syscall.Errno
	if k == Internal && errors.As(err, &no) && no > 0 && no < 512 && no != syscall.ENOSYS {
		return no
	}
	return k.Errno()
}

// Is reports whether err is of kind k.
func Is(err error, k Kind) bool { return err != nil && KindOf(err) == k }
