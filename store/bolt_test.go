package store_test

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/containercloud/cc/fault"
	"github.com/containercloud/cc/store"
	"github.com/containercloud/cc/store/storetest"
)

var bg = context.Background()

func open(t *testing.T, file string) *store.Bolt {
	t.Helper()
	s, err := store.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

func TestBolt(t *testing.T) {
	storetest.Run(t, func(t *testing.T) store.Store { return open(t, filepath.Join(t.TempDir(), "store.db")) })
}

// TestMain also is the child of the tests below: a process of its own that uses a store.
func TestMain(m *testing.M) {
	if file := os.Getenv("CC_STORE_WRITER"); file != "" {
		writer(file)
		return
	}
	os.Exit(m.Run())
}

// writer counts up in one key and says each number once it is acknowledged.
func writer(file string) {
	s, err := store.Open(file)
	if err != nil {
		fmt.Println("error", err)
		os.Exit(1)
	}
	for n := 0; ; n++ {
		i, _ := s.Get(bg, "n")
		v, _ := strconv.Atoi(string(i.Value))
		if _, err := s.Txn(bg, nil, []store.Op{store.Put("n", strconv.AppendInt(nil, int64(v+1), 10)),
			store.Put(fmt.Sprintf("pad/%d", v%50), bytes.Repeat([]byte{'x'}, v%5000))}); err != nil {
			fmt.Println("error", err)
			os.Exit(1)
		}
		fmt.Println(v + 1)
	}
}

func startWriter(t *testing.T, file string) (*exec.Cmd, *bufio.Scanner) {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), "CC_STORE_WRITER="+file)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	return cmd, bufio.NewScanner(out)
}

func TestKillLosesNothingAcknowledged(t *testing.T) {
	file := filepath.Join(t.TempDir(), "store.db")
	acked := 0
	for round := range 30 {
		cmd, lines := startWriter(t, file)
		for i := 0; i < round%7+1 && lines.Scan(); i++ {
			acked = number(t, lines.Text())
		}
		time.Sleep(time.Duration(round) * 100 * time.Microsecond)
		_ = cmd.Process.Kill()
		for lines.Scan() { // what it had said before it died
			acked = number(t, lines.Text())
		}
		_ = cmd.Wait()
		s, err := store.Open(file)
		if err != nil {
			t.Fatalf("round %d: %v", round, err)
		}
		i, err := s.Get(t.Context(), "n")
		if n := number(t, string(i.Value)); err != nil || n < acked || n > acked+1 {
			t.Fatalf("round %d: have %d, %d was acknowledged, %v", round, n, acked, err)
		}
		s.Close()
	}
	left, _ := filepath.Glob(filepath.Join(filepath.Dir(file), "*"))
	if len(left) != 2 { // the store and its reserve
		t.Errorf("left behind: %v", left)
	}
}

func number(t *testing.T, s string) int {
	t.Helper()
	n, err := strconv.Atoi(s)
	if err != nil {
		t.Fatalf("the writer said %q", s)
	}
	return n
}

func TestInUse(t *testing.T) {
	file := filepath.Join(t.TempDir(), "store.db")
	cmd, lines := startWriter(t, file)
	defer cmd.Wait()
	defer cmd.Process.Kill()
	lines.Scan()
	_, err := store.Open(file)
	if !fault.Is(err, fault.Busy) || !strings.Contains(err.Error(), fmt.Sprintf("process %d", cmd.Process.Pid)) {
		t.Errorf("%v", err)
	}
	if fault.HintOf(err) == "" {
		t.Error("no hint")
	}
}

// TestDamage flips, cuts and zeroes a good file in many places: Open must say so or the data must be whole,
// the process must live, and the file must stay as it is.
func TestDamage(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "store.db")
	s := open(t, file)
	for i := range 300 {
		if _, err := s.Txn(t.Context(), nil, []store.Op{store.Put(fmt.Sprintf("key/%03d", i), bytes.Repeat([]byte{byte(i)}, 100))}); err != nil {
			t.Fatal(err)
		}
	}
	s.Close()
	good, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	refused := 0
	try := func(what string, bad []byte) {
		t.Helper()
		f := filepath.Join(dir, "bad.db")
		if err := os.WriteFile(f, bad, 0o600); err != nil {
			t.Fatal(err)
		}
		s, err := store.Open(f)
		if err == nil {
			items, _, err := s.List(t.Context(), "key/")
			if err != nil || len(items) < 299 {
				t.Errorf("%s: opened, but %d keys, %v", what, len(items), err)
			}
			s.Close()
			return
		}
		refused++
		if !strings.Contains(err.Error(), "damaged") && !fault.Is(err, fault.Unsupported) {
			t.Errorf("%s: %v", what, err)
		}
		if now, err := os.ReadFile(f); err != nil || !bytes.Equal(now, bad) {
			t.Errorf("%s: the file was changed (%v)", what, err)
		}
	}
	for page := 0; page*4096 < len(good); page++ {
		for _, at := range []int{0, 9, 17, 40, 400, 2000, 4000} {
			bad := bytes.Clone(good)
			for i := range 8 {
				bad[page*4096+at+i] ^= 0xff
			}
			try(fmt.Sprintf("page %d offset %d flipped", page, at), bad)
		}
		bad := bytes.Clone(good)
		clear(bad[page*4096 : page*4096+4096])
		try(fmt.Sprintf("page %d zeroed", page), bad)
		try(fmt.Sprintf("cut at page %d", page), good[:page*4096])
	}
	try("text", []byte("this is not a store\n"))
	if refused < 20 {
		t.Errorf("only %d refusals: the test does no damage", refused)
	}
}

