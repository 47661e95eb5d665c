package treetest

import (
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/containercloud/cc/ccfs/tree"
	"github.com/containercloud/cc/fault"
	"github.com/containercloud/cc/words"
)

// box is like a container: defined, then running after `start`, then exited.
type box struct {
	thing
	spec     boxSpec
	state    string
	exit     string
	out      *output
	in       chan string
	root     *os.Root
	sessions map[string]*session
	next     int
}

type boxSpec struct {
	Image       string
	Args        []string
	Env         map[string]string
	Dir         string
	Net         string
	Memory      int64
	StopTimeout time.Duration
	Policy      string
	Secret      string
}

var boxSettings = []tree.Setting[boxSpec]{
	{Name: "image", When: tree.AtStart, Syntax: "REF", Default: "builtin", Doc: "What it runs.",
		Value: tree.TextOf(func(s *boxSpec) *string { return &s.Image }, nil)},
	{Name: "args", Kind: tree.List, When: tree.AtStart, Syntax: "WORD", Doc: "The command, one word a line.",
		Value: tree.ItemsOf(func(s *boxSpec) *[]string { return &s.Args }, nil)},
	{Name: "env", Sealed: true, Kind: tree.Table, When: tree.AtStart, Syntax: "KEY VALUE", Doc: "The environment.",
		Option: "env", OptionLine: func(v string) string {
			key, value, _ := strings.Cut(v, "=")
			return tree.FormatPair(key, value)
		},
		Value: tree.PairsOf(func(s *boxSpec) *map[string]string { return &s.Env }, func(key, _ string) error {
			if strings.Contains(key, "=") {
				return fault.New(fault.Invalid, "bad variable %q", key)
			}
			return nil
		})},
	{Name: "dir", When: tree.AtStart, Syntax: "PATH", Default: "/", Doc: "Where it starts.",
		Value: tree.TextOf(func(s *boxSpec) *string { return &s.Dir }, nil)},
	{Name: "net", When: tree.AtStart, Syntax: "NAME", Doc: "Its net.",
		Value: tree.TextOf(func(s *boxSpec) *string { return &s.Net }, nil)},
	{Name: "memory", When: tree.Live, Syntax: "BYTES|max", Default: "max", Doc: "Its limit.",
		Value: tree.SizeOf(func(s *boxSpec) *int64 { return &s.Memory })},
	{Name: "stop.timeout", When: tree.Live, Syntax: "DURATION", Default: "10s", Doc: "How long stop waits before it kills.",
		Value: tree.DurationOf(func(s *boxSpec) *time.Duration { return &s.StopTimeout })},
	{Name: "log/policy", When: tree.Live, Syntax: "drop|block", Default: "drop", Doc: "What a full log does.",
		Value: tree.TextOf(func(s *boxSpec) *string { return &s.Policy }, func(text string) error {
			if text != "drop" && text != "block" {
				return fault.New(fault.Invalid, "%q is neither drop nor block", text)
			}
			return nil
		})},
	{Name: "secret", Secret: true, When: tree.Live, Syntax: "TEXT", Doc: "Written and never read.",
		Value: tree.TextOf(func(s *boxSpec) *string { return &s.Secret }, nil)},
}

var boxRows = tree.Settings[boxSpec]{
	Rows: boxSettings,
	Spec: func(o tree.Object) boxSpec {
		b := o.(*box)
		b.mu.Lock()
		defer b.mu.Unlock()
		return b.spec
	},
	Update: func(_ *tree.Request, o tree.Object, change func(*boxSpec) error) error {
		return o.(*box).update(change)
	},
}

func (b *box) update(change func(*boxSpec) error) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	next := b.spec
	if err := change(&next); err != nil {
		return err
	}
	if next.Net != b.spec.Net && b.state == "running" {
		return fault.New(fault.Fixed, "the net is fixed while it runs")
	}
	b.spec = next
	b.meta.Version++
	return nil
}

func (b *box) netName() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.spec.Net
}

func (b *box) now() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.state
}

// to changes the state and tells everyone.
func (b *box) to(state, exit string) {
	b.mu.Lock()
	old := b.state
	b.state, b.exit = state, exit
	name, id := b.meta.Name, string(b.meta.ID)
	b.mu.Unlock()
	b.s.log.Add(state, "box/"+name, id, "from", old)
	b.changed()
}

func theBox(r *tree.Request) *box { return r.Object.(*box) }

func in(states ...string) func(*tree.Request) bool {
	return func(r *tree.Request) bool { return slices.Contains(states, theBox(r).now()) }
}

