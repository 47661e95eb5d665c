package keeper_test

import (
	"fmt"
	"os"
	"testing"

	"github.com/containercloud/cc/fault"
	"github.com/containercloud/cc/runtime/keeper"
	"github.com/containercloud/cc/runtime/logs"
)

// Policies changed while the logs run.
func TestLogCalls(t *testing.T) {
	b := newBed(t)
	c := b.client()
	ch := b.spawn(c, "one", allNamespaces, keeper.IDMap{})
	dir := t.TempDir()
	d, _ := os.Open(dir)
	var ends, pipes []*os.File
	for range 2 {
		r, w, err := logs.Pipe(0, 0)
		if err != nil {
			t.Fatal(err)
		}
		ends, pipes = append(ends, r), append(pipes, w)
	}
	a := keeper.Adoption{LogDir: d, Stdout: ends[0], Stderr: ends[1], Policy: logs.Policy{Max: 1 << 20}}
	if err := c.Adopt(b.ctx, "one", a); err != nil {
		t.Fatal(err)
	}
	d.Close()
	ends[0].Close()
	ends[1].Close()
	v, err := logs.Open(dir, logs.Stdout)
	if err != nil {
		t.Fatal(err)
	}
	defer v.Close()
	for range 8 << 10 {
		fmt.Fprintf(pipes[0], "%63d\n", 1)
	}
	if err := v.Wait(b.ctx, 512<<10-1); err != nil {
		t.Fatal(err)
	}
	kept := func() int64 {
		w, err := logs.Open(dir, logs.Stdout)
		if err != nil {
			t.Fatal(err)
		}
		defer w.Close()
		n, _, _ := w.Size()
		return n
	}
	if err := c.SetLogPolicy(b.ctx, "one", logs.Policy{Max: 64 << 10}); err != nil {
		t.Fatal(err)
	}
	if n := kept(); n > 64<<10 || n == 0 {
		t.Errorf("%d bytes kept", n)
	}
	if err := c.SetLogPolicy(b.ctx, "two", logs.Policy{}); !fault.Is(err, fault.NotFound) {
		t.Error(err)
	}
	if err := c.Adopt(b.ctx, "one", keeper.Adoption{Stdout: pipes[0]}); !fault.Is(err, fault.Invalid) {
		t.Errorf("a log without a directory: %v", err)
	}
	list, err := c.List(b.ctx)
	if err != nil || len(list) != 1 || list[0].Received != 512<<10 || list[0].Dropped != 0 || !list[0].Stderr {
		t.Errorf("%+v %v", list, err)
	}
	fmt.Fprintln(pipes[1], "last words")
	for _, w := range pipes {
		w.Close()
	}
	ch.exit(0)
	b.next(c) // what was written before the end is in the log now
	if text, _ := os.ReadFile(dir + "/stderr"); string(text) != "last words\n" {
		t.Errorf("%q", text)
	}
	leaks(t, c.PID(), 20)
}
