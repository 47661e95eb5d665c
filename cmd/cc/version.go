package main

import "strings"

var versionVerb = verb{
	name: "version", short: "print the versions of cc and of the daemon",
	run: func(c *call) error {
		daemon := c.tree.value("version")
		if c.opt.on("json") {
			return writeJSON(c.out, map[string]any{"cc": version, "ccd": daemon})
		}
		c.say("cc " + version)
		if daemon != "" {
			c.say("ccd " + strings.TrimPrefix(daemon, "ccd "))
		}
		return nil
	},
}
