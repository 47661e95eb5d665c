// Command cc drives Container Cloud. Every verb is a few file operations below /cc, which `cc -x` prints as
// the shell lines they stand for; cc knows nothing that the files do not say.
//
// main.go finds the verb, verbs.go lists all of them, and each verb has a file of its own name. fs.go is the
// only way to the tree: osfs.go goes through the mount, tracefs.go prints.
package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"syscall"
	"time"
)

func main() {
	os.Exit(run(os.Args[1:], os.Stdin, os.Stdout, os.Stderr, func(root string) FS { return osFS{root} }))
}

// call is one run of one verb: what the user typed and where the answers go.
type call struct {
	verb   *verb
	opt    options
	args   []string
	tree   tree
	in     io.Reader
	out    io.Writer
	err    io.Writer
	outTTY bool // out is a terminal
	errTTY bool
	inTTY  bool
	fds    [3]int // descriptors of in, out, err; -1 where there is none
	open   func(root string) FS
}

func run(argv []string, in io.Reader, out, errw io.Writer, open func(root string) FS) int {
	c := &call{in: in, out: out, err: errw, open: open}
	for i, s := range []any{in, out, errw} {
		c.fds[i] = -1
		if f, ok := s.(*os.File); ok {
			c.fds[i] = int(f.Fd())
		}
	}
	c.inTTY, c.outTTY, c.errTTY = isTerminal(c.fds[0]), isTerminal(c.fds[1]), isTerminal(c.fds[2])
	return c.report(c.main(argv))
}

// main finds the verb, parses its options and runs it.
func (c *call) main(argv []string) error {
	global, rest, err := parseGlobal(argv)
	if err != nil {
		return err
	}
	c.opt = global
	if global.on("version") {
		rest = append([]string{"version"}, rest...)
	}
	if len(rest) == 0 {
		return runHelp(c)
	}
	v, rest, err := findVerb(rest)
	if err != nil {
		return err
	}
	c.verb = v
	if err := c.parse(v, rest); err != nil {
		return err
	}
	if c.opt.on("help") {
		c.args = append(strings.Fields(v.noun), v.name)
		return runHelp(c)
	}
	if err := c.connect(); err != nil {
		return err
	}
	return v.run(c)
}

// connect opens the file access that the endpoint names.
func (c *call) connect() error {
	url := c.opt.get("cc-endpoint-url", os.Getenv("CC_ENDPOINT_URL"))
	if url == "" {
		url = "file:///cc"
	}
	root, ok := strings.CutPrefix(url, "file://")
	if !ok || !strings.HasPrefix(root, "/") {
		return &failure{code: exitUnreachable, text: fmt.Sprintf("cannot use endpoint %s: only a mounted tree (file:///cc) can be reached by this release", url),
			hint: "mount the tree on this machine, or unset CC_ENDPOINT_URL"}
	}
	if c.opt.has("cc-access-token") || c.opt.has("cc-secret-key") {
		return usagef("an access token needs a remote endpoint, and %s is a local mount, where the kernel says who you are", url)
	}
	root = "/" + strings.Trim(root, "/")
	c.tree = tree{fs: c.open(root), root: root, since: time.Now()}
	if c.opt.on("x") || c.opt.on("dry-run") {
		c.tree.fs = newTraceFS(c.tree.fs, root, c.traceTo(), c.opt.on("dry-run"))
	}
	c.tree.dry = c.opt.on("dry-run")
	return nil
}

// traceTo is where shell lines go: with -x beside the output, with --dry-run they are the output.
func (c *call) traceTo() io.Writer {
	if c.opt.on("dry-run") {
		return c.out
	}
	return c.err
}

// report prints err as one sentence and a hint, and returns the exit code.
func (c *call) report(err error) int {
	if err == nil {
		return 0
	}
	var code exitStatus
	if errors.As(err, &code) {
		return int(code)
	}
	var f *failure
	if !errors.As(err, &f) {
		if errors.Is(err, syscall.EPIPE) {
			return exitFailed
		}
		f = &failure{code: exitFailed, text: err.Error()}
	}
	if c.opt.on("json") {
		_ = writeJSON(c.err, map[string]any{"error": f.json(err)})
		return f.code
	}
	for _, line := range failureLines(err) {
		fmt.Fprintln(c.err, "cc: "+c.safe(line, c.errTTY))
	}
	if f.hint != "" {
		fmt.Fprintln(c.err, "hint: "+c.safe(f.hint, c.errTTY))
	}
	return f.code
}
