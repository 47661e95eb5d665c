package tree

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/containercloud/cc/fault"
	"github.com/containercloud/cc/object"

	"github.com/containercloud/cc/words"
)

func TestContainLink(t *testing.T) {
	for _, c := range []struct{ rel, link, want string }{
		{"link", "file", "file"},
		{"link", "/etc/passwd", "etc/passwd"},
		{"link", "/", "."},
		{"link", "..", "."},
		{"link", "../../etc", "etc"},
		{"a/b/link", "../x", "../x"},
		{"a/b/link", "../../x", "../../x"},
		{"a/b/link", "../../../x", "../../x"},
		{"a/b/link", "x/../../../../y", "../../y"},
		{"a/b/link", "x/../y", "../../a/b/y"},
		{"a/b/link", "/a/../../x", "../../x"},
		{"a/b/link", "./x//y", "./x//y"},
	} {
		if got := containLink(c.rel, c.link); got != c.want {
			t.Errorf("containLink(%q, %q) = %q, want %q", c.rel, c.link, got, c.want)
		}
	}
}

func FuzzContainLink(f *testing.F) {
	f.Add("a/b/link", "../../../etc")
	f.Add("link", "/x/../../y")
	f.Fuzz(func(t *testing.T, rel, link string) {
		depth := len(parts(rel)) - 1
		for _, name := range parts(rel) {
			if name == ".." {
				return
			}
		}
		got := containLink(strings.Join(parts(rel), "/"), link)
		if strings.HasPrefix(got, "/") || climbs(got) > max(depth, 0) {
			t.Errorf("%q at %q becomes %q, which leads out", link, rel, got)
		}
	})
}

