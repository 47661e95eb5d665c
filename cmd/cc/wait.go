package main

import (
	"strconv"
	"strings"
	"syscall"

	"github.com/containercloud/cc/words"
)

// waitStates are what a container can be waited for.
var waitStates = append([]string{"gone"}, stateOrder...)

var waitVerb = verb{
	name: "wait", also: []string{"container wait"}, args: "ID...", short: "wait until containers have ended, and print their exit codes",
	long:     "The states: " + strings.Join(waitStates, " ") + ".",
	examples: []string{"cc wait job", "cc wait --for running --timeout 5s web"},
	flags: []flag{
		{long: "for", arg: "STATE", doc: "a state other than exited", from: strings.Join(waitStates, " ")},
		{long: "timeout", arg: "DURATION", doc: "fail with exit code 7 after this long"},
	},
	min: 1, max: -1, objects: "container",
	run: func(c *call) error {
		state := c.opt.get("for", "exited")
		if !contains(waitStates, state) {
			f := usagef("no state %q", state).withHint("there is: %s", strings.Join(waitStates, " "))
			if near := words.Nearest(state, waitStates); near != "" {
				f.withHint("did you mean %s? there is: %s", near, strings.Join(waitStates, " "))
			}
			return f
		}
		file := "/wait/" + state
		if d := c.opt.get("timeout", ""); d != "" {
			file += "." + d
		}
		dirs, errs := c.containers()
		t := &table{noun: "containers", columns: []column{{name: "name"}, {name: "state"}, {name: "exit", kind: count}}}
		for _, dir := range dirs {
			code, err := c.waitOne(dir, state, file)
			if err == nil {
				t.add(strings.TrimPrefix(dir, "container/"), state, code)
			}
			errs = append(errs, err)
		}
		if state == "gone" {
			errs = dropNotFound(errs)
		}
		if c.opt.on("json") {
			errs = append(errs, c.print(t))
		}
		return join(errs)
	},
}

// waitOne returns the exit code of a container that has ended, which it also prints.
func (c *call) waitOne(dir, state, file string) (code string, err error) {
	var last lastExit
	if state == "exited" && !c.tree.dry {
		last = c.tree.openExit(dir)
		defer last.close()
	}
	if err := c.tree.await(dir + file); err != nil && (!is(err, syscall.ENOENT) || last.text() == "") {
		return "", c.tree.explain(err, "wait for "+dir)
	}
	if state != "exited" || c.tree.dry {
		return "", nil
	}
	text, err := c.tree.read(dir + "/exit")
	if is(err, syscall.ENOENT) && last.text() != "" {
		text, err = last.text(), nil
	}
	if err != nil {
		return "", err
	}
	e, ok := parseExit(text)
	if !ok {
		return "", failedf(exitFailed, "%s ended, and nobody knows how: %q", dir, text)
	}
	code = strconv.Itoa(e.code)
	if !c.opt.on("json") {
		c.say(code)
	}
	return code, nil
}

func dropNotFound(errs []error) []error {
	var rest []error
	for _, err := range errs {
		if !is(err, syscall.ENOENT) {
			rest = append(rest, err)
		}
	}
	return rest
}

// lastExit is the exit file of a container, open: it says how the container ended also when --rm or a ttl has deleted it.
type lastExit struct{ f File }

// openExit opens it, which -x does not print: no line of a shell can do what text does.
func (t *tree) openExit(dir string) lastExit {
	f, err := bare(t.fs).Open(dir+"/exit", syscall.O_RDONLY)
	if err != nil {
		return lastExit{}
	}
	return lastExit{f}
}

// text reads the file as it is now: the first read gives what was in it when it was opened, a second one at the
// beginning has it made anew.
func (l lastExit) text() string {
	if l.f == nil {
		return ""
	}
	var buf [256]byte
	_, _ = l.f.ReadAt(buf[:], 0)
	n, _ := l.f.ReadAt(buf[:], 0)
	return string(buf[:n])
}

func (l lastExit) close() {
	if l.f != nil {
		_ = l.f.Close()
	}
}
