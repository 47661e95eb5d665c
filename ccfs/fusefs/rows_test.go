package fusefs

import (
	"context"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/containercloud/cc/ccfs/tree"
	"github.com/containercloud/cc/fault"
	"github.com/containercloud/cc/object"
	"github.com/containercloud/cc/words"
)

// rows is a table with what a door must be tried on, below:
//
//	state    volatile, another content at each rendering   stream   blocks; prints what is written to it
//	ctl      wait (until its caller stops), nothing        log      a real file, CC_FUSEFS_LOG
//	panic    its row panics                                hang       its row sleeps and ignores its context
//	few/ thousand/ tenthousand/   objects: thing-00000/{setting,version,owned}
//	slow/    mkdir announces the name, prints "made" on stream, and goes on when its caller stops
type rows struct {
	t     *tree.Tree
	count atomic.Uint64
	log   string
	lines chan string
}

func rowsTree() (*tree.Tree, error) {
	r := &rows{log: os.Getenv("CC_FUSEFS_LOG"), lines: make(chan string, 100)}
	dir := &tree.Dir{Mode: 0o755, Doc: "rows for tests", Files: []tree.File{
		{Name: "state", Kind: tree.Table, Mode: 0o444, Volatile: true, Read: r.readState},
		{Name: "stream", Kind: tree.Stream, Mode: 0o666, Stream: func(*tree.Request) (tree.Conn, error) { return &pipe{r}, nil }},
		{Name: "ctl", Kind: tree.Ctl, Mode: 0o666, Verbs: []tree.Verb{
			{Name: "wait", Doc: "waits", Run: r.wait},
			{Name: "nothing", Doc: "does nothing", Run: func(*tree.Request, words.Message) error { return nil }},
		}},
		{Name: "panic", Kind: tree.Scalar, Mode: 0o444, Volatile: true, Read: func(*tree.Request) ([]byte, error) { panic("on purpose") }},
		{Name: "hang", Kind: tree.Scalar, Mode: 0o444, Volatile: true, Hidden: true, Read: hang},
	}}
	if r.log != "" {
		dir.Files = append(dir.Files, tree.File{Name: "log", Kind: tree.Log, Mode: 0o444, Log: r.openLog})
	}
	for name, n := range map[string]int{"few": 3, "thousand": 1000, "tenthousand": 10000} {
		dir.Dirs = append(dir.Dirs, &tree.Dir{Name: name, Mode: 0o755, Doc: "objects", Objects: things(n)})
	}
	slow := things(0)
	slow.Make = r.makeSlowly
	dir.Dirs = append(dir.Dirs, &tree.Dir{Name: "slow", Mode: 0o755, Doc: "objects", Objects: slow})
	slices.SortFunc(dir.Dirs, func(a, b *tree.Dir) int { return len(a.Name) - len(b.Name) })
	r.t = tree.New(dir, tree.Options{})
	return r.t, nil
}

func (r *rows) readState(*tree.Request) ([]byte, error) {
	return fmt.Appendf(nil, "state running\nsince 2026-01-01T00:00:00Z\npid 4711\nip 10.1.0.2\nrestarts %010d\n", r.count.Add(1)), nil
}

func (r *rows) wait(q *tree.Request, _ words.Message) error {
	<-q.Done()
	return q.Err()
}

func (r *rows) makeSlowly(q *tree.Request, name string) (tree.Object, error) {
	r.t.ChangedNames("slow", name)
	r.lines <- "made"
	<-q.Done()
	return nil, q.Err()
}

func hang(*tree.Request) ([]byte, error) {
	time.Sleep(time.Hour)
	return nil, nil
}

// pipe is a stream that everybody shares: what one writes, one other reads.
type pipe struct{ r *rows }

func (p *pipe) Read(ctx context.Context, b []byte, nonblock bool) (int, error) {
	if nonblock {
		select {
		case s := <-p.r.lines:
			return copy(b, s), nil
		default:
			return 0, fault.New(fault.NoData, "nothing yet")
		}
	}
	select {
	case s, ok := <-p.r.lines:
		if !ok {
			return 0, io.EOF
		}
		return copy(b, s), nil
	case <-ctx.Done():
		return 0, fault.Wrap(ctx.Err(), "interrupted")
	}
}

func (p *pipe) Write(ctx context.Context, b []byte) (int, error) {
	select {
	case p.r.lines <- string(b):
		return len(b), nil
	case <-ctx.Done():
		return 0, fault.Wrap(ctx.Err(), "interrupted")
	}
}

func (p *pipe) Close() error { return nil }

type logFile struct{ *os.File }

func (r *rows) openLog(*tree.Request) (tree.LogFile, error) {
	f, err := os.Open(r.log)
	return logFile{f}, err
}

func (l logFile) Size() (int64, time.Time, error) {
	st, err := l.Stat()
	if err != nil {
		return 0, time.Time{}, err
	}
	return st.Size(), st.ModTime(), nil
}

func (l logFile) Backing() int       { return int(l.Fd()) }
func (l logFile) Generation() uint64 { return 0 }

// thing is an object with a setting; version grows in length, so that a stale size can be seen.
type thing struct {
	failures object.Failures

	mu      sync.Mutex
	meta    object.Meta
	setting string
}

func (o *thing) Failures() *object.Failures { return &o.failures }

func (o *thing) Meta() object.Meta {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.meta.Clone()
}

func (o *thing) Identity() (object.ID, string) { return o.meta.ID, o.meta.Name }

func (o *thing) SetMeta(_ context.Context, change func(*object.Meta) error) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	m := o.meta.Clone()
	if err := change(&m); err != nil {
		return err
	}
	m.Version++
	o.meta = m
	return nil
}

func thingOf(q *tree.Request) *thing { return q.Object.(*thing) }

func readSetting(q *tree.Request) ([]byte, error) {
	o := thingOf(q)
	o.mu.Lock()
	defer o.mu.Unlock()
	return []byte(o.setting + "\n"), nil
}

func writeSetting(q *tree.Request, text string) error {
	if text == "bad" {
		return fault.New(fault.Invalid, "bad value %q", text)
	}
	o := thingOf(q)
	o.mu.Lock()
	defer o.mu.Unlock()
	o.setting = text
	o.meta.Version++
	return nil
}

func readVersion(q *tree.Request) ([]byte, error) {
	return []byte(strings.Repeat("x", int(thingOf(q).Meta().Version)) + "\n"), nil
}

func things(n int) *tree.Collection {
	list := make([]tree.Object, n)
	byName := map[string]tree.Object{}
	for i := range list {
		o := &thing{setting: "one", meta: object.Meta{
			ID: object.NewID(), Name: fmt.Sprintf("thing-%05d", i), Created: time.Now(), UID: 1000, GID: 2000,
		}}
		list[i], byName[o.meta.Name] = o, o
	}
	return &tree.Collection{
		Noun: "thing",
		Layout: &tree.Dir{Mode: 0o755, Doc: "a thing", Files: []tree.File{
			{Name: "setting", Kind: tree.Scalar, Mode: 0o664, When: tree.Live, Read: readSetting, Write: writeSetting},
			{Name: "version", Kind: tree.Scalar, Mode: 0o444, Read: readVersion},
			{Name: "owned", Kind: tree.Scalar, Mode: 0o440, Read: readVersion},
		}},
		List: func(*tree.Request) ([]tree.Object, error) { return list, nil },
		Find: func(_ *tree.Request, name string) (tree.Object, error) {
			if o := byName[name]; o != nil {
				return o, nil
			}
			return nil, fault.New(fault.NotFound, "no thing %s", name)
		},
	}
}
