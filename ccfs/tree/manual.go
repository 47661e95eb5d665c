package tree

import (
	"fmt"
	"strings"
)

// Manual makes the pages of doc/ from a table: one for every kind of object, named by its noun, and `cc` for
// everything outside of objects, which comes first among their names. `cc help` prints the same pages.
func Manual(root *Dir) map[string][]byte {
	pages := map[string][]byte{"cc": []byte(page(root, "", root))}
	walk(root, func(p string, d *Dir) {
		if c := d.Objects; c != nil {
			pages[c.Noun] = []byte(objectPage(join(p, c.placeholder()), c))
		}
	})
	return pages
}

// objectPage describes one noun: what mkdir and rmdir do, then every file.
func objectPage(p string, c *Collection) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s - %s\n", strings.ToUpper(c.Noun), p)
	if c.Make != nil {
		fmt.Fprintf(&b, "\nmkdir %s makes one, with every setting at its default; rmdir ends it.\n", p)
	}
	b.WriteString(page(c.Layout, p, c.Layout))
	return b.String()
}

// page describes a Dir and the fixed Dirs in it; collections have their own pages.
func page(root *Dir, p string, d *Dir) string {
	var b strings.Builder
	if d != root {
		fmt.Fprintf(&b, "\nDIRECTORY %s%s\n", p, hiddenMark(d.Hidden))
	}
	if d.Doc != "" {
		b.WriteString("\n" + wrap(d.Doc, "  "))
	}
	for _, f := range d.rows() {
		b.WriteString(f.entry())
	}
	if c := d.Objects; c != nil {
		fmt.Fprintf(&b, "\n  %s\n%s", c.placeholder(), wrap("A directory for each "+c.Noun+": see doc/"+c.Noun+".", "      "))
	}
	for _, sub := range d.Dirs {
		b.WriteString(page(root, join(p, sub.Name), sub))
	}
	return b.String()
}

func hiddenMark(hidden bool) string {
	if hidden {
		return " (not listed)"
	}
	return ""
}

// entry describes one file.
func (f *File) entry() string {
	var b strings.Builder
	head := []string{f.Name}
	if f.Syntax != "" {
		head = append(head, f.Syntax)
	}
	fmt.Fprintf(&b, "\n  %s\n      %s%s\n", strings.Join(head, "  "), f.traits(), hiddenMark(f.Hidden))
	if f.Doc != "" {
		b.WriteString(wrap(f.Doc, "      "))
	}
	for _, v := range f.Verbs {
		fmt.Fprintf(&b, "\n      %s\n", strings.TrimSpace(v.Name+" "+v.Args))
		b.WriteString(wrap(v.Doc, "          "))
	}
	return b.String()
}

// traits are the facts of a row in one line.
func (f *File) traits() string {
	traits := []string{string(f.Kind), octal(f.Mode)}
	if f.setting() && f.class() != classSpec {
		def := dash(f.Default)
		if def == "-" {
			def = "nothing"
		}
		traits = append(traits, "default "+def)
	}
	if text := f.When.sentence(); text != "" {
		traits = append(traits, text)
	}
	return strings.Join(traits, ", ")
}

// sentence says when a change counts.
func (w When) sentence() string {
	switch w {
	case Live:
		return "counts at once"
	case AtStart:
		return "counts from the next start"
	case Fixed:
		return "fixed once set"
	}
	return ""
}

// wrap breaks text into lines of at most 100 characters.
func wrap(text, indent string) string {
	var b strings.Builder
	width := 0
	for _, w := range strings.Fields(text) {
		if width > 0 && width+1+len(w) > 100-len(indent) {
			b.WriteByte('\n')
			width = 0
		}
		if width == 0 {
			b.WriteString(indent)
		} else {
			b.WriteByte(' ')
			width++
		}
		b.WriteString(w)
		width += len(w)
	}
	if width > 0 {
		b.WriteByte('\n')
	}
	return b.String()
}
