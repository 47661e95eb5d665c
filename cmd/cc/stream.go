package main

import (
	"io"
	"syscall"
	"time"
)

// follow copies a stream of the tree to w until it ends; f is the stream, open at its beginning, and skip is
// how many of its bytes are not wanted. It returns where it stands. When the daemon goes away it waits for the
// next one and goes on behind the last byte it had: containers and their logs do not stop for that.
func (t *tree) follow(name string, f File, skip int64, w io.Writer) (int64, error) {
	for {
		err := discard(f, skip)
		if err == nil {
			var n int64
			n, err = copyStream(w, f)
			skip += n
		}
		_ = f.Close()
		if err == nil || !gone(err) || !t.back() {
			return skip, err
		}
		if f, err = t.reopen(name); err != nil {
			return skip, err
		}
	}
}

// reopen opens a stream, if need be of the next daemon.
func (t *tree) reopen(name string) (File, error) {
	for {
		f, err := t.fs.Open(name, syscall.O_RDONLY)
		if err == nil || !gone(err) || !t.back() {
			return f, err
		}
	}
}

// followAgain goes on with a stream that a daemon ended when it ended itself.
func (t *tree) followAgain(name string, skip int64, w io.Writer) error {
	f, err := t.reopen(name)
	if err == nil {
		_, err = t.follow(name, f, skip, w)
	}
	return err
}

// copyStream copies until the end. The buffer is small at first, for the many programs that say little, and
// grows when reads fill it.
func copyStream(w io.Writer, f File) (int64, error) {
	var total int64
	buf := make([]byte, 16<<10)
	for {
		n, err := f.Read(buf)
		if n > 0 {
			if _, err := w.Write(buf[:n]); err != nil {
				return total, err
			}
			total += int64(n)
		}
		switch {
		case err == io.EOF:
			return total, nil
		case err != nil:
			return total, err
		case n == len(buf) && n < 1<<20:
			buf = make([]byte, 1<<20)
		}
	}
}

// discard reads n bytes and drops them.
func discard(f File, n int64) error {
	buf := make([]byte, min(n, 1<<20))
	for n > 0 {
		m, err := f.Read(buf[:min(n, int64(len(buf)))])
		n -= int64(m)
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// gone reports an error that means: no daemon behind the mount.
func gone(err error) bool {
	return is(err, syscall.ENOTCONN, syscall.ECONNABORTED, syscall.ENODEV)
}

// patience is how long cc waits for a daemon to come back.
const patience = 30 * time.Second

// patient repeats a read that failed because the daemon went away.
func (t *tree) patient(name string) ([]byte, error) {
	for {
		b, err := readAll(t.fs, name)
		if err == nil || !gone(err) || !t.back() {
			return b, err
		}
	}
}

// await reads a wait file until its condition is met, over restarts of the daemon: one that ends in order ends
// its readers without an answer.
func (t *tree) await(name string) error {
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		b, err := readAll(t.fs, name)
		switch {
		case err == nil && (len(b) > 0 || t.dry):
			return nil
		case err != nil && !gone(err):
			return err
		}
		<-tick.C
		if !t.back() {
			return syscall.ENOTCONN
		}
	}
}

// back waits until a daemon answers at the root again.
func (t *tree) back() bool {
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	end := time.Now().Add(patience)
	for !t.alive() {
		if (<-tick.C).After(end) {
			return false
		}
	}
	return true
}

// input carries cc's own input to the program, and tells it when that ends.
func (a *attachment) input() {
	f, err := a.c.tree.fs.Open(a.stdin, syscall.O_WRONLY)
	if err != nil {
		if !is(err, syscall.ENOENT, syscall.EBUSY) { // it has ended already
			a.c.note("%v", a.c.tree.explain(err, "write "+a.stdin))
		}
		return
	}
	if a.c.tree.dry {
		return
	}
	_, err = copyInput(f, a.c.in)
	_ = f.Close()
	if err == nil && a.eof != nil {
		_ = a.eof() // too late when the program has ended, and then it does not matter
	}
}

// copyInput copies cc's input. An error is the program's: it ended or closed its input.
func copyInput(w io.Writer, r io.Reader) (int64, error) {
	var total int64
	buf := make([]byte, 64<<10)
	for {
		n, err := r.Read(buf)
		if n > 0 {
			if _, err := w.Write(buf[:n]); err != nil {
				return total, err
			}
			total += int64(n)
		}
		if err != nil {
			return total, nil
		}
	}
}
