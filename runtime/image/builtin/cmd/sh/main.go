// Sh is the shell of the image builtin: mvdan.cc/sh, as u-root's gosh has it, with what scripts and
// `sh -c` in containers expect beyond that: sh [-eux...] [-c STRING [NAME [ARG...]] | FILE [ARG...]].
//
// gosh runs `exec` and the only command of -c as children, so that signals for the container's first process
// stop at the shell. Here they replace it.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/term"
	"mvdan.cc/sh/v3/interp"
	"mvdan.cc/sh/v3/syntax"
)

func main() {
	status, err := run(os.Args[1:])
	code, ok := interp.IsExitStatus(err)
	switch {
	case err == nil:
		status = 0
	case ok:
		status = int(code)
	default:
		fmt.Fprintln(os.Stderr, "sh:", err)
		status = max(status, 1)
	}
	os.Exit(status)
}

// invocation is a parsed command line.
type invocation struct {
	set         []string // options for the interpreter: -e, -u, -o, pipefail
	command     string
	hasCommand  bool
	interactive bool
	script      bool
	name        string // $0, and the script's file
	args        []string
}

func parse(args []string) (v invocation, err error) {
	v.name = "sh"
	stdin := false
	for len(args) > 0 && len(args[0]) > 1 && (args[0][0] == '-' || args[0][0] == '+') {
		flag := args[0]
		args = args[1:]
		if flag == "--" {
			break
		}
		for _, c := range flag[1:] {
			switch c {
			case 'c':
				v.hasCommand = true
			case 'i':
				v.interactive = true
			case 's':
				stdin = true
			case 'l', 'm', 'h', 'b':
			case 'o':
				if len(args) == 0 {
					return v, errors.New("-o needs a name")
				}
				v.set = append(v.set, flag[:1]+"o", args[0])
				args = args[1:]
			default:
				v.set = append(v.set, flag[:1]+string(c))
			}
		}
	}
	if v.hasCommand {
		if len(args) == 0 {
			return v, errors.New("-c needs a command")
		}
		v.command, args = args[0], args[1:]
	}
	if len(args) > 0 && (v.hasCommand || !stdin) {
		v.script = !v.hasCommand
		v.name, args = args[0], args[1:]
	}
	v.args = args
	return v, nil
}

func run(args []string) (int, error) {
	v, err := parse(args)
	if err != nil {
		return 2, err
	}
	sh := &shell{}
	r, err := interp.New(
		interp.StdIO(os.Stdin, os.Stdout, os.Stderr),
		interp.Params(append(append(v.set, "--"), v.args...)...),
		interp.ExecHandlers(sh.exec),
	)
	if err != nil {
		return 2, err
	}
	sh.runner = r
	switch {
	case v.hasCommand:
		return 2, sh.source(strings.NewReader(v.command), v.name)
	case v.script:
		f, err := open(v.name)
		if err != nil {
			return 127, err
		}
		defer f.Close()
		return 2, sh.source(f, v.name)
	case v.interactive || term.IsTerminal(0):
		return 0, sh.interact()
	}
	return 2, sh.stream(os.Stdin)
}

// open finds a script as named, or in PATH when the name has no slash.
func open(name string) (*os.File, error) {
	f, err := os.Open(name)
	if err == nil || strings.Contains(name, "/") {
		return f, err
	}
	for _, dir := range filepath.SplitList(os.Getenv("PATH")) {
		if f, err := os.Open(filepath.Join(dir, name)); err == nil {
			return f, nil
		}
	}
	return nil, err
}

type shell struct {
	runner *interp.Runner
	tail   bool // the command that runs next is the last thing to do
}

// source runs a whole program.
func (s *shell) source(r io.Reader, name string) error {
	prog, err := syntax.NewParser().Parse(r, name)
	if err != nil {
		return err
	}
	s.tail = len(prog.Stmts) == 1 && simple(prog.Stmts[0])
	for _, st := range prog.Stmts {
		replaceExec(st)
	}
	s.runner.Reset()
	return s.runner.Run(context.Background(), prog)
}

// stream runs statements as they come, so that a pipe can feed them slowly.
func (s *shell) stream(r io.Reader) error {
	var err error
	s.runner.Reset()
	perr := syntax.NewParser().Stmts(r, func(st *syntax.Stmt) bool {
		replaceExec(st)
		err = s.runner.Run(context.Background(), st)
		return !s.runner.Exited()
	})
	return errors.Join(err, perr)
}
