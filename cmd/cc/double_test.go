package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/creack/pty"
	"golang.org/x/sys/unix"

	"github.com/containercloud/cc/ccfs/fusefs"
	engine "github.com/containercloud/cc/ccfs/tree"
	"github.com/containercloud/cc/fault"
	"github.com/containercloud/cc/object"
	"github.com/containercloud/cc/words"
)

// double is a daemon whose containers are plain processes of this host: the real tree engine and the real FUSE
// door, so that cc meets blocking reads, interrupts and ends of streams as they are, without a runtime below.
type double struct {
	mu   sync.Mutex
	list map[string]*proc
	next int
	tree *engine.Tree
}

// proc is one process, as a container or as an exec session.
type proc struct {
	meta     object.Meta
	failures object.Failures
	d        *double

	mu    sync.Mutex
	wake  chan struct{} // closed and replaced when anything below changes
	out   [2][]byte
	open  int // streams that can still grow
	state string
	exit  string
	cmd   *exec.Cmd
	stdin io.WriteCloser
	tty   *os.File
}

func (p *proc) Meta() object.Meta          { p.mu.Lock(); defer p.mu.Unlock(); return p.meta.Clone() }
func (p *proc) Failures() *object.Failures { return &p.failures }
func (p *proc) SetMeta(_ context.Context, f func(*object.Meta) error) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	return f(&p.meta)
}

func (p *proc) change(f func()) {
	p.mu.Lock()
	f()
	close(p.wake)
	p.wake = make(chan struct{})
	p.mu.Unlock()
	p.d.tree.Changed(p.meta.ID)
}

func (d *double) make(name string) *proc {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.next++
	if name == "" {
		name = fmt.Sprintf("c%07x", d.next)
	}
	p := &proc{d: d, meta: object.Meta{ID: object.NewID(), Name: name, Created: time.Now(), Version: 1}, wake: make(chan struct{}), state: "defined"}
	return p
}

// start runs a command with the options of a run line.
func (p *proc) start(m words.Message) error {
	if len(m.Cmd) == 0 {
		m.Cmd = []string{"sh"}
	}
	path, err := exec.LookPath(m.Cmd[0])
	if err != nil {
		return fault.New(fault.NotFound, "cannot run container: execve %s: no such file or directory", m.Cmd[0])
	}
	p.cmd = exec.Command(path, m.Cmd[1:]...)
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Pdeathsig: syscall.SIGKILL}
	for _, o := range m.Opts {
		if o.Key == "env" {
			p.cmd.Env = append(p.cmd.Environ(), o.Value)
		}
	}
	if size, ok := m.Opt("tty"); ok && size != "off" {
		return p.startTTY(size)
	}
	stdin, _ := m.Opt("stdin")
	if stdin != "off" {
		if p.stdin, err = p.cmd.StdinPipe(); err != nil {
			return err
		}
	}
	stdout, _ := p.cmd.StdoutPipe()
	stderr, _ := p.cmd.StderrPipe()
	return p.follow(stdout, stderr)
}

func (p *proc) startTTY(size string) error {
	master, slave, err := pty.Open()
	if err != nil {
		return err
	}
	p.tty, p.stdin = master, master
	_ = p.resize(size)
	p.cmd.Stdin, p.cmd.Stdout, p.cmd.Stderr = slave, slave, slave
	p.cmd.SysProcAttr.Setctty = true
	err = p.follow(master)
	_ = slave.Close()
	return err
}

func (p *proc) resize(size string) error {
	cols, rows, _ := strings.Cut(size, "x")
	c, _ := strconv.Atoi(cols)
	r, _ := strconv.Atoi(rows)
	return pty.Setsize(p.tty, &pty.Winsize{Cols: uint16(c), Rows: uint16(r)})
}

// follow starts the process and keeps what it prints and how it ends.
func (p *proc) follow(streams ...io.Reader) error {
	if err := p.cmd.Start(); err != nil {
		return err
	}
	p.change(func() { p.state, p.open = "running", len(streams) })
	var all sync.WaitGroup
	for i, r := range streams {
		all.Go(func() {
			buf := make([]byte, 4096)
			for {
				n, err := r.Read(buf)
				p.change(func() { p.out[i] = append(p.out[i], buf[:n]...) })
				if err != nil {
					return
				}
			}
		})
	}
	go func() {
		all.Wait()
		_ = p.cmd.Wait()
		st := p.cmd.ProcessState.Sys().(syscall.WaitStatus)
		line := fmt.Sprintf("%d - 0 %s 0\n", st.ExitStatus(), time.Now().UTC().Format(time.RFC3339))
		if st.Signaled() {
			line = fmt.Sprintf("%d %s 0 %s 0\n", 128+int(st.Signal()), unix.SignalName(st.Signal()), time.Now().UTC().Format(time.RFC3339))
		}
		p.change(func() { p.state, p.exit, p.open = "exited", line, 0 })
	}()
	return nil
}

