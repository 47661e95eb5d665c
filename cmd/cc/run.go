package main

import (
	"strings"
	"syscall"

	"github.com/containercloud/cc/words"
)

var runVerb = verb{
	name: "run", args: "[CMD ARG...]", short: "make a container and run it",
	long: `
Without --detach, cc stays: the container's output is yours, signals go to it, and cc ends with its exit code
(128+N when signal N ended it; 125 when it could not be made, 126 and 127 when CMD cannot be executed or is not
there). The first Ctrl-C goes to the program, a second kills it, a third leaves it running. When nobody reads the
output any more (cc run ... | head) the container is stopped, and cc ends with 141.
--detach prints the name and leaves the container running: cc logs, cc wait and cc stop go on from there.
Without CMD the image's own command runs.`,
	examples: []string{
		"cc run --rm echo hello",
		"cc run -it --rm --image debian:12 bash",
		"cc run -d --name web --vpc foo --memory 512M --env PORT=80 httpd -f",
		"cc -x run --rm echo hello       # see the files behind it",
	},
	flags: append([]flag{
		{long: "detach", short: "d", doc: "leave it running, print its name"},
		{long: "rm", doc: "delete it when it has ended"},
		{long: "tty", short: "t", doc: "give it a terminal"},
		{long: "interactive", short: "i", doc: "send it what cc reads"},
		{long: "pull", doc: "pull the image first if it is not here"},
	}, createFlags...),
	command: true, max: -1, objects: "command", under: "container",
	run: runContainer,
}

// createFlags are the settings of a new container; each goes into the tree under the name of its file.
var createFlags = []flag{
	{long: "image", arg: "REF", doc: "image; builtin and host need no network (default builtin)", from: "image"},
	{long: "name", arg: "NAME", doc: "name (default: 8 hexadecimal digits)"},
	{long: "vpc", arg: "VPC", doc: "private network; none: only a loopback device", from: "vpc"},
	{long: "ip", arg: "ADDRESS", doc: "fixed address in the VPC"},
	{long: "memory", short: "m", arg: "SIZE", doc: "memory limit: 512M, 2G, max"},
	{long: "cpu", arg: "SHARES", doc: "weight, 1024 is normal"},
	{long: "cpu.max", arg: "CORES", doc: "cores at most: 1.5, max"},
	{long: "cpus", arg: "CORES", doc: "docker's name for --cpu.max"},
	{long: "pids", arg: "N", doc: "tasks at most"},
	{long: "disk", arg: "SIZE", doc: "size of its own disk (comes with volumes: not in this release)"},
	{long: "volume", short: "v", arg: "NAME:TARGET[:ro]", doc: "attach a volume (not in this release)"},
	{long: "mount", arg: "SOURCE:TARGET[:ro]", doc: "SOURCE is /host/path or tmpfs:SIZE"},
	{long: "publish", short: "p", arg: "[ADDRESS:]PORT:PORT[/udp]", doc: "open a port of this host (not in this release)"},
	{long: "env", short: "e", arg: "KEY=VALUE", doc: "environment, repeatable"},
	{long: "user", short: "u", arg: "USER[:GROUP]", doc: "user in the container"},
	{long: "dir", short: "w", arg: "DIR", doc: "working directory"},
	{long: "hostname", arg: "NAME", doc: "host name (default its name)"},
	{long: "entrypoint", arg: "WORD", doc: "in place of the image's"},
	{long: "label", short: "l", arg: "KEY=VALUE", doc: "label, repeatable"},
	{long: "restart", arg: "POLICY", doc: "no, on-failure[:N], always", from: "no on-failure always"},
	{long: "ttl", arg: "DURATION", doc: "delete it this long after its end"},
	{long: "readonly", doc: "read-only root file system"},
	{long: "init", doc: "a reaping init in front of CMD"},
	{long: "capability", arg: "+CAP|-CAP", doc: "add or drop a capability, repeatable"},
	{long: "set", arg: "SETTING=VALUE", doc: "any other setting (cc explain container/NAME)", from: "setting"},
}

