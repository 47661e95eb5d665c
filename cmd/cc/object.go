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
	f := failedf(exitNotFound, "no %s %s", noun, name).withHint("%s lists them", map[string]string{
		"container": "cc ps -a", "vpc": "cc vpc list", "host": "ls " + c.tree.root + "/host"}[noun])
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
	if noun == "host" { // has no index: in this release there is one
		return nil, nil
	}
	text, err := c.tree.read(noun + "/index")
	var names []string
	for _, l := range tableLines(text) {
		if w := fields(l, 2); strings.HasPrefix(w[1], prefix) { // NAME ID ...
			names = append(names, w[0])
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

// nouns are the kinds of object that have a directory each.
var nouns = []string{"container", "vpc", "host"}

// anyObject finds an object of any kind by a bare name: containers first.
func (c *call) anyObject(arg string) (string, error) {
	name := strings.TrimPrefix(arg, c.tree.root+"/")
	for _, noun := range nouns {
		if strings.HasPrefix(name, noun+"/") {
			return c.object(noun, name)
		}
	}
	for _, noun := range nouns {
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
