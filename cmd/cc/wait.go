package main

import (
	"strconv"
	"syscall"
)

var waitVerb = verb{
	name: "wait", also: []string{"container wait"}, args: "ID...", short: "wait until containers have ended, and print their exit codes",
	examples: []string{"cc wait job", "cc wait --for running --timeout 5s web"},
	flags: []flag{
		{long: "for", arg: "STATE", doc: "a state other than exited", from: "running exited gone"},
		{long: "timeout", arg: "DURATION", doc: "fail with exit code 7 after this long"},
	},
	min: 1, max: -1, objects: "container",
	run: func(c *call) error {
		state := c.opt.get("for", "exited")
		file := "/wait/" + state
		if d := c.opt.get("timeout", ""); d != "" {
			file += "." + d
		}
		dirs, errs := c.containers()
		for _, dir := range dirs {
			errs = append(errs, c.waitOne(dir, state, file))
		}
		if state == "gone" {
			errs = dropNotFound(errs)
		}
		return join(errs)
	},
}

func (c *call) waitOne(dir, state, file string) error {
	if err := c.tree.await(dir + file); err != nil {
		return c.tree.explain(err, "wait for "+dir)
	}
	if state != "exited" || c.tree.dry {
		return nil
	}
	text, err := c.tree.read(dir + "/exit")
	if err != nil {
		return err
	}
	e, ok := parseExit(text)
	if !ok {
		return failedf(exitFailed, "%s ended, and nobody knows how: %q", dir, text)
	}
	c.say(strconv.Itoa(e.code))
	return nil
}

func dropNotFound(errs []error) []error {
	var rest []error
	for _, err := range errs {
		if !is(err, syscall.ENOENT) {
			rest = append(rest, err)
		}
	}
	return rest
}
