package unpack

import (
	"archive/tar"
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"

	"github.com/containercloud/cc/fault"
	"github.com/containercloud/cc/runtime/image/imagetest"
)

// try unpacks layers into their own directories below one, merges them, and returns the root.
func try(t testing.TB, base string, lim Limits, layers ...[]byte) (root string, recs []*Record, err error) {
	t.Helper()
	dir := func(name string) *os.File {
		p := filepath.Join(base, name)
		if err := os.Mkdir(p, 0o700); err != nil {
			t.Fatal(err)
		}
		f, err := os.Open(p)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { f.Close() })
		return f
	}
	var list []Source
	for i, raw := range layers {
		tree := dir(fmt.Sprintf("layer%d", i))
		rec, err := Layer(context.Background(), bytes.NewReader(raw), tree, lim)
		if err != nil {
			return "", nil, err
		}
		list = append(list, Source{tree, rec})
		recs = append(recs, rec)
	}
	r, scratch := dir("root"), dir("scratch")
	if err := Merge(context.Background(), list, r, scratch); err != nil {
		return "", recs, err
	}
	if left, _ := os.ReadDir(scratch.Name()); len(left) > 0 {
		t.Errorf("left in scratch: %v", left)
	}
	return r.Name(), recs, nil
}

// canary is a tree beside the unpacked one that nothing may touch.
func canary(t testing.TB, base string) func() string {
	t.Helper()
	out := filepath.Join(base, "outside")
	for _, d := range []string{out, filepath.Join(out, "sub")} {
		if err := os.Mkdir(d, 0o751); err != nil {
			t.Fatal(err)
		}
	}
	for _, f := range []string{"passwd", "sub/file"} {
		if err := os.WriteFile(filepath.Join(out, f), []byte("canary "+f), 0o640); err != nil {
			t.Fatal(err)
		}
	}
	return func() string { return snapshot(t, out, true) }
}

