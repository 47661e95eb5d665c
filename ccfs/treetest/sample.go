// Package treetest says what a tree must do, whichever door it is seen through: a sample tree with every kind of file,
// functions that try it through a small file system interface (in process, or through a mount), and scripts that try it
// with the tools that people use. Each fact that was found by watching those tools is one function or script.
package treetest

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/containercloud/cc/ccfs/tree"
	"github.com/containercloud/cc/event"
	"github.com/containercloud/cc/fault"
	"github.com/containercloud/cc/object"
	"github.com/containercloud/cc/words"
)

// Sample is a small cloud of its own: nets and boxes, with no kernel behind them. Everything that happens in it is
// asked for through its tree, so that a test need not be in the same process.
type Sample struct {
	Tree *tree.Tree
	dir  string // real directories for root/
	log  event.Log

	mu      sync.Mutex
	nets    map[string]*net
	boxes   map[string]*box
	audit   []string
	counter uint64
}

// New makes a sample tree that keeps real files in dir.
func New(dir string, o tree.Options) *Sample {
	s := &Sample{dir: dir, nets: map[string]*net{}, boxes: map[string]*box{}}
	o.Audit = s.note
	if o.Deadline == 0 {
		o.Deadline = 5 * time.Second
	}
	s.Tree = tree.New(s.Root(), o)
	return s
}

// Root is the sample's table.
func (s *Sample) Root() *tree.Dir {
	root := &tree.Dir{
		Doc: "A cloud to try doors on.",
		Files: []tree.File{
			tree.CtlRow(s.rootVerbs()...),
			{
				Name: "audit", Kind: tree.Table, Mode: 0o444, Volatile: true, Doc: "What was changed: door uid op path value errno.",
				Read: func(*tree.Request) ([]byte, error) {
					s.mu.Lock()
					defer s.mu.Unlock()
					return []byte(strings.Join(s.audit, "")), nil
				},
			},
			{
				Name: "broken", Kind: tree.Scalar, Mode: 0o444, Volatile: true, Hidden: true, Doc: "Its row panics.",
				Read: func(*tree.Request) ([]byte, error) { panic("on purpose") },
			},
			{
				Name: "counter", Kind: tree.Table, Mode: 0o444, Volatile: true, Doc: "Another number at every look, always as wide.",
				Read: func(*tree.Request) ([]byte, error) {
					s.mu.Lock()
					defer s.mu.Unlock()
					s.counter++
					return fmt.Appendf(nil, "count %020d\n", s.counter), nil
				},
			},
		},
		Dirs: []*tree.Dir{
			{Name: "net", Mode: 0o777, Doc: "Networks.", Objects: s.netCollection()},
			{
				Name: "box", Mode: 0o1777, Doc: "Boxes.", Objects: s.boxCollection(),
				Files: []tree.File{
					{Name: "ctl", Kind: tree.Ctl, Mode: 0o666, Volatile: true, Doc: "Makes boxes.", Verbs: s.boxesVerbs()},
					{Name: "index", Kind: tree.Table, Mode: 0o444, Volatile: true, Doc: "NAME ID STATE.", Read: s.boxIndex},
				},
			},
			{Name: "image", Doc: "Links and files made elsewhere.", Entries: images{}},
		},
	}
	tree.Root{Version: "sample", Events: &s.log}.Fill(root)
	return root
}

func (s *Sample) rootVerbs() []tree.Verb {
	return []tree.Verb{
		{Name: "fill", Args: "N", Doc: "Makes N boxes box-00000 ...", Run: s.fill},
		{Name: "panic", Doc: "The row panics.", Run: func(*tree.Request, words.Message) error { panic("on purpose") }},
		{Name: "sleep", Args: "[wait=DURATION]", Doc: "Waits.", Run: func(r *tree.Request, m words.Message) error {
			d, err := tree.Wait(m)
			if err != nil {
				return err
			}
			return r.WaitFor(d, func() (bool, error) { return false, nil })
		}},
		{Name: "stuck", Doc: "Never ends, whatever its context says.", Run: func(*tree.Request, words.Message) error { select {} }},
		{Name: "echo", Args: "WORD...", Doc: "Replies with the words.", Run: func(r *tree.Request, m words.Message) error {
			r.Reply(words.Join(m.Args) + "\n")
			return nil
		}},
		{Name: "fail", Args: "KIND", Doc: "Fails so.", Run: fail},
	}
}

// fail answers each class of failure, for tests of errno.
func fail(_ *tree.Request, m words.Message) error {
	for k := fault.Invalid; k <= fault.Unsupported; k++ {
		if len(m.Args) == 1 && k.String() == m.Args[0] {
			return fault.New(k, "cannot do it: as asked").WithHint("ask for something else")
		}
	}
	return fault.New(fault.Invalid, "no kind %q", m.Args)
}

func (s *Sample) note(a tree.Audit) {
	s.mu.Lock()
	defer s.mu.Unlock()
	line := words.Join([]string{a.Caller.Door, fmt.Sprint(a.Caller.UID), a.Op, a.Path, a.Value, fmt.Sprint(int(fault.Errno(a.Err)))})
	s.audit = append(s.audit, strings.ReplaceAll(line, "\n", "; ")+"\n")
	if len(s.audit) > 1000 {
		s.audit = s.audit[len(s.audit)-1000:]
	}
}

