package ccfs

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/containercloud/cc/ccfs/tree"
	"github.com/containercloud/cc/fault"
	"github.com/containercloud/cc/runtime/container"
)

// containerStreams are a container's standard streams as files: what it printed, and what it reads.
func containerStreams() []tree.File {
	return []tree.File{
		{
			Name: "stdin", Kind: tree.Stream, Mode: 0o660, Volatile: true,
			Doc:    "What is written here the first process reads. The verb eof ends it. Reading it gives nothing.",
			Stream: func(r *tree.Request) (tree.Conn, error) { return &input{of: the(r)}, nil },
		},
		logFile("stdout", "What it printed: a growing file, bounded by log/max."),
		logFile("stderr", "What it printed to standard error."),
	}
}

// input is a container's stdin opened by someone. It reads as an empty file, so that copying a container's
// directory works, and asks for the pipe when there is something to write.
type input struct {
	of *container.Container

	mu   sync.Mutex
	pipe container.Stream
}

func (i *input) Read(context.Context, []byte, bool) (int, error) { return 0, io.EOF }

func (i *input) Write(ctx context.Context, p []byte) (int, error) {
	i.mu.Lock()
	if i.pipe == nil {
		pipe, err := i.of.Stdin()
		if err != nil {
			i.mu.Unlock()
			return 0, err
		}
		i.pipe = pipe
	}
	pipe := i.pipe
	i.mu.Unlock()
	return pipe.Write(ctx, p)
}

func (i *input) Close() error {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.pipe == nil {
		return nil
	}
	return i.pipe.Close()
}

func logFile(name, doc string) tree.File {
	return tree.File{
		Name: name, Kind: tree.Log, Mode: 0o440, Volatile: true, Doc: doc,
		Log: func(r *tree.Request) (tree.LogFile, error) { return the(r).Log(name) },
	}
}

// containerLive are the endless twins, in live/.
func containerLive() []tree.File {
	return []tree.File{
		followFile("stdout", "stdout from the oldest byte kept, then as it comes; ends when the container does."),
		followFile("stderr", "stderr likewise."),
		{
			Name: "stats", Kind: tree.Stream, Mode: 0o444,
			Doc: "stat once a second.",
			Stream: func(r *tree.Request) (tree.Conn, error) {
				return &ticker{every: time.Second, render: func() ([]byte, error) { return stat(&tree.Request{Context: context.Background(), Object: r.Object}) }}, nil
			},
		},
	}
}

func followFile(name, doc string) tree.File {
	return tree.File{
		Name: name, Kind: tree.Stream, Mode: 0o440, Doc: doc,
		Stream: func(r *tree.Request) (tree.Conn, error) {
			view, err := the(r).Log(name)
			if err != nil {
				return nil, err
			}
			return &follower{view: view}, nil
		},
	}
}

// follower reads a log from its beginning and waits at its end for more.
type follower struct {
	view container.LogView
	off  int64
}

func (f *follower) Read(ctx context.Context, p []byte, nonblock bool) (int, error) {
	for {
		n, err := f.view.ReadAt(p, f.off)
		f.off += int64(n)
		if n > 0 {
			return n, nil
		}
		if err != nil && !errors.Is(err, io.EOF) {
			return 0, err
		}
		if nonblock && !f.view.Over() {
			return 0, fault.New(fault.NoData, "nothing new in the log")
		}
		if err := f.view.Wait(ctx, f.off); err != nil {
			if !errors.Is(err, io.EOF) {
				return 0, err
			}
			// What came in between the read and the end is still there to be read.
			n, err := f.view.ReadAt(p, f.off)
			f.off += int64(n)
			if n > 0 {
				return n, nil
			}
			return 0, errOr(err, io.EOF)
		}
	}
}

func errOr(err, other error) error {
	if err == nil {
		return other
	}
	return err
}

func (f *follower) Write(context.Context, []byte) (int, error) { return 0, errReadOnly }
func (f *follower) Close() error                               { return f.view.Close() }

var errReadOnly = fault.New(fault.Fixed, "this stream is for reading only")

// ticker renders something again and again.
type ticker struct {
	every  time.Duration
	last   time.Time
	render func() ([]byte, error)
	rest   []byte
}

func (t *ticker) Read(ctx context.Context, p []byte, nonblock bool) (int, error) {
	if len(t.rest) == 0 {
		if wait := time.Until(t.last.Add(t.every)); wait > 0 {
			if nonblock {
				return 0, fault.New(fault.NoData, "nothing new yet")
			}
			alarm := time.NewTimer(wait)
			defer alarm.Stop()
			select {
			case <-alarm.C:
			case <-ctx.Done():
				return 0, ctx.Err()
			}
		}
		t.last = time.Now()
		text, err := t.render()
		if fault.Is(err, fault.NotFound) || fault.Is(err, fault.Busy) {
			return 0, io.EOF // what it shows is gone
		}
		if err != nil {
			return 0, err
		}
		t.rest = append(fmt.Appendf(nil, "time %s\n", t.last.UTC().Format(time.RFC3339)), text...)
	}
	n := copy(p, t.rest)
	t.rest = t.rest[n:]
	return n, nil
}

func (t *ticker) Write(context.Context, []byte) (int, error) { return 0, errReadOnly }
func (t *ticker) Close() error                               { return nil }
