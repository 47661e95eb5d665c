// Package tests runs the scenarios: shell sessions against real ccd and cc processes.
//
// Every script has a host of its own: a network namespace and a mount namespace in which /cc, the state
// directory and the run directory are private. These commands make the scripts read like a user's shell:
//
//	host [-kill] [ccd flags]   start (or kill -9 and start again) the daemon of this script's host
//	busybox                    import an image `bb` of the machine's static busybox
//	$ 'LINE'                   run LINE with bash on that host; `dash$` and `busybox$` use those shells
//
// When a script ends everything is removed and the host must be as it was: mounts, links, nft rules,
// cgroups, processes.
package tests

import (
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
)

var keep = flag.Bool("keep", false, "print where a failed scenario's logs are and keep them")

func TestScenarios(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("scenarios need root: they make namespaces, mounts and cgroups")
	}
	bin := binaries(t)
	testscript.Run(t, testscript.Params{
		Dir:           "scenarios",
		UpdateScripts: os.Getenv("UPDATE") != "",
		Setup: func(env *testscript.Env) error {
			h, err := newHost(bin, env.WorkDir)
			if err != nil {
				return err
			}
			env.Values[hostKey{}] = h
			env.Setenv("PATH", bin+":"+os.Getenv("PATH"))
			env.Setenv("HOST_INSTANCE", h.instance)
			env.Setenv("HOST_PID", fmt.Sprint(h.holder.Process.Pid))
			env.Defer(func() { h.close(t) })
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"host":     cmdHost,
			"busybox":  cmdBusybox,
			"$":        shell("bash"),
			"dash$":    shell("dash"),
			"busybox$": shell("busybox", "sh"),
		},
	})
}

type hostKey struct{}

// binaries returns the directory of ccd, cc and cc-keeper: CC_BIN from `make test`, else bin/ built now.
func binaries(t *testing.T) string {
	if dir := os.Getenv("CC_BIN"); dir != "" {
		return dir
	}
	top, err := filepath.Abs("..")
	if err != nil {
		t.Fatal(err)
	}
	make := exec.Command("make", "-s", "-C", top, "build")
	if out, err := make.CombinedOutput(); err != nil {
		t.Fatalf("make build: %v\n%s", err, out)
	}
	return filepath.Join(top, "bin")
}

func cmdHost(ts *testscript.TestScript, neg bool, args []string) {
	h := ts.Value(hostKey{}).(*host)
	if len(args) > 0 && args[0] == "-kill" {
		args = args[1:]
		ts.Check(h.kill())
	}
	if len(args) > 0 && args[0] == "-off" {
		ts.Check(h.kill())
		return
	}
	ts.Check(h.start(args))
}

// shell runs one line with a shell on the script's host, its output going where `stdout` and `cmp` look.
func shell(argv ...string) func(*testscript.TestScript, bool, []string) {
	return func(ts *testscript.TestScript, neg bool, args []string) {
		h := ts.Value(hostKey{}).(*host)
		line := strings.Join(args, " ")
		err := ts.Exec("nsenter", h.enter(append(argv, "-c", line)...)...)
		if err != nil && !neg {
			ts.Fatalf("%s: %v", line, err)
		}
		if err == nil && neg {
			ts.Fatalf("%s: succeeded, and should have failed", line)
		}
	}
}

// cmdBusybox imports the image bb: busybox under the names of all its applets.
func cmdBusybox(ts *testscript.TestScript, neg bool, args []string) {
	h := ts.Value(hostKey{}).(*host)
	ts.Check(h.importBusybox())
}
