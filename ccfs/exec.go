package ccfs

import (
	"context"
	"io"

	"github.com/containercloud/cc/ccfs/tree"
	"github.com/containercloud/cc/fault"
	"github.com/containercloud/cc/runtime/container"
	"github.com/containercloud/cc/words"
)

// execDir is a container's exec directory.
func (c *Cloud) execDir() *tree.Dir {
	return &tree.Dir{
		Name: "exec", Hidden: true, Mode: 0o770,
		Doc: "Commands in the running container. Open new, read the number N, write `run -- COMMAND`; N/stdout, N/stderr, N/stdin are its streams, N/wait its end.",
		Files: []tree.File{{
			Name: "new", Kind: tree.Clone, Mode: 0o660,
			Doc:   "Opening it makes session N; the descriptor is N's ctl, reading it gives N. The session ends, and its command with it, when its last file is closed.",
			Clone: newSession,
		}},
		Objects: &tree.Collection{
			Noun:   "exec",
			Layout: sessionLayout(),
			List: func(r *tree.Request) ([]tree.Object, error) {
				return asObjects(the(r).Sessions()), nil
			},
			Find: func(r *tree.Request, name string) (tree.Object, error) {
				return asObject(the(r).Session(name))
			},
			Remove:  func(_ *tree.Request, o tree.Object) error { return o.(*container.Session).Close() },
			Abandon: func(_ *tree.Request, o tree.Object) { _ = o.(*container.Session).Close() },
		},
	}
}

func newSession(r *tree.Request) (tree.Object, error) {
	return asObject(the(r).Exec(r.Caller.UID, r.Caller.GID))
}

func session(r *tree.Request) *container.Session { return r.Object.(*container.Session) }

func sessionLayout() *tree.Dir {
	stream := func(name string, mode uint32, doc string, open func(*container.Session) (container.Stream, error)) tree.File {
		return tree.File{
			Name: name, Kind: tree.Stream, Mode: mode, Doc: doc,
			Stream: func(r *tree.Request) (tree.Conn, error) { return open(session(r)) },
		}
	}
	return &tree.Dir{
		Doc: "One exec session.",
		Files: []tree.File{
			{Name: "ctl", Kind: tree.Ctl, Mode: 0o660, Doc: "Verbs of the session.", Verbs: sessionVerbs()},
			stream("stdin", 0o220, "What the command reads; closing the last writer ends it.",
				func(s *container.Session) (container.Stream, error) { return s.Stdin() }),
			stream("stdout", 0o440, "What the command prints, until its end.",
				func(s *container.Session) (container.Stream, error) { return s.Stdout() }),
			stream("stderr", 0o440, "What the command prints to standard error.",
				func(s *container.Session) (container.Stream, error) { return s.Stderr() }),
			{
				Name: "status", Kind: tree.Table, Mode: 0o444, Volatile: true, Syntax: "state new|running|exited, then KEY VALUE",
				Doc:  "What the session is doing.",
				Read: sessionStatus,
			}, {
				Name: "wait", Kind: tree.Stream, Mode: 0o444, Syntax: "CODE SIGNAL OOM TIME RESTARTS",
				Doc: "Blocks until the command ended and gives the line that a container's exit file has.",
				Stream: func(r *tree.Request) (tree.Conn, error) {
					s := session(r)
					return &answer{ask: func(ctx context.Context) (string, error) {
						e, err := s.Wait(ctx)
						return exitLine(&e, 0), err
					}}, nil
				},
			},
		},
	}
}

func sessionStatus(r *tree.Request) ([]byte, error) {
	s := session(r).Status()
	list := []words.Opt{{Key: "state", Value: s.State}}
	if s.PID != 0 {
		list = append(list, words.Opt{Key: "pid", Value: words.FormatSize(int64(s.PID))})
	}
	if s.Exit != nil {
		list = append(list, words.Opt{Key: "exit", Value: words.FormatSize(int64(s.Exit.Code))})
	}
	return pairs(list), nil
}

func sessionVerbs() []tree.Verb {
	return []tree.Verb{
		{
			Name: "run", Args: "[user=USER] [dir=PATH] [env=K=V]... [tty=COLSxROWS] [stdin=on|off] -- COMMAND [ARG]...", Sealed: []string{"env"},
			Doc: "Start the command.", Run: sessionRun,
		}, {
			Name: "resize", Args: "COLSxROWS", Doc: "Tell the terminal its size.",
			Run: func(r *tree.Request, m words.Message) error {
				size, err := terminalSize(m)
				if err != nil {
					return err
				}
				return session(r).Resize(size.Cols, size.Rows)
			},
		}, {
			Name: "signal", Args: "SIGNAL", Doc: "Send the command a signal.",
			Run: func(r *tree.Request, m words.Message) error {
				if err := noMore(m, 1); err != nil {
					return err
				}
				if len(m.Args) != 1 {
					return fault.New(fault.Invalid, "cannot signal: no signal given").WithHint("signal INT")
				}
				sig, err := container.ParseSignal(m.Args[0])
				if err != nil {
					return err
				}
				return session(r).Signal(sig)
			},
		}, {
			Name: "eof", Doc: "End the command's standard input.",
			Run: func(r *tree.Request, m words.Message) error {
				if err := noMore(m, 0); err != nil {
					return err
				}
				return session(r).CloseStdin()
			},
		},
	}
}

func sessionRun(r *tree.Request, m words.Message) error {
	if err := noMore(words.Message{Verb: m.Verb, Args: m.Args, Opts: m.Opts}, 0, "user", "dir", "env", "tty", "stdin"); err != nil {
		return err
	}
	if len(m.Cmd) == 0 {
		return fault.New(fault.Invalid, "cannot exec: no command given").WithHint("run -- ls -l /")
	}
	e := container.ExecSpec{Args: m.Cmd}
	for _, o := range m.Opts {
		var err error
		switch o.Key {
		case "user":
			e.User = o.Value
		case "dir":
			e.Dir = o.Value
		case "env":
			e.Env = append(e.Env, o.Value)
		case "tty":
			e.TTY, err = container.ParseTerminal(o.Value)
		case "stdin":
			var open bool
			open, err = words.Switch(o.Value)
			e.NoStdin = !open
		}
		if err != nil {
			return err
		}
	}
	return session(r).Run(r, e)
}

// answer is a stream of one line that is known later.
type answer struct {
	ask  func(context.Context) (string, error)
	rest string
	done bool
}

func (a *answer) Read(ctx context.Context, p []byte, nonblock bool) (int, error) {
	if !a.done {
		if nonblock {
			gone, cancel := context.WithCancel(ctx)
			cancel()
			ctx = gone
		}
		text, err := a.ask(ctx)
		if err != nil {
			if nonblock && fault.Is(err, fault.Interrupted) {
				return 0, fault.New(fault.NoData, "it has not ended yet")
			}
			return 0, err
		}
		a.done, a.rest = true, text
	}
	if a.rest == "" {
		return 0, io.EOF
	}
	n := copy(p, a.rest)
	a.rest = a.rest[n:]
	return n, nil
}

func (a *answer) Write(context.Context, []byte) (int, error) { return 0, errReadOnly }
func (a *answer) Close() error                               { return nil }
