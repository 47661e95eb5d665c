package main

import (
	"strings"

	"github.com/containercloud/cc/words"
)

// createMessage builds the run or create line from the options.
func (c *call) createMessage(verb string) (words.Message, error) {
	m := words.Message{Verb: verb, Cmd: c.args, HasCmd: len(c.args) > 0}
	put := func(key, value string) { m.Opts = append(m.Opts, words.Opt{Key: key, Value: value}) }
	if err := c.later(); err != nil {
		return m, engineFailure(err)
	}
	for _, f := range createFlags {
		for _, v := range c.opt.list(f.long) {
			key, value, err := option(f.long, v)
			if err != nil {
				return m, err
			}
			put(key, value)
		}
	}
	if c.opt.on("tty") {
		size := "80x24"
		for _, fd := range c.fds {
			if isTerminal(fd) {
				size = termSize(fd)
				break
			}
		}
		put("tty", size)
	}
	if c.opt.on("interactive") {
		put("stdin", "on")
	} else {
		put("stdin", "off")
	}
	return m, nil
}

// later says plainly which options this tree does not know yet, by looking for their directories in it.
func (c *call) later() error {
	for _, o := range []struct{ flag, dir, what string }{
		{"volume", "volume", "volumes"},
		{"disk", "volume", "disks of a fixed size"},
		{"publish", "forward", "published ports"},
	} {
		if c.opt.has(o.flag) && !c.tree.has(o.dir) && c.tree.alive() {
			return notYet("--"+o.flag, o.what)
		}
	}
	return nil
}

func notYet(what, noun string) *failure {
	f := failedf(exitFailed, "cannot use %s: %s are not in this release of Container Cloud", what, noun)
	if what == "--volume" {
		return f.withHint("--mount /host/path:TARGET shares a directory of this host; /app is kept until the container is deleted")
	}
	return f
}

// option turns one option of the command line into one of the run line.
func option(flag, v string) (key, value string, err error) {
	switch flag {
	case "set":
		k, v, ok := strings.Cut(v, "=")
		if !ok || k == "" {
			return "", "", usagef("--set wants SETTING=VALUE, not %q", k)
		}
		return k, v, nil
	case "cpus":
		return "cpu.max", v, nil
	case "env", "label":
		if k, _, ok := strings.Cut(v, "="); !ok || k == "" {
			err := usagef("--%s wants KEY=VALUE, not %q", flag, v)
			if flag == "env" {
				err = err.withHint("cc passes nothing of its own environment on")
			}
			return "", "", err
		}
	case "mount":
		v, err = mountLine(v)
		return "mount", v, err
	case "volume":
		name, target, ok := strings.Cut(v, ":")
		if !ok {
			return "", "", usagef("--volume wants NAME:TARGET[:ro], not %q", v)
		}
		v, err = mountLine("volume:" + name + ":" + target)
		return "mount", v, err
	case "publish":
		v, err = publishLine(v)
		return "publish", v, err
	}
	return flag, v, nil
}

// mountLine turns /host:/in[:ro], tmpfs:SIZE:/in, volume:NAME:/in or type=bind,source=S,target=T[,readonly]
// into a line of the mounts file: TARGET SOURCE [ro]. A line of that form is taken as it is.
func mountLine(s string) (string, error) {
	bad := usagef("--mount wants SOURCE:TARGET[:ro], not %q", s).
		withHint("/srv/data:/data:ro, tmpfs:64M:/scratch")
	if strings.ContainsAny(s, " \t") {
		return s, nil
	}
	if strings.HasPrefix(s, "type=") {
		return dockerMount(s)
	}
	s, ro := strings.CutSuffix(s, ":ro")
	if !ro {
		s = strings.TrimSuffix(s, ":rw")
	}
	i := strings.LastIndex(s, ":/")
	if i <= 0 {
		return "", bad
	}
	source, target := s[:i], s[i+1:]
	if strings.HasPrefix(source, "/") {
		source = "bind:" + source
	} else if !strings.Contains(source, ":") {
		return "", bad
	}
	return mountWords(target, source, ro), nil
}

func mountWords(target, source string, ro bool) string {
	line := words.Quote(target) + " " + words.Quote(source)
	if ro {
		line += " ro"
	}
	return line
}

func dockerMount(s string) (string, error) {
	get := map[string]string{}
	for part := range strings.SplitSeq(s, ",") {
		k, v, _ := strings.Cut(part, "=")
		get[k] = v
	}
	first := func(keys ...string) string {
		for _, k := range keys {
			if v := get[k]; v != "" {
				return v
			}
		}
		return ""
	}
	target, source := first("target", "destination", "dst"), first("source", "src")
	_, ro := get["readonly"]
	if _, short := get["ro"]; short {
		ro = true
	}
	switch get["type"] {
	case "bind":
		source = "bind:" + source
	case "tmpfs":
		source = "tmpfs:" + first("tmpfs-size", "size")
	case "volume":
		source = "volume:" + source
	default:
		return "", usagef("--mount knows type=bind, tmpfs and volume, not %q", get["type"])
	}
	if target == "" {
		return "", usagef("--mount needs target=PATH in %q", s)
	}
	return mountWords(target, source, ro), nil
}

// publishLine turns [ADDRESS:]PORT:PORT[/udp] into a line of the publish file: `tcp 0.0.0.0:8080 80`.
func publishLine(s string) (string, error) {
	if strings.ContainsAny(s, " \t") {
		return s, nil
	}
	ports, proto, _ := strings.Cut(s, "/")
	if proto == "" {
		proto = "tcp"
	}
	i := strings.LastIndexByte(ports, ':')
	if i <= 0 || i == len(ports)-1 {
		return "", usagef("--publish wants [ADDRESS:]PORT:PORT[/udp], not %q", s)
	}
	listen, to := ports[:i], ports[i+1:]
	if !strings.Contains(listen, ":") {
		listen = "0.0.0.0:" + listen
	}
	return proto + " " + listen + " " + to, nil
}