// growing is a stream that follows one of a process's outputs.
type growing struct {
	p   *proc
	i   int
	off int
}

func (g *growing) Read(ctx context.Context, b []byte, nonblock bool) (int, error) {
	for {
		g.p.mu.Lock()
		n := copy(b, g.p.out[g.i][g.off:])
		wake, over := g.p.wake, g.p.state == "exited"
		g.p.mu.Unlock()
		switch {
		case n > 0:
			g.off += n
			return n, nil
		case over:
			return 0, io.EOF
		case nonblock:
			return 0, fault.New(fault.NoData, "nothing")
		}
		select {
		case <-wake:
		case <-ctx.Done():
			return 0, ctx.Err()
		}
	}
}
func (g *growing) Write(context.Context, []byte) (int, error) { return 0, fault.New(fault.Fixed, "no") }
func (g *growing) Close() error                               { return nil }

// feed is a process's input.
type feed struct {
	p   *proc
	eof bool // the last close ends the input
}

func (f *feed) Read(context.Context, []byte, bool) (int, error) {
	return 0, fault.New(fault.Fixed, "no")
}
func (f *feed) Write(_ context.Context, b []byte) (int, error) { return f.p.stdin.Write(b) }
func (f *feed) Close() error {
	if f.eof && f.p.tty == nil {
		return f.p.stdin.Close()
	}
	return nil
}

func of(r *engine.Request) *proc { return r.Object.(*proc) }

func stream(name string, mode uint32, open func(p *proc) engine.Conn) engine.File {
	return engine.File{Name: name, Kind: engine.Stream, Mode: mode, Doc: "A stream.", Stream: func(r *engine.Request) (engine.Conn, error) { return open(of(r)), nil }}
}

func output(i int) func(*proc) engine.Conn {
	return func(p *proc) engine.Conn { return &growing{p: p, i: i} }
}

// verbs are those of a process's ctl.
func (d *double) verbs() []engine.Verb {
	verb := func(name string, run func(p *proc, m words.Message) error) engine.Verb {
		return engine.Verb{Name: name, Doc: "A verb.", Run: func(r *engine.Request, m words.Message) error { return run(of(r), m) }}
	}
	signal := func(p *proc, m words.Message) error {
		sig := "KILL"
		if len(m.Args) > 0 {
			sig = m.Args[0]
		}
		return p.cmd.Process.Signal(unix.SignalNum("SIG" + sig))
	}
	return []engine.Verb{
		verb("signal", signal), verb("kill", signal),
		verb("stop", func(p *proc, _ words.Message) error {
			if p.state != "running" {
				return fault.New(fault.Busy, "cannot stop %s: it is %s", p.meta.Name, p.state)
			}
			return p.cmd.Process.Signal(syscall.SIGTERM)
		}),
		verb("eof", func(p *proc, _ words.Message) error { return p.stdin.Close() }),
		verb("resize", func(p *proc, m words.Message) error { return p.resize(m.Args[0]) }),
	}
}

