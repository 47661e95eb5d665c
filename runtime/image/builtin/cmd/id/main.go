// Id prints who this process is: id [-u | -g | -G] [-n].
package main

import (
	"bufio"
	"flag"
	"fmt"
	"os"
	"strconv"
	"strings"
)

func main() {
	u := flag.Bool("u", false, "user id only")
	g := flag.Bool("g", false, "group id only")
	all := flag.Bool("G", false, "all group ids")
	n := flag.Bool("n", false, "names instead of numbers")
	args := os.Args[1:]
	for i, a := range args {
		if len(a) == 3 && a[0] == '-' && a[2] == 'n' {
			args = append(append(append([]string{}, args[:i]...), a[:2], "-n"), args[i+1:]...)
			break
		}
	}
	flag.CommandLine.Parse(args)
	users, groups := names("/etc/passwd"), names("/etc/group")
	uid, gid := os.Geteuid(), os.Getegid()
	list, _ := os.Getgroups()
	ids := []int{gid}
	for _, id := range list {
		if id != gid {
			ids = append(ids, id)
		}
	}
	plain := func(id int, names map[int]string) string {
		if *n && names[id] != "" {
			return names[id]
		}
		return strconv.Itoa(id)
	}
	full := func(id int, names map[int]string) string {
		if names[id] == "" {
			return strconv.Itoa(id)
		}
		return fmt.Sprintf("%d(%s)", id, names[id])
	}
	switch {
	case *u:
		fmt.Println(plain(uid, users))
	case *g:
		fmt.Println(plain(gid, groups))
	default:
		var words []string
		for _, id := range ids {
			if *all {
				words = append(words, plain(id, groups))
			} else {
				words = append(words, full(id, groups))
			}
		}
		if *all {
			fmt.Println(strings.Join(words, " "))
			return
		}
		fmt.Printf("uid=%s gid=%s groups=%s\n", full(uid, users), full(gid, groups), strings.Join(words, ","))
	}
}

// names maps the numbers of a passwd or group file to names.
func names(file string) map[int]string {
	m := map[int]string{}
	f, err := os.Open(file)
	if err != nil {
		return m
	}
	defer f.Close()
	sc := bufio.NewScanner(f)
	for sc.Scan() {
		p := strings.Split(sc.Text(), ":")
		if len(p) < 3 {
			continue
		}
		if id, err := strconv.Atoi(p[2]); err == nil && m[id] == "" {
			m[id] = p[0]
		}
	}
	return m
}
