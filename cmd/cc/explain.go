package main

import "strings"

var explainVerb = verb{
	name: "explain", args: "PATH...", short: "print the schema of files: kind, syntax, default, when a change applies, what it is for",
	examples: []string{"cc explain /cc/container/web/memory", "cc explain container/NAME"},
	min:      1, max: -1, objects: "schema",
	run: func(c *call) error {
		schema, err := c.tree.read("schema")
		if err != nil {
			return err
		}
		var errs []error
		var found []string
		for _, arg := range c.args {
			some := explainPath(schema, c.tree.root, arg)
			if len(some) == 0 {
				errs = append(errs, failedf(exitNotFound, "the schema knows no file %s", arg).withHint("cat %s/schema", c.tree.root))
			}
			found = append(found, some...)
		}
		t := &table{noun: "files", columns: []column{
			{name: "path"}, {name: "kind"}, {name: "syntax"}, {name: "default"}, {name: "applies"}, {name: "mode"},
			{name: "doc", wide: c.outTTY && len(found) > len(c.args)}, // in the list of a directory there is no room
		}}
		for _, l := range found {
			t.add(fields(l, 7)[:7]...)
		}
		if len(t.rows) > 0 || len(errs) == 0 {
			errs = append(errs, c.print(t))
		}
		return join(errs)
	},
}

// explainPath finds the schema lines of a file, or of the files in a directory.
func explainPath(schema, root, arg string) []string {
	arg = strings.Trim(strings.TrimPrefix(arg, root), "/")
	var exact, below []string
	for _, l := range tableLines(schema) {
		pattern := fields(l, 1)[0]
		switch {
		case matchPath(pattern, arg):
			exact = append(exact, l)
		case matchPath(pathDir(pattern), arg):
			below = append(below, l)
		}
	}
	if len(exact) > 0 {
		return exact
	}
	return below
}

func pathDir(p string) string {
	if i := strings.LastIndexByte(p, '/'); i >= 0 {
		return p[:i]
	}
	return ""
}

// matchPath compares a path with a schema path, in which a word in capitals stands for any name.
func matchPath(pattern, path string) bool {
	a, b := strings.Split(pattern, "/"), strings.Split(path, "/")
	if len(a) != len(b) {
		return false
	}
	for i := range a {
		if a[i] != b[i] && !wild(a[i]) {
			return false
		}
	}
	return true
}

func wild(part string) bool {
	return part != "" && strings.ToUpper(part) == part && strings.ToLower(part) != part
}
