package ccfs

import (
	"context"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/containercloud/cc/ccfs/tree"
	"github.com/containercloud/cc/fault"
	"github.com/containercloud/cc/runtime/container"
	"github.com/containercloud/cc/words"
)

// runVerb is `run` (make and start) or `create` (make only) of a collection's ctl.
func (c *Cloud) runVerb(name string) tree.Verb {
	doc := "Make a container and start it. Options are settings; env=K=V, label=K=V, mount='TARGET SOURCE [ro]' may repeat."
	if name == "create" {
		doc = "Make a container as run does, without starting it."
	}
	return tree.Verb{
		Name: name, Args: "[name=NAME] [image=REF] [vpc=NAME] [SETTING=VALUE]... [-- COMMAND [ARG]...]", Doc: doc, Sealed: []string{"env"},
		Run: func(r *tree.Request, m words.Message) error { return c.run(r, m, name == "run") },
	}
}

func (c *Cloud) run(r *tree.Request, m words.Message, start bool) error {
	name, _ := m.Take("name")
	labels, err := tree.TakeLabels(&m)
	if err != nil {
		return fault.Wrap(err, "cannot run container")
	}
	if len(m.Args) > 0 {
		return fault.New(fault.Invalid, "cannot run container: what is %q?", m.Args[0]).
			WithHint("options are key=value, the command stands after ` -- `")
	}
	x, err := c.Containers.Make(r, container.New{
		Name: name, UID: r.Caller.UID, GID: r.Caller.GID, Labels: labels, Start: start,
		Spec: func(s *container.Spec) error {
			if m.HasCmd {
				s.Args = m.Cmd
			}
			return containerRows.SetOpts(s, renamed(m.Opts))
		},
	})
	if err != nil {
		return err
	}
	r.Reply(x.Meta().Name + " " + string(x.Meta().ID) + "\n")
	return nil
}

// renamed maps the words that command lines use to the names of settings.
func renamed(opts []words.Opt) []words.Opt {
	out := make([]words.Opt, len(opts))
	for i, o := range opts {
		switch o.Key {
		case "mount":
			o.Key = "mounts"
		case "stdin":
			o.Key = "stdin.open"
		}
		out[i] = o
	}
	return out
}

// containerVerbs are the words of a container's ctl.
func (c *Cloud) containerVerbs() []tree.Verb {
	verb := func(name, args, doc string, run func(*tree.Request, words.Message) error) tree.Verb {
		return tree.Verb{
			Name: name, Args: args, Doc: doc, Run: run,
			Legal: func(r *tree.Request) bool { return the(r).State().Legal(name) },
		}
	}
	return []tree.Verb{
		verb("start", "[wait=DURATION]", "Start it. Answers when the command runs, or says why it does not.",
			func(r *tree.Request, m words.Message) error { return now(r, m, the(r).Start, container.Running) }),
		verb("stop", "[timeout=DURATION] [wait=DURATION]", "Send stop.signal; kill what is left after the timeout.", stop),
		verb("kill", "[SIGNAL]", "Kill every process, or send a signal to the first one. No restart policy undoes it.", kill),
		verb("restart", "[wait=DURATION]", "Stop, then start. Answers when the command runs again, or says why it does not.",
			func(r *tree.Request, m words.Message) error { return now(r, m, the(r).Restart, container.Running) }),
		verb("pause", "", "Freeze every process.",
			func(r *tree.Request, m words.Message) error { return now(r, m, the(r).Pause, container.Paused) }),
		verb("resume", "", "Let them go on.",
			func(r *tree.Request, m words.Message) error { return now(r, m, the(r).Resume, container.Running) }),
		verb("signal", "SIGNAL", "Send a signal to the first process.", signal),
		verb("resize", "COLSxROWS", "Tell the terminal its size.", resize),
		verb("eof", "", "End standard input.",
			func(r *tree.Request, m words.Message) error {
				if err := noMore(m, 0); err != nil {
					return err
				}
				return the(r).CloseStdin(r)
			}),
		{
			Name: "rename", Args: "NAME", Doc: "Give it another name, as mv does.",
			Run: func(r *tree.Request, m words.Message) error {
				if err := noMore(m, 1); err != nil {
					return err
				}
				if len(m.Args) != 1 {
					return fault.New(fault.Invalid, "cannot rename container %s: no name given", the(r).Meta().Name)
				}
				if err := r.MayRemove("rename"); err != nil {
					return err
				}
				return c.Containers.Rename(r, the(r), m.Args[0])
			},
		},
		{
			Name: "delete", Args: "[force]", Doc: "Delete it and its /app. force: running too.",
			Run: func(r *tree.Request, m words.Message) error {
				force := len(m.Args) == 1 && m.Args[0] == "force"
				if err := noMore(m, 1); err != nil {
					return err
				}
				if len(m.Args) == 1 && !force {
					return fault.New(fault.Invalid, "cannot delete container %s: what is %q?", the(r).Meta().Name, m.Args[0])
				}
				if err := r.MayRemove("delete"); err != nil {
					return err
				}
				return c.Containers.Delete(r, the(r), force)
			},
		},
	}
}

