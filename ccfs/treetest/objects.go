package treetest

import (
	"strings"
	"syscall"
	"testing"
)

var objectFunctions = map[string]func(*testing.T, Env){
	"object/mkdir-twice": func(t *testing.T, e Env) {
		n := e.newNet(t)
		fails(t, e.FS.Mkdir(n, 0o777), syscall.EEXIST)
	},
	"object/bad-names": func(t *testing.T, e Env) {
		for _, name := range []string{"UPPER", "-x", "x-", "a_b", "a.b", strings.Repeat("a", 64)} {
			fails(t, e.FS.Mkdir("net/"+name, 0o777), syscall.EINVAL)
		}
		for _, name := range []string{"ctl", "index", "new"} {
			fails(t, e.FS.Mkdir("box/"+name, 0o777), syscall.EEXIST)
		}
		fails(t, e.FS.Mkdir("other", 0o777), syscall.EPERM)
		fails(t, e.FS.Mkdir(e.newNet(t)+"/other", 0o777), syscall.EPERM)
		fails(t, e.FS.Rmdir("net"), syscall.EPERM)
		fails(t, e.FS.Unlink("schema"), syscall.EPERM)
		fails(t, e.FS.Rmdir("net/nothing"), syscall.ENOENT)
		fails(t, e.FS.Unlink("net/nothing"), syscall.ENOENT)
	},
	"object/longest-name": func(t *testing.T, e Env) {
		p := "net/" + strings.Repeat("a", 63)
		ok(t, e.FS.Mkdir(p, 0o777))
		ok(t, e.FS.Rmdir(p))
	},
	"object/defaults-at-mkdir": func(t *testing.T, e Env) {
		b := e.newBox(t)
		e.wants(t, b+"/memory", "max\n")
		e.wants(t, b+"/stop.timeout", "10s\n")
		e.has(t, b+"/status", "state defined")
		e.has(t, b+"/owner", ":")
	},
	// rm -r unlinks all that it sees, then the directories.
	"object/rm-r": func(t *testing.T, e Env) {
		b := e.newBox(t)
		e.write(t, b+"/memory", "64M\n")
		ok(t, e.removeAll(t, b))
		_, err := e.FS.Lstat(b)
		fails(t, err, syscall.ENOENT)
	},
	// Rule 16 of docs/TREE.md: EBUSY comes before anything is reset.
	"object/rm-r-in-use": func(t *testing.T, e Env) {
		b := e.newBox(t)
		e.write(t, b+"/memory", "64M\n")
		e.write(t, b+"/ctl", "start\n")
		before := e.read(t, b+"/spec")
		e.each(t, b, func(p string, _ Stat) { fails(t, e.FS.Unlink(p), syscall.EBUSY) })
		fails(t, e.FS.Rmdir(b+"/log"), syscall.EBUSY)
		fails(t, e.FS.Rmdir(b), syscall.EBUSY)
		e.wants(t, b+"/spec", before)
	},
	"object/in-use-by-another": func(t *testing.T, e Env) {
		n, b := e.newNet(t), e.newBox(t)
		e.write(t, n+"/cidr", "10.7.0.0/24\n")
		e.write(t, b+"/net", strings.TrimPrefix(n, "net/")+"\n")
		e.wants(t, n+"/usedby", b+"\n")
		fails(t, e.FS.Rmdir(n), syscall.EBUSY)
		e.has(t, n+"/error", " busy cannot remove "+n+": "+b+" is in it; hint: see usedby\n")
		fails(t, e.put(n+"/ctl", "delete\n"), syscall.EBUSY)
		e.has(t, n+"/error", b+" is in it; hint: see usedby")
		e.write(t, b+"/net", "\n")
	},
	"object/rename": func(t *testing.T, e Env) {
		b := e.newBox(t)
		id := e.read(t, b+"/id")
		ok(t, e.FS.Rename(b, b+"x", false))
		e.wants(t, b+"x/id", id)
		_, err := e.FS.Lstat(b)
		fails(t, err, syscall.ENOENT)
		fails(t, e.FS.Rename(b+"x", e.newBox(t), false), syscall.EEXIST)
		fails(t, e.FS.Rename(e.newNet(t), "net/other", false), syscall.EPERM)
		ok(t, e.FS.Rename(b+"x", b, false))
	},
	"object/open-files-of-a-removed-object-answer": func(t *testing.T, e Env) {
		n := e.newNet(t)
		f, err := e.FS.Open(n+"/note", syscall.O_RDWR, 0)
		ok(t, err)
		defer f.Close()
		ok(t, e.FS.Rmdir(n))
		_, err = f.Stat() // an open file outlives its name, as everywhere
		ok(t, err)
		_, err = e.get(n + "/note")
		fails(t, err, syscall.ENOENT)
	},
	"object/links-as-members": func(t *testing.T, e Env) {
		n, b := e.newNet(t), e.newBox(t)
		name := strings.TrimPrefix(b, "box/")
		ok(t, e.FS.Symlink("../../../box/"+name, n+"/member/"+name))
		e.has(t, n+"/member/"+name+"/status", "state defined")
		fails(t, e.FS.Symlink("../../../box/nobody", n+"/member/nobody"), syscall.ENOENT)
		fails(t, e.FS.Symlink("/etc", n+"/member/etc"), syscall.EINVAL)
		fails(t, e.FS.Symlink("x", n+"/x"), syscall.EPERM)
		ok(t, e.FS.Unlink(n+"/member/"+name))
		_, err := e.FS.Lstat(n + "/member/" + name)
		fails(t, err, syscall.ENOENT)
	},
}

// removeAll is rm -r.
func (e Env) removeAll(t *testing.T, p string) error {
	names, err := e.FS.ReadDir(p)
	if err != nil {
		return err
	}
	for _, name := range names {
		full := p + "/" + strings.TrimSuffix(name, "/")
		if strings.HasSuffix(name, "/") {
			err = e.removeAll(t, full)
		} else {
			err = e.FS.Unlink(full)
		}
		if err != nil {
			return err
		}
	}
	return e.FS.Rmdir(p)
}
