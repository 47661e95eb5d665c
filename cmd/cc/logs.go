package main

import (
	"bytes"
	"encoding/json"
	"io"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/containercloud/cc/words"
)

var logsVerb = verb{
	name: "logs", also: []string{"container logs"}, args: "ID", short: "print what a container printed",
	long: `
Its standard output goes to standard output, its standard error to standard error. On a terminal, control characters
are shown as escapes; --raw passes them on. --since, --timestamps and --json look at the last 1,000 lines, which have
times. --json prints one object a line, {"stream","time","line"}; with --follow, what comes has the time at which cc
read it.`,
	examples: []string{"cc logs web", "cc logs -f --tail 20 web", "cc logs --since 5m web"},
	flags: []flag{
		{long: "follow", short: "f", doc: "go on until the container ends"},
		{long: "tail", short: "n", arg: "N", doc: "only the last N lines of each stream"},
		{long: "since", arg: "DURATION|TIME", doc: "only lines of the last 5m, or after an RFC 3339 time"},
		{long: "timestamps", short: "t", doc: "put each line's time before it"},
		{long: "raw", doc: "control characters as they are"},
	},
	min: 1, max: 1, objects: "container",
	run: runLogs,
}

func runLogs(c *call) error {
	dir, err := c.object("container", c.args[0])
	if err != nil {
		return err
	}
	out, err := c.logWriters()
	if err != nil {
		return err
	}
	have := [2]int64{-1, -1} // how many bytes of each stream were printed or skipped
	switch {
	case c.opt.has("since") || c.opt.on("timestamps") || c.opt.on("json"):
		have, err = c.timedLogs(dir, out)
	case c.opt.has("tail"):
		have, err = c.tailLogs(dir, out)
	case !c.opt.on("follow"):
		err = c.wholeLogs(dir, out)
	default:
		have = [2]int64{0, 0}
	}
	if err == nil && c.opt.on("follow") {
		err = c.followLogs(dir, have, out)
	}
	for _, w := range out {
		if s, ok := w.(interface{ flush() error }); ok && err == nil {
			err = s.flush()
		}
	}
	return err
}

var streams = [2]string{"stdout", "stderr"}

// logWriters are where the two streams go.
func (c *call) logWriters() ([2]io.Writer, error) {
	if c.opt.on("json") {
		mu := new(sync.Mutex)
		return [2]io.Writer{&jsonLines{c: c, mu: mu, stream: "stdout"}, &jsonLines{c: c, mu: mu, stream: "stderr"}}, nil
	}
	out := [2]io.Writer{c.out, c.err}
	for i, tty := range []bool{c.outTTY, c.errTTY} {
		if tty && !c.opt.on("raw") {
			out[i] = &safeWriter{w: out[i]}
		}
	}
	return out, nil
}

// jsonLines prints the lines of one stream as objects.
type jsonLines struct {
	c      *call
	mu     *sync.Mutex // of both streams
	stream string
	rest   []byte
}

func (j *jsonLines) Write(p []byte) (int, error) {
	j.rest = append(j.rest, p...)
	for {
		i := bytes.IndexByte(j.rest, '\n')
		if i < 0 {
			return len(p), nil
		}
		if err := j.line(logLine{j.stream, time.Now(), string(j.rest[:i])}); err != nil {
			return 0, err
		}
		j.rest = j.rest[i+1:]
	}
}

func (j *jsonLines) line(l logLine) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	return writeJSONLine(j.c.out, map[string]any{"stream": l.Stream, "time": l.Time.UTC(), "line": l.Line})
}

// flush prints a last line that has no end.
func (j *jsonLines) flush() error {
	if len(j.rest) == 0 {
		return nil
	}
	_, err := j.Write([]byte{'\n'})
	return err
}

