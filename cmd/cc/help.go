package main

import (
	"fmt"
	"io"
	"strings"

	"github.com/containercloud/cc/build"
)

func helpVerb() *verb {
	return &verb{
		name: "help", args: "[VERB|TOPIC]", short: "explain a verb, or a topic of the daemon's manual",
		long:     `Topics are the pages of /cc/doc. --man prints a manual page for man.`,
		examples: []string{"cc help run", "cc help vpc", "cc help --man | man -l -"},
		flags:    []flag{{long: "man", doc: "the manual page cc(1)"}},
		max:      -1, objects: "topic",
		run: runHelp,
	}
}

func runHelp(c *call) error {
	switch {
	case c.opt.on("man"):
		return c.text(manPage())
	case len(c.args) == 0:
		return c.text(overview() + c.topics())
	}
	if v, rest, err := findVerb(c.args); err == nil && len(rest) == 0 {
		return c.text(v.help())
	}
	topic := strings.Join(c.args, "-")
	page, err := c.topic(topic)
	text := nounHelp(c.args)
	switch {
	case err == nil && text != "":
		return c.text(text + "\n" + page)
	case err == nil || text != "":
		return c.text(text + page)
	}
	return failedf(exitNotFound, "no verb and no topic %q", topic).withHint("cc help lists both")
}

// nounHelp lists the verbs of a noun.
func nounHelp(args []string) string {
	if len(args) != 1 || len(nounVerbs(args[0])) == 0 {
		return ""
	}
	var b strings.Builder
	for _, v := range verbs() {
		if v.noun == args[0] || v.below(args[0]) {
			fmt.Fprintf(&b, "  %-44s %s\n", v.usage(), v.short)
		}
	}
	return b.String()
}

// below reports whether a verb also goes by a name below noun, or is listed there.
func (v *verb) below(noun string) bool {
	if v.under == noun {
		return true
	}
	for _, a := range v.also {
		if strings.HasPrefix(a, noun+" ") && !v.hidden {
			return true
		}
	}
	return false
}

func (c *call) text(s string) error {
	_, err := io.WriteString(c.out, s)
	return err
}

// overview is all verbs in one screen.
func overview() string {
	var b strings.Builder
	b.WriteString("cc drives Container Cloud. Every verb is a few file operations below /cc; cc -x prints them.\n")
	for _, noun := range []string{"", "vpc", "image", "container"} {
		title := noun
		if noun == "" {
			title = "containers and the cloud"
		}
		b.WriteString("\n" + title + ":\n")
		for _, v := range verbs() {
			if v.noun == noun && !v.hidden {
				fmt.Fprintf(&b, "  %-18s %s\n", v.full(), v.short)
			}
		}
	}
	b.WriteString("\noptions of every verb:\n" + flagLines(globals))
	b.WriteString(`
exit codes: 0 done, 1 failed, 2 usage, 3 not found, 4 authentication, 5 forbidden, 6 conflict or in use, 7 timeout,
8 no daemon; run and exec end with the program's own code, 128+N for signal N, or 125 126 127 (see cc help run).

cc help VERB explains a verb. `)
	return b.String()
}

// topics lists the daemon's manual pages, when there is one.
func (c *call) topics() string {
	if c.tree.fs == nil && c.connect() != nil {
		return "\n"
	}
	names, err := bare(c.tree.fs).List("doc")
	if err != nil || len(names) == 0 {
		return "The daemon's manual is in /cc/doc.\n"
	}
	return "Topics: " + strings.Join(names, " ") + "\n"
}

func (c *call) topic(name string) (string, error) {
	if c.tree.fs == nil {
		if err := c.connect(); err != nil {
			return "", err
		}
	}
	if strings.Contains(name, "/") || strings.HasPrefix(name, ".") {
		return "", usagef("%q is no topic", name)
	}
	b, err := readAll(bare(c.tree.fs), "doc/"+name)
	return string(b), err
}

// manPage is cc(1) in roff's man macros.
func manPage() string {
	var b strings.Builder
	esc := func(s string) string {
		s = strings.ReplaceAll(strings.ReplaceAll(s, `\`, `\e`), "-", `\-`)
		var lines []string
		for l := range strings.SplitSeq(s, "\n") {
			if strings.HasPrefix(l, ".") || strings.HasPrefix(l, "'") {
				l = `\&` + l
			}
			lines = append(lines, l)
		}
		return strings.Join(lines, "\n")
	}
	fmt.Fprintf(&b, ".TH CC 1 \"\" \"Container Cloud %s\" \"Container Cloud\"\n", esc(build.Version()))
	b.WriteString(".SH NAME\ncc \\- drive Container Cloud\n.SH SYNOPSIS\n.B cc\n[\\-x] [\\-\\-dry\\-run] [\\-\\-json]\n.I VERB\n[OPTION...] [ARGUMENT...]\n")
	b.WriteString(".SH DESCRIPTION\nEvery verb is a few file operations below /cc, which\n.B cc \\-x\nprints while doing them.\n.SH OPTIONS OF EVERY VERB\n")
	manFlags(&b, globals, esc)
	b.WriteString(".SH VERBS\n")
	for _, v := range verbs() {
		if v.hidden {
			continue
		}
		fmt.Fprintf(&b, ".SS %s\n%s.\n", esc(v.usage()), esc(strings.ToUpper(v.short[:1])+v.short[1:]))
		if v.long != "" {
			b.WriteString(".PP\n" + esc(strings.TrimSpace(v.long)) + "\n")
		}
		manFlags(&b, v.flags, esc)
		if len(v.examples) > 0 {
			b.WriteString(".PP\n.nf\n")
			for _, e := range v.examples {
				b.WriteString(".RS\n" + esc(e) + "\n.RE\n")
			}
			b.WriteString(".fi\n")
		}
	}
	b.WriteString(".SH EXIT STATUS\n0 done, 1 failed, 2 usage, 3 not found, 4 authentication, 5 forbidden, 6 conflict or in use, 7 timeout, 8 no daemon. run and exec end with the program's own code, 128+N for signal N, 125 when it could not be started, 126 and 127 when the program cannot be executed or is not there.\n")
	b.WriteString(".SH ENVIRONMENT\n.TP\nCC_ENDPOINT_URL\nwhere the tree is: file:///cc\n.TP\nCC_ACCESS_TOKEN, CC_SECRET_KEY\nfor remote endpoints\n.SH FILES\n/cc, /cc/doc, /cc/schema\n")
	return b.String()
}

func manFlags(b *strings.Builder, flags []flag, esc func(string) string) {
	for _, f := range flags {
		fmt.Fprintf(b, ".TP\n.B %s\n%s\n", esc(strings.TrimSpace(f.label())), esc(f.doc))
	}
}
