package main

import (
	"strings"

	"github.com/containercloud/cc/words"
)

// flag is one option of a verb: "--memory SIZE", or a switch when arg is empty.
type flag struct {
	long  string
	short string // one letter, or empty
	arg   string // what its value is called; empty: a switch
	doc   string
	from  string // what completion offers for the value: "image", "container", "file", or words "a b c"
}

// options are the options of one call, each with all its values in order.
type options map[string][]string

func (o options) has(name string) bool      { return len(o[name]) > 0 }
func (o options) list(name string) []string { return o[name] }

// on reports whether a switch is set; the last one counts (--rm=off).
func (o options) on(name string) bool {
	v := o[name]
	return len(v) > 0 && v[len(v)-1] != "off"
}

// get returns an option's last value, or what to take without one.
func (o options) get(name, otherwise string) string {
	if v := o[name]; len(v) > 0 {
		return v[len(v)-1]
	}
	return otherwise
}

// globals are options of every verb.
var globals = []flag{
	{long: "x", short: "x", doc: "print the file operations while doing them"},
	{long: "dry-run", doc: "print the file operations only"},
	{long: "json", doc: `print JSON with "v":1, errors too`},
	{long: "help", short: "h", doc: "explain the verb"},
	{long: "cc-endpoint-url", arg: "URL", doc: "where the tree is (CC_ENDPOINT_URL, file:///cc)"},
	{long: "cc-access-token", arg: "TOKEN", doc: "for a remote endpoint (CC_ACCESS_TOKEN)"},
	{long: "cc-secret-key", arg: "KEY", doc: "for a remote endpoint (CC_SECRET_KEY)"},
}

// parseGlobal takes the options before the verb.
func parseGlobal(argv []string) (options, []string, error) {
	flags := append([]flag{{long: "version", short: "v"}}, globals...)
	return parseFlags(flags, argv, true)
}

// parse reads a verb's options and words into c.
func (c *call) parse(v *verb, argv []string) error {
	opt, rest, err := parseFlags(append(append([]flag(nil), v.flags...), globals...), argv, v.command)
	if err != nil {
		return err
	}
	for name, values := range opt {
		c.opt[name] = append(c.opt[name], values...)
	}
	c.args = rest
	switch {
	case c.opt.on("help"):
		return nil
	case len(rest) < v.min:
		return usagef("%s needs %s", v.full(), v.args).withHint("cc help %s", v.full())
	case v.max >= 0 && len(rest) > v.max:
		return usagef("%s takes %s, not %q", v.full(), orNothing(v.args), rest[v.max]).withHint("cc help %s", v.full())
	}
	return nil
}

func orNothing(args string) string {
	if args == "" {
		return "no argument"
	}
	return args
}

// parseFlags takes options out of argv: --name VALUE, --name=VALUE, -n VALUE, -nVALUE, -it. With stop, the
// first word that is no option ends them: what follows belongs to a container's program.
func parseFlags(flags []flag, argv []string, stop bool) (options, []string, error) {
	opt, rest := options{}, []string(nil)
	for len(argv) > 0 {
		a := argv[0]
		argv = argv[1:]
		switch {
		case a == "--":
			return opt, append(rest, argv...), nil
		case strings.HasPrefix(a, "--"):
			used, err := longFlag(flags, opt, a[2:], argv)
			if err != nil {
				return opt, nil, err
			}
			argv = argv[used:]
		case len(a) > 1 && a[0] == '-':
			used, err := shortFlags(flags, opt, a[1:], argv)
			if err != nil {
				return opt, nil, err
			}
			argv = argv[used:]
		default:
			rest = append(rest, a)
			if stop {
				return opt, append(rest, argv...), nil
			}
		}
	}
	return opt, rest, nil
}

// longFlag reads name or name=value; it returns how many of the following words it took.
func longFlag(flags []flag, opt options, word string, next []string) (int, error) {
	name, value, given := strings.Cut(word, "=")
	for _, f := range flags {
		if f.long != name || len(name) == 1 {
			continue
		}
		switch {
		case f.arg == "" && !given:
			value = "on"
		case f.arg == "":
			v, ok := switchWord(value)
			if !ok {
				return 0, usagef("--%s is on or off, not %q", name, value)
			}
			value = v
		case !given && len(next) == 0:
			return 0, usagef("--%s needs a value: --%s %s", name, name, f.arg)
		case !given:
			opt[name] = append(opt[name], next[0])
			return 1, nil
		}
		opt[name] = append(opt[name], value)
		return 0, nil
	}
	return 0, usagef("no option --%s", name).withHint("%s", nearest(flags, name))
}

func switchWord(s string) (string, bool) {
	switch s {
	case "on", "true", "yes", "1":
		return "on", true
	case "off", "false", "no", "0":
		return "off", true
	}
	return "", false
}

// shortFlags reads -i, -it, -n5, -n 5.
func shortFlags(flags []flag, opt options, letters string, next []string) (int, error) {
	for i := range letters {
		f := byLetter(flags, letters[i:i+1])
		switch {
		case f == nil:
			return 0, usagef("no option -%s", letters[i:i+1]).withHint("cc help VERB lists a verb's options")
		case f.arg == "":
			opt[f.long] = append(opt[f.long], "on")
			continue
		case i+1 < len(letters):
			opt[f.long] = append(opt[f.long], strings.TrimPrefix(letters[i+1:], "="))
			return 0, nil
		case len(next) == 0:
			return 0, usagef("-%s needs a value: -%s %s", f.short, f.short, f.arg)
		}
		opt[f.long] = append(opt[f.long], next[0])
		return 1, nil
	}
	return 0, nil
}

func byLetter(flags []flag, letter string) *flag {
	for i := range flags {
		if flags[i].short == letter {
			return &flags[i]
		}
	}
	return nil
}

// nearest names the option that was probably meant.
func nearest(flags []flag, name string) string {
	var names []string
	for _, f := range flags {
		if len(name) > 1 && strings.HasPrefix(f.long, name) {
			return "did you mean --" + f.long + "?"
		}
		names = append(names, f.long)
	}
	if near := words.Nearest(name, names); near != "" {
		return "did you mean --" + near + "?"
	}
	return "cc help VERB lists a verb's options"
}