func TestStaleAfterReopen(t *testing.T) {
	file := filepath.Join(t.TempDir(), "store.db")
	s := open(t, file)
	first, _ := s.Txn(t.Context(), nil, []store.Op{store.Put("a", nil)})
	s.Txn(t.Context(), nil, []store.Op{store.Put("a", nil)})
	l, err := s.Lease(t.Context(), 50*time.Millisecond)
	if err != nil {
		t.Fatal(err)
	}
	s.Txn(t.Context(), nil, []store.Op{{Key: "leased", Lease: l.ID()}})
	s.Close()
	if _, err := s.Txn(t.Context(), nil, nil); !fault.Is(err, fault.Again) {
		t.Errorf("after Close: %v", err)
	}
	if _, err := s.Get(t.Context(), "a"); !fault.Is(err, fault.Again) {
		t.Errorf("after Close: %v", err)
	}
	s = open(t, file)
	if _, err := s.Watch(t.Context(), "", first); !fault.Is(err, fault.Stale) {
		t.Errorf("%v", err)
	}
	_, rev, _ := s.List(t.Context(), "")
	ch, err := s.Watch(t.Context(), "leased", rev)
	if err != nil {
		t.Fatal(err)
	}
	select {
	case e := <-ch:
		if !e.Deleted {
			t.Errorf("%+v", e)
		}
	case <-time.After(20 * time.Second):
		t.Error("a lease did not outlive the restart, or never ends")
	}
}

// TestSlowWatch falls behind history: the channel ends instead of skipping.
func TestSlowWatch(t *testing.T) {
	s := open(t, filepath.Join(t.TempDir(), "store.db"))
	ch, err := s.Watch(t.Context(), "", 0)
	if err != nil {
		t.Fatal(err)
	}
	big := bytes.Repeat([]byte{'x'}, 900<<10)
	var last int64
	for range 60 {
		if last, err = s.Txn(t.Context(), nil, []store.Op{store.Put("k", big)}); err != nil {
			t.Fatal(err)
		}
	}
	var seen int64
	for e := range ch {
		if e.Rev != seen+1 {
			t.Fatalf("revision %d after %d", e.Rev, seen)
		}
		if seen = e.Rev; seen == last {
			t.Fatal("nothing was forgotten: the test is too small")
		}
	}
	if _, err := s.Watch(t.Context(), "", seen); !fault.Is(err, fault.Stale) {
		t.Errorf("%v", err)
	}
}

// TestDiskFull fills a small file system: the error says so, reads and deletes go on, and it recovers.
func TestDiskFull(t *testing.T) {
	dir := t.TempDir()
	if err := unix.Mount("none", dir, "tmpfs", 0, "size=1m"); err != nil {
		t.Skipf("no tmpfs can be mounted here: %v", err)
	}
	t.Cleanup(func() { unix.Unmount(dir, unix.MNT_DETACH) })
	s, err := store.Open(filepath.Join(dir, "store.db"))
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	n := 0
	for ; err == nil; n++ {
		_, err = s.Txn(t.Context(), nil, []store.Op{store.Put(fmt.Sprintf("k/%d", n), make([]byte, 1<<10))})
	}
	if !fault.Is(err, fault.NoSpace) {
		t.Fatalf("%v", err)
	}
	if items, _, err := s.List(t.Context(), "k/"); err != nil || len(items) != n-1 {
		t.Errorf("%d of %d keys, %v", len(items), n-1, err)
	}
	var del []store.Op
	for i := range 20 {
		del = append(del, store.Delete(fmt.Sprintf("k/%d", i)))
	}
	if _, err := s.Txn(t.Context(), nil, del); err != nil {
		t.Errorf("delete on a full disk: %v", err)
	}
	if _, err := s.Txn(t.Context(), nil, []store.Op{store.Put("k/0", make([]byte, 1<<10))}); err != nil {
		t.Errorf("after the delete: %v", err)
	}
}

func BenchmarkTxn(b *testing.B) {
	for _, writers := range []int{1, 8, 64} {
		b.Run(fmt.Sprintf("writers=%d", writers), func(b *testing.B) {
			s, err := store.Open(filepath.Join(b.TempDir(), "store.db"))
			if err != nil {
				b.Fatal(err)
			}
			defer s.Close()
			var wg sync.WaitGroup
			for w := range writers {
				wg.Go(func() {
					for i := w; i < b.N; i += writers {
						if _, err := s.Txn(b.Context(), nil, []store.Op{store.Put(fmt.Sprintf("vpc/%d", i%1000), make([]byte, 300))}); err != nil {
							b.Error(err)
						}
					}
				})
			}
			wg.Wait()
		})
	}
}

func BenchmarkGet(b *testing.B) {
	s, err := store.Open(filepath.Join(b.TempDir(), "store.db"))
	if err != nil {
		b.Fatal(err)
	}
	defer s.Close()
	s.Txn(b.Context(), nil, []store.Op{store.Put("a", make([]byte, 300))})
	for b.Loop() {
		if _, err := s.Get(b.Context(), "a"); err != nil {
			b.Fatal(err)
		}
	}
}
