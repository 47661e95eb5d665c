// Kill sends a signal: kill [-SIG | -s SIG] PID..., kill -l.
package main

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"syscall"
)

var names = strings.Fields("EXIT HUP INT QUIT ILL TRAP ABRT BUS FPE KILL USR1 SEGV USR2 PIPE ALRM TERM STKFLT CHLD CONT STOP TSTP TTIN TTOU URG XCPU XFSZ VTALRM PROF WINCH IO PWR SYS")

func main() {
	args, sig := os.Args[1:], syscall.SIGTERM
	if len(args) > 0 && args[0] == "-l" {
		fmt.Println(strings.Join(names[1:], " "))
		return
	}
	if len(args) > 1 && (args[0] == "-s" || args[0] == "-n") {
		args = args[1:]
		args[0] = "-" + args[0]
	}
	if len(args) > 0 && strings.HasPrefix(args[0], "-") && args[0] != "--" {
		sig = parse(args[0][1:])
		args = args[1:]
	}
	if len(args) > 0 && args[0] == "--" {
		args = args[1:]
	}
	if len(args) == 0 {
		fail("usage: kill [-SIG] PID...")
	}
	status := 0
	for _, a := range args {
		pid, err := strconv.Atoi(a)
		if err == nil {
			err = syscall.Kill(pid, sig)
		}
		if err != nil {
			fmt.Fprintf(os.Stderr, "kill: %s: %v\n", a, err)
			status = 1
		}
	}
	os.Exit(status)
}

func parse(s string) syscall.Signal {
	if n, err := strconv.Atoi(s); err == nil && n >= 0 && n <= 64 {
		return syscall.Signal(n)
	}
	s = strings.TrimPrefix(strings.ToUpper(s), "SIG")
	for i, n := range names {
		if n == s {
			return syscall.Signal(i)
		}
	}
	fail("kill: no signal " + s)
	return 0
}

func fail(text string) {
	fmt.Fprintln(os.Stderr, text)
	os.Exit(1)
}
