package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"
)

// series are the times of one contestant.
type series []time.Duration

func (s series) at(q float64) time.Duration {
	if len(s) == 0 {
		return 0
	}
	t := slices.Clone(s)
	slices.Sort(t)
	return t[min(len(t)-1, int(q*float64(len(t))))]
}

func (s series) p50() time.Duration { return s.at(0.5) }
func (s series) p99() time.Duration { return s.at(0.99) }

// line is one row of the report: a value of ours, of a peer, their ratio, and what it must be.
type line struct {
	What  string  `json:"what"`
	Ours  string  `json:"ours"`
	Peer  string  `json:"peer"`
	Value string  `json:"peer_value"`
	Ratio float64 `json:"ratio,omitempty"` // ours / peer
	Must  float64 `json:"must,omitempty"`
	// More says that a larger ratio is better (rates, throughputs).
	More bool `json:"more_is_better,omitempty"`
}

// ok says whether the target is met; a line without one always is.
func (l line) ok() bool {
	switch {
	case l.Must == 0:
		return true
	case l.More:
		return l.Ratio >= l.Must
	}
	return l.Ratio <= l.Must
}

type report struct{ lines []line }

// times adds a comparison of two durations.
func (r *report) times(what string, ours time.Duration, peer string, theirs time.Duration, must float64) {
	r.add(line{What: what, Ours: ms(ours), Peer: peer, Value: ms(theirs), Ratio: ratio(float64(ours), float64(theirs)), Must: must})
}

// more adds a comparison of two numbers of which more is better.
func (r *report) more(what, format string, ours float64, peer string, theirs, must float64) {
	r.add(line{What: what, Ours: fmt.Sprintf(format, ours), Peer: peer, Value: fmt.Sprintf(format, theirs), Ratio: ratio(ours, theirs), Must: must, More: true})
}

// limit adds a value with a bound of its own.
func (r *report) limit(what, format string, ours, bound float64) {
	r.add(line{What: what, Ours: fmt.Sprintf(format, ours), Peer: "target", Value: fmt.Sprintf(format, bound), Ratio: ratio(ours, bound), Must: 1})
}

func (r *report) add(l line) {
	r.lines = append(r.lines, l)
	fmt.Printf("%-58s %12s   %-28s %12s  x%.2f %s\n", l.What, l.Ours, l.Peer, l.Value, l.Ratio, verdict(l))
}

func verdict(l line) string {
	if l.Must == 0 {
		return ""
	}
	sign := "<="
	if l.More {
		sign = ">="
	}
	word := "met"
	if !l.ok() {
		word = "MISSED"
	}
	return fmt.Sprintf("%s (must be %s %.2f)", word, sign, l.Must)
}

func ratio(a, b float64) float64 {
	if b == 0 {
		return 0
	}
	return a / b
}

func ms(d time.Duration) string { return fmt.Sprintf("%.3f ms", float64(d)/1e6) }

func (r *report) write(dir string) error {
	if dir == "-" {
		return nil
	}
	text, err := json.MarshalIndent(map[string]any{
		"time": time.Now().UTC().Format(time.RFC3339), "kernel": kernel(), "cpus": runtime.NumCPU(), "rounds": *n, "lines": r.lines,
	}, "", "  ")
	if err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(dir, "benchmarks.json"), append(text, '\n'), 0o644); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, "BENCHMARKS.md"), []byte(r.markdown(dir)), 0o644)
}

// notesMark divides the generated table from what people wrote about it, which is kept.
const notesMark = "<!-- notes: kept by make bench -->"

func (r *report) markdown(dir string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "# Benchmarks\n\nWritten by `make bench` on %s: Linux %s, %d processors, %d rounds. Contestants take turns in one loop; medians unless a line says\notherwise. Only the ratios (ours / peer) mean something on another machine.\n\n", time.Now().UTC().Format("2006-01-02"), kernel(), runtime.NumCPU(), *n)
	b.WriteString("| what | Container Cloud | peer | its value | ratio | target |\n|---|---|---|---|---|---|\n")
	for _, l := range r.lines {
		fmt.Fprintf(&b, "| %s | %s | %s | %s | %.2f | %s |\n", l.What, l.Ours, l.Peer, l.Value, l.Ratio, verdict(l))
	}
	b.WriteString("\n" + notesMark + "\n")
	if old, err := os.ReadFile(filepath.Join(dir, "BENCHMARKS.md")); err == nil {
		if _, notes, ok := strings.Cut(string(old), notesMark+"\n"); ok {
			b.WriteString(notes)
		}
	}
	return b.String()
}

func kernel() string {
	text, _ := os.ReadFile("/proc/sys/kernel/osrelease")
	return strings.TrimSpace(string(text))
}
