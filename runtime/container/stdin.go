package container

import (
	"context"
	"os"

	"golang.org/x/sys/unix"

	"github.com/containercloud/cc/fault"
)

// Stdin opens the program's standard input for writing; closing the Stream does not end the input: `echo a > stdin; echo b > stdin`
// feeds one program. CloseStdin ends it.
func (c *Container) Stdin() (Stream, error) {
	r, err := c.living()
	if err != nil {
		return nil, err
	}
	name := c.Meta().Name
	what := "stdin of container " + name
	in, err := c.input(r)
	if err != nil {
		return nil, fault.Wrap(err, "cannot open %s", what)
	}
	if in == nil {
		return nil, fault.New(fault.Busy, "%s is closed", what).
			WithHint("stdin.open says whether it is open at the start; eof closes it until the next")
	}
	if r.rec.TTY {
		f, err := dup(in)
		return &fileStream{f, what}, err
	}
	f, err := reopen(in, unix.O_WRONLY)
	if err != nil {
		return nil, fault.Wrap(err, "cannot open %s", what)
	}
	return &fileStream{f, what}, nil
}

// input is the descriptor that feeds the program: the terminal's master or the pipe's write end, nil when it is closed. A daemon that
// adopted the container has it from the keeper.
func (c *Container) input(r *run) (*os.File, error) {
	c.mu.Lock()
	at, key, have := &r.stdin, holdStdin, r.rec.Stdin
	if r.rec.TTY {
		at, key, have = &r.tty, holdTTY, true
	}
	f := *at
	c.mu.Unlock()
	if f != nil || !have {
		return f, nil
	}
	f, err := c.fetch(r, key)
	if err != nil {
		return nil, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if *at == nil {
		*at = f
	} else { // somebody else was faster
		f.Close()
	}
	return *at, nil
}

// fetch gets a descriptor from the keeper and makes it one that Go's poller waits for: it must be non-blocking when its
// os.File is made.
func (c *Container) fetch(r *run, name string) (*os.File, error) {
	held, err := c.m.conf.Keeper.Fetch(c.m.ctx, c.holdKey(r, name))
	if err != nil {
		return nil, err
	}
	defer held.Close()
	fd, err := rawFD(held)
	if err == nil {
		err = unix.SetNonblock(fd, true)
	}
	if err != nil {
		return nil, err
	}
	return dup(held)
}

// CloseStdin ends the program's standard input: a pipe's writers go, a terminal gets its end-of-file character.
func (c *Container) CloseStdin(ctx context.Context) error {
	r, err := c.living()
	if err != nil {
		return err
	}
	err = c.closeStdin(ctx, r)
	return fault.Wrap(err, "cannot close stdin of container %s", c.Meta().Name)
}

func (c *Container) closeStdin(ctx context.Context, r *run) error {
	if r.rec.TTY {
		in, err := c.input(r)
		if err == nil {
			_, err = (&fileStream{in, "terminal"}).Write(ctx, []byte{4})
		}
		return err
	}
	c.mu.Lock()
	in, was := r.stdin, r.rec.Stdin
	r.stdin, r.rec.Stdin = nil, false
	c.mu.Unlock()
	if !was {
		return nil
	}
	closeAll(in)
	if err := c.m.conf.Keeper.Drop(ctx, c.holdKey(r, holdStdin)); err != nil && !fault.Is(err, fault.NotFound) {
		return err
	}
	c.m.saveSoon(c)
	return nil
}

// Resize sets the terminal's size.
func (c *Container) Resize(cols, rows uint16) error {
	r, err := c.living()
	if err != nil {
		return err
	}
	name := c.Meta().Name
	if !r.rec.TTY {
		return fault.New(fault.Invalid, "container %s has no terminal", name).WithHint("echo on > tty before the start")
	}
	master, err := c.input(r)
	if err == nil {
		err = resize(master, Terminal{cols, rows})
	}
	return fault.Wrap(err, "cannot resize container %s", name)
}

// resize sets the size of the terminal behind a master; its foreground processes get SIGWINCH.
func resize(master *os.File, t Terminal) error {
	fd, err := rawFD(master)
	if err != nil {
		return err
	}
	return os.NewSyscallError("ioctl TIOCSWINSZ", unix.IoctlSetWinsize(fd, unix.TIOCSWINSZ, &unix.Winsize{Row: t.Rows, Col: t.Cols}))
}

// Descriptors the keeper holds for a run.
const (
	holdStdin = "stdin"
	holdTTY   = "tty"
	holdPts   = "pts" // the root of its devpts, to open terminals for exec
)

// holdKey names a descriptor of one run: the next run of the container has keys of its own.
func (c *Container) holdKey(r *run, name string) string {
	return string(c.id) + "/" + r.rec.Cgroup + "/" + name
}
