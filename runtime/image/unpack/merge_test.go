package unpack

import (
	"archive/tar"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/containercloud/cc/runtime/image/imagetest"
)

func TestMerge(t *testing.T) {
	f, d, sl, hl := imagetest.File, imagetest.Dir, imagetest.Symlink, imagetest.Hardlink
	for _, c := range []struct {
		name   string
		layers []entries
		want   string // snapshot of the root, without "."
	}{
		{"whiteout and opaque", []entries{
			{f("a/1", "1"), f("a/2", "2"), f("b/1", "1"), f("c", "c")},
			{f("a/.wh.1", ""), d("b"), f("b/.wh..wh..opq", ""), f("b/2", "new"), f(".wh.c", "")},
		}, "a drwxr-xr-x\na/2 -rw-r--r-- \"2\"\nb drwxr-xr-x\nb/2 -rw-r--r-- \"new\"\n"},
		{"opaque at the root", []entries{{f("a", "1")}, {f(".wh..wh..opq", ""), f("b", "2")}}, "b -rw-r--r-- \"2\"\n"},
		{"own entries survive own whiteouts", []entries{{f("d/x", "1")}, {f("d/x", "2"), f("d/.wh.x", ""), f("d/.wh..wh..opq", "")}},
			"d drwxr-xr-x\nd/x -rw-r--r-- \"2\"\n"},
		{"directory over file, file over directory", []entries{{f("a", "1"), f("b/c", "2")}, {d("a"), f("a/x", ""), f("b", "file")}},
			"a drwxr-xr-x\na/x -rw-r--r-- \"\"\nb -rw-r--r-- \"file\"\n"},
		{"implied directory goes through a link below", []entries{{d("usr/lib"), sl("lib", "usr/lib")}, {f("lib/x.so", "x")}},
			"lib Lrwxrwxrwx -> usr/lib\nusr drwxr-xr-x\nusr/lib drwxr-xr-x\nusr/lib/x.so -rw-r--r-- \"x\"\n"},
		{"described directory replaces a link below", []entries{{d("usr/lib"), sl("lib", "usr/lib")}, {d("lib"), f("lib/x.so", "x")}},
			"lib drwxr-xr-x\nlib/x.so -rw-r--r-- \"x\"\nusr drwxr-xr-x\nusr/lib drwxr-xr-x\n"},
		{"implied directory over a link out", []entries{{sl("lib", "../../..")}, {f("lib/x.so", "x")}}, "lib Lrwxrwxrwx -> ../../..\nx.so -rw-r--r-- \"x\"\n"},
		{"implied directory over a dangling link", []entries{{sl("lib", "nowhere")}, {f("lib/x.so", "x")}},
			"lib drwxr-xr-x\nlib/x.so -rw-r--r-- \"x\"\n"},
		{"hard link to a lower file that goes", []entries{{f("a", "1")}, {hl("b", "a"), f(".wh.a", "")}}, "b -rw-r--r-- \"1\"\n"},
		{"hard link onto a lower name", []entries{{f("a", "1"), f("b", "2")}, {hl("b", "a")}}, "a -rw-r--r-- \"1\"\nb -rw-r--r-- \"1\"\n"},
		{"hard link into a new directory", []entries{{f("a", "1")}, {hl("x/y/b", "a")}}, "a -rw-r--r-- \"1\"\nx drwxr-xr-x\nx/y drwxr-xr-x\nx/y/b -rw-r--r-- \"1\"\n"},
		{"three layers", []entries{{f("a", "1")}, {f(".wh.a", "")}, {f("a", "3")}}, "a -rw-r--r-- \"3\"\n"},
		{"package on merged usr in one layer", []entries{{sl("lib", "usr/lib"), d("usr"), d("usr/lib"), f("lib/a", "1"), f("usr/lib/b", "2")}},
			"lib Lrwxrwxrwx -> usr/lib\nusr drwxr-xr-x\nusr/lib drwxr-xr-x\nusr/lib/a -rw-r--r-- \"1\"\nusr/lib/b -rw-r--r-- \"2\"\n"},
	} {
		t.Run(c.name, func(t *testing.T) {
			var layers [][]byte
			for _, es := range c.layers {
				layers = append(layers, imagetest.Tar(es...))
			}
			root, _, err := try(t, t.TempDir(), Limits{}, layers...)
			if err != nil {
				t.Fatal(err)
			}
			got := snapshot(t, root, false)
			if _, got, _ = strings.Cut(got, "\n"); got != c.want {
				t.Errorf("got\n%swant\n%s", got, c.want)
			}
		})
	}
}