// snapshot describes a tree: names, types, modes, owners, link counts, times, content.
func snapshot(t testing.TB, dir string, full bool) string {
	t.Helper()
	var b strings.Builder
	err := filepath.WalkDir(dir, func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		st, err := os.Lstat(p)
		if err != nil {
			return err
		}
		rel, _ := filepath.Rel(dir, p)
		sys := st.Sys().(*syscall.Stat_t)
		fmt.Fprintf(&b, "%s %s", rel, st.Mode())
		if full {
			fmt.Fprintf(&b, " %d:%d n%d %d", sys.Uid, sys.Gid, sys.Nlink, sys.Mtim.Nano())
		}
		switch {
		case st.Mode().IsRegular():
			raw, _ := os.ReadFile(p)
			if len(raw) > 40 {
				fmt.Fprintf(&b, " %x", sha256.Sum256(raw))
			} else {
				fmt.Fprintf(&b, " %q", raw)
			}
		case st.Mode()&fs.ModeSymlink != 0:
			to, _ := os.Readlink(p)
			fmt.Fprintf(&b, " -> %s", to)
		}
		b.WriteByte('\n')
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return b.String()
}

type entries = []imagetest.Entry

func with(e imagetest.Entry, change func(*tar.Header)) imagetest.Entry {
	change(&e.Header)
	return e
}

func pax(e imagetest.Entry, kv ...string) imagetest.Entry {
	e.PAXRecords = map[string]string{}
	for i := 0; i < len(kv); i += 2 {
		e.PAXRecords[kv[i]] = kv[i+1]
	}
	return e
}

// TestHostileLayers tries traversal, links, overlay attributes and bombs: what hostile layers ask for, and that nothing outside
// changes. OUT is the absolute path of the canary, UP the way there by "..".
func TestHostileLayers(t *testing.T) {
	f, d, sl, hl := imagetest.File, imagetest.Dir, imagetest.Symlink, imagetest.Hardlink
	for _, c := range []struct {
		name   string
		layers []entries
		refuse string // part of the sentence; empty: accepted
		want   string // names in the root that must be there, blank separated; "!x" must not
	}{
		{"traversal", []entries{{f("../outside/passwd", "x")}}, "leads out", ""},
		{"traversal inside", []entries{{f("a/../../outside/passwd", "x")}}, "leads out", ""},
		{"dots that stay inside", []entries{{f("a/../b", "x")}}, "", "b"},
		{"absolute", []entries{{f("/OUT/passwd", "x")}}, "", "OUT/passwd"},
		{"absolute traversal", []entries{{f("/../outside/passwd", "x")}}, "leads out", ""},
		{"directory traversal", []entries{{d("../outside/new")}}, "leads out", ""},
		{"the parent as a directory", []entries{{with(d(".."), func(h *tar.Header) { h.Mode = 0o777 })}}, "leads out", ""},
		{"the root as a file", []entries{{f(".", "x")}}, "root is not a directory", ""},
		{"the root as a link", []entries{{sl(".", "OUT")}}, "root is not a directory", ""},
		{"symlink out, then through it", []entries{{sl("x", "OUT"), f("x/passwd", "x")}}, "cannot make", ""},
		{"relative symlink out, then through it", []entries{{sl("x", "UP"), f("x/passwd", "x")}}, "cannot make", ""},
		{"symlink to the root, through it", []entries{{sl("x", "/"), f("x/y", "1")}}, "", "y"},
		{"symlink through symlink", []entries{{d("a"), sl("a/b", "../.."), sl("c", "a/b"), f("c/outside/passwd", "x")}}, "", "outside/passwd"},
		{"symlink loop", []entries{{sl("a", "b"), sl("b", "a"), f("a/x", "x")}}, "cannot make", ""},
		{"symlink to /proc/self/root", []entries{{sl("x", "/proc/self/root"), f("x/OUT/passwd", "x")}}, "cannot make", ""},
		{"symlink replaced by a file", []entries{{sl("x", "OUT/passwd"), f("x", "new")}}, "", "x"},
		{"symlink replaced by a directory", []entries{{sl("x", "OUT"), d("x"), f("x/passwd", "new")}}, "", "x/passwd"},
		{"mode through a symlink", []entries{{sl("x", "OUT/passwd"), with(d("x"), func(h *tar.Header) { h.Mode = 0o777 })}}, "", "x"},
		{"hard link out", []entries{{hl("x", "../outside/passwd")}}, "leads out", ""},
		{"hard link to an absolute name", []entries{{hl("x", "OUT/passwd")}}, "hard link to", ""},
		{"hard link through a symlink", []entries{{sl("s", "OUT"), hl("x", "s/passwd")}}, "hard link to", ""},
		{"hard link to a symlink, then written", []entries{{sl("s", "OUT/passwd"), hl("x", "s"), f("x", "new")}}, "", "x s"},
		{"hard link to a directory", []entries{{d("d"), hl("x", "d")}}, "hard link to the directory", ""},
		{"hard link to itself", []entries{{f("x", "1"), hl("x", "x")}}, "hard link to", ""},
		{"hard link to the root", []entries{{hl("x", "/")}}, "hard link to", ""},
		{"hard link to a whiteout", []entries{{hl("x", ".wh.y")}}, "hard link to", ""},
		{"hard link to nothing", []entries{{hl("x", "nothing")}}, "hard link to", ""},
		{"hard link below, through a symlink of the layer below", []entries{{sl("s", "OUT")}, {hl("x", "s/passwd")}}, "hard link to", ""},
		{"hard link to a lower directory", []entries{{d("d")}, {hl("x", "d")}}, "hard link to", ""},
		{"device nodes", []entries{{
			{Header: tar.Header{Name: "dev/sda", Typeflag: tar.TypeBlock, Devmajor: 8, Mode: 0o666}},
			{Header: tar.Header{Name: "dev/mem", Typeflag: tar.TypeChar, Devmajor: 1, Devminor: 1, Mode: 0o666}},
			f("ok", "")}}, "", "ok !dev/sda !dev/mem"},
		{"a device as overlay whiteout", []entries{{f("etc/shadow", "x")}, {
			{Header: tar.Header{Name: "etc/shadow", Typeflag: tar.TypeChar}}}}, "", "etc/shadow"},
		{"fifo", []entries{{{Header: tar.Header{Name: "p", Typeflag: tar.TypeFifo, Mode: 0o644}}}}, "", "p"},
		{"unknown type", []entries{{{Header: tar.Header{Name: "x", Typeflag: 'Z'}}}}, "unknown type", ""},
		{"whiteout of nothing", []entries{{f("a/.wh.", "")}}, "names no file", ""},
		{"whiteout of itself", []entries{{f("a/.wh..", "")}}, "names no file", ""},
		{"whiteout of the parent", []entries{{f("a/.wh...", "")}}, "names no file", ""},
		{"whiteout as a directory", []entries{{f("a/x", "")}, {d(".wh.a"), f(".wh.a/x", "")}}, "through a whiteout", ""},
		{"whiteout through a symlink", []entries{{sl("x", "OUT")}, {f("x/.wh.passwd", "")}}, "", "x"},
		{"whiteout through an upward symlink", []entries{{sl("x", "UP")}, {f("x/.wh.passwd", "")}}, "", "x"},
		{"opaque through a symlink", []entries{{sl("x", "OUT")}, {f("x/.wh..wh..opq", "")}}, "", "x"},
		{"whiteout of a symlink", []entries{{sl("x", "OUT")}, {f(".wh.x", "")}}, "", "!x"},
		{"whiteout then recreate", []entries{{f("a", "1")}, {f(".wh.a", ""), f("a", "2")}}, "", "a"},
		{"recreate then whiteout", []entries{{f("a", "1")}, {f("a", "2"), f(".wh.a", "")}}, "", "a"},
		{"case tricks are names", []entries{{f("a", "1")}, {f(".WH.a", ""), f("A", "2")}}, "", "a A .WH.a"},
		{"aufs bookkeeping", []entries{{d(".wh..wh.plnk"), f(".wh..wh.plnk/1.2", "x"), f(".wh..wh.aufs", ""), f("a", "")}}, "", "a !.wh..wh.plnk"},
		{"trusted.overlay.opaque", []entries{{pax(d("etc"), "SCHILY.xattr.trusted.overlay.opaque", "y")}}, "sets the attribute", ""},
		{"trusted.overlay.redirect", []entries{{pax(d("x"), "SCHILY.xattr.trusted.overlay.redirect", "/etc")}}, "sets the attribute", ""},
		{"user.overlay.metacopy", []entries{{pax(f("x", ""), "SCHILY.xattr.user.overlay.metacopy", "")}}, "sets the attribute", ""},
		{"our own mark", []entries{{pax(d("x"), "SCHILY.xattr.trusted.cc.implicit", "1")}}, "sets the attribute", ""},
		{"security label", []entries{{pax(f("x", ""), "SCHILY.xattr.security.selinux", "u:r:t:s0")}}, "", "x"},
		{"large attribute", []entries{{pax(f("x", ""), "SCHILY.xattr.user.a", strings.Repeat("a", 100<<10))}}, "attributes", ""},
		{"negative owner", []entries{{with(f("x", ""), func(h *tar.Header) { h.Uid = -1 })}}, "owned by", ""},
		{"overflowing owner", []entries{{with(f("x", ""), func(h *tar.Header) { h.Uid = 1 << 32 })}}, "owned by", ""},
		{"owner that means none", []entries{{with(f("x", ""), func(h *tar.Header) { h.Gid = 1<<32 - 1 })}}, "owned by", ""},
		{"file below a file", []entries{{f("a", ""), f("a/b", "")}}, "cannot make", ""},
		{"file over a directory", []entries{{f("a/b", ""), f("a", "file")}}, "", "a"},
		{"duplicates: the last one wins", []entries{{f("a", "1"), hl("b", "a"), f("a", "2")}}, "", "a b"},
		{"directory twice", []entries{{d("a"), f("a/x", ""), d("a")}}, "", "a/x"},
		{"deep", []entries{{f(strings.Repeat("d/", 300)+"x", "")}}, "levels deep", ""},
		{"long name", []entries{{f(strings.Repeat("n", 300), "")}}, "component", ""},
		{"longer than a path", []entries{{f(strings.Repeat(strings.Repeat("n", 200)+"/", 30)+"x", "")}}, "a name of", ""},
		{"symlink with an endless target", []entries{{sl("x", strings.Repeat("a", 5000))}}, "impossible name", ""},
		{"digging through links", []entries{dig()}, "cannot make", ""},
		{"empty name", []entries{{d(""), f("a", "")}}, "", "a"},
		{"size over the limit", []entries{{f("a", strings.Repeat("x", 2<<20))}}, "larger than", ""},
		{"too many entries", []entries{many(2000)}, "entries", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			base := t.TempDir()
			look := canary(t, base)
			before := look()
			out := filepath.Join(base, "outside")
			replace := strings.NewReplacer("OUT", out, "UP", "../../outside")
			var layers [][]byte
			for _, es := range c.layers {
				var list entries
				for _, e := range es {
					if e.Name != "/OUT/passwd" {
						e.Linkname = replace.Replace(e.Linkname)
						e.Name = replace.Replace(e.Name)
					}
					list = append(list, e)
				}
				layers = append(layers, imagetest.Tar(list...))
			}
			root, _, err := try(t, base, Limits{Bytes: 1 << 20, Entries: 1500}, layers...)
			if after := look(); after != before {
				t.Errorf("outside changed:\n%s\nwas:\n%s", after, before)
			}
			switch {
			case c.refuse == "" && err != nil:
				t.Fatalf("refused: %v", err)
			case c.refuse != "" && (err == nil || !strings.Contains(err.Error(), c.refuse) || !fault.Is(err, fault.Invalid)):
				t.Fatalf("%v, want %q", err, c.refuse)
			}
			for _, n := range strings.Fields(c.want) {
				n, not := strings.CutPrefix(n, "!")
				if _, err := os.Lstat(filepath.Join(root, n)); (err == nil) == not {
					t.Errorf("%s: %v\n%s", n, err, snapshot(t, root, false))
				}
			}
		})
	}
}

