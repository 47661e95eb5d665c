package treetest

import (
	"context"
	"io"
	"sync"
	"time"

	"github.com/containercloud/cc/ccfs/tree"
	"github.com/containercloud/cc/fault"
)

// output is what a box printed, all of it; rotation moves the start that new views get.
type output struct {
	mu      sync.Mutex
	data    []byte
	start   int64
	cuts    uint64
	mtime   time.Time
	wake    chan struct{}
	isEnded bool
}

func newOutput() *output { return &output{mtime: time.Now(), wake: make(chan struct{})} }

func (o *output) signal() {
	close(o.wake)
	o.wake = make(chan struct{})
}

func (o *output) print(text string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.data = append(o.data, text...)
	o.mtime = time.Now()
	o.signal()
}

func (o *output) rotate() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.start = int64(len(o.data))
	o.cuts++
}

func (o *output) end() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.isEnded = true
	o.signal()
}

func (o *output) view() tree.LogFile {
	o.mu.Lock()
	defer o.mu.Unlock()
	return &outputView{o, o.start, o.cuts}
}

// outputView is one open of the log.
type outputView struct {
	o    *output
	base int64
	cuts uint64
}

func (v *outputView) Size() (int64, time.Time, error) {
	v.o.mu.Lock()
	defer v.o.mu.Unlock()
	return int64(len(v.o.data)) - v.base, v.o.mtime, nil
}

func (v *outputView) ReadAt(p []byte, off int64) (int, error) {
	v.o.mu.Lock()
	defer v.o.mu.Unlock()
	if off += v.base; off >= int64(len(v.o.data)) {
		return 0, io.EOF
	}
	return copy(p, v.o.data[off:]), nil
}

func (v *outputView) Backing() int       { return -1 }
func (v *outputView) Generation() uint64 { return v.cuts }
func (v *outputView) Close() error       { return nil }

// follow is a stream of what is printed from now on.
func (o *output) follow() tree.Conn {
	o.mu.Lock()
	at := len(o.data)
	o.mu.Unlock()
	return tree.Records(func(ctx context.Context, nonblock bool) ([]byte, error) {
		for {
			o.mu.Lock()
			data, wake, ended := o.data[at:], o.wake, o.isEnded
			o.mu.Unlock()
			switch {
			case len(data) > 0:
				at += len(data)
				return data, nil
			case ended:
				return nil, io.EOF
			case nonblock:
				return nil, fault.New(fault.NoData, "nothing printed yet")
			}
			select {
			case <-wake:
			case <-ctx.Done():
				return nil, ctx.Err()
			}
		}
	})
}

// stdin takes what is written to a box, up to 16 writes ahead, and prints it when the box runs.
type stdin struct{ b *box }

func (s stdin) Read(context.Context, []byte, bool) (int, error) { return 0, io.EOF }

func (s stdin) Write(ctx context.Context, p []byte) (int, error) {
	select {
	case s.b.in <- string(p):
	case <-ctx.Done():
		return 0, ctx.Err()
	}
	if s.b.now() == "running" {
		for len(s.b.in) > 0 {
			s.b.out.print(<-s.b.in)
		}
	}
	return len(p), nil
}

func (s stdin) Close() error { return nil }
