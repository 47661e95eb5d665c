package treetest

import (
	"slices"
	"strings"
	"syscall"
	"testing"
)

var hostFunctions = map[string]func(*testing.T, Env){
	"host/files": func(t *testing.T, e Env) {
		b := e.newBox(t)
		root := b + "/root"
		if text := e.read(t, root+"/etc/hostname"); text == "" {
			t.Error("etc/hostname is empty")
		}
		e.write(t, root+"/file", "hello\n")
		e.wants(t, root+"/file", "hello\n")
		e.append(t, root+"/file", "more\n")
		e.wants(t, root+"/file", "hello\nmore\n")
		st, err := e.FS.Lstat(root + "/file")
		if err != nil || st.UID != 0 || st.GID != 0 { // the container's root
			t.Errorf("%+v, %v", st, err)
		}
		ok(t, e.FS.Truncate(root+"/file", 2))
		e.wants(t, root+"/file", "he")
		ok(t, e.FS.Chmod(root+"/file", 0o604))
		ok(t, e.FS.Chown(root+"/file", 33, 33))
		ok(t, e.FS.Touch(root+"/file"))
		st, err = e.FS.Lstat(root + "/file")
		if err != nil || st.UID != 33 || st.Mode&0o777 != 0o604 || st.MtimeNS != someTime.UnixNano() {
			t.Errorf("%+v, %v", st, err)
		}
		ok(t, e.FS.Mkdir(root+"/dir", 0o755))
		ok(t, e.FS.Rename(root+"/file", root+"/dir/moved", false))
		e.wants(t, root+"/dir/moved", "he")
		fails(t, e.FS.Rmdir(root+"/dir"), syscall.ENOTEMPTY)
		names, err := e.FS.ReadDir(root)
		slices.Sort(names)
		if err != nil || !slices.Equal(names, []string{"dir/", "etc/"}) {
			t.Errorf("%q, %v", names, err)
		}
		ok(t, e.FS.Unlink(root+"/dir/moved"))
		ok(t, e.FS.Rmdir(root+"/dir"))
	},
	// Whatever a link says, following it stays inside.
	"host/links-stay-inside": func(t *testing.T, e Env) {
		root := e.newBox(t) + "/root"
		ok(t, e.FS.Mkdir(root+"/a", 0o755))
		ok(t, e.FS.Mkdir(root+"/a/b", 0o755))
		own := e.read(t, root+"/etc/hostname")
		for target, shown := range map[string]string{
			"/etc/hostname": "../../etc/hostname", "../../../../../../etc/hostname": "../../etc/hostname",
			"../../etc/hostname": "../../etc/hostname", "x/../../../../etc/hostname": "../../etc/hostname",
		} {
			p := root + "/a/b/link"
			ok(t, e.FS.Symlink(target, p))
			if link, err := e.FS.Readlink(p); err != nil || link != shown {
				t.Errorf("%s is shown as %q, %v", target, link, err)
			}
			st, err := e.FS.Lstat(p)
			if err != nil || st.Size != int64(len(shown)) {
				t.Errorf("%s: size %d, %v", target, st.Size, err)
			}
			e.wantsContent(t, p, own)
			ok(t, e.FS.Unlink(p))
		}
	},
	"host/others-see-what-everybody-may": func(t *testing.T, e Env) {
		owner, other := Env{FS: e.As(1000, 1000)}, Env{FS: e.As(33, 33)}
		root := owner.newBox(t) + "/root"
		ok(t, owner.put(root+"/open", "x\n"))
		ok(t, owner.put(root+"/closed", "x\n"))
		ok(t, owner.FS.Chmod(root+"/closed", 0o600))
		ok(t, owner.FS.Chown(root+"/closed", 33, 33)) // the container's 33 is not the host's
		_, err := other.get(root + "/open")
		ok(t, err)
		_, err = other.get(root + "/closed")
		fails(t, err, syscall.EACCES)
		fails(t, other.put(root+"/new", "x\n"), syscall.EACCES)
		owner.has(t, root+"/closed", "x\n")
		fails(t, other.FS.Chmod(root+"/closed", 0o666), syscall.EPERM)
	},
	// Devices and fifos are shown and cannot be opened.
	"host/not-regular": func(t *testing.T, e Env) {
		root := e.newBox(t) + "/root"
		if st, err := e.FS.Lstat(root + "/etc/fifo"); err != nil || st.Mode&syscall.S_IFMT != syscall.S_IFSOCK {
			t.Errorf("%o, %v", st.Mode, err)
		}
		st, err := e.FS.Lstat(root + "/etc/null")
		if Errno(err) == syscall.ENOENT {
			t.Skip("no device nodes can be made here")
		}
		if err != nil || st.Mode&syscall.S_IFMT != syscall.S_IFCHR {
			t.Errorf("%o, %v", st.Mode, err)
		}
		for _, name := range []string{"fifo", "null"} {
			if f, err := e.FS.Open(root+"/etc/"+name, syscall.O_RDWR, 0); err == nil {
				f.Close()
				t.Errorf("%s was opened", name)
			}
		}
	},
	"host/ids-outside-the-container": func(t *testing.T, e Env) {
		root := e.newBox(t) + "/root"
		e.write(t, root+"/f", "x\n")
		ok(t, e.FS.Chown(root+"/f", 70000, 1<<24-1))
		if st, err := e.FS.Lstat(root + "/f"); err != nil || st.UID != 70000 || st.GID != 1<<24-1 {
			t.Errorf("%+v, %v", st, err)
		}
		fails(t, e.FS.Chown(root+"/f", 1<<24, 0), syscall.EINVAL)
	},
}

// wantsContent follows links, unlike wants.
func (e Env) wantsContent(t *testing.T, p, want string) {
	t.Helper()
	if got := e.read(t, p); got != want || strings.TrimSpace(want) == "" {
		t.Fatalf("%s holds %q, want %q", p, got, want)
	}
}
