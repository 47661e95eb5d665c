package main

import (
	_ "embed"
	"strings"
)

//go:embed completion/cc.bash
var bashCompletion string

//go:embed completion/cc.zsh
var zshCompletion string

//go:embed completion/cc.fish
var fishCompletion string

var completionVerb = verb{
	name: "completion", args: "bash|zsh|fish", short: "print the shell's completion script",
	long: `Objects are listed by reading directories of the tree: fast, and only what you may see.`,
	examples: []string{
		"source <(cc completion bash)",
		"cc completion zsh > \"${fpath[1]}/_cc\"",
		"cc completion fish > ~/.config/fish/completions/cc.fish",
	},
	min: 1, max: 1, objects: "words bash zsh fish",
	run: func(c *call) error {
		switch c.args[0] {
		case "bash":
			return c.text(bashCompletion)
		case "zsh":
			return c.text(zshCompletion)
		case "fish":
			return c.text(fishCompletion)
		}
		return usagef("completion is for bash, zsh and fish, not %s", c.args[0])
	},
}

// completeVerb answers the completion scripts: its words are those typed after cc, the last one unfinished.
// A line of output is `WORD<tab>DESCRIPTION`; the line `:file` asks the shell for file names.
func completeVerb() *verb {
	return &verb{
		name: "__complete", args: "WORD...", short: "answer a completion script", hidden: true,
		command: true, max: -1,
		run: runComplete,
	}
}

func runComplete(c *call) error {
	if len(c.args) == 0 {
		c.args = []string{""}
	}
	var b strings.Builder
	for _, w := range c.complete(c.args) {
		b.WriteString(w + "\n")
	}
	return c.text(b.String())
}

// complete lists what may stand in place of the last word.
func (c *call) complete(typed []string) []string {
	last := typed[len(typed)-1]
	before := skipGlobals(typed[:len(typed)-1])
	v, rest, err := findVerb(before)
	if err != nil || len(rest) == 0 && longer(before) {
		if strings.HasPrefix(last, "-") {
			return starting(last, flagWords(globals))
		}
		if words := nextWords(before, last); len(words) > 0 || err != nil {
			return words
		}
	}
	flags := append(append([]flag(nil), v.flags...), globals...)
	if len(rest) > 0 {
		if f := wantsValue(flags, rest[len(rest)-1]); f != nil {
			return starting(last, c.offers(f.from, nil))
		}
	}
	if name, value, ok := strings.Cut(last, "="); ok && strings.HasPrefix(name, "--") {
		if f := wantsValue(flags, name); f != nil {
			var list []string
			for _, o := range starting(value, c.offers(f.from, nil)) {
				list = append(list, name+"="+o)
			}
			return list
		}
	}
	if strings.HasPrefix(last, "-") {
		return starting(last, flagWords(flags))
	}
	_, args, err := parseFlags(flags, rest, v.command)
	if err != nil || v.max >= 0 && len(args) >= v.max {
		return nil
	}
	if v.command && (len(args) > 0 || v.objects == "command") && !(v.objects == "container" && len(args) == 0) {
		return nil // a program in a container: nobody here knows its words
	}
	return starting(last, c.offers(v.objects, args))
}

// skipGlobals drops the options before the verb.
func skipGlobals(typed []string) []string {
	_, rest, err := parseFlags(globals, typed, true)
	if err != nil {
		return nil
	}
	return rest
}

// longer reports whether the words typed begin a longer verb too.
func longer(before []string) bool { return len(nextWords(before, "")) > 0 }

// nextWords are the words that continue the verb typed so far.
func nextWords(before []string, last string) []string {
	prefix := ""
	if len(before) > 0 {
		prefix = strings.Join(before, " ") + " "
	}
	var list []string
	seen := map[string]bool{}
	for _, v := range verbs() {
		if v.hidden {
			continue
		}
		for _, full := range append([]string{v.full()}, v.also...) {
			rest, ok := strings.CutPrefix(full, prefix)
			word, more, _ := strings.Cut(rest, " ")
			if !ok || !strings.HasPrefix(word, last) || seen[word] {
				continue
			}
			seen[word] = true
			doc := v.short
			if more != "" {
				doc = word + " verbs"
			}
			list = append(list, word+"\t"+doc)
		}
	}
	return list
}