// TestMetadata shows that owner, mode, times, capabilities and links come through, and whose description of a
// directory counts.
func TestMetadata(t *testing.T) {
	old := syscall.Umask(0o077) // nothing may depend on it
	defer syscall.Umask(old)
	capability := "\x01\x00\x00\x02\x00\x04\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00"
	day := func(n int) time.Time { return time.Date(2020, 1, n, 1, 2, 3, 456, time.UTC) }
	set := func(e imagetest.Entry, mode int64, uid, gid, d int) imagetest.Entry {
		return with(e, func(h *tar.Header) { h.Mode, h.Uid, h.Gid, h.ModTime, h.Format = mode, uid, gid, day(d), tar.FormatPAX })
	}
	suid := set(imagetest.File("d/suid", "x"), 0o4755, 1000, 1001, 3)
	capped := pax(set(imagetest.File("d/capped", "x"), 0o755, 0, 0, 3), "SCHILY.xattr.security.capability", capability, "SCHILY.xattr.user.note", "hi")
	root, recs, err := try(t, t.TempDir(), Limits{},
		imagetest.Tar(set(imagetest.Dir("."), 0o711, 5, 6, 1), set(imagetest.Dir("d"), 0o2770, 7, 8, 2), suid, capped,
			imagetest.Hardlink("d/link", "d/suid"), set(imagetest.Symlink("s", "d"), 0o777, 9, 9, 4)),
		imagetest.Tar(imagetest.File("d/more", "")), // implies d: changes nothing of it
		imagetest.Tar(set(imagetest.Dir("e"), 0o1777, 1<<31, 4, 5)))
	if err != nil {
		t.Fatal(err)
	}
	check := func(name string, mode uint32, uid, gid uint32, d int, nlink uint64) {
		t.Helper()
		var st unix.Stat_t
		if err := unix.Lstat(filepath.Join(root, name), &st); err != nil {
			t.Fatal(err)
		}
		if st.Mode&0o7777 != mode || st.Uid != uid || st.Gid != gid || uint64(st.Nlink) != nlink && nlink > 0 || !time.Unix(st.Mtim.Unix()).Equal(day(d)) {
			t.Errorf("%s: %o %d:%d links %d %v, want %o %d:%d %d %v", name, st.Mode&0o7777, st.Uid, st.Gid, st.Nlink, time.Unix(st.Mtim.Unix()).UTC(), mode, uid, gid, nlink, day(d))
		}
	}
	check(".", 0o711, 5, 6, 1, 0)
	check("d", 0o2770, 7, 8, 2, 0)
	check("d/suid", 0o4755, 1000, 1001, 3, 4) // two names, in the layer and in the root
	check("s", 0o777, 9, 9, 4, 2)
	check("e", 0o1777, 1<<31, 4, 5, 0)
	for attr, want := range map[string]string{"security.capability": capability, "user.note": "hi"} {
		buf := make([]byte, 100)
		n, err := unix.Getxattr(filepath.Join(root, "d/capped"), attr, buf)
		if err != nil || string(buf[:n]) != want {
			t.Errorf("%s: %q %v", attr, buf[:max(n, 0)], err)
		}
	}
	if n, err := unix.Listxattr(filepath.Join(root, "d"), nil); n != 0 || err != nil {
		t.Errorf("the root's directories carry %d bytes of attribute names, %v", n, err)
	}
	if recs[0].Skipped.Any() {
		t.Errorf("skipped %+v", recs[0].Skipped)
	}
	if st, err := os.Stat(filepath.Join(root, "d/more")); err != nil || st.Mode().Perm() != 0o644 {
		t.Errorf("umask: %v %v", st.Mode(), err)
	}
}

func TestMountPoints(t *testing.T) {
	old := syscall.Umask(0o077)
	defer syscall.Umask(old)
	root, _, err := try(t, t.TempDir(), Limits{}, imagetest.Tar(imagetest.Dir("."), imagetest.Symlink("dev", "/elsewhere"), with(imagetest.Dir("sys"), func(h *tar.Header) { h.Mode = 0o700 })))
	if err != nil {
		t.Fatal(err)
	}
	if err := MountPoints(open(t, root)); err != nil {
		t.Fatal(err)
	}
	want := ". drwxr-xr-x\ndev Lrwxrwxrwx -> /elsewhere\nproc dr-xr-xr-x\nsys drwx------\n"
	if got := snapshot(t, root, false); got != want {
		t.Errorf("%s", got)
	}
	if st, err := os.Stat(root); err != nil || !st.ModTime().Equal(imagetest.Time) {
		t.Errorf("the root's time changed: %v %v", st.ModTime(), err)
	}
}

// TestMergeCopiesWhenLinksRunOut uses tmpfs, where the limit cannot be reached, so it calls the fallback itself.
func TestMergeCopiesWhenLinksRunOut(t *testing.T) {
	a, b := t.TempDir(), t.TempDir()
	if err := os.WriteFile(a+"/f", []byte("content"), 0o640); err != nil {
		t.Fatal(err)
	}
	from, to := open(t, a), open(t, b)
	if err := copyFile(int(from.Fd()), int(to.Fd()), "f"); err != nil {
		t.Fatal(err)
	}
	if got := snapshot(t, b, false); !strings.Contains(got, `f -rw-r----- "content"`) {
		t.Error(got)
	}
}

func open(t *testing.T, name string) *os.File {
	f, err := os.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return f
}
