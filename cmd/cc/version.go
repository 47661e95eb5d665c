package main

import (
	"strings"

	"github.com/containercloud/cc/build"
)

var versionVerb = verb{
	name: "version", short: "print the versions of cc and of the daemon",
	run: func(c *call) error {
		daemon := c.tree.value("version")
		if c.opt.on("json") {
			return writeJSON(c.out, map[string]any{"cc": build.Version(), "ccd": daemon})
		}
		c.say("cc " + build.Version())
		if daemon != "" {
			c.say("ccd " + strings.TrimPrefix(daemon, "ccd "))
		}
		return nil
	},
}
