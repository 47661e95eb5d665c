package treetest

import (
	"io"
	"slices"
	"strings"
	"syscall"
	"testing"
)

var readFunctions = map[string]func(*testing.T, Env){
	// tar, rsync and git believe st_size.
	"read/size-is-what-a-read-gives": func(t *testing.T, e Env) {
		e.newNet(t)
		e.newBox(t)
		seen := 0
		for _, dir := range []string{"net", "box", "doc", "self", "image/digest"} {
			e.each(t, dir, func(p string, st Stat) {
				if st.Mode&syscall.S_IFMT != syscall.S_IFREG || strings.HasSuffix(p, "/error") || otherTests(p) {
					return
				}
				f, err := e.FS.Open(p, syscall.O_RDONLY, 0)
				ok(t, err)
				defer f.Close()
				fst, err := f.Stat()
				ok(t, err)
				b, err := io.ReadAll(f)
				ok(t, err)
				if int64(len(b)) != fst.Size || fst.Size != st.Size && !strings.HasSuffix(p, "/index") {
					t.Errorf("%s: stat says %d, fstat %d, read gives %d", p, st.Size, fst.Size, len(b))
				}
				seen++
			})
		}
		if seen < 30 {
			t.Errorf("only %d files", seen)
		}
	},
	// Rule 8 of docs/TREE.md: exactly one newline, an empty value is an empty file.
	"read/ends-in-one-newline": func(t *testing.T, e Env) {
		n := e.newNet(t)
		e.wants(t, n+"/cidr", "")
		e.write(t, n+"/note", "some text")
		e.each(t, n, func(p string, st Stat) {
			text := e.read(t, p)
			if text != "" && (!strings.HasSuffix(text, "\n") || strings.HasSuffix(text, "\n\n")) {
				t.Errorf("%s holds %q", p, text)
			}
		})
	},
	"read/content-is-fixed-per-open": func(t *testing.T, e Env) {
		n := e.newNet(t)
		e.write(t, n+"/note", "first\n")
		f, err := e.FS.Open(n+"/note", syscall.O_RDONLY, 0)
		ok(t, err)
		defer f.Close()
		buf := make([]byte, 3)
		_, err = f.Read(buf)
		ok(t, err)
		e.write(t, n+"/note", "second value\n")
		rest, err := io.ReadAll(f)
		if string(buf)+string(rest) != "first\n" || err != nil {
			t.Errorf("read %q and %q, %v", buf, rest, err)
		}
		if _, err := f.Seek(0, io.SeekStart); err != nil {
			t.Fatal(err)
		}
		if again, _ := io.ReadAll(f); string(again) != "second value\n" {
			t.Errorf("back at 0 it reads %q", again)
		}
	},
	"read/volatile-content-is-new-at-each-open": func(t *testing.T, e Env) {
		if a, b := e.read(t, "counter"), e.read(t, "counter"); a == b || len(a) != len(b) {
			t.Errorf("%q, then %q", a, b)
		}
	},
	// Rule 18 of docs/TREE.md: what blocks is not listed but answers.
	"read/hidden-names": func(t *testing.T, e Env) {
		b := e.newBox(t)
		names, err := e.FS.ReadDir(b)
		ok(t, err)
		for _, hidden := range []string{"live/", "wait/", "exec/", "root/", "stdin"} {
			if slices.Contains(names, hidden) {
				t.Errorf("%s is listed", hidden)
			}
			if _, err := e.FS.Lstat(b + "/" + strings.TrimSuffix(hidden, "/")); err != nil {
				t.Errorf("%s: %v", hidden, err)
			}
			e.has(t, b+"/more", hidden)
		}
	},
	// Rule 16 of docs/TREE.md: a copier meets what it can write before what it cannot.
	"read/directories-and-settings-are-listed-first": func(t *testing.T, e Env) {
		names, err := e.FS.ReadDir(e.newBox(t))
		ok(t, err)
		at := func(name string) int { return slices.Index(names, name) }
		if at("log/") != 0 || at("spec") != 1 || at("memory") < 0 || at("memory") > at("ctl") || at("ctl") > at("status") {
			t.Errorf("%q", names)
		}
	},
	// Rule 3 of docs/TREE.md: every file that can be seen is in schema and has its page.
	"read/schema-and-manual-know-every-file": func(t *testing.T, e Env) {
		b := e.newBox(t)
		schema := e.read(t, "schema")
		e.each(t, b, func(p string, _ Stat) {
			if row := "\nbox/BOX/" + strings.TrimPrefix(p, b+"/") + " "; !strings.Contains(schema, row) {
				t.Errorf("schema has no%q", row)
			}
		})
		if !strings.Contains(schema, "\nbox/BOX/memory scalar BYTES|max max live 0664 '") {
			t.Errorf("memory is not described:\n%s", schema)
		}
		page := e.read(t, "doc/box")
		for _, want := range []string{"\n  memory  BYTES|max\n", "default max, counts at once", "stop [timeout=DURATION]", "wait (not listed)"} {
			if !strings.Contains(page, want) {
				t.Errorf("doc/box lacks %q:\n%s", want, page)
			}
		}
	},
	// Rule 1 of docs/TREE.md: numbers are stable; a re-created object has others.
	"read/inode-numbers": func(t *testing.T, e Env) {
		p := e.newNet(t)
		before, err := e.FS.Lstat(p + "/cidr")
		ok(t, err)
		again, err := e.FS.Lstat(p + "/cidr")
		ok(t, err)
		other, err := e.FS.Lstat(p + "/mtu")
		ok(t, err)
		ok(t, e.FS.Rmdir(p))
		e.mkdir(t, p)
		after, err := e.FS.Lstat(p + "/cidr")
		ok(t, err)
		if before.Ino != again.Ino || before.Ino == other.Ino || before.Ino == after.Ino || before.Ino == 0 {
			t.Errorf("%d, again %d, another file %d, re-created %d", before.Ino, again.Ino, other.Ino, after.Ino)
		}
	},
	// ls shows a link count of 0 when a file system sets none.
	"read/link-counts": func(t *testing.T, e Env) {
		p := e.newNet(t)
		for name, least := range map[string]uint64{p: 2, p + "/cidr": 1, "net": 2, "image/ref/busybox": 1} {
			if st, err := e.FS.Lstat(name); err != nil || st.Nlink < least {
				t.Errorf("%s: %d links, %v", name, st.Nlink, err)
			}
		}
	},
	"read/mtime-is-when-the-content-changed": func(t *testing.T, e Env) {
		p := e.newNet(t)
		first, err := e.FS.Lstat(p + "/note")
		ok(t, err)
		ok(t, e.FS.Touch(p+"/note")) // taken and dropped
		second, err := e.FS.Lstat(p + "/note")
		ok(t, err)
		e.write(t, p+"/note", "new\n")
		third, err := e.FS.Lstat(p + "/note")
		ok(t, err)
		if first.MtimeNS != second.MtimeNS || third.MtimeNS <= second.MtimeNS {
			t.Errorf("%d, touched %d, written %d", first.MtimeNS, second.MtimeNS, third.MtimeNS)
		}
	},
	"read/links": func(t *testing.T, e Env) {
		if link, err := e.FS.Readlink("image/ref/busybox"); err != nil || link != "../digest/sha256-aa" {
			t.Errorf("%q, %v", link, err)
		}
		if text := e.read(t, "image/ref/registry:5000/team/app:1/size"); text != "4711\n" {
			t.Errorf("%q", text)
		}
		names, err := e.FS.ReadDir("image/ref/registry:5000")
		if err != nil || !slices.Equal(names, []string{"team/"}) {
			t.Errorf("%q, %v", names, err)
		}
	},
	// An object's id leads to its name.
	"read/by-id": func(t *testing.T, e Env) {
		p := e.newNet(t)
		id := strings.TrimSpace(e.read(t, p+"/id"))
		link, err := e.FS.Readlink("net/" + id)
		if err != nil || "net/"+link != p {
			t.Errorf("%q, %v", link, err)
		}
		e.write(t, "net/"+id+"/note", "by id\n")
		e.wants(t, p+"/note", "by id\n")
	},
	"read/ten-thousand-objects": func(t *testing.T, e Env) {
		if testing.Short() {
			t.Skip("short: 10,000 objects")
		}
		e.write(t, "ctl", "fill 10000\n")
		names, err := e.FS.ReadDir("box")
		ok(t, err)
		count := 0
		for _, name := range names {
			if strings.HasPrefix(name, "box-") {
				count++
			}
		}
		if count != 10000 {
			t.Errorf("%d boxes are listed", count)
		}
		for _, name := range names {
			if strings.HasPrefix(name, "box-") {
				ok(t, e.FS.Rmdir("box/"+strings.TrimSuffix(name, "/")))
			}
		}
	},
}

// otherTests keeps a walk over everything away from objects that other functions are changing.
func otherTests(p string) bool { return strings.HasPrefix(p, "self/") }
