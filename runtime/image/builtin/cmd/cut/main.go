// Cut prints parts of lines: cut -f LIST [-d CHAR] [-s] [FILE...], cut -c LIST [FILE...].
package main

import (
	"bufio"
	"flag"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
)

var (
	fields = flag.String("f", "", "fields")
	chars  = flag.String("c", "", "characters")
	delim  = flag.String("d", "\t", "delimiter")
	only   = flag.Bool("s", false, "leave out lines without delimiter")
)

func main() {
	flag.CommandLine.Parse(split(os.Args[1:]))
	list := *fields
	if list == "" {
		list = *chars
	}
	want, err := parse(list)
	if err != nil {
		fail(err)
	}
	files := flag.Args()
	if len(files) == 0 {
		files = []string{"-"}
	}
	out := bufio.NewWriter(os.Stdout)
	defer out.Flush()
	for _, name := range files {
		in := os.Stdin
		if name != "-" {
			if in, err = os.Open(name); err != nil {
				fail(err)
			}
		}
		if err := cut(in, out, want); err != nil {
			fail(err)
		}
	}
}

// split takes values off their flags: -d: is -d :.
func split(args []string) (list []string) {
	for _, a := range args {
		if len(a) > 2 && a[0] == '-' && strings.IndexByte("dfc", a[1]) >= 0 && a[2] != '=' {
			list = append(list, a[:2], a[2:])
			continue
		}
		list = append(list, a)
	}
	return list
}

func fail(err error) {
	fmt.Fprintln(os.Stderr, "cut:", err)
	os.Exit(1)
}

type span struct{ from, to int }

func parse(list string) (want []span, err error) {
	for _, item := range strings.Split(list, ",") {
		a, b, dash := strings.Cut(item, "-")
		s := span{1, 1 << 30}
		if a != "" {
			if s.from, err = strconv.Atoi(a); err != nil || s.from < 1 {
				return nil, fmt.Errorf("bad list %q", list)
			}
		}
		if !dash {
			s.to = s.from
		} else if b != "" {
			if s.to, err = strconv.Atoi(b); err != nil {
				return nil, fmt.Errorf("bad list %q", list)
			}
		}
		if a == "" && b == "" {
			return nil, fmt.Errorf("bad list %q", list)
		}
		want = append(want, s)
	}
	return want, nil
}

func cut(in io.Reader, out io.Writer, want []span) error {
	sc := bufio.NewScanner(in)
	sc.Buffer(nil, 1<<24)
	for sc.Scan() {
		sep := *delim
		if *fields == "" {
			sep = ""
		}
		parts := strings.Split(sc.Text(), sep)
		if *fields != "" && len(parts) == 1 {
			if !*only {
				fmt.Fprintln(out, sc.Text())
			}
			continue
		}
		var keep []string
		for i, p := range parts {
			for _, s := range want {
				if i+1 >= s.from && i+1 <= s.to {
					keep = append(keep, p)
					break
				}
			}
		}
		fmt.Fprintln(out, strings.Join(keep, sep))
	}
	return sc.Err()
}