// TestCanarySees is the control of TestHostileLayers: the naive way, names joined to a path, changes the canary.
func TestCanarySees(t *testing.T) {
	f, sl, hl := imagetest.File, imagetest.Symlink, imagetest.Hardlink
	for name, es := range map[string]entries{
		"traversal":    {f("../outside/passwd", "x")},
		"symlink":      {sl("x", "../outside"), f("x/new", "x")},
		"hard link":    {hl("x", "../outside/passwd")},
		"link to link": {sl("s", "../outside"), sl("t", "s/sub"), f("t/new", "x")},
	} {
		base := t.TempDir()
		look := canary(t, base)
		before := look()
		root := filepath.Join(base, "root")
		for _, e := range es {
			p := root + "/" + e.Name
			err := errors.Join(os.MkdirAll(root, 0o755), os.MkdirAll(filepath.Dir(p), 0o755))
			switch e.Typeflag {
			case tar.TypeSymlink:
				err = errors.Join(err, os.Symlink(e.Linkname, p))
			case tar.TypeLink:
				err = errors.Join(err, os.Link(root+"/"+e.Linkname, p))
			default:
				err = errors.Join(err, os.WriteFile(p, []byte(e.Body), 0o644))
			}
			if err != nil {
				t.Fatalf("%s: %v", name, err)
			}
		}
		if look() == before {
			t.Errorf("%s: the canary saw nothing", name)
		}
	}
}

