// Command bench measures Container Cloud against unshare, crun, runc and podman on this machine and writes
// docs/BENCHMARKS.md and docs/benchmarks.json. Peers and product take turns in one loop, so that a busy machine
// slows both; only the ratios mean something elsewhere.
//
//	go run ./tests/bench [-bin bin] [-n 100] [-only start,exec,...] [-out docs]
package main

import (
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
)

var (
	bin  = flag.String("bin", "bin", "directory of ccd, cc and cc-keeper")
	n    = flag.Int("n", 100, "rounds of each loop")
	only = flag.String("only", "", "comma separated names of sections; all by default")
	out  = flag.String("out", "docs", "where BENCHMARKS.md and benchmarks.json go; - prints only")
)

// inside marks the process that already has namespaces of its own.
const inside = "CC_BENCH_INSIDE"

func main() {
	flag.Parse()
	if err := mainErr(); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func mainErr() error {
	if os.Getuid() != 0 {
		return fmt.Errorf("it must be root")
	}
	if os.Getenv(inside) == "" {
		return reexec()
	}
	h, err := newHost(*bin)
	if err != nil {
		return err
	}
	defer h.close()
	r := &report{}
	for _, s := range sections {
		if *only != "" && !strings.Contains(","+*only+",", ","+s.name+",") {
			continue
		}
		fmt.Fprintf(os.Stderr, "bench: %s\n", s.name)
		if err := s.run(h, r); err != nil {
			return fmt.Errorf("%s: %w", s.name, err)
		}
	}
	return r.write(*out)
}

// sections are the parts of a run, in order.
var sections = []struct {
	name string
	run  func(*host, *report) error
}{
	{"start", benchStart},
	{"cold", benchCold},
	{"exec", benchExec},
	{"process", benchProcess},
	{"rate", benchRate},
	{"files", benchFiles},
	{"logs", benchLogs},
	{"pull", benchPull},
	{"scale", benchScale},
}

// reexec runs the program again in mount and network namespaces of its own: /cc, and a cgroup2 that crun would
// trip over on a machine with version 1, exist or vanish only there.
func reexec() error {
	abs, err := filepath.Abs(*bin)
	if err != nil {
		return err
	}
	cmd := exec.Command("/proc/self/exe", append([]string{"-bin", abs}, os.Args[1:]...)...)
	cmd.Env = append(os.Environ(), inside+"=1")
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNS | syscall.CLONE_NEWNET, Pdeathsig: syscall.SIGKILL}
	return cmd.Run()
}