func runContainer(c *call) error {
	m, err := c.createMessage("run")
	if err != nil {
		return err
	}
	if policy, _ := m.Opt("restart"); c.opt.on("rm") && policy != "" && policy != "no" {
		return usagef("--rm deletes the container at its end, and --restart %s starts it again", policy).
			withHint("leave out one of them")
	}
	if c.opt.on("detach") {
		return c.runDetached(m)
	}
	rm := c.opt.on("rm")
	if rm {
		if _, ok := m.Opt("ttl"); !ok { // the daemon removes it even when cc is killed
			m.Opts = append(m.Opts, words.Opt{Key: "ttl", Value: "1m"})
		}
	}
	a := &attachment{c: c, signals: catchSignals()}
	defer a.signals.stop()
	name, _, err := c.create(m, c.opt.get("name", "") == "")
	if err != nil {
		return err
	}
	a.container("container/" + name)
	status, err := a.run()
	if rm {
		if err := c.tree.fs.Remove("container/" + name); err != nil && !is(err, syscall.ENOENT) {
			c.note("%v", c.tree.explain(err, "delete container/"+name))
		}
	}
	if err != nil {
		return err
	}
	return status
}

func (c *call) runDetached(m words.Message) error {
	if c.opt.on("rm") {
		if _, ok := m.Opt("ttl"); !ok {
			m.Opts = append(m.Opts, words.Opt{Key: "ttl", Value: "0s"})
		}
	}
	name, id, err := c.create(m, true)
	switch {
	case err != nil:
		return err
	case c.tree.dry:
		return nil
	case c.opt.on("json"):
		return writeJSON(c.out, map[string]any{"name": name, "id": id})
	}
	c.say(name)
	return nil
}

// create sends a run or create line and returns the new container's name and id, which it asks for only
// when the caller needs them.
func (c *call) create(m words.Message, ask bool) (name, id string, err error) {
	const ctl = "container/ctl"
	f, err := c.tree.fs.Open(ctl, syscall.O_RDWR)
	if err != nil {
		return "", "", engineFailure(c.tree.explain(err, "run a container"))
	}
	defer f.Close()
	if _, err = f.Write([]byte(m.String() + "\n")); err != nil {
		err = c.tree.explain(err, "run a container")
		if image, ok := c.missing(m, err); ok {
			if err = c.imageJob(words.Message{Verb: "pull", Args: []string{image}}); err == nil {
				_, err = f.Write([]byte(m.String() + "\n"))
				err = c.tree.explain(err, "run a container")
			}
		}
		if err != nil {
			return "", "", c.imageHint(m, engineFailure(err))
		}
	}
	if name, _ = m.Opt("name"); !ask {
		return name, "", nil
	}
	buf := make([]byte, 256)
	n, err := f.ReadAt(buf, 0)
	answer := strings.Fields(string(buf[:n]))
	if len(answer) < 2 {
		return name, "", engineFailure(failedf(exitFailed, "the tree did not say how it named the container: %q %v", buf[:n], err))
	}
	return answer[0], answer[1], nil
}

// missing is the image that the failed line lacks, if the user wants it pulled.
func (c *call) missing(m words.Message, err error) (image string, ok bool) {
	image, ok = m.Opt("image")
	return image, ok && c.opt.on("pull") && is(err, syscall.ENOENT) && !c.tree.has("image/ref/"+image)
}

// imageHint tells who types docker's `run IMAGE CMD` where an image goes, when there is no program of its name.
func (c *call) imageHint(m words.Message, err error) error {
	f, ok := err.(*failure)
	if _, given := m.Opt("image"); !ok || f.code != exitNoProgram || given || len(m.Cmd) == 0 || !c.imageName(m.Cmd[0]) {
		return err
	}
	return f.withHint("the image is an option: --image %s", words.Join(m.Cmd))
}

// imageName reports whether a word is the name of an image, or can hardly be anything else.
func (c *call) imageName(word string) bool {
	return word == "builtin" || word == "host" || !strings.HasPrefix(word, "/") && !strings.HasPrefix(word, ".") &&
		(strings.ContainsAny(word, ":@") || c.tree.has("image/ref/"+word))
}

// engineFailure gives a failed run or exec its exit code: the program is not there, cannot be executed, or
// everything else.
func engineFailure(err error) error {
	f, ok := err.(*failure)
	if !ok || f.code == exitUnreachable {
		return err
	}
	switch {
	case !strings.Contains(f.text, "execve"):
		f.code = exitEngine
	case f.errno == syscall.ENOENT || f.errno == syscall.ENOTDIR:
		f.code = exitNoProgram
	default:
		f.code = exitNoExec
	}
	return f
}
