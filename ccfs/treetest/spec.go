package treetest

import (
	"strings"
	"syscall"
	"testing"
)

var specFunctions = map[string]func(*testing.T, Env){
	"spec/prints-what-it-reads": func(t *testing.T, e Env) {
		b := e.newBox(t)
		e.write(t, b+"/args", "sh\n-c\n'a\nb'\n")
		e.write(t, b+"/env", "A it''s\nB '  '\n")
		e.write(t, b+"/memory", "64M\n")
		spec := e.read(t, b+"/spec")
		for _, line := range []string{"image builtin\n", "args sh\n", "args -c\n", "args 'a\nb'\n", "env A it''s\n", "memory 67108864\n", "net\n", "log/policy drop\n"} {
			if !strings.Contains(spec, line) {
				t.Errorf("spec lacks %q:\n%s", line, spec)
			}
		}
		e.write(t, b+"/spec", spec)
		e.wants(t, b+"/spec", spec)
		c := e.newBox(t)
		e.write(t, c+"/spec", spec)
		e.wants(t, c+"/spec", spec)
	},
	"spec/is-the-whole": func(t *testing.T, e Env) {
		b := e.newBox(t)
		e.write(t, b+"/args", "a\n")
		e.write(t, b+"/memory", "64M\n")
		e.write(t, b+"/spec", "# a comment\n\nimage busybox\nmemory 1G\n")
		e.wants(t, b+"/image", "busybox\n")
		e.wants(t, b+"/memory", "1073741824\n")
		e.wants(t, b+"/args", "")
	},
	"spec/append-changes-what-it-names": func(t *testing.T, e Env) {
		b := e.newBox(t)
		e.write(t, b+"/args", "a\n")
		e.append(t, b+"/spec", "memory 1G\nargs b\n")
		e.wants(t, b+"/memory", "1073741824\n")
		e.wants(t, b+"/args", "a\nb\n")
	},
	"spec/all-or-nothing": func(t *testing.T, e Env) {
		b := e.newBox(t)
		before, version := e.read(t, b+"/spec"), e.read(t, b+"/version")
		fails(t, e.put(b+"/spec", "image busybox\nmemory lots\n"), syscall.EINVAL)
		fails(t, e.put(b+"/spec", "image busybox\nmemroy 1G\n"), syscall.EINVAL)
		e.wants(t, b+"/spec", before)
		e.wants(t, b+"/version", version)
		e.has(t, b+"/error", "line 2: no setting \"memroy\"; hint: did you mean memory?")
	},
	// Rule 15 of docs/TREE.md.
	"spec/compare-and-set": func(t *testing.T, e Env) {
		b := e.newBox(t)
		e.write(t, b+"/memory", "1M\n") // version 2
		version := strings.TrimSpace(e.read(t, b+"/version"))
		e.write(t, b+"/spec", "# version "+version+"\nimage busybox\n")
		fails(t, e.put(b+"/spec", "# version "+version+"\nimage alpine\n"), syscall.ESTALE)
		e.wants(t, b+"/image", "busybox\n")
		fails(t, e.put(b+"/spec", "# version x\nimage alpine\n"), syscall.EINVAL)
	},
	"spec/version-counts-changes": func(t *testing.T, e Env) {
		b := e.newBox(t)
		e.wants(t, b+"/version", "1\n")
		e.write(t, b+"/memory", "1M\n")
		e.wants(t, b+"/version", "2\n")
		e.write(t, b+"/labels", "tier web\n")
		e.wants(t, b+"/version", "3\n")
	},
	// A document written line by line is whole at its end.
	"spec/line-by-line": func(t *testing.T, e Env) {
		b := e.newBox(t)
		ok(t, e.open(b+"/spec", syscall.O_TRUNC, "image busybox\n", "memory 1M\n", "args a\n", "args b\n"))
		e.wants(t, b+"/image", "busybox\n")
		e.wants(t, b+"/memory", "1048576\n")
		e.wants(t, b+"/args", "a\nb\n")
	},
	"spec/labels": func(t *testing.T, e Env) {
		b := e.newBox(t)
		e.write(t, b+"/labels", "tier web\nteam 'a b'\n")
		e.append(t, b+"/labels", "tier db\n")
		e.wants(t, b+"/labels", "team a b\ntier db\n")
		ok(t, e.FS.Unlink(b+"/labels"))
		e.write(t, b+"/labels", "")
		e.wants(t, b+"/labels", "")
	},
}
