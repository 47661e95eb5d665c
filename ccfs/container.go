package ccfs

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/containercloud/cc/ccfs/tree"
	"github.com/containercloud/cc/fault"
	"github.com/containercloud/cc/runtime/container"
	"github.com/containercloud/cc/words"
)

// containers is /cc/container.
func (c *Cloud) containers() *tree.Dir {
	return &tree.Dir{
		Name: "container", Mode: 0o1775,
		Doc: "Containers. mkdir defines one with every setting at its default; `start` in its ctl makes it run; rmdir deletes it when it does not run. " +
			"chgrp GROUP of this directory, its ctl and new lets a group make them; an object is its maker's, and the sticky bit keeps others from deleting it.",
		Files: []tree.File{
			{
				Name: "ctl", Kind: tree.Ctl, Mode: 0o660,
				Doc:   "`run` makes and starts a container in one line; reading the same descriptor afterwards gives its name and id.",
				Verbs: []tree.Verb{c.runVerb("run"), c.runVerb("create")},
			}, {
				Name: "new", Kind: tree.Clone, Mode: 0o660,
				Doc:   "Opening it defines a container; the descriptor is that container's ctl, reading it gives the name. One that was never started goes with the descriptor.",
				Clone: c.newContainer,
			}, {
				Name: "index", Kind: tree.Table, Mode: 0o444, Volatile: true,
				Syntax: "NAME ID STATE SINCE IMAGE VPC IP EXIT RESTARTS CREATED COMMAND",
				Doc:    "One line a container; `-` is nothing. Of one that runs image and vpc are those it runs with.",
				Read:   c.containerIndex,
			},
		},
		Objects: &tree.Collection{
			Noun:   "container",
			Layout: c.containerLayout(),
			List: func(*tree.Request) ([]tree.Object, error) {
				return asObjects(c.Containers.List()), nil
			},
			Find: func(_ *tree.Request, name string) (tree.Object, error) {
				return asObject(c.Containers.Get(name))
			},
			Make: func(r *tree.Request, name string) (tree.Object, error) {
				return asObject(c.Containers.Create(r, name, r.Caller.UID, r.Caller.GID, nil))
			},
			Remove: func(r *tree.Request, o tree.Object) error {
				return c.Containers.Delete(r, o.(*container.Container), false)
			},
			Busy: func(r *tree.Request, o tree.Object) error {
				return busy(o.(*container.Container))
			},
			Defined: func(_ *tree.Request, o tree.Object) bool {
				return o.(*container.Container).State() == container.Defined
			},
			Rename: func(r *tree.Request, o tree.Object, name string) error {
				return c.Containers.Rename(r, o.(*container.Container), name)
			},
			Abandon: func(r *tree.Request, o tree.Object) {
				if x := o.(*container.Container); x.State() == container.Defined {
					_ = c.Containers.Delete(context.WithoutCancel(r), x, false)
				}
			},
		},
	}
}

// asObjects turns a list of one noun into the engine's objects.
func asObjects[T tree.Object](list []T) []tree.Object {
	out := make([]tree.Object, len(list))
	for i, o := range list {
		out[i] = o
	}
	return out
}

// asObject keeps a typed nil from becoming an object.
func asObject[T tree.Object](o T, err error) (tree.Object, error) {
	if err != nil {
		return nil, err
	}
	return o, nil
}

// busy says why a container's directory may not be removed now.
func busy(x *container.Container) error {
	if s := x.State(); s.Active() {
		return fault.New(fault.Busy, "cannot delete container %s: it is %s", x.Meta().Name, s).
			WithHint("echo stop > ctl first, or echo 'delete force' > ctl")
	}
	return nil
}

func (c *Cloud) newContainer(r *tree.Request) (tree.Object, error) {
	return asObject(c.Containers.Create(r, "", r.Caller.UID, r.Caller.GID, nil))
}

func the(r *tree.Request) *container.Container { return r.Object.(*container.Container) }

