// Whoami prints the name of the effective user.
package main

import (
	"bufio"
	"fmt"
	"os"
	"strconv"
	"strings"
)

func main() {
	uid := strconv.Itoa(os.Geteuid())
	if f, err := os.Open("/etc/passwd"); err == nil {
		sc := bufio.NewScanner(f)
		for sc.Scan() {
			if p := strings.Split(sc.Text(), ":"); len(p) > 2 && p[2] == uid {
				fmt.Println(p[0])
				return
			}
		}
	}
	fmt.Fprintln(os.Stderr, "whoami: no name for user id", uid)
	os.Exit(1)
}
