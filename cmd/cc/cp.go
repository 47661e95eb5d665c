package main

import (
	"path"
	"path/filepath"
	"strings"
)

var cpVerb = verb{
	name: "cp", also: []string{"container cp"}, args: "SOURCE TARGET", short: "copy files into and out of a container",
	long: `
One of the two is CONTAINER:PATH. Directories are copied whole, with modes, times and links; owners are root inside
and you outside, or kept with --archive. A TARGET that is a directory gets SOURCE into it. - is a tar archive on
standard input or output. The container need not run.`,
	examples: []string{"cc cp index.html web:/srv/", "cc cp web:/var/log ./logs", "cc cp db:/data - | zstd > db.tar.zst"},
	flags:    []flag{{long: "archive", short: "a", doc: "keep owners"}},
	min:      2, max: 2, objects: "cp",
	run: runCp,
}

func runCp(c *call) error {
	from, to := splitPlace(c.args[0]), splitPlace(c.args[1])
	switch {
	case from.container != "" && to.container != "":
		return usagef("cp copies between a container and this host, not between containers").
			withHint("cc cp %s - | cc cp - %s", c.args[0], c.args[1])
	case from.container == "" && to.container == "":
		return usagef("cp needs CONTAINER:PATH as source or target").withHint("cc cp %s web:%s", c.args[0], c.args[1])
	case to.container != "":
		return c.copyIn(from.path, to)
	}
	return c.copyOut(from, to.path)
}

// place is one end of a copy.
type place struct{ container, path string }

// splitPlace reads CONTAINER:PATH; a word with a slash before its colon, and -, is a path of this host.
func splitPlace(s string) place {
	name, p, ok := strings.Cut(s, ":")
	if !ok || name == "" || strings.Contains(name, "/") {
		return place{path: s}
	}
	return place{name, p}
}

// files opens a container's root.
func (c *call) files(p place) (Root, string, error) {
	dir, err := c.object("container", p.container)
	if err != nil {
		return nil, "", err
	}
	root, err := c.tree.fs.Root(dir + "/root")
	if err != nil {
		return nil, "", c.tree.explain(err, "open the files of "+dir)
	}
	return root, dir + "/root", nil
}

func inside(p string) string { return path.Clean("/" + p) }

func (c *call) copyIn(source string, to place) error {
	root, dir, err := c.files(to)
	if err != nil {
		return err
	}
	defer root.Close()
	if !c.traceCopy(source, dir+inside(to.path)) {
		return nil
	}
	k := &copier{to: root, owners: c.opt.on("archive"), inContainer: true}
	target := inside(to.path)
	if source == "-" {
		return k.fail(k.untar(c.in, target))
	}
	host, name, err := openHost(source)
	if err != nil {
		return err
	}
	defer host.Close()
	k.from = host
	return k.fail(k.copyTo(name, target, filepath.Base(source), strings.HasSuffix(to.path, "/")))
}

func (c *call) copyOut(from place, target string) error {
	root, dir, err := c.files(from)
	if err != nil {
		return err
	}
	defer root.Close()
	if !c.traceCopy(dir+inside(from.path), target) {
		return nil
	}
	k := &copier{from: root, owners: c.opt.on("archive")}
	source := inside(from.path)
	if target == "-" {
		return k.fail(k.tar(c.out, source))
	}
	host, name, err := openHost(target)
	if err != nil {
		return err
	}
	defer host.Close()
	k.to = host
	base := path.Base(source)
	if base == "/" {
		base = from.container
	}
	return k.fail(k.copyTo(source, name, base, strings.HasSuffix(target, "/")))
}

// traceCopy prints what -x and --dry-run want to see, and reports whether to go on.
func (c *call) traceCopy(from, to string) bool {
	t, ok := c.tree.fs.(*traceFS)
	if !ok {
		return true
	}
	at := func(p string) string {
		if strings.HasPrefix(p, "container/") {
			return t.path(p)
		}
		return shellQuote(p)
	}
	switch {
	case from == "-":
		t.print("tar -C %s -x", at(to))
	case to == "-":
		t.print("tar -C %s -c %s", at(path.Dir(from)), shellQuote(path.Base(from)))
	default:
		t.print("cp -r %s %s", at(from), at(to))
	}
	return !t.dry
}
