package fusefs

import (
	"syscall"
	"testing"

	"github.com/containercloud/cc/ccfs/tree"
)

func TestTable(t *testing.T) {
	var tab table[string]
	a, b := tab.add("a"), tab.add("b")
	if v, ok := tab.remove(a); v != "a" || !ok {
		t.Errorf("remove(a) = %q, %v", v, ok)
	}
	if _, ok := tab.get(a); ok {
		t.Error("a removed number still answers")
	}
	if _, ok := tab.remove(a); ok {
		t.Error("a number was removed twice")
	}
	if c := tab.add("c"); c != a {
		t.Errorf("number %d was not used again, got %d", a, c)
	}
	if v, ok := tab.get(b); v != "b" || !ok {
		t.Errorf("get(b) = %q, %v", v, ok)
	}
	for _, n := range []uint64{0, 3, 1 << 63} {
		if _, ok := tab.get(n); ok {
			t.Errorf("get(%d) answers", n)
		}
	}
	left := map[string]bool{}
	tab.drain(func(s string) { left[s] = true })
	if len(left) != 2 || !left["b"] || !left["c"] {
		t.Errorf("drain gave %v", left)
	}
}

func TestLookupsAreGivenBack(t *testing.T) {
	var l lookups
	l.init()
	const ino = 42
	for range 3 {
		if n := l.add(tree.Attr{Ino: ino}); n != ino {
			t.Fatalf("node %d for inode %d", n, ino)
		}
	}
	if got := l.forget(ino, 1); got != ino {
		t.Errorf("forget: inode %d", got)
	}
	back := map[tree.Ino]uint64{}
	l.drain(func(i tree.Ino, n uint64) { back[i] += n })
	if back[ino] != 2 {
		t.Errorf("the end gave %v back, want 2 of %d", back, ino)
	}
}

// A ctl file that somebody has open for writing gets another kernel inode, so that no lock of the kernel is shared.
func TestPrivateNodes(t *testing.T) {
	var l lookups
	l.init()
	ctl := tree.Attr{Ino: 7, Private: true}
	if n := l.add(ctl); n != 7 {
		t.Fatalf("first lookup: node %d", n)
	}
	l.opened(7)
	n := l.add(ctl)
	if n == 7 || n&privateBit == 0 || l.ino(n) != 7 {
		t.Fatalf("lookup of a busy file: node %#x, inode %d", n, l.ino(n))
	}
	if other := l.add(ctl); other == n {
		t.Error("two openers share a node")
	}
	if n := l.add(tree.Attr{Ino: 8}); n != 8 {
		t.Errorf("other files: node %d", n)
	}
	l.closed(7)
	if n := l.add(ctl); n != 7 {
		t.Errorf("after the writer went: node %#x", n)
	}
	if ino := l.forget(n, 1); ino != 7 {
		t.Errorf("forget of a private node: inode %d", ino)
	}
	if l.ino(n) != 0 {
		t.Error("a forgotten private node still stands for something")
	}
}

type fakeKernel struct {
	next  int32
	live  map[int32]int
	errno syscall.Errno
	asked int
}

func (k *fakeKernel) register(fd int) (int32, syscall.Errno) {
	k.asked++
	if k.errno != 0 {
		return 0, k.errno
	}
	k.next++
	k.live[k.next] = fd
	return k.next, 0
}

func (k *fakeKernel) unregister(id int32) { delete(k.live, id) }

func TestBackingsAreSharedByNode(t *testing.T) {
	var b backings
	k := &fakeKernel{live: map[int32]int{}}
	b.init(k)
	first, ok := b.open(1, 100)
	if !ok {
		t.Fatal("not registered")
	}
	if second, ok := b.open(1, 101); !ok || second != first {
		t.Errorf("second open of the node: id %d, want %d", second, first)
	}
	if other, ok := b.open(2, 102); !ok || other == first {
		t.Errorf("another node: id %d", other)
	}
	if _, ok := b.open(3, -1); ok {
		t.Error("a file without descriptor has a backing")
	}
	b.close(1)
	if len(k.live) != 2 {
		t.Errorf("the first close unregistered: %v", k.live)
	}
	b.close(1)
	b.close(2)
	if len(k.live) != 0 {
		t.Errorf("left registered: %v", k.live)
	}
}

func TestBackingsStopAskingOldKernels(t *testing.T) {
	var b backings
	k := &fakeKernel{errno: syscall.EINVAL}
	b.init(k)
	b.open(1, 100)
	b.open(1, 100)
	if k.asked != 2 {
		t.Errorf("an error about one file: asked %d times, want 2", k.asked)
	}
	k.errno = syscall.ENOTTY
	b.open(1, 100)
	b.open(2, 100)
	if k.asked != 3 {
		t.Errorf("a kernel without passthrough was asked again")
	}
}
