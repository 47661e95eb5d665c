package main

import (
	"fmt"
	"strings"

	"github.com/containercloud/cc/words"
)

// verb is one row of the table: what is typed, what it needs, what it does.
type verb struct {
	noun     string // "vpc", "image" ...; empty for the short form
	name     string
	also     []string // other spellings, the whole verb: "container list"
	args     string   // "[ID...]"
	short    string   // one line for lists
	long     string   // what the manual adds
	examples []string
	flags    []flag
	command  bool   // options end at the first word: the rest is a container's program
	min, max int    // number of words; max -1: any
	objects  string // what completion offers for the words: "container", "vpc", "image", "any", "file", "topic" ...
	hidden   bool
	under    string // the noun whose help lists it too: "container"
	run      func(*call) error
}

// full is the verb as it is typed after cc.
func (v *verb) full() string { return strings.TrimSpace(v.noun + " " + v.name) }

// matches reports how many words of argv name this verb, 0 when they do not.
func (v *verb) matches(argv []string) int {
	for _, name := range append([]string{v.full()}, v.also...) {
		want := strings.Fields(name)
		if len(argv) >= len(want) && strings.Join(argv[:len(want)], " ") == name {
			return len(want)
		}
	}
	return 0
}

// findVerb finds the verb at the head of argv: the longest name that fits.
func findVerb(argv []string) (*verb, []string, error) {
	var best *verb
	words := 0
	for _, v := range verbs() {
		if n := v.matches(argv); n > words {
			best, words = v, n
		}
	}
	if best != nil {
		return best, argv[words:], nil
	}
	return nil, nil, unknownVerb(argv)
}

func unknownVerb(argv []string) error {
	if len(argv) == 0 {
		return usagef("no verb").withHint("cc help lists the verbs")
	}
	if under := nounVerbs(argv[0]); len(under) > 0 {
		if len(argv) == 1 {
			return usagef("%s needs a verb: %s", argv[0], strings.Join(under, " ")).withHint("cc help %s", argv[0])
		}
		return usagef("no verb %q for %s", argv[1], argv[0]).withHint("there is: %s", strings.Join(under, " "))
	}
	var names []string
	for _, v := range verbs() {
		if !v.hidden && v.noun == "" {
			names = append(names, v.name)
		}
	}
	if near := words.Nearest(argv[0], names); near != "" {
		return usagef("no verb %q", argv[0]).withHint("did you mean cc %s?", near)
	}
	return usagef("no verb %q", argv[0]).withHint("cc help lists the verbs")
}

// nounVerbs are the verbs below a noun.
func nounVerbs(noun string) []string {
	var names []string
	for _, v := range verbs() {
		for _, full := range append([]string{v.full()}, v.also...) {
			if name, ok := strings.CutPrefix(full, noun+" "); ok && !v.hidden && !contains(names, name) {
				names = append(names, name)
			}
		}
	}
	return names
}

func contains(list []string, s string) bool {
	for _, have := range list {
		if have == s {
			return true
		}
	}
	return false
}

// usage is the verb's first line of help.
func (v *verb) usage() string {
	s := "cc " + v.full()
	if len(v.flags) > 0 {
		s += " [OPTION...]"
	}
	if v.args != "" {
		s += " " + v.args
	}
	return s
}

// label is an option as help prints it: "-m, --memory SIZE".
func (f flag) label() string {
	s := "    "
	if f.short != "" {
		s = "-" + f.short
		if len(f.long) > 1 {
			s += ", "
		}
	}
	if len(f.long) > 1 {
		s += "--" + f.long
	}
	if f.arg != "" {
		s += " " + f.arg
	}
	return s
}

// help is the whole manual of one verb.
func (v *verb) help() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s\n\n%s.\n", v.usage(), strings.ToUpper(v.short[:1])+v.short[1:])
	if v.long != "" {
		b.WriteString("\n" + strings.TrimSpace(v.long) + "\n")
	}
	if len(v.also) > 0 {
		b.WriteString("\nAlso: cc " + strings.Join(v.also, ", cc ") + "\n")
	}
	if len(v.flags) > 0 {
		b.WriteString("\nOptions:\n" + flagLines(v.flags))
	}
	if len(v.examples) > 0 {
		b.WriteString("\nExamples:\n")
		for _, e := range v.examples {
			b.WriteString("  " + e + "\n")
		}
	}
	return b.String()
}

func flagLines(flags []flag) string {
	var b strings.Builder
	width := 0
	for _, f := range flags {
		width = max(width, len(f.label()))
	}
	for _, f := range flags {
		fmt.Fprintf(&b, "  %-*s  %s\n", width, f.label(), f.doc)
	}
	return b.String()
}
