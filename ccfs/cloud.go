// Package ccfs is the interface of Container Cloud as tables: every file of /cc is a row here, and every door,
// the manual, the schema and `cc help` read the same rows (docs/TREE.md).
//
// Each noun has one file: cloud.go the root, container*.go containers, exec.go their exec sessions, vpc.go, image.go,
// host.go. A row finds its object in the request, calls the domain, and turns what comes back into text.
package ccfs

import (
	"context"
	"fmt"
	"log/slog"
	"strings"

	"github.com/containercloud/cc/ccfs/tree"
	"github.com/containercloud/cc/event"
	"github.com/containercloud/cc/fault"
	"github.com/containercloud/cc/net/vpc"
	"github.com/containercloud/cc/runtime/container"
	"github.com/containercloud/cc/runtime/image"
	"github.com/containercloud/cc/words"
)

// Cloud is what the tables work on.
type Cloud struct {
	Version    string
	Host       *Host
	Containers *container.Manager
	Networks   *vpc.Manager
	Images     *image.Store
	Events     *event.Log
	Level      *slog.LevelVar // of the daemon's log
	LogFile    func() ([]byte, error)
	Features   func() []words.Opt
	Shutdown   func() // stops every container, then the daemon; returns at once
}

// Root is the layout of /cc.
func (c *Cloud) Root() *tree.Dir {
	root := &tree.Dir{
		Mode: 0o755,
		Doc:  "A machine as files. Owner and mode say who may do what; root may change those of every file and directory, for good. Directories are networks, containers, images; mkdir makes one, rmdir ends it, writing a file changes it, reading a file shows what is.",
		Files: []tree.File{
			{
				Name: "features", Kind: tree.Table, Mode: 0o444, Syntax: "NAME VALUE",
				Doc:  "What this host can do: cgroup version, user namespaces, overlay, nftables, LVM, pressure.",
				Read: func(*tree.Request) ([]byte, error) { return pairs(c.Features()), nil },
			}, {
				Name: "ctl", Kind: tree.Ctl, Mode: 0o660, Doc: "Verbs for the whole cloud.", Verbs: c.rootVerbs(),
			}, {
				Name: "log", Kind: tree.Document, Mode: 0o440, Volatile: true, Hidden: false,
				Doc:  "The end of the daemon's log.",
				Read: func(*tree.Request) ([]byte, error) { return c.LogFile() },
			}, {
				Name: "metrics", Kind: tree.Document, Mode: 0o444, Volatile: true,
				Doc:  "All metrics in the Prometheus text format.",
				Read: c.allMetrics,
			},
		},
		Dirs: []*tree.Dir{c.vpcs(), c.containers(), c.images(), c.hosts()},
	}
	tree.Root{Version: c.Version, Events: c.Events}.Fill(root)
	return root
}

func (c *Cloud) rootVerbs() []tree.Verb {
	return []tree.Verb{
		c.runVerb("run"),
		{
			Name: "gc", Doc: "Delete images that no name and no container refers to.",
			Run: func(r *tree.Request, _ words.Message) error { return c.collect(r, r) },
		}, {
			Name: "log", Args: "level=debug|info|warn|error", Doc: "How much the daemon logs.",
			Run: c.setLevel,
		}, {
			Name: "shutdown", Doc: "Stop every container and the daemon. To stop the daemon only, end its process: containers live on.",
			Run: func(r *tree.Request, _ words.Message) error {
				if !r.Caller.Root() {
					return fault.New(fault.Denied, "cannot shut down: only the host's owner may")
				}
				c.Shutdown()
				return nil
			},
		},
	}
}

// setLevel is for the host's owner: the log has the audit lines of everybody who may write to ctl.
func (c *Cloud) setLevel(r *tree.Request, m words.Message) error {
	if !r.Caller.Root() {
		return fault.New(fault.Denied, "cannot set log level: only the host's owner may")
	}
	if err := noMore(m, 0, "level"); err != nil {
		return err
	}
	text, ok := m.Opt("level")
	if !ok {
		return fault.New(fault.Invalid, "cannot set log level: no level given").WithHint("log level=debug")
	}
	var level slog.Level
	if err := level.UnmarshalText([]byte(text)); err != nil {
		return fault.New(fault.Invalid, "cannot set log level: %q is none", text).WithHint("debug, info, warn or error")
	}
	c.Level.Set(level)
	return nil
}

// Watch connects the domain's changes to the tree, so that doors forget what they know and waiting readers wake.
func (c *Cloud) Watch(t *tree.Tree) {
	c.Containers.OnChange(func(o *container.Container, what ...string) {
		id := o.Meta().ID
		for _, w := range what {
			switch w {
			case "created", "name":
				t.ChangedNames("container", o.Meta().Name)
			case "deleted":
				t.ChangedNames("container", o.Meta().Name)
				t.Removed(id)
			}
		}
		t.Changed(id)
	})
	c.Networks.OnChange(func(v *vpc.VPC) {
		m := v.Meta()
		t.ChangedNames("vpc", m.Name)
		if v.Status().State == vpc.Gone {
			t.Removed(m.ID)
			return
		}
		t.Changed(m.ID)
	})
}

// asWritten updates a spec. What the text itself has wrong is said by its file, not by the object.
func asWritten[S any](change func(*S) error, update func(func(*S) error) error) error {
	var wrong error
	err := update(func(s *S) error {
		wrong = change(s)
		return wrong
	})
	if wrong != nil {
		return wrong
	}
	return err
}

// pairs prints `key value` lines.
func pairs(list []words.Opt) []byte {
	var b strings.Builder
	for _, o := range list {
		fmt.Fprintf(&b, "%s %s\n", o.Key, o.Value)
	}
	return []byte(b.String())
}

// row prints one line of a table: words in columns, `-` for what is empty.
func row(columns ...string) string {
	for i, w := range columns {
		if w == "" {
			columns[i] = "-"
		}
	}
	return words.Join(columns) + "\n"
}

// waited runs work and, unless the message says wait=DURATION, does not wait for its end. What work returns after
// that is remembered by fail.
func waited(r *tree.Request, m *words.Message, work func(context.Context) error, fail func(error)) error {
	text, ok := m.Take("wait")
	if !ok {
		// The caller's thread has its answer before this ends, and its number may be another's by then.
		if ask := r.Caller.Groups; ask != nil {
			groups := ask()
			r.Caller.Groups = func() []uint32 { return groups }
		}
		go func() {
			if err := work(context.WithoutCancel(r)); err != nil {
				fail(err)
			}
		}()
		return nil
	}
	limit, err := words.Duration(text)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(r, limit)
	defer cancel()
	err = work(ctx)
	if err != nil && ctx.Err() == context.DeadlineExceeded && r.Err() == nil {
		return fault.New(fault.Timeout, "cannot %s: not done after wait=%s", strings.Join(append([]string{m.Verb}, m.Args...), " "), text)
	}
	return err
}

// noMore refuses options and arguments that a verb does not know.
func noMore(m words.Message, args int, known ...string) error {
	if len(m.Args) > args {
		return fault.New(fault.Invalid, "%s: one word too many: %q", m.Verb, m.Args[args])
	}
	for _, o := range m.Opts {
		ok := false
		for _, k := range known {
			ok = ok || k == o.Key
		}
		if !ok {
			return fault.New(fault.Invalid, "%s: unknown option %q", m.Verb, o.Key)
		}
	}
	if m.HasCmd {
		return fault.New(fault.Invalid, "%s takes no command", m.Verb)
	}
	return nil
}
