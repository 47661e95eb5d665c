package boot

import "syscall"

// OpError is a system call of a container's start that failed. Op is "execve" when everything was done and the
// program itself could not be started: ENOENT then means exit code 127, anything else 126.
type OpError struct {
	Op    string // name of the call
	Call  string // the call with its arguments, or empty
	Errno syscall.Errno
}

func (e *OpError) Error() string {
	if e.Call == "" {
		return e.Op + ": " + e.Errno.Error()
	}
	return e.Call + ": " + e.Errno.Error()
}

func (e *OpError) Unwrap() error { return e.Errno }
