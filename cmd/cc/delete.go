package main

import (
	"strings"
	"syscall"
)

var rmVerb = verb{
	name: "rm", also: []string{"container delete", "container rm", "delete"}, args: "ID...", short: "delete containers",
	long: `
Names that nothing has, or that were deleted before, are noted and as they should be. When one of the containers is in
use, none is deleted.`,
	examples: []string{"cc rm web db", "cc rm --force web      # running too"},
	flags:    []flag{{long: "force", short: "f", doc: "also what runs"}},
	min:      1, max: -1, objects: "container",
	run: func(c *call) error {
		return c.delete("container", containerInUse, func(dir string) error {
			if c.opt.on("force") {
				return c.tree.fs.WriteFile(dir+"/ctl", "delete force\n", false)
			}
			return c.tree.fs.Remove(dir)
		})
	},
}

// containerInUse says why a container cannot be deleted, empty when it can.
func containerInUse(c *call, dir string) (why, hint string) {
	name := strings.TrimPrefix(dir, "container/")
	if state := c.tree.state(dir); running(state) && !c.opt.on("force") {
		return "it is " + state, "cc stop " + name + ", or cc rm --force " + name
	}
	return usedBy(c, dir)
}

// usedBy names the users of an object.
func usedBy(c *call, dir string) (why, hint string) {
	users := strings.Fields(c.tree.value(dir + "/usedby"))
	if len(users) == 0 {
		return "", ""
	}
	hint = "delete them first"
	if len(users) <= 3 {
		var names []string
		for _, u := range users {
			names = append(names, strings.TrimPrefix(u, "container/"))
		}
		hint = "cc rm --force " + strings.Join(names, " ")
	} else {
		users = append(users[:3:3], "and others")
	}
	return "it is used by " + strings.Join(users, ", "), hint
}

// delete deletes the objects named: those that are not there already are no failure, and while one of them is
// in use nothing is deleted.
func (c *call) delete(noun string, inUse func(*call, string) (why, hint string), remove func(dir string) error) error {
	var dirs []string
	d := c.newDeletion(noun)
	for _, arg := range c.args {
		dir, err := c.object(noun, arg)
		switch {
		case is(err, syscall.ENOENT) && c.tree.alive():
			d.lacks(arg)
		case err != nil:
			return err
		case !contains(dirs, dir):
			dirs = append(dirs, dir)
		}
	}
	var busy []error
	for _, dir := range dirs {
		if why, hint := inUse(c, dir); why != "" {
			f := &failure{code: exitConflict, word: "busy", errno: syscall.EBUSY, hint: hint,
				text: "cannot delete " + dir + ": " + why}
			if len(dirs) > 1 {
				f.text += "; nothing was deleted"
			}
			busy = append(busy, f)
		}
	}
	if len(busy) > 0 {
		return join(busy)
	}
	var errs []error
	for _, dir := range dirs {
		if err := remove(dir); err != nil && !is(err, syscall.ENOENT) {
			errs = append(errs, c.tree.explain(err, "delete "+dir))
			continue
		}
		d.deleted = append(d.deleted, strings.TrimPrefix(dir, noun+"/"))
	}
	return d.answer(errs)
}

// deletion is what became of the names that were to be deleted.
type deletion struct {
	c                *call
	noun             string
	deleted, missing []string
}

func (c *call) newDeletion(noun string) *deletion {
	return &deletion{c: c, noun: noun, deleted: []string{}, missing: []string{}}
}

// lacks notes a name that nothing has: it may be a slip.
func (d *deletion) lacks(name string) {
	d.missing = append(d.missing, name)
	if !d.c.opt.on("json") {
		d.c.note("no %s %q", d.noun, name)
	}
}

// answer ends the verb: with --json it prints the names.
func (d *deletion) answer(errs []error) error {
	if d.c.opt.on("json") && !d.c.tree.dry {
		errs = append(errs, writeJSON(d.c.out, map[string]any{"deleted": d.deleted, "missing": d.missing}))
	}
	return join(errs)
}
