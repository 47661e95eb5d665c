package main

import (
	"archive/tar"
	"bytes"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// dirTree is a tree whose one container's root is a directory of this host.
type dirTree struct {
	*fakeTree
	dir string
}

func (d dirTree) Root(string) (Root, error) { return osFS{d.dir}.Root(".") }

func (d dirTree) cc(argv []string, in string) (int, string, string) {
	var o, e bytes.Buffer
	code := run(argv, strings.NewReader(in), &o, &e, func(string) FS { return d })
	return code, o.String(), e.String()
}

// place1 makes a container's root and a host directory, each with a secret that the other must not see.
func copyPlaces(t *testing.T) (d dirTree, host string) {
	t.Helper()
	top := t.TempDir()
	d = dirTree{newFake(), filepath.Join(top, "root")}
	d.container("web", "running")
	host = filepath.Join(top, "host")
	for _, dir := range []string{d.dir + "/etc", d.dir + "/srv/in/deep", d.dir + "/app", host + "/out", host + "/tree/sub"} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	put(t, d.dir+"/etc/passwd", "container\n", 0o644)
	put(t, d.dir+"/srv/in/deep/file", "deep\n", 0o640)
	put(t, host+"/secret", "host secret\n", 0o600)
	put(t, host+"/tree/a", "a\n", 0o755)
	put(t, host+"/tree/sub/b", "b\n", 0o604)
	return d, host
}

func put(t *testing.T, name, text string, perm fs.FileMode) {
	t.Helper()
	if err := os.WriteFile(name, []byte(text), perm); err != nil {
		t.Fatal(err)
	}
	when := time.Date(2020, 2, 3, 4, 5, 6, 0, time.UTC)
	if err := os.Chtimes(name, when, when); err != nil {
		t.Fatal(err)
	}
}

func content(t *testing.T, name string) string {
	t.Helper()
	b, err := os.ReadFile(name)
	if err != nil {
		t.Error(err)
	}
	return string(b)
}

func TestCopyBothWays(t *testing.T) {
	d, host := copyPlaces(t)
	steps := []struct {
		from, to, file, text string
	}{
		{host + "/tree/a", "web:/srv/", d.dir + "/srv/a", "a\n"},
		{host + "/tree/a", "web:/srv/renamed", d.dir + "/srv/renamed", "a\n"},
		{host + "/tree", "web:/srv", d.dir + "/srv/tree/sub/b", "b\n"},
		{host + "/tree", "web:/new", d.dir + "/new/sub/b", "b\n"},
		{"web:/etc/passwd", host + "/out", host + "/out/passwd", "container\n"},
		{"web:etc/passwd", host + "/out/pw", host + "/out/pw", "container\n"},
		{"web:/srv/in", host + "/out", host + "/out/in/deep/file", "deep\n"},
		{"container/web:/x", host + "/out", "", ""},
	}
	for _, s := range steps[:len(steps)-1] {
		if code, _, errs := d.cc([]string{"cp", s.from, s.to}, ""); code != 0 {
			t.Errorf("cp %s %s: %d %s", s.from, s.to, code, errs)
			continue
		}
		if got := content(t, s.file); got != s.text {
			t.Errorf("cp %s %s: %q", s.from, s.to, got)
		}
	}
	info, err := os.Stat(host + "/out/in/deep/file")
	if err != nil || info.Mode() != 0o640 || info.ModTime().UTC().Year() != 2020 {
		t.Errorf("mode and time: %v %v", info, err)
	}
	for _, argv := range [][]string{
		{"cp", "web:/nothing", host + "/out"}, {"cp", host + "/nothing", "web:/"}, {"cp", host + "/tree/a", "web:/no/such/"},
	} {
		if code, _, errs := d.cc(argv, ""); code == 0 || errs == "" {
			t.Errorf("%v: %d %q", argv, code, errs)
		}
	}
	if code, _, _ := d.cc([]string{"cp", "a", "b"}, ""); code != exitUsage {
		t.Errorf("no container: %d", code)
	}
}

// TestCopyStaysInside has links of the container lead to the host (security cases 9, CVE-2018-15664).
func TestCopyStaysInside(t *testing.T) {
	d, host := copyPlaces(t)
	for link, target := range map[string]string{
		"abs": host, "rel": "../../../../../.." + host, "etclink": "/etc", "file": host + "/secret", "proc": "/proc/self/root",
	} {
		if err := os.Symlink(target, d.dir+"/"+link); err != nil {
			t.Fatal(err)
		}
	}
	for _, from := range []string{"web:/abs/secret", "web:/rel/secret", "web:/proc" + host + "/secret", "web:/../../host/secret"} {
		code, _, _ := d.cc([]string{"cp", from, host + "/out/stolen"}, "")
		if _, err := os.Stat(host + "/out/stolen"); code == 0 || err == nil {
			t.Errorf("%s reached the host: code %d", from, code)
		}
	}
	if code, _, errs := d.cc([]string{"cp", "web:/etclink/passwd", host + "/out/pw"}, ""); code != 0 || content(t, host+"/out/pw") != "container\n" {
		t.Errorf("a link inside: %d %s", code, errs)
	}
	// A link that is copied stays a link, and nothing is written through it afterwards.
	if code, _, errs := d.cc([]string{"cp", "web:/", host + "/all"}, ""); code != 0 {
		t.Errorf("whole root: %d %s", code, errs)
	}
	if l, err := os.Readlink(host + "/all/file"); err != nil || l != host+"/secret" {
		t.Errorf("link: %q %v", l, err)
	}
	for _, to := range []string{"web:/abs/planted", "web:/rel/planted", "web:/file"} {
		_, _, _ = d.cc([]string{"cp", host + "/tree/a", to}, "")
	}
	if _, err := os.Stat(host + "/planted"); err == nil || content(t, host+"/secret") != "host secret\n" {
		t.Error("a copy into the container wrote to the host")
	}
	// Out of a container onto a link that was there: the host's own business, but not through the copy's links.
	if err := os.Symlink(host+"/secret", host+"/all/etc/trap"); err != nil {
		t.Fatal(err)
	}
	put(t, d.dir+"/etc/trap", "trapped\n", 0o644)
	_, _, _ = d.cc([]string{"cp", "web:/etc", host + "/all/"}, "")
	if content(t, host+"/secret") != "host secret\n" {
		t.Error("a copy out of the container followed a link out of its target")
	}
}

func TestCopyAsTar(t *testing.T) {
	d, host := copyPlaces(t)
	code, out, errs := d.cc([]string{"cp", "web:/srv/in", "-"}, "")
	if code != 0 {
		t.Fatal(errs)
	}
	var names []string
	r := tar.NewReader(strings.NewReader(out))
	for h, err := r.Next(); err == nil; h, err = r.Next() {
		names = append(names, h.Name)
	}
	if got := strings.Join(names, " "); got != "in/ in/deep/ in/deep/file" {
		t.Errorf("%q", got)
	}
	if code, _, errs := d.cc([]string{"cp", "-", "web:/app"}, out); code != 0 || content(t, d.dir+"/app/in/deep/file") != "deep\n" {
		t.Errorf("%d %s", code, errs)
	}
	var evil bytes.Buffer
	w := tar.NewWriter(&evil)
	for _, h := range []*tar.Header{
		{Name: "../../up", Typeflag: tar.TypeReg, Size: 1, Mode: 0o644},
		{Name: "l", Typeflag: tar.TypeSymlink, Linkname: host},
		{Name: "l/planted", Typeflag: tar.TypeReg, Size: 1, Mode: 0o644},
	} {
		if err := w.WriteHeader(h); err != nil {
			t.Fatal(err)
		}
		if h.Size > 0 {
			_, _ = w.Write([]byte("x"))
		}
	}
	_ = w.Close()
	_, _, _ = d.cc([]string{"cp", "-", "web:/app"}, evil.String())
	if _, err := os.Stat(host + "/planted"); err == nil {
		t.Error("an archive wrote through its own link")
	}
	if content(t, d.dir+"/app/up") != "x" {
		t.Error("a name with .. must stay below the target")
	}
}

// TestCopyDoesNotHang: a fifo where a file was.
func TestCopyDoesNotHang(t *testing.T) {
	d, _ := copyPlaces(t)
	r, err := osFS{d.dir}.Root(".")
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if err := mkfifo(d.dir + "/fifo"); err != nil {
		t.Fatal(err)
	}
	if _, err := r.Open("/fifo"); err == nil {
		t.Error("a fifo was opened as a file")
	}
}

func mkfifo(name string) error { return syscall.Mkfifo(name, 0o600) }

// denying keeps one file from its reader, as a mode does from all but root.
type denying struct {
	Root
	name string
}

func (d denying) Open(name string) (io.ReadCloser, error) {
	if filepath.Base(name) == d.name {
		return nil, &fs.PathError{Op: "open", Path: name, Err: syscall.EACCES}
	}
	return d.Root.Open(name)
}

// TestCopyGoesOn: what cannot be read is told, everything else is copied, into directories and archives.
func TestCopyGoesOn(t *testing.T) {
	d, host := copyPlaces(t)
	from, name, err := openHost(host + "/tree")
	if err != nil {
		t.Fatal(err)
	}
	defer from.Close()
	to, _ := d.Root("")
	defer to.Close()
	k := &copier{from: denying{from, "a"}, to: to}
	err = k.fail(k.copyTo(name, "/app", "tree", true))
	if !is(err, syscall.EACCES) || !strings.Contains(err.Error(), "tree/a: permission denied") {
		t.Errorf("%v", err)
	}
	if content(t, d.dir+"/app/tree/sub/b") != "b\n" {
		t.Error("the rest was not copied")
	}
	if _, err := os.Stat(d.dir + "/app/tree/a"); err == nil {
		t.Error("an empty file stands for what could not be read")
	}
	k = &copier{from: denying{from, "a"}}
	var archive bytes.Buffer
	if err := k.fail(k.tar(&archive, name)); !is(err, syscall.EACCES) {
		t.Errorf("%v", err)
	}
	var names []string
	for r := tar.NewReader(&archive); ; {
		h, err := r.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		names = append(names, h.Name)
	}
	if got := strings.Join(names, " "); !strings.Contains(got, "tree/sub/b") || strings.Contains(got, "tree/a") {
		t.Errorf("the archive has %s", got)
	}
}
