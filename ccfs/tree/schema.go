package tree

import (
	"strings"

	"github.com/containercloud/cc/words"
)

// Schema prints every file of a table, one a line: path, kind, syntax, default, when a change counts, mode, what it is
// for. Fields are quoted as words are; - stands for nothing. Objects' names are in capitals.
func Schema(root *Dir) string {
	var b strings.Builder
	b.WriteString("# path kind syntax default when mode doc\n")
	walk(root, func(p string, d *Dir) {
		for _, f := range d.rows() {
			b.WriteString(words.Join([]string{
				join(p, f.Name), string(f.Kind), dash(f.syntax()), dash(f.Default), dash(string(f.When)), octal(f.Mode), dash(f.Doc),
			}))
			b.WriteByte('\n')
		}
	})
	return b.String()
}

// rows are the files that schema and manual describe.
func (d *Dir) rows() []*File {
	var rows []*File
	for i := range d.Files {
		rows = append(rows, &d.Files[i])
	}
	if d.Pattern != nil {
		rows = append(rows, d.Pattern)
	}
	return rows
}

// syntax is what the file takes: for ctl files the verbs.
func (f *File) syntax() string {
	if f.Syntax != "" || len(f.Verbs) == 0 {
		return f.Syntax
	}
	var verbs []string
	for _, v := range f.Verbs {
		verbs = append(verbs, strings.TrimSpace(v.Name+" "+v.Args))
	}
	return strings.Join(verbs, " | ")
}

func dash(s string) string {
	if s == "" {
		return "-"
	}
	return strings.ReplaceAll(strings.TrimSuffix(s, "\n"), "\n", "; ")
}

func octal(mode uint32) string {
	return string([]byte{'0', '0' + byte(mode>>6&7), '0' + byte(mode>>3&7), '0' + byte(mode&7)})
}