// containerLayout is what every container's directory holds.
func (c *Cloud) containerLayout() *tree.Dir {
	d := &tree.Dir{
		Doc:   "One container: settings to write, state to read, verbs in ctl.",
		Files: append(containerState(), containerStreams()...),
		Dirs: []*tree.Dir{c.execDir(), {
			Name: "root", Hidden: true, Mode: 0o755,
			Doc:  "The root file system, running or not: copy files in and out. Owners are the container's.",
			Host: c.rootFS,
		}},
	}
	containerRows.Fill(d)
	tree.Common{
		Verbs:  c.containerVerbs(),
		State:  func(r *tree.Request) string { return string(the(r).State()) },
		Status: containerStatus,
		UsedBy: func(*tree.Request) []string { return nil }, // services and forwards will be
		Metrics: func(r *tree.Request) ([]byte, error) {
			samples, err := the(r).Samples()
			if err != nil {
				return nil, err
			}
			return prometheus(samples), nil
		},
		Events:    c.Events,
		EventName: func(r *tree.Request) string { return "container/" + the(r).Meta().Name },
		States:    []string{"running", "exited", "gone", "paused"},
		Reached:   reached,
	}.Fill(d)
	live := d.Sub("live")
	live.Files = append(live.Files, containerLive()...)
	return d
}

// containerRows are the settings with their way into the domain.
var containerRows = tree.Settings[container.Spec]{
	Rows: containerSettings,
	Spec: func(o tree.Object) container.Spec { return o.(*container.Container).Spec() },
	Update: func(r *tree.Request, o tree.Object, change func(*container.Spec) error) error {
		checked := func(s *container.Spec) error {
			old := s.Clone()
			if err := change(s); err != nil {
				return err
			}
			return s.CheckGrants(old, r.Caller.UID)
		}
		return asWritten(checked, func(change func(*container.Spec) error) error { return o.(*container.Container).Update(r, change) })
	},
}

// reached says whether a wait for state is over. Whoever waits for the end is told of a failure too: nothing
// else will come.
func reached(r *tree.Request, state string) (bool, error) {
	now := the(r).State()
	switch state {
	case "exited":
		return now.Ended() || now == container.Gone, nil
	case "running":
		if now == container.Failed {
			return false, fault.New(fault.Busy, "container %s failed: %s", the(r).Meta().Name, the(r).Status().Reason)
		}
		return now == container.Running, nil
	}
	return string(now) == state, nil
}

// containerStatus are the lines of status behind `state WORD`.
func containerStatus(r *tree.Request) []words.Opt {
	s := the(r).Status()
	list := []words.Opt{{Key: "since", Value: stamp(s.Since)}}
	add := func(key, value string) {
		if value != "" {
			list = append(list, words.Opt{Key: key, Value: value})
		}
	}
	add("reason", s.Reason)
	if s.PID != 0 {
		add("pid", strconv.Itoa(s.PID))
	}
	add("started", stamp(s.Started))
	if s.Exit != nil {
		add("exit", strconv.Itoa(s.Exit.Code))
		add("signal", s.Exit.Signal)
		if s.Exit.OOM {
			add("oom", "on")
		}
	}
	if s.Warm {
		add("armed", "on")
	}
	add("restarts", strconv.Itoa(s.Restarts))
	add("next", strings.Join(s.Next, " "))
	add("image", s.Digest)
	add("vpc", s.VPC)
	if s.IP.IsValid() {
		add("ip", s.IP.Addr().String())
	}
	add("mac", s.MAC)
	for _, n := range s.Notes {
		add("note", n)
	}
	return list
}

// stamp prints a time as docs/TREE.md's rule 9 wants it; nothing for no time.
func stamp(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format(time.RFC3339)
}

func (c *Cloud) containerIndex(*tree.Request) ([]byte, error) {
	list := c.Containers.List()
	var b strings.Builder
	b.Grow(160 * len(list))
	for _, x := range list {
		s := x.Brief()
		exit, ip := "", ""
		if s.Exit != nil {
			exit = strconv.Itoa(s.Exit.Code)
		}
		if s.IP.IsValid() {
			ip = s.IP.Addr().String()
		}
		b.WriteString(row(s.Name, string(s.ID), string(s.State), stamp(s.Since), s.Image, s.VPC, ip, exit,
			strconv.Itoa(s.Restarts), stamp(s.Created), words.Join(s.Args)))
	}
	return []byte(b.String()), nil
}

// exitLine is `code signal oom TIME restarts`, `-` for what is not.
func exitLine(e *container.Exit, restarts int) string {
	if e == nil {
		return ""
	}
	signal, oom := e.Signal, "0"
	if signal == "" {
		signal = "-"
	}
	if e.OOM {
		oom = "1"
	}
	return fmt.Sprintf("%d %s %s %s %d\n", e.Code, signal, oom, stamp(e.Time), restarts)
}
