// Head prints the beginning of files: head [-N | -n N | -c N] [FILE...].
package main

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
)

func main() {
	n, bytes := 10, false
	args := os.Args[1:]
	for len(args) > 0 && len(args[0]) > 1 && args[0][0] == '-' {
		a := args[0][1:]
		args = args[1:]
		if a == "-" {
			break
		}
		if a[0] == 'n' || a[0] == 'c' {
			bytes = a[0] == 'c'
			if a = a[1:]; a == "" && len(args) > 0 {
				a, args = args[0], args[1:]
			}
		}
		v, err := strconv.Atoi(strings.TrimPrefix(a, "="))
		if err != nil || v < 0 {
			fail("usage: head [-N | -n N | -c N] [FILE...]")
		}
		n = v
	}
	if len(args) == 0 {
		args = []string{"-"}
	}
	for i, name := range args {
		in := os.Stdin
		if name != "-" {
			f, err := os.Open(name)
			if err != nil {
				fail("head: " + err.Error())
			}
			in = f
		}
		if len(args) > 1 {
			fmt.Printf("%s==> %s <==\n", strings.Repeat("\n", min(i, 1)), name)
		}
		if err := head(in, n, bytes); err != nil {
			fail("head: " + err.Error())
		}
	}
}

func head(in io.Reader, n int, bytes bool) error {
	if bytes {
		_, err := io.CopyN(os.Stdout, in, int64(n))
		if err == io.EOF {
			err = nil
		}
		return err
	}
	r := bufio.NewReader(in)
	for ; n > 0; n-- {
		line, err := r.ReadSlice('\n')
		for ; err == bufio.ErrBufferFull; line, err = r.ReadSlice('\n') {
			os.Stdout.Write(line)
		}
		if _, werr := os.Stdout.Write(line); werr != nil {
			return werr
		}
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func fail(text string) {
	fmt.Fprintln(os.Stderr, text)
	os.Exit(1)
}
