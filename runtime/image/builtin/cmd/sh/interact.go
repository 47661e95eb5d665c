package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"os/signal"

	"golang.org/x/term"
	"mvdan.cc/sh/v3/interp"
	"mvdan.cc/sh/v3/syntax"
)

// interact reads lines with editing and history when stdin is a terminal.
func (s *shell) interact() error {
	// An interrupt typed at the terminal goes to the whole group: it is for the command that runs, and must not be
	// ignored, which commands would inherit.
	ints := make(chan os.Signal, 1)
	signal.Notify(ints, os.Interrupt)
	go func() {
		for range ints {
		}
	}()
	in := &lines{prompt: "$ "}
	if os.Getuid() == 0 {
		in.prompt = "# "
	}
	if term.IsTerminal(0) {
		in.term = term.NewTerminal(terminal{}, "")
	}
	s.runner.Reset()
	var last error
	for {
		parser := syntax.NewParser()
		in.more = false
		err := parser.Interactive(in, func(stmts []*syntax.Stmt) bool {
			if parser.Incomplete() {
				in.more = true
				return true
			}
			in.more = false
			for _, st := range stmts {
				replaceExec(st)
				last = s.runner.Run(context.Background(), st)
				if s.runner.Exited() {
					return false
				}
				if _, status := interp.IsExitStatus(last); last != nil && !status {
					fmt.Fprintln(os.Stderr, "sh:", last)
				}
			}
			return true
		})
		if err == nil || s.runner.Exited() {
			return last
		}
		fmt.Fprintln(os.Stderr, "sh:", err) // syntax: the next line is a new beginning
	}
}

// lines is the reader of an interactive shell: it prompts, and takes one line at a time.
type lines struct {
	term   *term.Terminal
	prompt string
	more   bool
	rest   []byte
}

func (l *lines) Read(p []byte) (int, error) {
	if len(l.rest) == 0 {
		line, err := l.line()
		if err != nil {
			return 0, err
		}
		l.rest = append([]byte(line), '\n')
	}
	n := copy(p, l.rest)
	l.rest = l.rest[n:]
	return n, nil
}

func (l *lines) line() (string, error) {
	prompt := l.prompt
	if l.more {
		prompt = "> "
	}
	if l.term == nil {
		fmt.Fprint(os.Stderr, prompt)
		return plainLine()
	}
	state, err := term.MakeRaw(0)
	if err != nil {
		return "", err
	}
	defer term.Restore(0, state)
	if w, h, err := term.GetSize(0); err == nil && w > 0 {
		l.term.SetSize(w, h)
	}
	l.term.SetPrompt(prompt)
	line, err := l.term.ReadLine()
	if err == term.ErrPasteIndicator {
		err = nil
	}
	return line, err
}

// plainLine reads a line byte by byte: what follows belongs to the commands that run.
func plainLine() (string, error) {
	var line []byte
	var b [1]byte
	for {
		n, err := os.Stdin.Read(b[:])
		if n == 1 {
			if b[0] == '\n' {
				return string(line), nil
			}
			line = append(line, b[0])
		}
		if err != nil {
			if len(line) > 0 {
				return string(line), nil
			}
			return "", err
		}
	}
}

// terminal lets ^C drop the line instead of ending the shell: ^U and Enter.
type terminal struct{}

func (terminal) Read(p []byte) (int, error) {
	buf := make([]byte, max(len(p)/2, 1))
	n, err := os.Stdin.Read(buf)
	out := bytes.ReplaceAll(buf[:n], []byte{3}, []byte{21, '\r'})
	return copy(p, out), err
}

func (terminal) Write(p []byte) (int, error) { return os.Stdout.Write(p) }

var _ io.ReadWriter = terminal{}
