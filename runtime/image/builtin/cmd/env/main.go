// Env prints the environment or runs a command in a changed one: env [-i] [NAME=VALUE...] [COMMAND [ARG...]].
package main

import (
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
)

func main() {
	args := os.Args[1:]
	for len(args) > 0 && strings.HasPrefix(args[0], "-") {
		switch {
		case args[0] == "-i" || args[0] == "-":
			os.Clearenv()
		case args[0] == "-u" && len(args) > 1:
			os.Unsetenv(args[1])
			args = args[1:]
		default:
			fail(125, "usage: env [-i] [-u NAME] [NAME=VALUE...] [COMMAND [ARG...]]")
		}
		args = args[1:]
	}
	for len(args) > 0 {
		name, value, ok := strings.Cut(args[0], "=")
		if !ok {
			break
		}
		os.Setenv(name, value)
		args = args[1:]
	}
	if len(args) == 0 {
		for _, kv := range os.Environ() {
			fmt.Println(kv)
		}
		return
	}
	path, err := exec.LookPath(args[0])
	if err != nil {
		fail(127, "env: "+err.Error())
	}
	fail(126, "env: "+syscall.Exec(path, args, os.Environ()).Error())
}

func fail(code int, text string) {
	fmt.Fprintln(os.Stderr, text)
	os.Exit(code)
}
