package main

import (
	"io"
	"strings"
	"syscall"

	"github.com/containercloud/cc/words"
)

var execVerb = verb{
	name: "exec", also: []string{"container exec"}, args: "ID CMD [ARG...]", short: "run a command in a running container",
	long: `
Output, input, signals and the exit code are handled as by cc run. The command ends when cc or the daemon does.`,
	examples: []string{
		"cc exec web ls -l /",
		"cc exec -it --user root web sh",
		"cc exec -i db psql < dump.sql",
	},
	flags: []flag{
		{long: "tty", short: "t", doc: "give it a terminal"},
		{long: "interactive", short: "i", doc: "send it what cc reads"},
		{long: "user", short: "u", arg: "USER[:GROUP]", doc: "user in the container"},
		{long: "dir", short: "w", arg: "DIR", doc: "working directory"},
		{long: "env", short: "e", arg: "KEY=VALUE", doc: "environment, repeatable"},
	},
	command: true, min: 2, max: -1, objects: "container",
	run: runExec,
}

func runExec(c *call) error {
	dir, err := c.object("container", c.args[0])
	if err != nil {
		return err
	}
	m, err := c.execMessage()
	if err != nil {
		return err
	}
	s := catchSignals()
	defer s.stop()
	ctl, n, err := c.tree.converse(dir + "/exec/new")
	if err != nil {
		return engineFailure(err)
	}
	defer ctl.Close() // the session lives while this is open
	if _, err := ctl.Write([]byte(m.String() + "\n")); err != nil {
		return engineFailure(c.tree.explain(err, "run a command in "+dir))
	}
	status, err := c.session(s, ctl, dir, n).run()
	if err != nil {
		return err
	}
	return status
}

func (c *call) execMessage() (words.Message, error) {
	m := words.Message{Verb: "run", Cmd: c.args[1:], HasCmd: true}
	put := func(key, value string) { m.Opts = append(m.Opts, words.Opt{Key: key, Value: value}) }
	for _, key := range []string{"user", "dir", "env"} {
		for _, v := range c.opt.list(key) {
			if key == "env" && !strings.Contains(v, "=") {
				return m, usagef("--env wants KEY=VALUE, not %q", v)
			}
			put(key, v)
		}
	}
	if c.opt.on("tty") {
		put("tty", termSize(c.fds[0]))
	}
	if !c.opt.on("interactive") {
		put("stdin", "off")
	}
	return m, nil
}

// session attaches to exec session n. Its files are opened once, and not again: the next daemon gives the number to another
// session.
func (c *call) session(s *signals, ctl File, dir, n string) *attachment {
	at := dir + "/exec/" + n
	a := &attachment{
		c: c, signals: s, name: strings.TrimPrefix(dir, "container/"), mortal: true,
		stdin: at + "/stdin", stdout: at + "/stdout", stderr: at + "/stderr",
		quit: "signal KILL",
		tell: func(m string) error {
			_, err := ctl.Write([]byte(m + "\n"))
			return err
		},
	}
	a.eof = func() error { return a.tell("eof") }
	a.wait = func() waiter {
		f, err := c.tree.fs.Open(at+"/wait", syscall.O_RDONLY)
		return func() (end, error) {
			if err != nil {
				return end{}, err
			}
			defer f.Close()
			line, err := io.ReadAll(f)
			return end{line: string(line)}, err
		}
	}
	return a
}

// converse opens a clone file and reads the number of the conversation it reserved.
func (t *tree) converse(name string) (File, string, error) {
	f, err := t.fs.Open(name, syscall.O_RDWR)
	if err != nil {
		return nil, "", t.explain(err, "open "+name)
	}
	buf := make([]byte, 64)
	n, err := f.ReadAt(buf, 0)
	number := strings.TrimSpace(string(buf[:n]))
	if number == "" {
		_ = f.Close()
		if err == nil || err == io.EOF {
			return nil, "", failedf(exitFailed, "the tree gave no number for %s", name)
		}
		return nil, "", t.explain(err, "read "+name)
	}
	return f, number, nil
}
