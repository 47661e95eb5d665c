package container

import (
	"context"
	"io"
	"iter"
	"path/filepath"
	"time"

	"github.com/containercloud/cc/fault"
	"github.com/containercloud/cc/runtime/logs"
)

// LogView is one stream's log as it is now; offsets count from the oldest byte kept when it was opened.
type LogView interface {
	Size() (bytes int64, mtime time.Time, err error)
	ReadAt(p []byte, off int64) (int, error)
	Backing() int
	Generation() uint64
	// Over reports whether nothing more will come.
	Over() bool
	// Wait returns when there is something behind off; io.EOF when the container has ended and nothing more comes.
	Wait(ctx context.Context, off int64) error
	Close() error
}

// logDir is where the keeper writes the logs.
func (c *Container) logDir() string { return filepath.Join(c.dir, "logs") }

// Log opens a view of a stream's log: `stdout` or `stderr`.
func (c *Container) Log(stream string) (LogView, error) {
	c.lend()
	v, err := logs.Open(c.logDir(), logs.Stream(stream))
	if err != nil {
		return nil, fault.Wrap(err, "cannot read %s of container %s", stream, c.Meta().Name)
	}
	return &follower{View: v, c: c}, nil
}

// follower is a view whose Wait ends with the container.
type follower struct {
	*logs.View
	c *Container
}

// Over reports whether the container has ended for good.
func (f *follower) Over() bool {
	f.c.mu.Lock()
	defer f.c.mu.Unlock()
	state := f.c.stateLocked()
	return state == Gone || state.Ended()
}

// Wait returns when there is something behind off, or io.EOF when nothing more will come. A restart by policy is no end.
func (f *follower) Wait(ctx context.Context, off int64) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	for {
		f.c.mu.Lock()
		state, moved := f.c.stateLocked(), f.c.moved
		f.c.mu.Unlock()
		if size, _, err := f.Size(); err != nil || size > off {
			return err
		}
		if state == Gone || state.Ended() {
			return io.EOF
		}
		if err := f.next(ctx, off, moved); err != nil {
			return err
		}
	}
}

// next waits for more bytes or another state, whichever comes first.
func (f *follower) next(ctx context.Context, off int64, moved <-chan struct{}) error {
	inner, stop := context.WithCancel(ctx)
	defer stop()
	go func() {
		select {
		case <-moved:
			stop()
		case <-inner.Done():
		}
	}()
	err := f.View.Wait(inner, off)
	if err == io.EOF { // the writers are gone, but the container is not: it closed its output, or starts again
		<-inner.Done()
		err = inner.Err()
	}
	if err != nil && ctx.Err() == nil && inner.Err() != nil {
		return nil // another state: look again
	}
	return err
}

// LogLine is one line of a log.
type LogLine struct {
	Stream string    `json:"stream"`
	Time   time.Time `json:"time"`
	Line   string    `json:"line"`
}

// Lines is the lines of both streams, oldest first. A line's text is valid until the next one.
func (c *Container) Lines(ctx context.Context, o logs.LinesOptions) iter.Seq2[logs.Line, error] {
	c.lend()
	return logs.Lines(ctx, c.logDir(), o)
}

// LogLines is the last n lines that are kept; 0: all of them.
func (c *Container) LogLines(n int) ([]LogLine, error) {
	var ring []LogLine
	at := 0
	for l, err := range c.Lines(c.m.ctx, logs.LinesOptions{}) {
		if err != nil {
			return nil, fault.Wrap(err, "cannot read the log of container %s", c.Meta().Name)
		}
		line := LogLine{string(l.Stream), l.Time, string(l.Text)}
		if n <= 0 || len(ring) < n {
			ring = append(ring, line)
			continue
		}
		ring[at] = line
		at = (at + 1) % n
	}
	return append(ring[at:len(ring):len(ring)], ring[:at]...), nil
}
