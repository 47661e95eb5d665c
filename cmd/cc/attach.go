package main

import (
	"io"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"

	"golang.org/x/sys/unix"
)

// attachment is cc in the foreground of a program in a container: its streams are cc's, cc's signals are
// its. A run and an exec session differ only in the names of the files.
type attachment struct {
	c       *call
	signals *signals
	name    string // for messages: "web"

	stdin, stdout, stderr string
	tell                  func(message string) error // to the ctl
	wait                  func() waiter              // when its streams are open
	eof                   func() error               // what ends the program's stdin
	quit                  string                     // the message that ends the program
	mortal                bool                       // the program ends with the daemon; the next one has another session of that number

	unread atomic.Bool // nobody reads a stream any more: the first of them ends the program
}

// waiter tells how a program ended, when its streams have.
type waiter func() (end, error)

// end is how a program ended: the line that tells it, and whether its streams may have ended before it did.
type end struct {
	line    string
	partial bool
}

// container attaches to what a run line started.
func (a *attachment) container(dir string) {
	t := &a.c.tree
	a.name = strings.TrimPrefix(dir, "container/")
	a.stdin, a.stdout, a.stderr = dir+"/stdin", dir+"/live/stdout", dir+"/live/stderr"
	a.tell = func(m string) error { return t.fs.WriteFile(dir+"/ctl", m+"\n", false) }
	a.eof = func() error { return a.tell("eof") }
	a.quit = "stop timeout=1s"
	a.wait = func() waiter {
		return func() (end, error) { return t.exited(dir, a.c.opt.has("restart")) }
	}
}

// exited returns how a container ended, when its streams have. Mostly it is known by then. If not, a restart
// policy may start it again, or the daemon ended and its streams with it: what they lack is to be read again.
func (t *tree) exited(dir string, restarts bool) (end, error) {
	if !restarts {
		line, err := readAll(t.fs, dir+"/exit")
		if err == nil && (len(line) > 0 || t.dry) {
			return end{line: string(line)}, nil
		}
	}
	if err := t.await(dir + "/wait/exited"); err != nil {
		return end{}, err
	}
	line, err := t.patient(dir + "/exit")
	return end{string(line), true}, err
}

// run carries the streams until the program has ended, and returns its exit status.
func (a *attachment) run() (exitStatus, error) {
	c := a.c
	tty := c.opt.on("tty")
	if tty && c.inTTY && c.opt.on("interactive") && !c.tree.dry {
		restore, err := rawMode(c.fds[0])
		if err != nil {
			return 0, failedf(exitEngine, "cannot use the terminal: %v", err)
		}
		defer restore()
	}
	a.signals.forward(a, tty)
	copies := []*copying{a.copy(a.stdout, c.out)}
	if !tty {
		copies = append(copies, a.copy(a.stderr, c.err))
	}
	if fd := c.fds[1]; fd >= 0 && !c.tree.dry {
		go a.watchReaders(fd)
	}
	if c.opt.on("interactive") {
		if c.tree.dry {
			a.input()
		} else {
			go a.input()
		}
	}
	how, err := a.end(copies, a.wait())
	switch {
	case c.tree.dry:
		return 0, nil
	case a.unread.Load() || is(err, syscall.EPIPE):
		return exitUnread, nil
	case err != nil:
		return 0, a.lost(err)
	}
	return a.status(how.line)
}

// end waits for the streams and the program to end.
func (a *attachment) end(copies []*copying, wait waiter) (end, error) {
	var errs []error
	for _, s := range copies {
		if err := <-s.done; err != nil && !is(err, syscall.ENOENT) {
			errs = append(errs, err)
		}
	}
	how, err := wait()
	errs = append(errs, err)
	for _, s := range copies {
		if how.partial && join(errs) == nil {
			errs = append(errs, a.c.tree.followAgain(s.name, s.have, s.to))
		}
	}
	return how, join(errs)
}

// lost says what became of the program when cc could not follow it to the end.
func (a *attachment) lost(err error) error {
	if a.mortal && gone(err) {
		return failedf(exitEngine, "the daemon ended, and the command in %s with it", a.name).
			withHint("%s itself runs on; run the command again when the daemon is back", a.name)
	}
	if is(err, syscall.ENOENT) && a.c.tree.alive() {
		return failedf(exitEngine, "%s was deleted before cc could read how it ended", a.name)
	}
	err = a.c.tree.explain(err, "follow container/"+a.name)
	if f, ok := err.(*failure); ok && f.code == exitUnreachable {
		return f.withHint("%s runs on: cc logs -f %s, when the daemon is back", a.name, a.name)
	}
	return engineFailure(err)
}

// status reads `code signal oom time restarts`.
func (a *attachment) status(line string) (exitStatus, error) {
	e, ok := parseExit(line)
	switch {
	case !ok:
		return 0, failedf(exitEngine, "%s ended, and nobody knows how: %q", a.name, strings.TrimSpace(line))
	case e.oom:
		a.c.note("%s was killed: it used all of its memory", a.name)
	}
	return exitStatus(e.code), nil
}

// exit is how a program ended.
type exit struct {
	code int // 128 + signal when a signal ended it
	oom  bool
}

func parseExit(line string) (exit, bool) {
	w := fields(strings.TrimSpace(line), 3)
	code, err := strconv.Atoi(w[0])
	if err != nil || code < 0 {
		return exit{}, false
	}
	return exit{code & 0xff, w[2] == "1"}, true
}

// copying is one stream on its way; done yields its error, nil at its end.
type copying struct {
	name string
	to   io.Writer
	done chan error
	have int64 // bytes copied, to be read after done
}

// copy starts to copy a stream of the tree to w. It opens the stream before it returns, so that -x prints
// the files in the order in which they are used.
func (a *attachment) copy(name string, w io.Writer) *copying {
	s := &copying{name: name, to: w, done: make(chan error, 1)}
	t := &a.c.tree
	f, err := t.fs.Open(name, syscall.O_RDONLY)
	if err != nil {
		s.done <- err
		return s
	}
	go func() {
		var err error
		if a.mortal {
			s.have, err = copyStream(w, f)
			_ = f.Close()
		} else {
			s.have, err = t.follow(name, f, 0, w)
		}
		if is(err, syscall.EPIPE) { // a program of this host would get SIGPIPE at its next write
			a.abandon()
		}
		s.done <- err
	}()
	return s
}

// abandon ends the program because nobody reads what it prints.
func (a *attachment) abandon() {
	if a.unread.CompareAndSwap(false, true) {
		_ = a.tell(a.quit)
	}
}

// watchReaders abandons a program that prints nothing when the last reader of cc's output goes: a write would not find
// that out. Asked for no events, poll(2) returns when a pipe has no reader (POLLERR), and never for a regular file.
func (a *attachment) watchReaders(fd int) {
	p := []unix.PollFd{{Fd: int32(fd)}}
	err := retry(func() error {
		_, err := unix.Poll(p, -1)
		return err
	})
	if err == nil && p[0].Revents&unix.POLLERR != 0 {
		a.abandon()
	}
}
