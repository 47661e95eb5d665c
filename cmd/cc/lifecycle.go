package main

import (
	"errors"
	"strings"
	"syscall"

	"github.com/containercloud/cc/words"
)

// The verbs that send one word to containers' ctl files.

var startVerb = verb{
	name: "start", also: []string{"container start"}, args: "ID...", short: "start containers",
	long:     `Containers that run are as they should be.`,
	examples: []string{"cc start web db"},
	min:      1, max: -1, objects: "ended",
	run: func(c *call) error {
		dirs, errs := c.containers()
		for _, dir := range dirs {
			err := c.tree.fs.WriteFile(dir+"/ctl", "start\n", false)
			if !is(err, syscall.EBUSY) || c.tree.state(dir) != "running" {
				errs = append(errs, c.tree.explain(err, "start "+dir))
			}
		}
		return join(errs)
	},
}

var restartVerb = verb{
	name: "restart", also: []string{"container restart"}, args: "ID...", short: "stop containers and start them again",
	examples: []string{"cc restart web"},
	min:      1, max: -1, objects: "container",
	run: func(c *call) error { return c.tellAll("restart") },
}

var pauseVerb = verb{
	name: "pause", also: []string{"container pause"}, args: "ID...", short: "freeze every process of containers",
	min: 1, max: -1, objects: "container",
	run: func(c *call) error { return c.tellAll("pause") },
}

var resumeVerb = verb{
	name: "resume", also: []string{"container resume", "unpause"}, args: "ID...", short: "thaw what pause froze",
	min: 1, max: -1, objects: "container",
	run: func(c *call) error { return c.tellAll("resume") },
}

var killVerb = verb{
	name: "kill", also: []string{"container kill"}, args: "ID...", short: "send a signal to containers, KILL by default",
	examples: []string{"cc kill web", "cc kill -s HUP web"},
	flags:    []flag{{long: "signal", short: "s", arg: "SIGNAL", doc: "name or number", from: "HUP INT QUIT KILL USR1 USR2 TERM"}},
	min:      1, max: -1, objects: "container",
	run: func(c *call) error {
		if sig := c.opt.get("signal", ""); sig != "" {
			return c.tellAll(words.Join([]string{"kill", sig}))
		}
		return c.tellAll("kill")
	},
}

var stopVerb = verb{
	name: "stop", also: []string{"container stop"}, args: "ID...", short: "end containers' programs and wait until they have ended",
	long: `
The program gets its stop signal (TERM); what is left after the timeout is killed. Containers that do not run are
as they should be.`,
	examples: []string{"cc stop web", "cc stop -t 2s web db"},
	flags: []flag{
		{long: "timeout", short: "t", arg: "DURATION", doc: "time to end by itself (the container's stop.timeout)"},
		{long: "detach", short: "d", doc: "do not wait for the end"},
	},
	min: 1, max: -1, objects: "container",
	run: runStop,
}

var renameVerb = verb{
	name: "rename", also: []string{"container rename"}, args: "ID NAME", short: "give a container another name",
	examples: []string{"cc rename web old-web"},
	min:      2, max: 2, objects: "container",
	run: func(c *call) error {
		dir, err := c.object("container", c.args[0])
		if err != nil {
			return err
		}
		name, err := c.objectName("container", c.args[1])
		if err != nil {
			return err
		}
		return c.tree.explain(c.tree.fs.Rename(dir, "container/"+name), "rename "+dir)
	},
}

// tellAll sends one message to every container named; a failure does not keep the others from hearing it.
func (c *call) tellAll(message string) error {
	dirs, errs := c.containers()
	for _, dir := range dirs {
		errs = append(errs, c.tree.say(dir+"/ctl", message))
	}
	return join(errs)
}

// containers finds the directories of all containers named.
func (c *call) containers() (dirs []string, errs []error) {
	for _, arg := range c.args {
		dir, err := c.object("container", arg)
		if err != nil {
			errs = append(errs, err)
		} else if !contains(dirs, dir) {
			dirs = append(dirs, dir)
		}
	}
	return dirs, errs
}

// join keeps one error as it is, so that its hint and code show.
func join(errs []error) error {
	var some []error
	for _, err := range errs {
		if err != nil {
			some = append(some, err)
		}
	}
	if len(some) == 1 {
		return some[0]
	}
	return errors.Join(some...)
}

func runStop(c *call) error {
	m := words.Message{Verb: "stop"}
	if d := c.opt.get("timeout", ""); d != "" {
		if strings.Trim(d, "0123456789") == "" {
			d += "s" // as docker stop -t 5
		}
		m.Opts = []words.Opt{{Key: "timeout", Value: d}}
	}
	dirs, errs := c.containers()
	var stopping []string
	for _, dir := range dirs {
		err := c.tree.fs.WriteFile(dir+"/ctl", m.String()+"\n", false)
		switch {
		case err == nil:
			stopping = append(stopping, dir)
		case is(err, syscall.EBUSY) && !running(c.tree.state(dir)): // nothing to stop
		default:
			errs = append(errs, c.tree.explain(err, "stop "+dir))
		}
	}
	for _, dir := range stopping {
		if c.opt.on("detach") {
			break
		}
		if err := c.tree.await(dir + "/wait/exited"); err != nil && !is(err, syscall.ENOENT) {
			errs = append(errs, c.tree.explain(err, "wait for the end of "+dir))
		}
	}
	return join(errs)
}

// state is the first word of an object's status, empty when there is none.
func (t *tree) state(dir string) string { return t.keys(dir + "/status").get("state") }

// running reports whether a container in that state holds processes, or will soon.
func running(state string) bool {
	switch state {
	case "creating", "running", "paused", "restarting", "stopping":
		return true
	}
	return false
}