// root is the double's tree.
func (d *double) root() *engine.Dir {
	layout := &engine.Dir{Doc: "A container.", Files: []engine.File{
		stream("stdin", 0o220, func(p *proc) engine.Conn { return &feed{p: p} }),
		{Name: "exit", Kind: engine.Table, Mode: 0o444, Volatile: true, Doc: "The end.", Read: func(r *engine.Request) ([]byte, error) {
			p := of(r)
			p.mu.Lock()
			defer p.mu.Unlock()
			return []byte(p.exit), nil
		}},
	}}
	layout.Dirs = []*engine.Dir{{Name: "exec", Hidden: true, Doc: "Sessions.", Files: []engine.File{{
		Name: "new", Kind: engine.Clone, Mode: 0o660, Doc: "A session.",
		Clone: func(*engine.Request) (engine.Object, error) { return d.keep(d.make("")), nil },
	}}, Objects: &engine.Collection{Noun: "exec", Layout: d.session(), List: d.objects, Find: d.find,
		Remove: func(_ *engine.Request, o engine.Object) error { return d.remove(o.(*proc)) }}}}
	engine.Common{
		Verbs: d.verbs(), States: []string{"running", "exited"},
		State:  func(r *engine.Request) string { p := of(r); p.mu.Lock(); defer p.mu.Unlock(); return p.state },
		Status: func(*engine.Request) []words.Opt { return nil }, UsedBy: func(*engine.Request) []string { return nil },
	}.Fill(layout)
	live := layout.Sub("live")
	live.Files = append(live.Files, stream("stdout", 0o440, output(0)), stream("stderr", 0o440, output(1)))
	root := &engine.Dir{Mode: 0o755, Doc: "A double.", Dirs: []*engine.Dir{{
		Name: "container", Mode: 0o775, Doc: "Processes.",
		Files: []engine.File{{Name: "ctl", Kind: engine.Ctl, Mode: 0o660, Doc: "Run.", Verbs: []engine.Verb{{Name: "run", Doc: "Run.", Run: d.run}}}},
		Objects: &engine.Collection{Noun: "container", Layout: layout, List: d.objects, Find: d.find,
			Remove: func(_ *engine.Request, o engine.Object) error { return d.remove(o.(*proc)) }},
	}}}
	engine.Root{Version: "double"}.Fill(root)
	return root
}

func (d *double) session() *engine.Dir {
	wait := func(p *proc) engine.Conn {
		return engine.Records(func(ctx context.Context, nonblock bool) ([]byte, error) {
			g := &growing{p: p, off: len(p.out[0])}
			buf := make([]byte, 4096)
			for {
				if _, err := g.Read(ctx, buf, nonblock); err == io.EOF {
					break
				} else if err != nil {
					return nil, err
				}
			}
			p.mu.Lock()
			defer p.mu.Unlock()
			line := []byte(p.exit)
			p.exit = ""
			if len(line) == 0 {
				return nil, io.EOF
			}
			return line, nil
		})
	}
	return &engine.Dir{Doc: "A session.", Files: []engine.File{
		engine.CtlRow(append(d.verbs(), engine.Verb{Name: "run", Doc: "Run.", Run: func(r *engine.Request, m words.Message) error { return of(r).start(m) }})...),
		stream("stdin", 0o220, func(p *proc) engine.Conn { return &feed{p, true} }),
		stream("stdout", 0o440, output(0)), stream("stderr", 0o440, output(1)), stream("wait", 0o444, wait),
	}}
}

func (d *double) keep(p *proc) *proc {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.list[p.meta.Name] = p
	return p
}

func (d *double) objects(*engine.Request) ([]engine.Object, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	var all []engine.Object
	for _, p := range d.list {
		all = append(all, p)
	}
	return all, nil
}

func (d *double) find(_ *engine.Request, name string) (engine.Object, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if p := d.list[name]; p != nil {
		return p, nil
	}
	return nil, fault.New(fault.NotFound, "no container %q", name)
}

func (d *double) remove(p *proc) error {
	if p.cmd != nil && p.cmd.Process != nil && p.state == "running" {
		_ = p.cmd.Process.Kill()
	}
	d.mu.Lock()
	delete(d.list, p.meta.Name)
	d.mu.Unlock()
	d.tree.Removed(p.meta.ID)
	return nil
}

func (d *double) run(r *engine.Request, m words.Message) error {
	name, _ := m.Opt("name")
	p := d.make(name)
	if err := p.start(m); err != nil {
		return err
	}
	d.keep(p)
	r.Reply(p.meta.Name + " " + string(p.meta.ID) + "\n")
	return nil
}

// serve mounts a double until standard input ends.
func serve(dir string) error {
	d := &double{list: map[string]*proc{}}
	d.tree = engine.New(d.root(), engine.Options{})
	s, err := fusefs.Mount(context.Background(), d.tree, fusefs.Options{Dir: dir, Source: "cc-double"})
	if err != nil {
		return err
	}
	fmt.Println("ready")
	_, _ = io.Copy(io.Discard, os.Stdin)
	_ = s.Unmount()
	s.Wait()
	return d.tree.Close()
}