// dig makes a link to a deep directory, names below the link, a link to those, and so on.
func dig() (list entries) {
	at := ""
	for i := range 20 {
		deep := at + strings.Repeat("d/", 200)
		list = append(list, imagetest.Dir(deep), imagetest.Symlink(fmt.Sprintf("l%d", i), strings.TrimSuffix(deep, "/")))
		at = fmt.Sprintf("l%d/", i)
	}
	return list
}

func many(n int) (list entries) {
	for i := range n {
		list = append(list, imagetest.File(fmt.Sprint(i), ""))
	}
	return list
}

// TestSparseBomb unpacks a tar that promises terabytes in a few bytes, and one with an honest hole.
func TestSparseBomb(t *testing.T) {
	bomb := func(size int64) []byte {
		var b bytes.Buffer
		w := tar.NewWriter(&b)
		body := "1\n0\n1\n" // one fragment: offset 0, length 1
		body += strings.Repeat("\x00", 512-len(body)) + "x"
		// GNU sparse 1.0: the map is the first block of the content.
		b.Write(paxHeader(map[string]string{
			"GNU.sparse.major": "1", "GNU.sparse.minor": "0", "GNU.sparse.name": "hole", "GNU.sparse.realsize": fmt.Sprint(size),
		}))
		w.WriteHeader(&tar.Header{Name: "hole", Typeflag: tar.TypeReg, Size: int64(len(body)), Mode: 0o644})
		w.Write([]byte(body))
		w.Close()
		return b.Bytes()
	}
	if _, _, err := try(t, t.TempDir(), Limits{}, bomb(1<<44)); err == nil || !strings.Contains(err.Error(), "larger than") {
		t.Errorf("16 TiB: %v", err)
	}
	root, _, err := try(t, t.TempDir(), Limits{}, bomb(1<<30))
	if err != nil {
		t.Fatal(err)
	}
	var st syscall.Stat_t
	if err := syscall.Stat(root+"/hole", &st); err != nil || st.Size != 1<<30 || st.Blocks > 64 {
		t.Errorf("hole: %v, %d bytes in %d blocks", err, st.Size, st.Blocks)
	}
}

