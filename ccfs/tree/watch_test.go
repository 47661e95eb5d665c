package tree_test

import (
	"flag"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"syscall"
	"testing"

	"github.com/containercloud/cc/ccfs/tree"
	"github.com/containercloud/cc/ccfs/treetest"
	"github.com/containercloud/cc/fault"
)

// What a door keeps is announced before the request that changed it returns, and nothing else is.
func TestChangesAreAnnounced(t *testing.T) {
	s := treetest.New(t.TempDir(), tree.Options{Log: quiet})
	defer s.Tree.Close()
	v := s.Tree.As(root)
	if err := v.Mkdir(ctx, "net/a", 0o755); err != nil {
		t.Fatal(err)
	}
	nets := held(t, s.Tree, "net")
	net := held(t, s.Tree, "net", "a")
	note, err := s.Tree.Lookup(ctx, root, net, "note")
	if err != nil || !note.Cache || !note.CacheName || note.Private {
		t.Fatalf("%+v, %v", note, err)
	}
	status, err := s.Tree.Lookup(ctx, root, net, "status")
	if err != nil || status.Cache || !status.CacheName {
		t.Fatalf("%+v, %v", status, err)
	}
	ctl, err := s.Tree.Lookup(ctx, root, net, "ctl")
	if err != nil || ctl.Cache || !ctl.Private {
		t.Fatalf("%+v, %v", ctl, err)
	}

	var mu sync.Mutex
	var got []tree.Change
	s.Tree.Watch(func(c tree.Change) {
		mu.Lock()
		defer mu.Unlock()
		got = append(got, c)
	})
	heard := func() []tree.Change {
		mu.Lock()
		defer mu.Unlock()
		list := got
		got = nil
		return list
	}
	if err := v.WriteFile(ctx, "net/a/note", []byte("x\n"), 0); err != nil {
		t.Fatal(err)
	}
	if list := heard(); !slices.Contains(list, tree.Change{Ino: note.Ino}) || slices.Contains(list, tree.Change{Ino: status.Ino}) {
		t.Errorf("a write announces %v", list)
	}
	if err := v.Setattr(ctx, "net/a", tree.SetAttr{Mode: ptr(uint32(0o700))}); err != nil {
		t.Fatal(err)
	}
	if list := heard(); !slices.Contains(list, tree.Change{Parent: net, Name: "note"}) {
		t.Errorf("closing a directory announces %v", list)
	}
	if a, err := s.Tree.Lookup(ctx, root, net, "note"); err != nil || a.CacheName {
		t.Errorf("the name may be kept in a closed directory: %+v, %v", a, err)
	}
	if err := v.Rmdir(ctx, "net/a"); err != nil {
		t.Fatal(err)
	}
	if list := heard(); !slices.Contains(list, tree.Change{Parent: nets, Name: "a"}) {
		t.Errorf("rmdir announces %v", list)
	}
	if _, err := s.Tree.Open(ctx, root, note.Ino, syscall.O_RDONLY); fault.Errno(err) != syscall.ESTALE {
		t.Errorf("a file of a removed object opens: %v", err)
	}
}

func ptr[T any](v T) *T { return &v }

// A nested directory is found by path too.
func TestChangedNamesInAnObject(t *testing.T) {
	s := treetest.New(t.TempDir(), tree.Options{Log: quiet})
	defer s.Tree.Close()
	if err := s.Tree.As(root).Mkdir(ctx, "box/a", 0o755); err != nil {
		t.Fatal(err)
	}
	exec := held(t, s.Tree, "box", "a", "exec")
	var got []tree.Change
	s.Tree.Watch(func(c tree.Change) { got = append(got, c) })
	s.Tree.ChangedNames("box/a/exec", "7")
	if !slices.Contains(got, tree.Change{Parent: exec, Name: "7"}) {
		t.Errorf("%v", got)
	}
	s.Tree.ChangedNames("box/nobody/exec", "7")
	s.Tree.ChangedNames("nothing", "7")
}

var update = flag.Bool("update", false, "write the golden files anew")

// Schema and manual of the sample, as text.
func TestGolden(t *testing.T) {
	root := treetest.New(t.TempDir(), tree.Options{Log: quiet}).Root()
	pages := tree.Manual(root)
	pages["schema"] = []byte(tree.Schema(root))
	for name, text := range pages {
		file := filepath.Join("testdata", name+".golden")
		if *update {
			if err := os.WriteFile(file, text, 0o644); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if string(want) != string(text) {
			t.Errorf("%s differs from %s (go test -update writes it anew):\n%s", name, file, text)
		}
	}
}
