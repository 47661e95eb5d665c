package main

import (
	"strings"

	"github.com/containercloud/cc/words"
)

// keyed is a table file of `key value` lines, in order.
type keyed []words.Opt

// keys reads a file of `key value` lines, nil when it cannot be read.
func (t *tree) keys(name string) keyed { return parseKeys(t.value(name)) }

func parseKeys(text string) keyed {
	var list keyed
	for _, l := range words.Lines(text) {
		key, value, _ := strings.Cut(strings.TrimLeft(l, " \t"), " ")
		if key != "" && key[0] != '#' {
			list = append(list, words.Opt{Key: key, Value: words.Item(value)})
		}
	}
	return list
}

// get is the value of a key; `-` and a missing key are empty.
func (k keyed) get(key string) string {
	for _, o := range k {
		if o.Key == key && o.Value != "-" {
			return o.Value
		}
	}
	return ""
}

// fields cuts a line of a table into its columns, in which `-` is empty.
func fields(line string, n int) []string {
	ws, err := words.Split(line)
	if err != nil {
		ws = strings.Fields(line)
	}
	for i, w := range ws {
		if w == "-" {
			ws[i] = ""
		}
	}
	for len(ws) < n {
		ws = append(ws, "")
	}
	return ws
}

// tableLines are the lines of a table file without comments and blank lines.
func tableLines(text string) []string {
	var out []string
	for _, l := range words.Lines(text) {
		if s := strings.TrimSpace(l); s != "" && s[0] != '#' {
			out = append(out, l)
		}
	}
	return out
}