// wholeLogs prints everything. Short logs of both streams come in the order of their lines.
func (c *call) wholeLogs(dir string, out [2]io.Writer) error {
	a, errA := c.tree.fs.Stat(dir + "/stdout")
	b, errB := c.tree.fs.Stat(dir + "/stderr")
	if errA == nil && errB == nil && a.Size > 0 && b.Size > 0 && a.Size+b.Size < 1<<20 {
		if lines, err := c.logLines(dir); err == nil && bytesOf(lines, "stdout") >= a.Size && bytesOf(lines, "stderr") >= b.Size {
			return printLines(lines, out, false)
		}
	}
	for i, name := range streams {
		if err := c.copyFile(dir+"/"+name, 0, out[i]); err != nil {
			return err
		}
	}
	return nil
}

// bytesOf counts what lines take in their stream's log.
func bytesOf(lines []logLine, stream string) int64 {
	var n int64
	for _, l := range lines {
		if l.Stream == stream {
			n += int64(len(l.Line)) + 1
		}
	}
	return n
}

// copyFile prints a log from an offset to its present end.
func (c *call) copyFile(name string, from int64, w io.Writer) error {
	f, err := c.tree.fs.Open(name, syscall.O_RDONLY)
	if err != nil {
		return c.tree.explain(err, "read "+name)
	}
	defer f.Close()
	buf := make([]byte, 1<<20)
	for {
		n, err := f.ReadAt(buf, from)
		from += int64(n)
		if n > 0 {
			if _, err := w.Write(buf[:n]); err != nil {
				return err
			}
		}
		if err == io.EOF || n == 0 && err == nil {
			return nil
		}
		if err != nil {
			return c.tree.explain(err, "read "+name)
		}
	}
}

// followLogs prints both streams behind what was printed, until the container ends.
func (c *call) followLogs(dir string, have [2]int64, out [2]io.Writer) error {
	done := make(chan error, len(streams))
	for i, name := range streams {
		at := dir + "/live/" + name
		f, err := c.tree.fs.Open(at, syscall.O_RDONLY)
		if err != nil {
			return c.tree.explain(err, "follow "+at)
		}
		go func() { done <- c.followOne(dir, at, f, have[i], out[i]) }()
	}
	var errs []error
	for range streams {
		if err := <-done; err != nil && !is(err, syscall.ENOENT) {
			errs = append(errs, c.tree.explain(err, "follow the logs of "+dir))
		}
	}
	return join(errs)
}

// followOne follows one stream. A daemon that ends in order ends its streams too: while the container runs,
// the end of a stream is not the end of the log.
func (c *call) followOne(dir, name string, f File, have int64, w io.Writer) error {
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		var err error
		have, err = c.tree.follow(name, f, have, w)
		if err != nil || c.tree.dry || !c.tree.stillRuns(dir) {
			return err
		}
		<-tick.C
		if f, err = c.tree.reopen(name); err != nil {
			return err
		}
	}
}

// stillRuns asks for a container's state, if need be of the next daemon.
func (t *tree) stillRuns(dir string) bool {
	b, err := t.patient(dir + "/status")
	return err == nil && running(parseKeys(string(b)).get("state"))
}

// tailLogs prints the last lines of each stream and says how far it came.
func (c *call) tailLogs(dir string, out [2]io.Writer) (have [2]int64, err error) {
	n, err := strconv.Atoi(c.opt.get("tail", ""))
	if c.opt.get("tail", "") == "all" {
		n, err = 1<<62, nil
	}
	if err != nil || n < 0 {
		return have, usagef("--tail wants a number of lines, not %q", c.opt.get("tail", ""))
	}
	for i, name := range streams {
		if have[i], err = c.tailFile(dir+"/"+name, n, out[i]); err != nil {
			return have, err
		}
	}
	return have, nil
}

// tailFile reads backwards in blocks until it has n lines.
func (c *call) tailFile(name string, n int, w io.Writer) (int64, error) {
	f, err := c.tree.fs.Open(name, syscall.O_RDONLY)
	if err != nil {
		return 0, c.tree.explain(err, "read "+name)
	}
	defer f.Close()
	info, err := c.tree.fs.Stat(name)
	if err != nil {
		return 0, c.tree.explain(err, "read "+name)
	}
	if n == 0 {
		return info.Size, nil
	}
	const block = 64 << 10
	start, lines := info.Size, 0
	for start > 0 && lines <= n {
		size := min(block, start)
		buf := make([]byte, size)
		m, err := f.ReadAt(buf, start-size)
		if err != nil && err != io.EOF {
			return 0, c.tree.explain(err, "read "+name)
		}
		for i := m - 1; i >= 0 && lines <= n; i-- {
			if buf[i] == '\n' && start-size+int64(i) != info.Size-1 {
				if lines++; lines >= n {
					from := start - size + int64(i) + 1
					return info.Size, c.copyRange(f, from, info.Size, w)
				}
			}
		}
		start -= size
	}
	return info.Size, c.copyRange(f, 0, info.Size, w)
}

