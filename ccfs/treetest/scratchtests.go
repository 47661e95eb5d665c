package treetest

import (
	"fmt"
	"slices"
	"strings"
	"syscall"
	"testing"
)

const excl = syscall.O_EXCL

var scratchFunctions = map[string]func(*testing.T, Env){
	// sed -i, perl -pi, rsync make a file beside it and rename it over.
	"scratch/rename-commits": func(t *testing.T, e Env) {
		b := e.newBox(t)
		ok(t, e.open(b+"/sedXYZabc", excl, "image busybox\nmemory 1M\n"))
		ok(t, e.FS.Chmod(b+"/sedXYZabc", 0o664))
		ok(t, e.FS.Chown(b+"/sedXYZabc", 0, 0))
		ok(t, e.FS.Touch(b+"/sedXYZabc"))
		ok(t, e.FS.Rename(b+"/sedXYZabc", b+"/spec", false))
		e.wants(t, b+"/image", "busybox\n")
		e.wants(t, b+"/memory", "1048576\n")
		_, err := e.FS.Lstat(b + "/sedXYZabc")
		fails(t, err, syscall.ENOENT)
	},
	"scratch/failed-rename-leaves-both": func(t *testing.T, e Env) {
		b := e.newBox(t)
		before := e.read(t, b+"/spec")
		ok(t, e.open(b+"/.spec.new", excl, "memory lots\n"))
		fails(t, e.FS.Rename(b+"/.spec.new", b+"/spec", false), syscall.EINVAL)
		fails(t, e.FS.Rename(b+"/.spec.new", b+"/spec", true), syscall.EEXIST)
		e.wants(t, b+"/spec", before)
		e.wants(t, b+"/.spec.new", "memory lots\n")
		e.has(t, b+"/error", "line 1: memory: \"lots\" is not a size")
		ok(t, e.FS.Unlink(b+"/.spec.new"))
	},
	"scratch/behaves-as-a-file": func(t *testing.T, e Env) {
		b := e.newBox(t)
		p := b + "/.work"
		ok(t, e.open(p, excl, "hello", " world"))
		fails(t, e.open(p, excl, "x"), syscall.EEXIST)
		e.wants(t, p, "hello world")
		ok(t, e.open(p, syscall.O_APPEND, "!"))
		e.wants(t, p, "hello world!")
		ok(t, e.FS.Truncate(p, 5))
		e.wants(t, p, "hello")
		ok(t, e.FS.Rename(p, b+"/.other", false))
		e.wants(t, b+"/.other", "hello")
		names, err := e.FS.ReadDir(b)
		if err != nil || !slices.Contains(names, ".other") {
			t.Errorf("%q, %v", names, err)
		}
		ok(t, e.FS.Unlink(b+"/.other"))
	},
	"scratch/limits": func(t *testing.T, e Env) {
		b := e.newBox(t)
		for i := range 16 {
			ok(t, e.open(fmt.Sprintf("%s/.s%d", b, i), excl, "x"))
		}
		fails(t, e.open(b+"/.s16", excl, "x"), syscall.ENOSPC)
		fails(t, e.open(b+"/.s0", 0, strings.Repeat("x", 1<<20), "x"), syscall.ENOSPC)
		ok(t, e.open(b+"/log/.s", excl, "x")) // each directory for itself
	},
	"scratch/only-in-objects": func(t *testing.T, e Env) {
		for _, p := range []string{"x", "net/x", "box/x", "doc/x", "image/ref/x", e.newBox(t) + "/wait/x"} {
			fails(t, e.open(p, excl, "x"), syscall.EPERM)
		}
	},
	// `echo 1G > memroy` must not be lost in a scratch file.
	"scratch/slips-are-refused": func(t *testing.T, e Env) {
		b := e.newBox(t)
		fails(t, e.put(b+"/memroy", "1G\n"), syscall.ENOENT)
		fails(t, e.put(b+"/arg", "x\n"), syscall.ENOENT)
		e.has(t, b+"/error", "hint: did you mean memory?")
		e.write(t, b+"/spec.new", "memory 1M\n")
		fails(t, e.FS.Rename(b+"/spec.new", b+"/draft", false), syscall.ENOENT)
		for _, name := range []string{"cmd", "network", "volume", "port", "publish", "MEMORY", "memorylimit", "draft"} {
			fails(t, e.put(b+"/"+name, "x\n"), syscall.ENOENT)
			fails(t, e.open(b+"/"+name, excl, "x\n"), syscall.ENOENT)
		}
		e.has(t, b+"/error", "cannot create "+b+"/MEMORY: there is no such setting; hint: did you mean memory?")
		e.has(t, b+"/error", "cannot create "+b+"/cmd: there is no such setting; hint: there are: args ")
	},
	"scratch/names-of-programs": func(t *testing.T, e Env) {
		b := e.newBox(t)
		for _, name := range []string{"spec~", ".spec.swp", ".#spec", "#spec#", "4913", "spec.orig"} {
			e.write(t, b+"/"+name, "x\n")
			ok(t, e.FS.Unlink(b+"/"+name))
		}
		for _, name := range []string{"sedAb3dEf", "argsQwErTy", "AbCdEfGh", "tmpabcd_fg", "tmp.AbCdEfGhIj", "gawk.Ab3dEf", ".goutputstream-Ab3dEf"} {
			ok(t, e.open(b+"/"+name, excl, "x\n"))
			ok(t, e.FS.Unlink(b+"/"+name))
		}
	},
	"scratch/not-across-objects": func(t *testing.T, e Env) {
		a, b := e.newBox(t), e.newBox(t)
		ok(t, e.open(a+"/.x", excl, "1M\n"))
		fails(t, e.FS.Rename(a+"/.x", b+"/memory", false), syscall.EXDEV)
		fails(t, e.FS.Rename(a+"/memory", b+"/memory", false), syscall.EXDEV)
		fails(t, e.FS.Rename(a+"/memory", a+"/image", false), syscall.EPERM)
	},
	// vim with backupcopy=no: the file becomes spec~, a new spec is written, spec~ goes.
	"scratch/backup-by-rename": func(t *testing.T, e Env) {
		b := e.newBox(t)
		e.write(t, b+"/memory", "1M\n")
		before := e.read(t, b+"/spec")
		ok(t, e.FS.Rename(b+"/spec", b+"/spec~", false))
		e.wants(t, b+"/spec~", before)
		e.write(t, b+"/spec", "memory 2M\n")
		ok(t, e.FS.Unlink(b+"/spec~"))
		e.wants(t, b+"/memory", "2097152\n")
	},
	"scratch/rename-back": func(t *testing.T, e Env) {
		b := e.newBox(t)
		e.write(t, b+"/memory", "1M\n")
		ok(t, e.FS.Rename(b+"/memory", b+"/memory~", false))
		ok(t, e.FS.Rename(b+"/memory~", b+"/memory", false))
		e.wants(t, b+"/memory", "1048576\n")
	},
	// rsync renames over state files too.
	"scratch/rename-over-state": func(t *testing.T, e Env) {
		b := e.newBox(t)
		ok(t, e.open(b+"/.status.Ab", excl, "x"))
		ok(t, e.FS.Rename(b+"/.status.Ab", b+"/status", false))
		e.has(t, b+"/status", "state defined")
		e.write(t, b+"/ctl", "start\n")
		ok(t, e.open(b+"/.status.Ab", excl, "x"))
		fails(t, e.FS.Rename(b+"/.status.Ab", b+"/status", false), syscall.EPERM)
	},
	"scratch/belongs-to-its-maker": func(t *testing.T, e Env) {
		b := e.newBox(t)
		ok(t, e.FS.Chmod(b, 0o777))
		ok(t, e.open(b+"/.mine", excl, "x"))
		other := Env{FS: e.As(1000, 1000)}
		_, err := other.get(b + "/.mine")
		fails(t, err, syscall.ENOENT)
		names, err := other.FS.ReadDir(b)
		if err != nil || slices.Contains(names, ".mine") {
			t.Errorf("%q, %v", names, err)
		}
		ok(t, other.open(b+"/.other", excl, "x"))
	},
}