// wantsValue finds the option that a word is, if its value comes next.
func wantsValue(flags []flag, word string) *flag {
	for i, f := range flags {
		if f.arg != "" && (word == "--"+f.long || f.short != "" && word == "-"+f.short) {
			return &flags[i]
		}
	}
	return nil
}

func flagWords(flags []flag) []string {
	var list []string
	for _, f := range flags {
		if len(f.long) > 1 {
			list = append(list, "--"+f.long+"\t"+f.doc)
		} else {
			list = append(list, "-"+f.long+"\t"+f.doc)
		}
	}
	return list
}

// starting keeps the words that begin with what was typed; requests to the shell stay.
func starting(typed string, list []string) []string {
	var out []string
	for _, w := range list {
		if strings.HasPrefix(w, typed) || strings.HasPrefix(w, ":") {
			out = append(out, w)
		}
	}
	return out
}

// offers lists the words of one kind, without those that are there already.
func (c *call) offers(kind string, have []string) []string {
	var list []string
	switch kind {
	case "container", "vpc":
		list = c.names(kind)
	case "ended":
		rows, _ := c.containerRows()
		for _, r := range rows {
			if !running(r.state) {
				list = append(list, r.name)
			}
		}
	case "any":
		list = c.names("container")
		for _, noun := range nouns[1:] {
			for _, name := range c.names(noun) {
				list = append(list, noun+"/"+name)
			}
		}
	case "setting":
		for _, w := range c.schemaRows() {
			if name, ok := strings.CutPrefix(w[0], "container/CONTAINER/"); ok && w[4] != "" { // it applies some time
				list = append(list, name+"=")
			}
		}
	case "schema":
		for _, w := range c.schemaRows() {
			list = append(list, w[0])
		}
	case "image":
		list = append(c.imageNames("image/ref", ""), "builtin", "host")
	case "cp":
		for _, name := range c.names("container") {
			list = append(list, name+":")
		}
		list = append(list, ":file")
	case "file":
		list = []string{":file"}
	case "topic":
		list = nextWords(have, "")
		if names, err := c.tree.fs.List("doc"); err == nil && len(have) == 0 {
			list = append(list, names...)
		}
	default:
		list = strings.Fields(strings.TrimPrefix(kind, "words "))
	}
	var fresh []string
	for _, w := range list {
		word, _, _ := strings.Cut(w, "\t")
		if !contains(have, word) && !contains(fresh, w) {
			fresh = append(fresh, w)
		}
	}
	return fresh
}

// schemaRows are the lines of the schema: path, kind, syntax, default, when a change applies, mode.
func (c *call) schemaRows() [][]string {
	var rows [][]string
	for _, l := range tableLines(c.tree.value("schema")) {
		rows = append(rows, fields(l, 6))
	}
	return rows
}

// names lists a collection: directory entries that may be objects' names.
func (c *call) names(noun string) []string {
	all, err := c.tree.fs.List(noun)
	if err != nil {
		return nil
	}
	var names []string
	for _, name := range all {
		if name != "ctl" && name != "new" && name != "index" {
			names = append(names, name)
		}
	}
	return names
}

// imageNames walks image/ref, where the slashes of a reference are directories.
func (c *call) imageNames(dir, prefix string) []string {
	names, err := c.tree.fs.List(dir)
	if err != nil || strings.Count(prefix, "/") > 8 {
		return nil
	}
	var list []string
	for _, name := range names {
		if !c.tree.has(dir+"/"+name+"/digest") && !c.tree.has(dir+"/"+name+"/config") {
			list = append(list, c.imageNames(dir+"/"+name, prefix+name+"/")...)
			continue
		}
		list = append(list, prefix+name)
	}
	return list
}
