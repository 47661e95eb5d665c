package main

import "strings"

var inspectVerb = verb{
	name: "inspect", also: []string{"container inspect", "vpc inspect"}, args: "ID...", short: "print every file of an object as JSON",
	examples: []string{"cc inspect web", "cc inspect vpc/foo", "cc inspect host/$(hostname)"},
	min:      1, max: -1, objects: "any",
	run: func(c *call) error {
		var errs []error
		list := []map[string]any{}
		for _, arg := range c.args {
			dir, err := c.anyObject(arg)
			if err == nil {
				var m map[string]any
				m, err = c.inspect(dir)
				list = append(list, m)
			}
			errs = append(errs, err)
		}
		if err := join(errs); err != nil {
			return err
		}
		return writeJSON(c.out, map[string]any{"objects": list})
	},
}

// unasked are files that are long, or that say what others say.
var unasked = map[string]bool{"spec": true, "stdout": true, "stderr": true, "stdin": true, "log.json": true, "metrics": true, "more": true, "ctl": true}

// links are directories of links to other objects.
var links = map[string]bool{"containers": true}

// inspect reads all listed files of an object. Each is text without its last newline: what cat prints.
func (c *call) inspect(dir string) (map[string]any, error) {
	names, err := c.tree.list(dir)
	if err != nil {
		return nil, err
	}
	m := map[string]any{"object": dir}
	for _, name := range names {
		if unasked[name] {
			continue
		}
		info, err := c.tree.fs.Stat(dir + "/" + name)
		switch {
		case err != nil: // it went while we looked
		case info.Dir && links[name]:
			names, err := c.tree.list(dir + "/" + name)
			if err != nil {
				return nil, err
			}
			m[name] = names
		case info.Dir:
			sub, err := c.inspect(dir + "/" + name)
			if err != nil {
				return nil, err
			}
			delete(sub, "object")
			m[name] = sub
		default:
			text, err := readAll(c.tree.fs, dir+"/"+name)
			if err == nil {
				m[name] = strings.TrimSuffix(string(text), "\n")
			}
		}
	}
	return m, nil
}
