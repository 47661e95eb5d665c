// Tail prints the end of files: tail [-f] [-N | -n [+]N | -c [+]N] [FILE...].
package main

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"time"
)

type options struct {
	n      int64
	bytes  bool
	from   bool // +N: from the Nth on
	follow bool
}

func main() {
	o := options{n: 10}
	args := os.Args[1:]
	for len(args) > 0 && len(args[0]) > 1 && (args[0][0] == '-' || args[0][0] == '+') {
		a := args[0]
		args = args[1:]
		if a == "--" {
			break
		}
		if a == "-f" || a == "-F" {
			o.follow = true
			continue
		}
		a = strings.TrimPrefix(a, "-")
		if a[0] == 'n' || a[0] == 'c' {
			o.bytes = a[0] == 'c'
			if a = a[1:]; a == "" && len(args) > 0 {
				a, args = args[0], args[1:]
			}
		}
		if strings.HasPrefix(a, "+") {
			o.from = true
		}
		v, err := strconv.ParseInt(strings.TrimLeft(a, "+-"), 10, 63)
		if err != nil {
			fail("usage: tail [-f] [-N | -n [+]N | -c [+]N] [FILE...]")
		}
		o.n = v
	}
	if len(args) == 0 {
		args = []string{"-"}
	}
	for i, name := range args {
		if len(args) > 1 {
			fmt.Printf("%s==> %s <==\n", strings.Repeat("\n", min(i, 1)), name)
		}
		if err := file(name, o); err != nil {
			fail("tail: " + err.Error())
		}
	}
}

func file(name string, o options) error {
	in := os.Stdin
	if name != "-" {
		f, err := os.Open(name)
		if err != nil {
			return err
		}
		defer f.Close()
		in = f
	}
	raw, err := io.ReadAll(in)
	if err != nil {
		return err
	}
	if _, err := os.Stdout.Write(raw[start(raw, o):]); err != nil {
		return err
	}
	for o.follow {
		time.Sleep(200 * time.Millisecond)
		if _, err := io.Copy(os.Stdout, in); err != nil {
			return err
		}
	}
	return nil
}

// start finds where the wanted end begins.
func start(raw []byte, o options) int {
	size := int64(len(raw))
	switch {
	case o.bytes && o.from:
		return int(min(max(o.n-1, 0), size))
	case o.bytes:
		return int(max(size-o.n, 0))
	case o.from:
		at := 0
		for n := o.n; n > 1; n-- {
			i := bytes.IndexByte(raw[at:], '\n')
			if i < 0 {
				return len(raw)
			}
			at += i + 1
		}
		return at
	}
	at := len(bytes.TrimSuffix(raw, []byte("\n")))
	if o.n == 0 {
		return len(raw)
	}
	for n := o.n; ; n-- {
		i := bytes.LastIndexByte(raw[:at], '\n')
		if i < 0 {
			return 0
		}
		if n == 1 {
			return i + 1
		}
		at = i
	}
}

func fail(text string) {
	fmt.Fprintln(os.Stderr, text)
	os.Exit(1)
}
