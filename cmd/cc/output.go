package main

import (
	"encoding/json"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// column is one column of a table: its name is the header in capitals and the key in JSON.
type column struct {
	name string
	kind columnKind
	wide bool // only with --columns, and in JSON
}

type columnKind int

const (
	plain  columnKind = iota
	age               // RFC 3339; an age on terminals
	count             // a number
	size              // a number; 12.3M on terminals
	number            // a number with a point
	text              // as long as the terminal leaves room for
)

// table is rows of text under columns.
type table struct {
	noun    string // the key of the list in JSON: "containers"
	columns []column
	rows    [][]string
}

// tableFlags are the options of everything that prints a table.
var tableFlags = []flag{
	{long: "quiet", short: "q", doc: "names only"},
	{long: "columns", arg: "A,B", doc: "these columns, in this order"},
	{long: "no-headers", doc: "no first line on terminals"},
}

func (t *table) add(cells ...string) { t.rows = append(t.rows, cells) }

// print writes a table: JSON when asked, aligned with a header on terminals, else tab separated.
func (c *call) print(t *table) error {
	if c.opt.on("json") {
		return writeJSON(c.out, map[string]any{t.noun: t.objects()})
	}
	pick, err := c.pick(t)
	if err != nil {
		return err
	}
	var lines [][]string
	if c.outTTY && !c.opt.on("no-headers") && !c.opt.on("quiet") {
		var head []string
		for _, i := range pick {
			head = append(head, strings.ToUpper(t.columns[i].name))
		}
		lines = append(lines, head)
	}
	for _, row := range t.rows {
		var cells []string
		for _, i := range pick {
			cells = append(cells, c.cell(t.columns[i], row[i]))
		}
		lines = append(lines, cells)
	}
	for at, i := range pick {
		if c.outTTY && t.columns[i].kind == text {
			fit(lines, at, c.columns())
		}
	}
	return c.writeLines(lines)
}

// pick chooses the columns to print.
func (c *call) pick(t *table) ([]int, error) {
	var pick []int
	switch names := c.opt.get("columns", ""); {
	case c.opt.on("quiet"):
		return []int{0}, nil
	case names != "":
		for name := range strings.SplitSeq(strings.ToLower(names), ",") {
			i := t.column(name)
			if i < 0 {
				return nil, usagef("no column %q", name).withHint("there is: %s", strings.Join(t.names(), ","))
			}
			pick = append(pick, i)
		}
		return pick, nil
	}
	for i, col := range t.columns {
		if !col.wide {
			pick = append(pick, i)
		}
	}
	return pick, nil
}

func (t *table) names() []string {
	var names []string
	for _, col := range t.columns {
		names = append(names, col.name)
	}
	return names
}

func (t *table) column(name string) int {
	for i, col := range t.columns {
		if col.name == name {
			return i
		}
	}
	return -1
}

func (c *call) cell(col column, s string) string {
	switch {
	case s == "":
		return "-"
	case !c.outTTY:
		return strings.NewReplacer("\t", " ", "\n", " ").Replace(s)
	case col.kind == age:
		return ago(s)
	case col.kind == size:
		return humanBytes(s)
	}
	return escape(strings.ReplaceAll(s, "\n", `\n`))
}

func (c *call) writeLines(lines [][]string) error {
	var b strings.Builder
	if !c.outTTY {
		for _, cells := range lines {
			b.WriteString(strings.Join(cells, "\t") + "\n")
		}
		_, err := io.WriteString(c.out, b.String())
		return err
	}
	width := widths(lines)
	for _, cells := range lines {
		for i, s := range cells {
			b.WriteString(s)
			if i < len(cells)-1 {
				b.WriteString(strings.Repeat(" ", width[i]-utf8.RuneCountInString(s)+2))
			}
		}
		b.WriteByte('\n')
	}
	_, err := io.WriteString(c.out, b.String())
	return err
}

// widths are the widths of a table's columns.
func widths(lines [][]string) []int {
	var width []int
	for _, cells := range lines {
		for i, s := range cells {
			if i == len(width) {
				width = append(width, 0)
			}
			width[i] = max(width[i], utf8.RuneCountInString(s))
		}
	}
	return width
}

// fit cuts the cells of one column so that lines are not longer than a terminal is wide.
func fit(lines [][]string, column, terminal int) {
	room := terminal
	for i, w := range widths(lines) {
		if i != column {
			room -= w + 2
		}
	}
	room = max(room, 16)
	for _, cells := range lines {
		if r := []rune(cells[column]); len(r) > room {
			cells[column] = string(r[:room-1]) + "…"
		}
	}
}

// objects are the rows for JSON: numbers are numbers, what is not there is null.
func (t *table) objects() []map[string]any {
	list := make([]map[string]any, 0, len(t.rows))
	for _, row := range t.rows {
		m := make(map[string]any, len(row))
		for i, col := range t.columns {
			m[col.name] = jsonValue(col.kind, row[i])
		}
		list = append(list, m)
	}
	return list
}

func jsonValue(kind columnKind, s string) any {
	if s == "" {
		return nil
	}
	if kind == count || kind == size || kind == number {
		if n := json.Number(s); isNumber(n) {
			return n
		}
	}
	return s
}

func isNumber(n json.Number) bool {
	_, err := n.Float64()
	return err == nil
}

// writeJSONLine writes one object of many, on one line.
func writeJSONLine(w io.Writer, m map[string]any) error {
	m["v"] = 1
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	return e.Encode(m)
}

// writeJSON writes one object with the version of our JSON first among its meanings.
func writeJSON(w io.Writer, m map[string]any) error {
	m["v"] = 1
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	return e.Encode(m)
}

// ago is how long ago an RFC 3339 time was, as people say it: 5s 12m 3h 9d.
func ago(stamp string) string {
	when, err := time.Parse(time.RFC3339Nano, stamp)
	if err != nil {
		return escape(stamp)
	}
	d := time.Since(when)
	switch {
	case d < 0:
		return "0s"
	case d < 2*time.Minute:
		return fmt.Sprintf("%ds", int(d.Seconds()))
	case d < 2*time.Hour:
		return fmt.Sprintf("%dm", int(d.Minutes()))
	case d < 48*time.Hour:
		return fmt.Sprintf("%dh", int(d.Hours()))
	}
	return fmt.Sprintf("%dd", int(d.Hours()/24))
}

func humanBytes(s string) string {
	n, err := strconv.ParseFloat(s, 64)
	if err != nil {
		return escape(s)
	}
	unit := 0
	for n >= 1024 && unit < 4 {
		n /= 1024
		unit++
	}
	if unit == 0 {
		return s
	}
	return strconv.FormatFloat(n, 'f', 1, 64) + "KMGT"[unit-1:unit]
}

// say prints one line of output.
func (c *call) say(s string) {
	fmt.Fprintln(c.out, c.safe(s, c.outTTY))
}

// note prints one line for the user beside the output.
func (c *call) note(format string, args ...any) {
	fmt.Fprintln(c.err, "cc: "+c.safe(fmt.Sprintf(format, args...), c.errTTY))
}
