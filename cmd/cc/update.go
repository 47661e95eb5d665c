package main

import (
	"strings"

	"github.com/containercloud/cc/words"
)

var updateVerb = verb{
	name: "update", also: []string{"container update"}, args: "ID", short: "change settings of a container, limits while it runs",
	long: `
Several settings change together or not at all. Which apply at once and which at the next start is in
cc explain container/NAME/SETTING.`,
	examples: []string{"cc update --memory 1G --cpu.max 1.5 web", "cc update --set stop.timeout=30s web"},
	flags:    updateFlags(),
	min:      1, max: 1, objects: "container",
	run: runUpdate,
}

// added are the options whose values are added to a file; all others replace a file's value.
var added = map[string]string{"env": "env", "label": "labels", "mount": "mounts", "capability": "capability", "publish": "publish"}

func updateFlags() []flag {
	var flags []flag
	for _, f := range createFlags {
		if f.long != "name" {
			flags = append(flags, f)
		}
	}
	return flags
}

func runUpdate(c *call) error {
	if name, ok := strings.CutPrefix(strings.TrimPrefix(c.args[0], c.tree.root+"/"), "vpc/"); ok {
		return usagef("update is for containers").withHint("cc vpc update --nat off %s", name)
	}
	dir, err := c.object("container", c.args[0])
	if err != nil {
		return err
	}
	if err := c.later(); err != nil {
		return err
	}
	return c.update(dir, createFlags, "cc update --memory 1G "+c.args[0])
}

// update changes the settings of an object that options give.
func (c *call) update(dir string, flags []flag, example string) error {
	var scalars []words.Opt
	adds := map[string][]string{}
	for _, f := range flags {
		for _, v := range c.opt.list(f.long) {
			key, value, err := option(f.long, v)
			if err != nil {
				return err
			}
			if file, ok := added[key]; ok {
				if file == "labels" || file == "env" {
					k, v, _ := strings.Cut(value, "=")
					value = k + " " + words.FormatItem(v)
				}
				adds[file] = append(adds[file], value)
			} else {
				scalars = append(scalars, words.Opt{Key: key, Value: value})
			}
		}
	}
	if len(scalars) == 0 && len(adds) == 0 {
		return usagef("update needs a setting").withHint("%s", example)
	}
	return c.change(dir, scalars, adds)
}

// change writes one setting to its file, and several through spec, which takes all or none and knows what was meant by
// a setting that is not there.
func (c *call) change(dir string, scalars []words.Opt, adds map[string][]string) error {
	switch {
	case len(scalars) == 0:
	case len(scalars) == 1 && (c.tree.dry || c.tree.has(dir+"/"+scalars[0].Key)):
		if err := c.tree.set(dir+"/"+scalars[0].Key, scalars[0].Value); err != nil {
			return err
		}
	default:
		var b strings.Builder
		for _, o := range scalars {
			b.WriteString(o.Key + " " + words.FormatItem(o.Value) + "\n")
		}
		if err := c.tree.add(dir+"/spec", b.String()); err != nil {
			return err
		}
	}
	for _, file := range []string{"env", "labels", "mounts", "capability", "publish"} {
		if lines := adds[file]; len(lines) > 0 {
			if err := c.tree.add(dir+"/"+file, strings.Join(lines, "\n")); err != nil {
				return err
			}
		}
	}
	return nil
}
