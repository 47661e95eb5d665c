package treetest

import (
	"strings"
	"syscall"
	"testing"
)

// rightsFunctions are rule 22 of docs/TREE.md: the bits are the policy.
var rightsFunctions = map[string]func(*testing.T, Env){
	"rights/owner-and-others": func(t *testing.T, e Env) {
		owner, other := Env{FS: e.As(1000, 1000)}, Env{FS: e.As(1001, 1001)}
		n := owner.newNet(t)
		st, err := e.FS.Lstat(n + "/note")
		if err != nil || st.UID != 1000 || st.GID != 1000 || st.Mode&0o777 != 0o664 {
			t.Errorf("%+v, %v", st, err)
		}
		ok(t, owner.put(n+"/note", "mine\n"))
		fails(t, other.put(n+"/note", "yours\n"), syscall.EACCES)
		fails(t, other.put(n+"/ctl", "delete\n"), syscall.EACCES)
		fails(t, other.FS.Unlink(n+"/note"), syscall.EACCES)
		fails(t, other.open(n+"/.x", excl, "x"), syscall.EACCES)
		fails(t, other.put(n+"/status", "x\n"), syscall.EACCES)
		other.wants(t, n+"/note", "mine\n")
		e.write(t, n+"/note", "root's\n")
	},
	"rights/chmod": func(t *testing.T, e Env) {
		owner, other := Env{FS: e.As(1000, 1000)}, Env{FS: e.As(1001, 1001)}
		n := owner.newNet(t)
		fails(t, other.FS.Chmod(n+"/note", 0o666), syscall.EPERM)
		ok(t, owner.FS.Chmod(n+"/note", 0o666))
		ok(t, other.put(n+"/note", "all may\n"))
		ok(t, owner.FS.Chmod(n+"/note", 0o600))
		_, err := other.get(n + "/note")
		fails(t, err, syscall.EACCES)
		ok(t, owner.FS.Chmod(n+"/ctl", 0o444))
		fails(t, owner.put(n+"/ctl", "delete\n"), syscall.EACCES)
		fails(t, owner.FS.Chmod("net", 0o700), syscall.EPERM)
		ok(t, e.FS.Chmod("net", 0o777)) // as it is
	},
	// The kernel may have the names in its cache: the engine asks for x on every directory all the same.
	"rights/closed-directory": func(t *testing.T, e Env) {
		owner, other := Env{FS: e.As(1000, 1000)}, Env{FS: e.As(1001, 1001)}
		b := owner.newBox(t)
		other.has(t, b+"/status", "state")
		ok(t, owner.FS.Chmod(b, 0o700))
		for _, p := range []string{"/status", "/log/policy"} {
			_, err := other.get(b + p)
			fails(t, err, syscall.EACCES)
		}
		_, err := other.FS.ReadDir(b)
		fails(t, err, syscall.EACCES)
		owner.has(t, b+"/log/policy", "drop")
		ok(t, owner.FS.Chmod(b, 0o711))
		other.has(t, b+"/status", "state")
		_, err = other.FS.ReadDir(b)
		fails(t, err, syscall.EACCES)
	},
	"rights/chown": func(t *testing.T, e Env) {
		owner, other := Env{FS: e.As(1000, 1000)}, Env{FS: e.As(1001, 1001)}
		n := owner.newNet(t)
		fails(t, owner.FS.Chown(n, 1001, -1), syscall.EPERM)
		fails(t, owner.FS.Chown(n, -1, 1001), syscall.EPERM)
		ok(t, owner.FS.Chown(n, 1000, 1000)) // as it is
		ok(t, e.FS.Chown(n, 1001, 1001))
		ok(t, other.put(n+"/note", "mine now\n"))
		fails(t, owner.put(n+"/note", "was mine\n"), syscall.EACCES)
		st, err := e.FS.Lstat(n + "/status")
		if err != nil || st.UID != 1001 || st.GID != 1001 {
			t.Errorf("%+v, %v", st, err)
		}
	},
	"rights/group": func(t *testing.T, e Env) {
		member := Env{FS: e.As(1001, 2000)}
		n := e.newNet(t)
		fails(t, member.put(n+"/note", "x\n"), syscall.EACCES)
		ok(t, e.FS.Chown(n, -1, 2000))
		ok(t, member.put(n+"/note", "x\n"))
	},
	"rights/umask-narrows": func(t *testing.T, e Env) {
		p := e.newNet(t) + "m"
		ok(t, e.FS.Mkdir(p, 0o700))
		e.read(t, p+"/id")
		if st, err := e.FS.Lstat(p); err != nil || st.Mode&0o7777 != 0o700 {
			t.Errorf("%o, %v", st.Mode, err)
		}
		ok(t, e.FS.Rmdir(p))
	},
	// box is sticky: only owners remove there.
	"rights/sticky": func(t *testing.T, e Env) {
		owner, other := Env{FS: e.As(1000, 1000)}, Env{FS: e.As(1001, 1001)}
		b := owner.newBox(t)
		fails(t, other.FS.Rmdir(b), syscall.EACCES)
		fails(t, other.FS.Rename(b, b+"x", false), syscall.EACCES)
		ok(t, owner.FS.Rename(b, b+"x", false))
		ok(t, owner.FS.Rmdir(b+"x"))
	},
	// A right on ctl is none to delete: that is the directory's to give.
	"rights/sticky-verb": func(t *testing.T, e Env) {
		owner, member := Env{FS: e.As(1000, 2000)}, Env{FS: e.As(1001, 2000)}
		b := owner.newBox(t)
		ok(t, member.put(b+"/ctl", "start\n"))
		fails(t, member.put(b+"/ctl", "delete force\n"), syscall.EACCES)
		e.has(t, b+"/status", "running")
		ok(t, owner.put(b+"/ctl", "delete force\n"))
	},
	// What belongs to no object is root's to give.
	"rights/fixed-file": func(t *testing.T, e Env) {
		member, other := Env{FS: e.As(1001, 2000)}, Env{FS: e.As(1001, 1001)}
		e.lend(t, "counter", 2000, 0o640)
		member.has(t, "counter", "count")
		_, err := other.get("counter")
		fails(t, err, syscall.EACCES)
		st, err := e.FS.Lstat("counter")
		if err != nil || st.UID != 0 || st.GID != 2000 || st.Mode&0o7777 != 0o640 {
			t.Errorf("%+v, %v", st, err)
		}
		fails(t, other.FS.Chmod("counter", 0o777), syscall.EPERM)
		fails(t, other.FS.Chown("counter", 1001, -1), syscall.EPERM)
		ok(t, e.FS.Chown("counter", 1001, -1))
		fails(t, other.FS.Chmod("counter", 0o777), syscall.EPERM)
		fails(t, e.FS.Chmod("doc/box", 0o600), syscall.EPERM)
		fails(t, e.FS.Chmod("image/digest/sha256-aa/size", 0o600), syscall.EPERM)
		if audit := e.read(t, "audit"); !strings.Contains(audit, " 0 chmod counter 640 0\n") {
			t.Error("audit lacks the change")
		}
	},
	"rights/fixed-directory": func(t *testing.T, e Env) {
		member, other := Env{FS: e.As(1001, 2000)}, Env{FS: e.As(1002, 2000)}
		stranger := Env{FS: e.As(1003, 1003)}
		e.lend(t, "box", 2000, 0o1770)
		fails(t, stranger.FS.Mkdir("box/lent", 0o777), syscall.EACCES)
		ok(t, member.FS.Mkdir("box/lent", 0o777))
		member.has(t, "box/lent/status", "defined")
		_, err := stranger.get("box/lent/status") // although the kernel knows the names
		fails(t, err, syscall.EACCES)
		fails(t, other.FS.Rmdir("box/lent"), syscall.EACCES)
		ok(t, e.FS.Chmod("box", 0o775))
		stranger.has(t, "box/lent/status", "defined")
		fails(t, stranger.FS.Rmdir("box/lent"), syscall.EACCES)
		ok(t, other.FS.Rmdir("box/lent"))
	},
	"rights/access": func(t *testing.T, e Env) {
		other := Env{FS: e.As(1001, 1001)}
		n := e.newNet(t)
		ok(t, other.FS.Access(n+"/note", 4))
		fails(t, other.FS.Access(n+"/note", 2), syscall.EACCES)
		ok(t, other.FS.Access(n, 5))
		fails(t, e.FS.Access(n+"/note", 1), syscall.EACCES)
	},
	"rights/secret": func(t *testing.T, e Env) {
		owner := Env{FS: e.As(1000, 1000)}
		b := owner.newBox(t)
		ok(t, owner.put(b+"/secret", "x\n"))
		_, err := owner.get(b + "/secret")
		fails(t, err, syscall.EACCES)
	},
	// Rule 24 of docs/TREE.md.
	"rights/audit": func(t *testing.T, e Env) {
		owner := Env{FS: e.As(1000, 1000)}
		n := owner.newNet(t)
		ok(t, owner.put(n+"/note", "hello\n"))
		fails(t, owner.put(n+"/mtu", "1\n"), syscall.ERANGE)
		ok(t, owner.FS.Chmod(n, 0o777))
		audit := e.read(t, "audit")
		for _, want := range []string{
			" 1000 mkdir " + n + " '' 0\n", " 1000 write " + n + "/note hello 0\n", " 1000 write " + n + "/mtu 1 34\n",
			" 1000 chmod " + n + " 777 0\n",
		} {
			if !strings.Contains(audit, want) {
				t.Errorf("audit lacks %q", want)
			}
		}
	},
}

// lend changes a fixed name's group and mode until the test ends.
func (e Env) lend(t *testing.T, p string, gid int, mode uint32) {
	t.Helper()
	st, err := e.FS.Lstat(p)
	ok(t, err)
	t.Cleanup(func() {
		ok(t, e.FS.Chown(p, int(st.UID), int(st.GID)))
		ok(t, e.FS.Chmod(p, st.Mode&0o7777))
	})
	ok(t, e.FS.Chown(p, -1, gid))
	ok(t, e.FS.Chmod(p, mode))
}
