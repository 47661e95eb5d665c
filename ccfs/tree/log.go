package tree

import (
	"context"
	"errors"
	"io"
	"time"

	"github.com/containercloud/cc/fault"
)

// logView is an open log: a view that began when it was opened, and grows.
type logView struct {
	h   *Handle
	log LogFile
}

func (t *Tree) openLog(ctx context.Context, h *Handle) (file, error) {
	r, done := t.request(ctx, h.caller, h.node)
	defer done()
	f := &logView{h: h}
	err := t.guard(h.node, func() (err error) {
		f.log, err = h.node.file.Log(r)
		return err
	})
	if fault.Is(err, fault.NotFound) && !h.node.obj.dead() {
		return dropped{}, nil // nothing logged yet
	}
	return f, err
}

func (f *logView) read(_ context.Context, p []byte, off int64, _ bool) (n int, err error) {
	err = f.h.t.guard(f.h.node, func() error {
		n, err = f.log.ReadAt(p, off)
		return err
	})
	if errors.Is(err, io.EOF) || n > 0 {
		err = nil
	}
	return n, err
}

func (f *logView) write(context.Context, Caller, []byte, int64) (int, error) {
	return 0, f.h.node.notWritable(f.h.caller)
}

func (f *logView) flush(context.Context) error { return nil }
func (f *logView) release()                    { _ = f.h.t.guard(f.h.node, f.log.Close) }

func (f *logView) size() (uint64, time.Time, bool) {
	size, mtime, err := f.log.Size()
	return uint64(max(size, 0)), mtime, err == nil
}
