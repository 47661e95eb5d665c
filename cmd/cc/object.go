package main

import (
	"strings"
	"syscall"
)

// object finds the directory of an object by name, id, or the unique beginning of an id. It accepts what
// people copy: "web", "container/web", "/cc/container/web".
func (c *call) object(noun, arg string) (string, error) {
	name, err := c.objectName(noun, arg)
	if err != nil {
		return "", err
	}
	dir := noun + "/" + name
	_, err = c.tree.fs.Stat(dir)
	switch {
	case err == nil || c.tree.dry && is(err, syscall.ENOENT):
		return dir, nil
	case !is(err, syscall.ENOENT):
		return "", c.tree.explain(err, "find "+dir)
	}
	names, err := c.byPrefix(noun, name)
	switch {
	case err != nil:
		return "", err
	case len(names) == 1:
		return noun + "/" + names[0], nil
	case len(names) > 1:
		return "", failedf(exitNotFound, "%s %s is not unique: %s", noun, name, strings.Join(names, " "))
	}
	f := failedf(exitNotFound, "no %s %s", noun, name).withHint("cc %s lists them", map[string]string{
		"container": "ps -a", "vpc": "vpc list", "volume": "volume list"}[noun])
	f.errno = syscall.ENOENT
	return "", f
}

// objectName strips the path from an argument and refuses what can be no name, before it becomes part of a path.
func (c *call) objectName(noun, arg string) (string, error) {
	name := strings.TrimPrefix(arg, c.tree.root+"/")
	name = strings.TrimSuffix(strings.TrimPrefix(name, noun+"/"), "/")
	if name == "" || name[0] == '.' || strings.ContainsAny(name, "/\x00\n") || len(name) > 255 {
		return "", usagef("%q is no name of a %s", arg, noun)
	}
	return name, nil
}

// byPrefix lists the objects whose id begins with prefix.
func (c *call) byPrefix(noun, prefix string) ([]string, error) {
	if len(prefix) < 4 || strings.Trim(prefix, "0123456789abcdef-") != "" {
		return nil, c.tree.mustLive()
	}
	all, err := c.objects(noun)
	var names []string
	for _, o := range all {
		if strings.HasPrefix(o.id, prefix) {
			names = append(names, o.name)
		}
	}
	return names, err
}

// mustLive is the diagnosis when no tree answers, else nil.
func (t *tree) mustLive() error {
	if t.alive() {
		return nil
	}
	return t.diagnose(syscall.ENOENT)
}

// entry is one object of a collection.
type entry struct {
	name, id string
	cells    []string // its line of the index, nil when there is none
}

// objects lists a collection: from its index, one read, or where there is none from its directory.
func (c *call) objects(noun string) ([]entry, error) {
	if text, err := readAll(c.tree.fs, noun+"/index"); err == nil {
		var all []entry
		for _, l := range tableLines(string(text)) {
			cells := fields(l, 2)
			all = append(all, entry{cells[0], cells[1], cells})
		}
		return all, nil
	}
	names, err := c.tree.list(noun)
	if err != nil {
		return nil, err
	}
	var all []entry
	for _, name := range names {
		info, err := c.tree.fs.Stat(noun + "/" + name)
		if err == nil && info.Dir {
			all = append(all, entry{name: name, id: c.tree.value(noun + "/" + name + "/id")})
		}
	}
	return all, nil
}

// anyObject finds an object of any kind by a bare name: containers first.
func (c *call) anyObject(arg string) (string, error) {
	name := strings.TrimPrefix(arg, c.tree.root+"/")
	for _, noun := range []string{"container", "vpc", "volume"} {
		if strings.HasPrefix(name, noun+"/") {
			return c.object(noun, name)
		}
	}
	for _, noun := range []string{"container", "vpc", "volume"} {
		dir, err := c.object(noun, arg)
		if err == nil {
			return dir, nil
		}
		if !is(err, syscall.ENOENT) {
			return "", err
		}
	}
	f := failedf(exitNotFound, "nothing is called %s", name).withHint("cc status lists everything")
	f.errno = syscall.ENOENT
	return "", f
}