func (s *Sample) boxVerbs() []tree.Verb {
	return []tree.Verb{
		{Name: "start", Doc: "Runs it.", Legal: in("defined", "exited"), Run: func(r *tree.Request, _ words.Message) error {
			if boxRows.Spec(r.Object).Image == "none" {
				return fault.New(fault.NotFound, "no image %q", "none").WithHint("cc image list")
			}
			theBox(r).to("running", "")
			return nil
		}},
		{Name: "stop", Args: "[timeout=DURATION] [wait=DURATION]", Doc: "Ends it.", Legal: in("running"), Run: func(r *tree.Request, m words.Message) error {
			theBox(r).to("exited", "0")
			return nil
		}},
		{Name: "exit", Args: "CODE [after=DURATION] [wait=DURATION]", Doc: "Ends by itself.", Legal: in("running"), Run: exitLater},
		{Name: "say", Args: "WORD... [times=N]", Doc: "Prints a line.", Run: say},
		{Name: "rotate", Doc: "Cuts off the head of the log.", Run: func(r *tree.Request, _ words.Message) error {
			theBox(r).out.rotate()
			theBox(r).changed()
			return nil
		}},
		{Name: "delete", Args: "[force]", Doc: "Ends and removes it.", Run: func(r *tree.Request, m words.Message) error {
			if err := r.MayRemove("delete"); err != nil {
				return err
			}
			if slices.Contains(m.Args, "force") {
				theBox(r).to("exited", "137")
			}
			return s.removeBox(theBox(r))
		}},
	}
}

// exitLater answers at once and ends the box a little later, unless told to wait.
func exitLater(r *tree.Request, m words.Message) error {
	b, code := theBox(r), "0"
	if len(m.Args) > 0 {
		code = m.Args[0]
	}
	after := time.Duration(0)
	if text, ok := m.Opt("after"); ok {
		d, err := words.Duration(text)
		if err != nil {
			return err
		}
		after = d
	}
	wait, err := tree.Wait(m)
	if err != nil {
		return err
	}
	time.AfterFunc(after, func() { b.to("exited", code) })
	return r.WaitFor(wait, func() (bool, error) { return b.now() == "exited", nil })
}

func say(r *tree.Request, m words.Message) error {
	times := 1
	if text, ok := m.Opt("times"); ok {
		n, err := strconv.Atoi(text)
		if err != nil {
			return fault.New(fault.Invalid, "times=%s is not a number", text)
		}
		times = n
	}
	theBox(r).out.print(strings.Repeat(strings.Join(m.Args, " ")+"\n", times))
	return nil
}

func (s *Sample) boxCollection() *tree.Collection {
	d := &tree.Dir{Doc: "One box.", Files: boxFiles(), Dirs: []*tree.Dir{s.execDir(), {
		Name: "root", Hidden: true, Mode: 0o755, Doc: "Its files.",
		Host: func(r *tree.Request) (tree.HostDir, error) { return theBox(r).hostDir() },
	}}}
	boxRows.Fill(d)
	tree.Common{
		Verbs:  s.boxVerbs(),
		State:  func(r *tree.Request) string { return theBox(r).now() },
		Status: func(r *tree.Request) []words.Opt { return []words.Opt{{Key: "exit", Value: theBox(r).exitCode()}} },
		UsedBy: func(*tree.Request) []string { return nil },
		Metrics: func(r *tree.Request) ([]byte, error) {
			return []byte("# TYPE box_up gauge\nbox_up 1\n"), nil
		},
		Events:    &s.log,
		EventName: func(r *tree.Request) string { return "box/" + r.Object.Meta().Name },
		States:    []string{"defined", "running", "exited"},
	}.Fill(d)
	d.Sub("live").Files = append(d.Sub("live").Files, tree.File{
		Name: "stdout", Kind: tree.Stream, Mode: 0o444, Doc: "What it prints, for ever.",
		Stream: func(r *tree.Request) (tree.Conn, error) { return theBox(r).out.follow(), nil },
	})
	return &tree.Collection{
		Noun: "box", Layout: d,
		List:    func(*tree.Request) ([]tree.Object, error) { return list(s, s.boxes), nil },
		Find:    func(_ *tree.Request, name string) (tree.Object, error) { return find(s, s.boxes, name) },
		Make:    func(r *tree.Request, name string) (tree.Object, error) { return s.makeBox(name, r.Caller) },
		Remove:  func(_ *tree.Request, o tree.Object) error { return s.removeBox(o.(*box)) },
		Busy:    func(_ *tree.Request, o tree.Object) error { return o.(*box).busy() },
		Defined: func(_ *tree.Request, o tree.Object) bool { return o.(*box).now() == "defined" },
		Rename:  func(_ *tree.Request, o tree.Object, name string) error { return s.renameBox(o.(*box), name) },
	}
}

