package tree_test

import (
	"context"
	"fmt"
	"syscall"
	"testing"

	"github.com/containercloud/cc/ccfs/tree"
	"github.com/containercloud/cc/ccfs/treetest"
)

var (
	ctx  = context.Background()
	root = tree.Caller{Door: "bench"}
)

// held looks a path up and keeps it, as a kernel does.
func held(b testing.TB, t *tree.Tree, names ...string) tree.Ino {
	b.Helper()
	ino := tree.RootIno
	for _, name := range names {
		a, err := t.Lookup(ctx, root, ino, name)
		if err != nil {
			b.Fatal(err)
		}
		ino = a.Ino
	}
	return ino
}

func sample(b testing.TB, boxes int) *tree.Tree {
	b.Helper()
	s := treetest.New(b.TempDir(), tree.Options{Log: quiet})
	b.Cleanup(func() { s.Tree.Close() })
	v := s.Tree.As(root)
	if err := v.WriteFile(ctx, "ctl", fmt.Appendf(nil, "fill %d\n", boxes), 0); err != nil {
		b.Fatal(err)
	}
	return s.Tree
}

// BenchmarkOpenReadClose is what `cat status` costs the engine, as a user who is not root.
func BenchmarkOpenReadClose(b *testing.B) {
	t := sample(b, 1)
	c := tree.Caller{UID: 1000, GID: 1000, PID: 1, Door: "bench"}
	ino := held(b, t, "box", "box-00000", "status")
	buf := make([]byte, 4096)
	b.ReportAllocs()
	for b.Loop() {
		h, err := t.Open(ctx, c, ino, syscall.O_RDONLY)
		if err != nil {
			b.Fatal(err)
		}
		if n, err := h.Read(ctx, buf, 0, false); err != nil || n == 0 {
			b.Fatal(n, err)
		}
		h.Release()
	}
}

// BenchmarkLookup is a walk to a state file's name, which renders it.
func BenchmarkLookup(b *testing.B) {
	t := sample(b, 1)
	dir := held(b, t, "box", "box-00000")
	b.ReportAllocs()
	for b.Loop() {
		a, err := t.Lookup(ctx, root, dir, "status")
		if err != nil {
			b.Fatal(err)
		}
		t.Forget(a.Ino, 1)
	}
}

// BenchmarkWrite is `echo 64M > memory`.
func BenchmarkWrite(b *testing.B) {
	t := sample(b, 1)
	ino := held(b, t, "box", "box-00000", "memory")
	b.ReportAllocs()
	for b.Loop() {
		h, err := t.Open(ctx, root, ino, syscall.O_WRONLY|syscall.O_TRUNC)
		if err != nil {
			b.Fatal(err)
		}
		if _, err := h.Write(ctx, []byte("64M\n"), 0); err != nil {
			b.Fatal(err)
		}
		h.Release()
	}
}

// BenchmarkReaddir lists 10,000 objects.
func BenchmarkReaddir(b *testing.B) {
	t := sample(b, 10000)
	ino := held(b, t, "box")
	b.ReportAllocs()
	for b.Loop() {
		list, err := t.Readdir(ctx, root, ino)
		if err != nil || len(list) < 10000 {
			b.Fatal(len(list), err)
		}
	}
}

// BenchmarkLongListing is ls -l of 10,000 objects: a lookup for each.
func BenchmarkLongListing(b *testing.B) {
	t := sample(b, 10000)
	ino := held(b, t, "box")
	list, err := t.Readdir(ctx, root, ino)
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		for _, e := range list {
			a, err := t.Lookup(ctx, root, ino, e.Name)
			if err != nil {
				b.Fatal(err)
			}
			t.Forget(a.Ino, 1)
		}
	}
}