func (c *call) copyRange(f File, from, to int64, w io.Writer) error {
	buf := make([]byte, min(1<<20, max(to-from, 1)))
	for from < to {
		n, err := f.ReadAt(buf[:min(int64(len(buf)), to-from)], from)
		if n == 0 && err == io.EOF {
			return nil
		}
		if err != nil && err != io.EOF {
			return err
		}
		if _, err := w.Write(buf[:n]); err != nil {
			return err
		}
		from += int64(n)
	}
	return nil
}

// logLine is one line of log.json.
type logLine struct {
	Stream string    `json:"stream"`
	Time   time.Time `json:"time"`
	Line   string    `json:"line"`
}

func (c *call) logLines(dir string) ([]logLine, error) {
	text, err := c.tree.read(dir + "/log.json")
	if err != nil {
		return nil, err
	}
	var lines []logLine
	for _, l := range bytes.Split([]byte(text), []byte("\n")) {
		var one logLine
		if json.Unmarshal(l, &one) == nil {
			one.Line = strings.TrimSuffix(one.Line, "\n")
			lines = append(lines, one)
		}
	}
	return lines, nil
}

// timedLogs prints the lines that have times and are young enough.
func (c *call) timedLogs(dir string, out [2]io.Writer) (have [2]int64, err error) {
	for i, name := range streams {
		if info, err := c.tree.fs.Stat(dir + "/" + name); err == nil {
			have[i] = info.Size
		}
	}
	since, err := parseSince(c.opt.get("since", ""))
	if err != nil {
		return have, err
	}
	lines, err := c.logLines(dir)
	if err != nil {
		return have, err
	}
	var young []logLine
	for _, l := range lines {
		if !l.Time.Before(since) {
			young = append(young, l)
		}
	}
	if text := c.opt.get("tail", ""); text != "" && text != "all" {
		n, err := strconv.Atoi(text)
		if err != nil || n < 0 {
			return have, usagef("--tail wants a number of lines, not %q", text)
		}
		young = lastOfEach(young, n)
	}
	return have, printLines(young, out, c.opt.on("timestamps"))
}

// lastOfEach keeps the last n lines of each stream, in their order.
func lastOfEach(lines []logLine, n int) []logLine {
	var kept []logLine
	left := map[string]int{}
	for _, l := range slices.Backward(lines) {
		if left[l.Stream]++; left[l.Stream] <= n {
			kept = append(kept, l)
		}
	}
	slices.Reverse(kept)
	return kept
}

func printLines(lines []logLine, out [2]io.Writer, stamps bool) error {
	for _, l := range lines {
		w := out[0]
		if l.Stream == "stderr" {
			w = out[1]
		}
		if j, ok := w.(*jsonLines); ok {
			if err := j.line(l); err != nil {
				return err
			}
			continue
		}
		text := l.Line + "\n"
		if stamps {
			text = l.Time.UTC().Format("2006-01-02T15:04:05.000Z") + " " + text
		}
		if _, err := io.WriteString(w, text); err != nil {
			return err
		}
	}
	return nil
}

// parseSince reads 5m, or an RFC 3339 time; empty is the beginning.
func parseSince(s string) (time.Time, error) {
	if s == "" {
		return time.Time{}, nil
	}
	if when, err := time.Parse(time.RFC3339Nano, s); err == nil {
		return when, nil
	}
	d, err := words.Duration(s)
	if err != nil {
		return time.Time{}, usagef("--since wants a duration as 5m or an RFC 3339 time, not %q", s)
	}
	return time.Now().Add(-d), nil
}