// paxHeader writes an extended header by hand: the tar package refuses to write GNU.sparse records.
func paxHeader(records map[string]string) []byte {
	var body string
	for k, v := range records {
		line := " " + k + "=" + v + "\n"
		n := len(line) + 2
		for len(fmt.Sprint(n))+len(line) != n {
			n = len(fmt.Sprint(n)) + len(line)
		}
		body += fmt.Sprint(n) + line
	}
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	w.WriteHeader(&tar.Header{Name: "pax", Typeflag: tar.TypeReg, Size: int64(len(body))})
	w.Write([]byte(body))
	w.Flush()
	raw := b.Bytes()
	raw[156] = 'x'
	sum := 0
	for i := range 512 {
		if i >= 148 && i < 156 {
			sum += ' '
		} else {
			sum += int(raw[i])
		}
	}
	copy(raw[148:], fmt.Sprintf("%06o\x00 ", sum))
	return raw
}

// TestHugePAX gives an extended header larger than any honest one.
func TestHugePAX(t *testing.T) {
	raw := append(paxHeader(map[string]string{"comment": strings.Repeat("a", 4<<20)}), imagetest.Tar(imagetest.File("x", ""))...)
	if _, _, err := try(t, t.TempDir(), Limits{}, raw); !fault.Is(err, fault.Invalid) {
		t.Errorf("%v", err)
	}
}

// TestNotedNamesAreBounded shows that memory does not grow with a layer's directories.
func TestNotedNamesAreBounded(t *testing.T) {
	var list entries
	for i := range 2000 {
		list = append(list, imagetest.Dir(fmt.Sprintf("%0200d", i)))
	}
	_, _, err := try(t, t.TempDir(), Limits{Noted: 100 << 10}, imagetest.Tar(list...))
	if err == nil || !strings.Contains(err.Error(), "too many directories") {
		t.Errorf("%v", err)
	}
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	if m.Sys > 700<<20 {
		t.Errorf("%d MiB", m.Sys>>20)
	}
}