func boxFiles() []tree.File {
	return []tree.File{
		{Name: "pid", Kind: tree.Scalar, Mode: 0o444, Volatile: true, Doc: "Its process, empty when none.",
			Read: func(r *tree.Request) ([]byte, error) {
				if theBox(r).now() != "running" {
					return nil, nil
				}
				return []byte("4711\n"), nil
			}},
		{Name: "stdin", Kind: tree.Stream, Mode: 0o220, Hidden: true, Doc: "What it reads.",
			Stream: func(r *tree.Request) (tree.Conn, error) { return stdin{theBox(r)}, nil }},
		{Name: "stdout", Kind: tree.Log, Mode: 0o444, Volatile: true, Doc: "What it printed.",
			Log: func(r *tree.Request) (tree.LogFile, error) { return theBox(r).out.view(), nil }},
	}
}

func (b *box) exitCode() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.exit == "" {
		return "-"
	}
	return b.exit
}

func (b *box) busy() error {
	if state := b.now(); state == "running" {
		return fault.New(fault.Busy, "it is %s", state).WithHint("echo stop > ctl")
	}
	return nil
}

func (b *box) hostDir() (tree.HostDir, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.root == nil {
		root, err := b.s.rootOf(string(b.meta.ID))
		if err != nil {
			return tree.HostDir{}, err
		}
		b.root = root
	}
	return tree.HostDir{Root: b.root, UIDBase: 100000, UIDs: 1 << 24}, nil
}

func (s *Sample) makeBox(name string, c tree.Caller) (*box, error) {
	b := &box{
		spec:  boxSpec{Image: "builtin", Dir: "/", Memory: words.Max, StopTimeout: 10 * time.Second, Policy: "drop"},
		state: "defined", out: newOutput(), in: make(chan string, 16), sessions: map[string]*session{},
	}
	b.init(s, name, c.UID, c.GID)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.boxes[name] != nil {
		return nil, fault.New(fault.Exists, "box %s exists", name)
	}
	s.boxes[name] = b
	s.log.Add("created", "box/"+name, string(b.meta.ID))
	return b, nil
}

func (s *Sample) removeBox(b *box) error {
	if err := b.busy(); err != nil {
		return err
	}
	id, name := b.Identity()
	s.mu.Lock()
	if s.boxes[name] == b {
		delete(s.boxes, name)
	}
	s.mu.Unlock()
	b.out.end()
	s.log.Add("deleted", "box/"+name, string(id))
	s.Tree.Removed(id)
	s.Tree.ChangedNames("box", name)
	return nil
}

func (s *Sample) renameBox(b *box, name string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.boxes[name] != nil {
		return fault.New(fault.Exists, "box %s exists", name)
	}
	_, old := b.Identity()
	delete(s.boxes, old)
	s.boxes[name] = b
	b.mu.Lock()
	defer b.mu.Unlock()
	b.meta.Name = name
	b.meta.Version++
	return nil
}

func (s *Sample) boxesVerbs() []tree.Verb {
	return []tree.Verb{{
		Name: "run", Args: "[name=NAME] [SETTING=VALUE...] -- COMMAND", Doc: "Makes and starts a box; replies `NAME ID`.",
		Run: func(r *tree.Request, m words.Message) error {
			name, _ := m.Take("name")
			b, err := s.makeBox(name, r.Caller)
			if err != nil {
				return err
			}
			err = b.update(func(spec *boxSpec) error {
				spec.Args = m.Cmd
				return boxRows.SetOpts(spec, m.Opts)
			})
			if err != nil {
				_ = s.removeBox(b)
				return fault.Wrap(err, "cannot run %s", name)
			}
			s.Tree.ChangedNames("box", name)
			b.to("running", "")
			r.Reply(name + " " + string(b.meta.ID) + "\n")
			return nil
		},
	}}
}

func (s *Sample) boxIndex(*tree.Request) ([]byte, error) {
	var lines []string
	for _, o := range list(s, s.boxes) {
		id, name := o.(*box).Identity()
		lines = append(lines, fmt.Sprintf("%s %s %s\n", name, id, o.(*box).now()))
	}
	slices.Sort(lines)
	return []byte(strings.Join(lines, "")), nil
}

func (s *Sample) fill(r *tree.Request, m words.Message) error {
	n := 0
	if len(m.Args) == 1 {
		n, _ = strconv.Atoi(m.Args[0])
	}
	for i := range n {
		if _, err := s.makeBox(fmt.Sprintf("box-%05d", i), r.Caller); err != nil {
			return err
		}
	}
	s.Tree.ChangedNames("box", "")
	return nil
}
