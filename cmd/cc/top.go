package main

import (
	"fmt"
	"io"
	"os"
	"os/signal"
	"strconv"
	"syscall"
	"time"

	"github.com/containercloud/cc/words"
)

var topVerb = verb{
	name: "top", also: []string{"container top", "stats"}, args: "[ID...]", short: "show what containers use, or the processes of one",
	long: `
Without ID: processor, memory, tasks and network of every running container, again every two seconds on a
terminal until q or Ctrl-C, once in a pipe. With ID: that container's processes.`,
	examples: []string{"cc top", "cc top web", "cc top --once --json"},
	flags:    append([]flag{{long: "once", doc: "one table, then end"}}, tableFlags...),
	max:      -1, objects: "container",
	run: runTop,
}

func runTop(c *call) error {
	if len(c.args) > 0 {
		return c.processes()
	}
	before := c.sample()
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	stopped := make(chan os.Signal, 1)
	signal.Notify(stopped, syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP, syscall.SIGQUIT) // the terminal must be as it was
	defer signal.Stop(stopped)
	endless := c.outTTY && !c.opt.on("once") && !c.opt.on("json")
	quit := make(chan struct{})
	if endless && c.inTTY {
		restore, err := keyMode(c.fds[0])
		if err != nil {
			return failedf(exitFailed, "cannot use the terminal: %v", err)
		}
		defer restore()
		go c.awaitKey('q', quit)
	}
	for {
		select {
		case <-tick.C:
		case sig := <-stopped:
			if sig == syscall.SIGINT {
				return nil
			}
			return exitStatus(128 + int(sig.(syscall.Signal)))
		case <-quit:
			return nil
		}
		now := c.sample()
		if endless {
			_, _ = io.WriteString(c.out, "\x1b[H\x1b[2J") // home, clear
		}
		if err := c.print(usage(before, now)); err != nil || !endless {
			return err
		}
		tick.Reset(2 * time.Second)
		before = now
	}
}

// awaitKey closes pressed when the user typed a key.
func (c *call) awaitKey(key byte, pressed chan struct{}) {
	buf := make([]byte, 1)
	for {
		if n, err := c.in.Read(buf); n == 0 || err != nil {
			return
		}
		if buf[0] == key {
			close(pressed)
			return
		}
	}
}

// usageSample is the counters of all running containers at one moment.
type usageSample struct {
	at    time.Time
	rows  []containerRow
	stats map[string]keyed
}

func (c *call) sample() usageSample {
	s := usageSample{at: time.Now(), stats: map[string]keyed{}}
	rows, err := c.containerRows()
	if err != nil {
		return s
	}
	for _, r := range rows {
		if running(r.state) {
			s.rows = append(s.rows, r)
			s.stats[r.id] = c.tree.keys("container/" + r.name + "/stat")
		}
	}
	return s
}

// usage makes a table of what happened between two samples.
func usage(a, b usageSample) *table {
	t := &table{noun: "containers", columns: []column{
		{name: "name"}, {name: "cpu%", kind: number}, {name: "memory", kind: size}, {name: "tasks", kind: count},
		{name: "received", kind: size}, {name: "sent", kind: size}, {name: "state"}, {name: "id", wide: true},
	}}
	for _, r := range b.rows {
		now := b.stats[r.id]
		cpu := ""
		if before, ok := a.stats[r.id]; ok {
			used := float64(now.number("cpu.usage") - before.number("cpu.usage")) // microseconds
			cpu = fmt.Sprintf("%.1f", 100*used/float64(b.at.Sub(a.at).Microseconds()))
		}
		n := func(key string) string { return strconv.FormatInt(now.number(key), 10) }
		t.add(r.name, cpu, n("memory.current"), n("pids.current"), n("net.rx.bytes"), n("net.tx.bytes"), r.state, r.id)
	}
	return t
}

func (k keyed) number(key string) int64 {
	n, _ := strconv.ParseInt(k.get(key), 10, 64)
	return n
}

// processes prints the processes of the containers named.
func (c *call) processes() error {
	t := &table{noun: "processes", columns: []column{
		{name: "container", wide: len(c.args) == 1}, {name: "pid", kind: count}, {name: "ppid", kind: count}, {name: "user"},
		{name: "cpu", kind: number}, {name: "memory", kind: size}, {name: "state"}, {name: "command", kind: text},
	}}
	dirs, errs := c.containers()
	for _, dir := range dirs {
		text, err := c.tree.read(dir + "/procs")
		errs = append(errs, err)
		for _, l := range tableLines(text) {
			w := fields(l, 7) // PID PPID USER CPU MEMORY STATE ARGS
			t.add(dir[len("container/"):], w[0], w[1], w[2], w[3], w[4], w[5], joined(w[6:]))
		}
	}
	if err := join(errs); err != nil {
		return err
	}
	return c.print(t)
}

// joined is a column of words: one quoted word, or the rest of the line.
func joined(w []string) string {
	if len(w) == 1 {
		return w[0]
	}
	return words.Join(w)
}
