package tree

import (
	"errors"
	"fmt"
	"slices"
	"strings"
)

// dirIndex is a Dir as the engine uses it.
type dirIndex struct {
	files  map[string]*File
	dirs   map[string]*Dir
	listed []*File  // in the order of readdir
	paths  []string // of everything in a layout, down to the collections in it
}

func newDirIndex(d *Dir) *dirIndex {
	x := &dirIndex{files: map[string]*File{}, dirs: map[string]*Dir{}}
	for i := range d.Files {
		f := &d.Files[i]
		x.files[f.Name] = f
		if !f.Hidden {
			x.listed = append(x.listed, f)
		}
	}
	slices.SortStableFunc(x.listed, func(a, b *File) int { return int(a.class()) - int(b.class()) })
	for _, sub := range d.Dirs {
		x.dirs[sub.Name] = sub
	}
	d.eachPath("", func(p string) { x.paths = append(x.paths, p) })
	return x
}

func (f *File) class() class {
	switch {
	case f.setting() && f.Name == "spec":
		return classSpec
	case f.setting():
		return classSetting
	case f.writable():
		return classAction
	}
	return classState
}

func (d *Dir) eachPath(prefix string, f func(string)) {
	for i := range d.Files {
		f(prefix + d.Files[i].Name)
	}
	for _, sub := range d.Dirs {
		f(prefix + sub.Name)
		sub.eachPath(prefix+sub.Name+"/", f)
	}
}

// walk visits every Dir of a table once; the path of an object's directory is its collection's and the noun in
// capitals: "container/NAME".
func walk(root *Dir, visit func(path string, d *Dir)) {
	seen := map[*Dir]bool{}
	var rec func(string, *Dir)
	rec = func(p string, d *Dir) {
		if seen[d] {
			return
		}
		seen[d] = true
		visit(p, d)
		for _, sub := range d.Dirs {
			rec(join(p, sub.Name), sub)
		}
		if d.Objects != nil && d.Objects.Layout != nil {
			rec(join(p, d.Objects.placeholder()), d.Objects.Layout)
		}
	}
	rec("", root)
}

// placeholder stands for an object's name in the manual.
func (c *Collection) placeholder() string { return strings.ToUpper(c.Noun) }

func join(dir, name string) string {
	if dir == "" {
		return name
	}
	return dir + "/" + name
}

// Check finds mistakes in a table: rows that lack what their kind needs, and names that are taken twice.
func Check(root *Dir) error {
	var errs []error
	walk(root, func(p string, d *Dir) {
		names := map[string]bool{}
		for i := range d.Files {
			f := &d.Files[i]
			errs = append(errs, f.check(join(p, f.Name), names))
		}
		for _, sub := range d.Dirs {
			errs = append(errs, checkName(join(p, sub.Name), sub.Name, names))
		}
		errs = append(errs, d.checkSources(p))
	})
	return errors.Join(errs...)
}

func checkName(p, name string, names map[string]bool) error {
	if name == "" || name == "." || name == ".." || strings.ContainsAny(name, "/\n ") {
		return fmt.Errorf("row %q: bad name", p)
	}
	if names[name] {
		return fmt.Errorf("row %q: there are two", p)
	}
	names[name] = true
	return nil
}

func (f *File) check(p string, names map[string]bool) error {
	err := checkName(p, f.Name, names)
	need := func(ok bool, what string) {
		if !ok {
			err = errors.Join(err, fmt.Errorf("row %q: a %s needs %s", p, f.Kind, what))
		}
	}
	switch f.Kind {
	case Scalar, List, Table, Document:
		need(f.Read != nil || f.Write != nil, "Read or Write")
		need(f.Write == nil || f.Mode&0o222 != 0, "a mode with w, for its Write")
	case Ctl:
		need(len(f.Verbs) > 0, "Verbs")
	case Log:
		need(f.Log != nil, "Log")
	case Stream:
		need(f.Stream != nil, "Stream")
	case Clone:
		need(f.Clone != nil, "Clone")
	default:
		need(false, "a kind that exists")
	}
	need(f.Mode&^0o777 == 0 && f.Mode != 0, "a mode of permission bits")
	return err
}

func (d *Dir) checkSources(p string) error {
	sources := 0
	for _, has := range []bool{d.Objects != nil, d.Match != nil, d.Entries != nil, d.Host != nil} {
		if has {
			sources++
		}
	}
	if sources > 1 {
		return fmt.Errorf("directory %q has %d sources of names", p, sources)
	}
	if c := d.Objects; c != nil && (c.Noun == "" || c.Layout == nil || c.List == nil || c.Find == nil) {
		return fmt.Errorf("collection %q lacks Noun, Layout, List or Find", p)
	}
	return nil
}
