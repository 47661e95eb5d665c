package tree

import (
	"bytes"
	"context"
	"errors"
	"io"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/containercloud/cc/fault"
	"github.com/containercloud/cc/words"
)

// fillWait makes wait/STATE[.DURATION]: a read that returns when the state is reached.
func (k Common) fillWait(d *Dir) {
	states := slices.DeleteFunc(slices.Clone(k.States), func(s string) bool { return s == "gone" })
	d.Doc = "Reading STATE, one of " + strings.Join(states, ", ") + " or gone, returns when the state is reached; " +
		"STATE.DURATION gives up after that time (ETIMEDOUT)."
	d.Pattern = &File{
		Name: "STATE[.DURATION]", Kind: Stream, Mode: 0o444,
		Doc: "Returns STATE when it is reached.",
	}
	d.Match = func(r *Request, name string) (*File, bool) {
		state, limit, ok := k.parseWait(name)
		if !ok {
			return nil, false
		}
		return &File{
			Name: name, Kind: Stream, Mode: 0o444, Hidden: true, Volatile: true,
			Stream: func(r *Request) (Conn, error) { return k.wait(r, state, limit), nil },
		}, true
	}
}

func (k Common) parseWait(name string) (state string, limit time.Duration, ok bool) {
	state, text, limited := strings.Cut(name, ".")
	if state != "gone" && !slices.Contains(k.States, state) {
		return "", 0, false
	}
	if !limited {
		return state, 0, true
	}
	limit, err := words.Duration(text)
	return state, limit, err == nil
}

// wait is one open wait file. The time runs from the first read.
func (k Common) wait(open *Request, state string, limit time.Duration) Conn {
	r := *open
	done := false
	return Records(func(reader context.Context, nonblock bool) ([]byte, error) {
		if done {
			return nil, io.EOF
		}
		ctx := reader
		if limit > 0 {
			var cancel context.CancelFunc
			ctx, cancel = context.WithTimeout(ctx, limit)
			defer cancel()
		}
		r.Context = ctx
		err := r.node.t.await(ctx, r.node.obj, func() (bool, error) { return k.reached(&r, state, nonblock) })
		switch {
		case errors.Is(err, context.DeadlineExceeded) && reader.Err() == nil:
			return nil, fault.New(fault.Timeout, "cannot wait for %s: not within %s", state, words.FormatDuration(limit)).
				WithHint("see status")
		case err != nil:
			return nil, err
		}
		done = true
		return []byte(state + "\n"), nil
	})
}

func (k Common) reached(r *Request, state string, nonblock bool) (bool, error) {
	gone := r.node.obj.dead()
	switch {
	case state == "gone":
		if gone || !nonblock {
			return gone, nil
		}
	case gone:
		return false, io.EOF
	default:
		ok, err := k.isReached(r, state)
		if ok || err != nil || !nonblock {
			return ok, err
		}
	}
	return false, fault.New(fault.NoData, "not %s yet", state)
}

func (k Common) isReached(r *Request, state string) (bool, error) {
	if k.Reached != nil {
		return k.Reached(r, state)
	}
	return k.State(r) == state, nil
}

// liveStatusRow is status as a stream: the first read gives it as it is, every further one when it has changed.
func (k Common) liveStatusRow() File {
	return File{
		Name: "status", Kind: Stream, Mode: 0o444, Volatile: true,
		Doc: "Status now, then again whenever it changes.",
		Stream: func(r *Request) (Conn, error) {
			return Follow(r, func(r *Request) ([]byte, error) { return k.status(r), nil }), nil
		},
	}
}

// Follow is a stream of a file's content: as it is, then again at every change of the request's object that changes
// it. It ends with the object.
func Follow(open *Request, render func(*Request) ([]byte, error)) Conn {
	r := *open
	var mu sync.Mutex
	var last []byte
	first := true
	return Records(func(ctx context.Context, nonblock bool) ([]byte, error) {
		mu.Lock()
		defer mu.Unlock()
		r.Context = ctx
		err := r.node.t.await(ctx, r.node.obj, func() (bool, error) {
			if r.node.obj.dead() {
				return false, io.EOF
			}
			now, err := render(&r)
			if err != nil {
				return false, err
			}
			if first || !bytes.Equal(now, last) {
				first, last = false, now
				return true, nil
			}
			if nonblock {
				return false, fault.New(fault.NoData, "no change yet")
			}
			return false, nil
		})
		return last, err
	})
}
