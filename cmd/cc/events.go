package main

import (
	"bytes"
	"io"
	"strings"
	"time"
)

var eventsVerb = verb{
	name: "events", args: "[ID]", short: "print what happened",
	long:     `The last 1,000 events; with --follow those that come, behind what --since asks for. --json prints one object a line.`,
	examples: []string{"cc events", "cc events -f", "cc events --since 10m web"},
	flags: []flag{
		{long: "follow", short: "f", doc: "go on with what happens"},
		{long: "since", arg: "DURATION|TIME", doc: "only what is younger"},
	},
	max: 1, objects: "any",
	run: runEvents,
}

func runEvents(c *call) error {
	since, err := parseSince(c.opt.get("since", ""))
	if err != nil {
		return err
	}
	if c.opt.on("follow") && !c.opt.has("since") {
		since = c.tree.since
	}
	w := &eventWriter{c: c, since: since}
	if len(c.args) == 1 {
		if w.object, err = c.anyObject(c.args[0]); err != nil {
			return err
		}
	}
	if !c.opt.on("follow") {
		text, err := c.tree.read("events")
		if err != nil {
			return err
		}
		_, err = io.WriteString(w, text)
		return err
	}
	return c.followEvents(w)
}

// followEvents prints the past and what comes.
func (c *call) followEvents(w *eventWriter) error {
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for {
		// The stream is open before the past is read, so that nothing falls between them.
		f, err := c.tree.reopen("live/events")
		if err != nil {
			return c.tree.explain(err, "follow events")
		}
		text, err := c.tree.patient("events")
		if err == nil {
			_, err = w.Write(text)
		}
		if err == nil {
			_, err = copyStream(w, f)
		}
		_ = f.Close()
		if err != nil && !gone(err) {
			return c.tree.explain(err, "follow events")
		}
		if c.tree.dry || !c.tree.another() {
			return nil
		}
		<-tick.C
	}
}

// another reports whether a stream that never ends ended because its daemon did, and waits for the next one.
func (t *tree) another() bool {
	_, mounted := t.fs.(osFS)
	return mounted && t.back()
}

// eventWriter prints event lines `REV TIME KIND OBJECT key=value...`, each revision once.
type eventWriter struct {
	c      *call
	object string
	since  time.Time
	last   int64
	rest   []byte
}

func (w *eventWriter) Write(p []byte) (int, error) {
	w.rest = append(w.rest, p...)
	for {
		i := bytes.IndexByte(w.rest, '\n')
		if i < 0 {
			return len(p), nil
		}
		l := string(w.rest[:i])
		w.rest = w.rest[i+1:]
		if err := w.line(l); err != nil {
			return 0, err
		}
	}
}

func (w *eventWriter) line(l string) error {
	f := fields(l, 4)
	rev := keyed{{Key: "rev", Value: f[0]}}.number("rev")
	if rev == 0 || rev <= w.last {
		return nil
	}
	w.last = rev
	if when, err := time.Parse(time.RFC3339Nano, f[1]); err == nil && when.Before(w.since) {
		return nil
	}
	if w.object != "" && f[3] != w.object {
		return nil
	}
	if w.c.opt.on("json") {
		more := map[string]string{}
		for _, kv := range f[4:] {
			k, v, _ := strings.Cut(kv, "=")
			more[k] = v
		}
		return writeJSONLine(w.c.out, map[string]any{"rev": rev, "time": f[1], "kind": f[2], "object": f[3], "fields": more})
	}
	_, err := io.WriteString(w.c.out, w.c.safe(l, w.c.outTTY)+"\n")
	return err
}