// now runs a verb that answers when it is done, and with wait= also waits for the state behind it.
func now(r *tree.Request, m words.Message, do func(context.Context) error, then container.State) error {
	if err := noMore(m, 0, "wait"); err != nil {
		return err
	}
	text, wait := m.Opt("wait")
	if !wait {
		return do(r)
	}
	limit, err := words.Duration(text)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(r, limit)
	defer cancel()
	if err := do(ctx); err != nil {
		return err
	}
	return the(r).Wait(ctx, then)
}

func stop(r *tree.Request, m words.Message) error {
	timeout := time.Duration(-1)
	if text, ok := m.Take("timeout"); ok {
		var err error
		if timeout, err = words.Duration(text); err != nil {
			return err
		}
	}
	return now(r, m, func(ctx context.Context) error { return the(r).Stop(ctx, timeout) }, container.Exited)
}

func kill(r *tree.Request, m words.Message) error {
	if err := noMore(m, 1); err != nil {
		return err
	}
	sig := syscall.SIGKILL
	if len(m.Args) == 1 {
		var err error
		if sig, err = container.ParseSignal(m.Args[0]); err != nil {
			return err
		}
	}
	return the(r).Kill(r, sig)
}

func signal(r *tree.Request, m words.Message) error {
	if err := noMore(m, 1); err != nil {
		return err
	}
	if len(m.Args) != 1 {
		return fault.New(fault.Invalid, "cannot signal container %s: no signal given", the(r).Meta().Name).WithHint("signal HUP")
	}
	sig, err := container.ParseSignal(m.Args[0])
	if err != nil {
		return err
	}
	return the(r).Signal(sig)
}

func resize(r *tree.Request, m words.Message) error {
	size, err := terminalSize(m)
	if err != nil {
		return err
	}
	return the(r).Resize(size.Cols, size.Rows)
}

// terminalSize reads the argument of resize.
func terminalSize(m words.Message) (container.Terminal, error) {
	if err := noMore(m, 1); err != nil {
		return container.Terminal{}, err
	}
	if len(m.Args) != 1 {
		return container.Terminal{}, fault.New(fault.Invalid, "resize: no size given").WithHint("resize 80x24")
	}
	size, err := container.ParseTerminal(m.Args[0])
	if err == nil && !size.On() {
		err = fault.New(fault.Invalid, "resize: %q is no size", m.Args[0])
	}
	return size, err
}

// scalar prints a value as a file's only line.
func scalar(v string) []byte {
	if v == "" {
		return nil
	}
	return []byte(v + "\n")
}

func number(n uint64, width int) string {
	s := strconv.FormatUint(n, 10)
	return strings.Repeat("0", max(0, width-len(s))) + s
}