// thing is what nets and boxes share: the part of a domain object that every noun has.
type thing struct {
	s        *Sample
	failures object.Failures

	mu   sync.Mutex
	meta object.Meta
}

func (t *thing) init(s *Sample, name string, uid, gid uint32) {
	t.s = s
	t.meta = object.Meta{ID: object.NewID(), Name: name, Created: time.Now(), Version: 1, UID: uid, GID: gid}
}

func (t *thing) Failures() *object.Failures { return &t.failures }

func (t *thing) Meta() object.Meta {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.meta.Clone()
}

func (t *thing) Identity() (object.ID, string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.meta.ID, t.meta.Name
}

func (t *thing) SetMeta(_ context.Context, change func(*object.Meta) error) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	m := t.meta.Clone()
	if err := change(&m); err != nil {
		return err
	}
	m.Version++
	t.meta = m
	return nil
}

// changed is what cmd/ccd wires between the domain and the tree.
func (t *thing) changed(files ...string) {
	id, _ := t.Identity()
	t.s.Tree.Changed(id, files...)
}

// find looks an object up by name or id.
func find[T interface {
	comparable
	tree.Object
}](s *Sample, m map[string]T, name string) (tree.Object, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if o, ok := m[name]; ok {
		return o, nil
	}
	for _, o := range m {
		if string(o.Meta().ID) == name {
			return o, nil
		}
	}
	return nil, fault.New(fault.NotFound, "no object %s", name)
}

func list[T tree.Object](s *Sample, m map[string]T) []tree.Object {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := make([]tree.Object, 0, len(m))
	for _, o := range m {
		out = append(out, o)
	}
	return out
}

// images is image/: `ref/NAME` links to digests, and `digest/D/size`.
type images struct{}

var sampleImages = map[string]string{"busybox": "sha256-aa", "registry:5000/team/app:1": "sha256-bb"}

func (images) Entry(_ *tree.Request, p string) (tree.Entry, error) {
	dir, rest, _ := strings.Cut(p, "/")
	switch dir {
	case "ref":
		if d, ok := sampleImages[rest]; ok {
			up := strings.Repeat("../", 1+strings.Count(rest, "/"))
			return tree.Entry{Name: filepath.Base(rest), Link: up + "digest/" + d}, nil
		}
		for ref := range sampleImages {
			if rest == "" || strings.HasPrefix(ref, rest+"/") {
				return tree.Entry{Name: filepath.Base(p)}, nil
			}
		}
	case "digest":
		parts := strings.Split(rest, "/")
		known := rest == "" || slices.Contains([]string{"sha256-aa", "sha256-bb"}, parts[0])
		switch {
		case known && len(parts) == 1:
			return tree.Entry{Name: filepath.Base(p)}, nil
		case known && len(parts) == 2 && parts[1] == "size":
			return tree.Entry{Name: "size", File: &tree.File{
				Name: "size", Kind: tree.Scalar, Mode: 0o444,
				Read: func(*tree.Request) ([]byte, error) { return []byte("4711\n"), nil },
			}}, nil
		}
	}
	return tree.Entry{}, fault.New(fault.NotFound, "no image %s", p)
}

func (i images) Entries(r *tree.Request, p string) ([]tree.Entry, error) {
	var names []string
	switch {
	case p == "":
		names = []string{"ref", "digest"}
	case p == "digest":
		names = []string{"sha256-aa", "sha256-bb"}
	case strings.HasPrefix(p, "digest/"):
		names = []string{"size"}
	default:
		for ref := range sampleImages {
			if below, ok := strings.CutPrefix("ref/"+ref, p+"/"); ok {
				name, _, _ := strings.Cut(below, "/")
				names = append(names, name)
			}
		}
	}
	slices.Sort(names)
	var out []tree.Entry
	for _, name := range slices.Compact(names) {
		e, err := i.Entry(r, strings.TrimPrefix(p+"/"+name, "/"))
		if err != nil {
			return nil, err
		}
		out = append(out, e)
	}
	return out, nil
}

// rootOf opens the real directory behind a box's root/.
func (s *Sample) rootOf(name string) (*os.Root, error) {
	dir := filepath.Join(s.dir, name)
	if err := os.MkdirAll(filepath.Join(dir, "etc"), 0o755); err != nil {
		return nil, err
	}
	if err := os.WriteFile(filepath.Join(dir, "etc", "hostname"), []byte(name+"\n"), 0o644); err != nil {
		return nil, err
	}
	// Not everywhere may one make devices; where it fails the tests find none.
	_ = unix.Mkfifo(filepath.Join(dir, "etc", "fifo"), 0o666)
	_ = unix.Mknod(filepath.Join(dir, "etc", "null"), unix.S_IFCHR|0o666, int(unix.Mkdev(1, 3)))
	return os.OpenRoot(dir)
}
