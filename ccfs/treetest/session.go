package treetest

import (
	"context"
	"io"
	"strconv"

	"github.com/containercloud/cc/ccfs/tree"
	"github.com/containercloud/cc/fault"
	"github.com/containercloud/cc/words"
)

// session is a conversation: exec/N of a box. Its command is echo.
type session struct {
	thing
	box  *box
	text string
	done chan struct{}
	ran  bool
}

func (s *Sample) execDir() *tree.Dir {
	layout := &tree.Dir{Doc: "One conversation: it lives while a file of it is open.", Files: []tree.File{
		tree.CtlRow(
			tree.Verb{Name: "run", Args: "-- COMMAND", Doc: "Prints the command's words.", Run: runSession,
				Legal: func(r *tree.Request) bool { return !r.Object.(*session).started() }},
		),
		{Name: "stdout", Kind: tree.Stream, Mode: 0o444, Doc: "What it prints.", Stream: sessionOutput},
		{Name: "status", Kind: tree.Table, Mode: 0o444, Volatile: true, Doc: "state WORD.", Read: func(r *tree.Request) ([]byte, error) {
			if r.Object.(*session).started() {
				return []byte("state exited\n"), nil
			}
			return []byte("state new\nbox " + r.Outer.Meta().Name + "\n"), nil
		}},
		{Name: "wait", Kind: tree.Stream, Mode: 0o444, Doc: "Returns its exit code.", Stream: sessionWait},
	}}
	return &tree.Dir{
		Name: "exec", Hidden: true, Mode: 0o755, Doc: "Commands in the box: open new.",
		Files: []tree.File{{
			Name: "new", Kind: tree.Clone, Mode: 0o666, Doc: "A new conversation.",
			Clone: func(r *tree.Request) (tree.Object, error) { return theBox(r).newSession(r.Caller), nil },
		}},
		Objects: &tree.Collection{
			Noun: "session", Layout: layout,
			List:   func(r *tree.Request) ([]tree.Object, error) { return theBox(r).listSessions(), nil },
			Find:   func(r *tree.Request, name string) (tree.Object, error) { return theBox(r).findSession(name) },
			Remove: func(r *tree.Request, o tree.Object) error { return o.(*session).close() },
		},
	}
}

func (b *box) newSession(c tree.Caller) *session {
	b.mu.Lock()
	defer b.mu.Unlock()
	x := &session{box: b, done: make(chan struct{})}
	x.init(b.s, strconv.Itoa(b.next), c.UID, c.GID)
	b.next++
	b.sessions[x.meta.Name] = x
	return x
}

func (b *box) listSessions() (list []tree.Object) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, x := range b.sessions {
		list = append(list, x)
	}
	return list
}

func (b *box) findSession(name string) (tree.Object, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if x := b.sessions[name]; x != nil {
		return x, nil
	}
	return nil, fault.New(fault.NotFound, "no session %s", name)
}

func (x *session) close() error {
	x.box.mu.Lock()
	defer x.box.mu.Unlock()
	delete(x.box.sessions, x.meta.Name)
	return nil
}

func (x *session) started() bool {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.ran
}

func runSession(r *tree.Request, m words.Message) error {
	x := r.Object.(*session)
	if !m.HasCmd || len(m.Cmd) == 0 {
		return fault.New(fault.Invalid, "there is no command").WithHint("run -- COMMAND")
	}
	x.mu.Lock()
	x.ran = true
	x.text = words.Join(m.Cmd) + "\n"
	close(x.done)
	x.mu.Unlock()
	x.changed()
	return nil
}

func (x *session) until(ctx context.Context, nonblock bool) error {
	if nonblock && !x.started() {
		return fault.New(fault.NoData, "nothing yet")
	}
	select {
	case <-x.done:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// once is a stream of one record that comes when the session has run.
func (x *session) once(text func() string) tree.Conn {
	over := false
	return tree.Records(func(ctx context.Context, nonblock bool) ([]byte, error) {
		if over {
			return nil, io.EOF
		}
		if err := x.until(ctx, nonblock); err != nil {
			return nil, err
		}
		over = true
		return []byte(text()), nil
	})
}

func sessionOutput(r *tree.Request) (tree.Conn, error) {
	x := r.Object.(*session)
	return x.once(func() string {
		x.mu.Lock()
		defer x.mu.Unlock()
		return x.text
	}), nil
}

func sessionWait(r *tree.Request) (tree.Conn, error) {
	return r.Object.(*session).once(func() string { return "0\n" }), nil
}
