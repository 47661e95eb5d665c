package main

import (
	"cmp"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"syscall"
	"time"

	"github.com/containercloud/cc/fault"
	"github.com/containercloud/cc/words"
)

var imagePull = verb{
	noun: "image", name: "pull", also: []string{"pull"}, args: "REF...", short: "fetch images from their registries",
	long: `
It shows progress until the image is there. Ctrl-C leaves the pull going on: cat /cc/image/status. Credentials come
from ~/.docker/config.json.`,
	examples: []string{"cc pull debian:12", "cc pull --insecure 10.0.0.5:5000/team/app:1"},
	flags: []flag{
		{long: "platform", arg: "OS/ARCH", doc: "linux/arm64"},
		{long: "insecure", doc: "a registry without TLS"},
		{long: "detach", short: "d", doc: "do not wait for the end"},
	},
	min: 1, max: -1,
	run: func(c *call) error {
		var errs []error
		for _, ref := range c.args {
			m := words.Message{Verb: "pull", Args: []string{ref}}
			if p := c.opt.get("platform", ""); p != "" {
				m.Opts = append(m.Opts, words.Opt{Key: "platform", Value: p})
			}
			if c.opt.on("insecure") {
				m.Opts = append(m.Opts, words.Opt{Key: "insecure", Value: "on"})
			}
			errs = append(errs, c.imageJob(m))
		}
		return join(errs)
	},
}

var imageLoad = verb{
	noun: "image", name: "load", args: "FILE", short: "read an OCI layout or a docker archive, and print the names of its images",
	examples: []string{"cc image load app.tar", "docker save app | cc image load -"},
	min:      1, max: 1, objects: "file",
	run: func(c *call) error {
		return c.withFile(c.args[0], func(path string) error {
			return c.printImages(words.Message{Verb: "load", Args: []string{path}})
		})
	},
}

var imageImport = verb{
	noun: "image", name: "import", args: "ROOTFS.tar NAME", short: "make an image of a root file system, and print its name",
	examples: []string{"cc image import rootfs.tar bb", "tar -C /srv/root -c . | cc image import - bb"},
	min:      2, max: 2, objects: "file",
	run: func(c *call) error {
		return c.withFile(c.args[0], func(path string) error {
			return c.printImages(words.Message{Verb: "import", Args: []string{path, c.args[1]}})
		})
	},
}

var imageTag = verb{
	noun: "image", name: "tag", also: []string{"tag"}, args: "REF NEW", short: "give an image one more name",
	min: 2, max: 2, objects: "image",
	run: func(c *call) error {
		return c.imageJob(words.Message{Verb: "tag", Args: c.args})
	},
}

var imageRemove = verb{
	noun: "image", name: "rm", also: []string{"image delete", "rmi"}, args: "REF...", short: "take names away from images",
	long: `Names that nothing has are noted and as they should be. cc image gc takes the bytes of images without a name.`,
	min:  1, max: -1, objects: "image",
	run: func(c *call) error {
		var errs []error
		d := c.newDeletion("image")
		for _, ref := range c.args {
			switch err := c.imageJob(words.Message{Verb: "rm", Args: []string{ref}}); {
			case is(err, syscall.ENOENT) && c.tree.alive():
				d.lacks(ref)
			case err != nil:
				errs = append(errs, err)
			default:
				d.deleted = append(d.deleted, ref)
			}
		}
		return d.answer(errs)
	},
}

var imageCollect = verb{
	noun: "image", name: "gc", short: "delete images that no name and no container refers to",
	run: func(c *call) error {
		answer, err := c.imageAnswer(words.Message{Verb: "gc"})
		if err != nil || c.tree.dry {
			return err
		}
		w := fields(answer, 2) // IMAGES BYTES
		if c.opt.on("json") {
			return writeJSON(c.out, map[string]any{"images": jsonValue(count, w[0]), "bytes": jsonValue(count, w[1])})
		}
		c.say("deleted " + w[0] + " images, " + humanBytes(w[1]) + " bytes")
		return nil
	},
}

var imageList = verb{
	noun: "image", name: "list", also: []string{"images", "image ls"}, short: "list images",
	flags: tableFlags,
	run: func(c *call) error {
		text, err := c.tree.read("image/index")
		if err != nil {
			return err
		}
		t := &table{noun: "images", columns: []column{
			{name: "name"}, {name: "digest"}, {name: "size", kind: size}, {name: "created", kind: age}, {name: "containers", kind: count},
		}}
		for _, l := range tableLines(text) {
			w := fields(l, 5) // REF DIGEST SIZE CREATED USERS
			if w[0] == "" && c.opt.on("quiet") {
				w[0] = w[1]
			}
			if c.outTTY && len(w[1]) > 19 {
				w[1] = w[1][:19]
			}
			t.add(w[0], w[1], w[2], w[3], w[4])
		}
		return c.print(t)
	},
}

// withFile hands a file's absolute path to use, as the daemon opens it; - is spooled from cc's input first.
func (c *call) withFile(name string, use func(path string) error) error {
	if name != "-" {
		path, err := filepath.Abs(name)
		if err != nil {
			return err
		}
		return use(path)
	}
	f, err := os.CreateTemp("", "cc-image-*.tar")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	if _, err := copyInput(f, c.in); err != nil {
		return fmt.Errorf("cannot spool the archive: %w", err)
	}
	if err := f.Close(); err != nil {
		return err
	}
	return use(f.Name())
}