// The container's root makes files with its own id, also where it is not the owner of the directory.
func TestMakeAsTheContainersRoot(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("not root")
	}
	dir := t.TempDir()
	if err := os.Chmod(filepath.Dir(dir), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Chown(dir, 100033, 100033); err != nil {
		t.Fatal(err)
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	for range 100 {
		if err := (HostDir{Root: root, UIDBase: 100000}).asRoot(func() error {
			return root.WriteFile("file", []byte("x"), 0o600)
		}); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(filepath.Join(dir, "file"), 0o644); err != nil { // as the host's root again
			t.Fatal(err)
		}
	}
	fi, err := os.Stat(filepath.Join(dir, "file"))
	if err != nil || fi.Sys().(*syscall.Stat_t).Uid != 100000 || fi.Sys().(*syscall.Stat_t).Gid != 100000 {
		t.Errorf("%+v, %v", fi.Sys(), err)
	}
	if err := os.WriteFile(filepath.Join(dir, "own"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if fi, err := os.Stat(filepath.Join(dir, "own")); err != nil || fi.Sys().(*syscall.Stat_t).Uid != 0 {
		t.Errorf("%+v, %v", fi.Sys(), err)
	}
}

// Two names with one number keep apart.
func TestCollidingNumbers(t *testing.T) {
	tr := New(&Dir{}, Options{})
	a := tr.root.below(&node{kind: dirNode, dir: tr.root.dir}, "a")
	b := tr.root.below(&node{kind: dirNode, dir: tr.root.dir}, "b")
	taken := tr.hold(a)
	tr.mu.Lock() // as if b's hash were a's
	delete(tr.nodes, taken.ino)
	taken.ino = number(classDir, "", "b", 0, 0)
	tr.nodes[taken.ino] = taken
	tr.mu.Unlock()
	other := tr.hold(b)
	if other == taken || other.ino == taken.ino || other.ino == 0 {
		t.Fatalf("both are %x", other.ino)
	}
	if again := tr.hold(tr.root.below(&node{kind: dirNode, dir: tr.root.dir}, "b")); again != other {
		t.Errorf("found %x, not %x", again.ino, other.ino)
	}
}

func TestNumbersAreInRange(t *testing.T) {
	seen := map[Ino]bool{}
	for k := classDir; k <= classOther; k++ {
		for _, rel := range []string{"", "a", "b", "a/b", "ab", "status"} {
			n := number(k, "id", rel, 0, 0)
			if n <= RootIno || n >= 1<<63 || seen[n] {
				t.Errorf("number %x of %q", n, rel)
			}
			seen[n] = true
		}
	}
	if number(classDir, "a", "b", 0, 0) == number(classDir, "ab", "", 0, 0) || number(1, "a", "", 1, 0) == number(1, "a", "", 0, 1) {
		t.Error("parts of an identity run together")
	}
}

func TestForgetDropsEverything(t *testing.T) {
	tr := New(&Dir{Files: []File{{Name: "f", Kind: Scalar, Mode: 0o444, Read: func(*Request) ([]byte, error) { return nil, nil }}}}, Options{})
	a, err := tr.Lookup(context.Background(), Caller{}, RootIno, "f")
	if err != nil {
		t.Fatal(err)
	}
	tr.Forget(a.Ino, 1)
	tr.Forget(a.Ino, 5)
	tr.Forget(RootIno, 1)
	if len(tr.nodes) != 1 {
		t.Errorf("%d nodes are left", len(tr.nodes))
	}
	if _, err := tr.Getattr(context.Background(), Caller{}, a.Ino, nil); !fault.Is(err, fault.Stale) {
		t.Errorf("a forgotten node answers %v", err)
	}
}

func TestDeadline(t *testing.T) {
	d := &deadline{Context: context.Background(), at: time.Now().Add(time.Hour)}
	if d.Err() != nil || d.inner != nil {
		t.Error("it ended, or made a timer that nobody asked for")
	}
	done := d.Done()
	d.stop()
	<-done
	if d.Err() == nil {
		t.Error("no error after the end")
	}
	late := &deadline{Context: context.Background(), at: time.Now().Add(-time.Second)}
	if !errors.Is(late.Err(), context.DeadlineExceeded) {
		t.Error(late.Err())
	}
	<-late.Done()
	over := &deadline{Context: context.Background(), at: time.Now().Add(time.Hour)}
	over.stop()
	<-over.Done()
	if over.Err() == nil {
		t.Error("no error after stop")
	}
}

func TestOwnFailureIsTheNearest(t *testing.T) {
	shell, script := process{1, 1}, process{2, 1}
	var s failures
	add := func(text string, line ...process) {
		s.byUID = map[uint32][]failure{0: append(s.byUID[0], failure{Failure: object.Failure{Text: text}, door: "fuse", line: line})}
	}
	add("script's cp", process{10, 1}, script, shell)
	add("other script's cp", process{11, 1}, process{3, 1}, shell)
	for name, c := range map[string]struct {
		line []process
		want int
	}{
		"a child of the script": {[]process{{20, 1}, script, shell}, 1},
		"a child of the shell":  {[]process{{21, 1}, shell}, 1},
		"a stranger":            {[]process{{22, 1}, {9, 9}}, 3},
	} {
		if got := meeting(c.line, s.byUID[0][0].line); got != c.want {
			t.Errorf("%s: meets at %d, want %d", name, got, c.want)
		}
	}
	if meeting([]process{{2, 7}}, []process{script}) == 0 {
		t.Error("a process that has another's number is another")
	}
}

// child starts a process that does nothing until the test ends.
func child(t *testing.T) uint32 {
	t.Helper()
	c := exec.Command("sleep", "1000")
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		c.Process.Kill()
		c.Wait()
	})
	return uint32(c.Process.Pid)
}

func TestDraftView(t *testing.T) {
	maker, other := Caller{PID: child(t)}, Caller{PID: child(t)}
	draftOf := func() *objState {
		st := &objState{}
		st.beginDraft(maker, time.Now())
		return st
	}
	hidden := func(st *objState, c Caller, rel string) bool {
		st.mu.Lock()
		defer st.mu.Unlock()
		st.pruneLocked(time.Now())
		return st.draftsLocked(c, rel)
	}
	st := draftOf()
	if !hidden(st, maker, "memory") || hidden(st, other, "memory") || hidden(st, Caller{}, "memory") {
		t.Error("names are not hidden from the maker, or from others too")
	}
	if st.hides(maker, "memory") { // it sleeps
		t.Error("a maker that creates nothing does not see them")
	}
	if !st.unstable() {
		t.Error("doors may keep names of a draft")
	}
	if !st.reveal(maker, "memory", true) { // cp: O_EXCL
		t.Error("the maker's create does not find it hidden")
	}
	st.endDraft(maker)
	if hidden(st, maker, "memory") || !hidden(st, maker, "args") {
		t.Error("after its first create a copier sees only what it created")
	}
	st = draftOf()
	st.reveal(maker, "memory", false) // a program: no O_EXCL
	if hidden(st, maker, "args") || st.unstable() {
		t.Error("a program's create does not end the draft")
	}
	st = draftOf()
	st.endDraft(other)
	if !hidden(st, maker, "memory") {
		t.Error("somebody else's read ends the draft")
	}
	st.endDraft(maker)
	if hidden(st, maker, "memory") {
		t.Error("the maker's read does not end the draft")
	}
	st = draftOf()
	st.draft.until = time.Now().Add(-time.Second)
	if hidden(st, maker, "memory") {
		t.Error("a draft does not end with its time")
	}
}

func TestUnsealed(t *testing.T) {
	verbs := []Verb{{Name: "run", Sealed: []string{"env"}}}
	for line, want := range map[string]string{
		"run name=a -- env=x":                      "run name=a -- env=x",
		"run env=A=secret env='B=the secret' -- c": "run env=A=... env=B=... -- c",
		"run env=secret":                           "run env=...",
		"rum env=A=secret":                         "rum",
		"run 'env=A=secret":                        "run",
	} {
		m, _ := words.Parse(line)
		if got := unsealed(verbs, m, line); got != want {
			t.Errorf("%s: %s", line, got)
		}
	}
}

func TestCreates(t *testing.T) {
	if pid := child(t); creates(pid) {
		t.Error("who sleeps creates something")
	}
	if !creates(1 << 30) {
		t.Error("nobody is known not to create")
	}
}

func TestDraftEndsWithItsMaker(t *testing.T) {
	c := exec.Command("sleep", "1000")
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	maker := Caller{PID: uint32(c.Process.Pid)}
	st := &objState{}
	st.beginDraft(maker, time.Now())
	st.hide(maker, "args")
	c.Process.Kill()
	c.Wait()
	if st.unstable() || st.draft != nil || len(st.absent) > 0 {
		t.Error("it outlives its maker")
	}
}

func TestUnlinkedNames(t *testing.T) {
	one, other := Caller{PID: child(t)}, Caller{PID: child(t)}
	st := &objState{}
	st.hide(one, "args")
	if !st.hides(one, "args") || !st.hasUnlinked(one, "args") || st.hides(other, "args") || st.hides(one, "memory") {
		t.Error("who unlinked a name does not see it, others do")
	}
	if !st.reveal(one, "args", true) || st.hides(one, "args") || !st.copying(one, "args") || st.copying(other, "args") {
		t.Error("creating does not bring it back")
	}
}

func TestAncestry(t *testing.T) {
	me := uint32(syscall.Getpid())
	line := ancestry(me)
	if len(line) == 0 || line[0].pid != me || line[0].start == 0 {
		t.Fatalf("%v", line)
	}
	below := ancestry(child(t))
	if len(below) < 2 || below[1] != line[0] {
		t.Errorf("the child's line %v does not go on with %v", below, line)
	}
	if got := ancestry(1 << 30); got != nil {
		t.Errorf("nobody has a line: %v", got)
	}
}

func TestCheckFindsMistakes(t *testing.T) {
	read := func(*Request) ([]byte, error) { return nil, nil }
	for name, d := range map[string]*Dir{
		"two names":        {Files: []File{{Name: "a", Kind: Scalar, Mode: 0o444, Read: read}}, Dirs: []*Dir{{Name: "a"}}},
		"bad name":         {Dirs: []*Dir{{Name: "a/b"}}},
		"no verbs":         {Files: []File{{Name: "ctl", Kind: Ctl, Mode: 0o664}}},
		"no handler":       {Files: []File{{Name: "a", Kind: Table, Mode: 0o444}}},
		"no mode":          {Files: []File{{Name: "a", Kind: Table, Read: read}}},
		"no kind":          {Files: []File{{Name: "a", Mode: 0o444, Read: read}}},
		"Write without w":  {Files: []File{{Name: "a", Kind: Scalar, Mode: 0o444, Write: func(*Request, string) error { return nil }}}},
		"two sources":      {Objects: &Collection{Noun: "x"}, Entries: manualPages{}},
		"empty collection": {Dirs: []*Dir{{Name: "x", Objects: &Collection{Noun: "x", Layout: &Dir{}}}}},
	} {
		if Check(d) == nil {
			t.Errorf("%s: no complaint", name)
		}
	}
}