// jobWait is how long one write waits for a job; the door ends writes after ten minutes.
const jobWait = "5m"

// imageJob sends a message to the image store and waits for its end, showing progress on a terminal.
func (c *call) imageJob(m words.Message) error {
	if c.opt.on("detach") {
		return c.tree.say("image/ctl", m.String())
	}
	return c.imageSend(m, func(line string) error { return c.tree.fs.WriteFile("image/ctl", line, false) })
}

// imageAnswer is imageJob for a message that the store answers.
func (c *call) imageAnswer(m words.Message) (string, error) {
	f, err := c.tree.fs.Open("image/ctl", syscall.O_RDWR)
	if err != nil {
		return "", c.tree.explain(err, m.Verb+" image")
	}
	defer f.Close()
	err = c.imageSend(m, func(line string) error {
		_, err := f.Write([]byte(line))
		return err
	})
	if err != nil || c.tree.dry {
		return "", err
	}
	buf := make([]byte, 64<<10)
	n, err := f.ReadAt(buf, 0)
	if n == 0 && err != io.EOF {
		return "", c.tree.explain(err, "read image/ctl")
	}
	return string(buf[:n]), nil
}

// printImages sends a message that makes images, and prints their names, or the digests of those that have none.
func (c *call) printImages(m words.Message) error {
	answer, err := c.imageAnswer(m)
	if err != nil || c.tree.dry {
		return err
	}
	t := &table{noun: "images", columns: []column{{name: "name"}, {name: "digest"}}}
	for _, l := range tableLines(answer) {
		t.add(fields(l, 2)...) // NAME DIGEST
	}
	if c.opt.on("json") {
		return c.print(t)
	}
	for _, w := range t.rows {
		c.say(cmp.Or(w[0], w[1]))
	}
	return nil
}

// imageSend sends a message with its time to wait, again while a pull goes on.
func (c *call) imageSend(m words.Message, send func(line string) error) error {
	m.Opts = append(m.Opts, words.Opt{Key: "wait", Value: jobWait})
	stop := c.showProgress(m)
	defer stop()
	for {
		err := send(m.String() + "\n")
		switch {
		case is(err, syscall.ETIMEDOUT) && m.Verb == "pull": // a pull goes on where it was
		case is(err, syscall.EINTR):
			return exitStatus(exitInterrupted)
		default:
			err = c.tree.explain(err, m.Verb+" image")
			if f, ok := err.(*failure); ok && f.word == fault.HostDown.String() {
				f.code = exitFailed // the registry does not answer: the daemon does
			}
			return err
		}
	}
}

// showProgress prints what image/status says of the job on one line, until stop.
func (c *call) showProgress(m words.Message) (stop func()) {
	if !c.errTTY || len(m.Args) == 0 || c.opt.on("json") || c.tree.dry {
		return func() {}
	}
	end, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		tick := time.NewTicker(200 * time.Millisecond)
		defer tick.Stop()
		shown := false
		for {
			select {
			case <-tick.C:
				for _, j := range c.jobs() {
					if j.phase != "done" && j.phase != "failed" && (j.ref == m.Args[0] || j.ref == m.Args[len(m.Args)-1]) {
						fmt.Fprintf(c.err, "\r\x1b[K%s", escape(j.String()))
						shown = true
					}
				}
			case <-end:
				if shown {
					fmt.Fprint(c.err, "\r\x1b[K")
				}
				return
			}
		}
	}()
	return func() {
		close(end)
		<-ended
	}
}

// job is a line of image/status: VERB REF DONE TOTAL PHASE LAYERS-DONE LAYERS [SENTENCE].
type job struct {
	verb, ref, done, total, phase, layers, of, sentence string
}

func (j job) String() string {
	s := j.verb + " " + j.ref + ": " + j.phase
	done, _ := strconv.ParseFloat(j.done, 64)
	if total, _ := strconv.ParseFloat(j.total, 64); total > 0 {
		s += fmt.Sprintf(" %s of %s (%.0f%%)", humanBytes(j.done), humanBytes(j.total), 100*done/total)
	}
	if j.of != "" && j.of != "0" {
		s += ", layers " + j.layers + "/" + j.of
	}
	return s
}

func (c *call) jobs() []job {
	text, err := readAll(bare(c.tree.fs), "image/status")
	if err != nil {
		return nil
	}
	var list []job
	for _, l := range tableLines(string(text)) {
		w := fields(l, 8)
		list = append(list, job{w[0], w[1], w[2], w[3], w[4], w[5], w[6], w[7]})
	}
	return list
}

// jobTable is the jobs for cc status.
func (c *call) jobTable() *table {
	t := &table{noun: "jobs", columns: []column{
		{name: "job"}, {name: "image"}, {name: "phase"}, {name: "done", kind: size}, {name: "total", kind: size}, {name: "error"},
	}}
	for _, j := range c.jobs() {
		if j.phase != "done" {
			t.add(j.verb, j.ref, j.phase, j.done, j.total, j.sentence)
		}
	}
	return t
}
