package treetest

import (
	"bytes"
	"context"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

// Script tries a mounted sample tree with the tools that people use. It runs in bash, in the directory of a box made for
// it: $B is that directory, $N another's net, $M the mount, $T an empty directory on the disk, $name the box's name. It must
// exit with 0 and remove what else it made.
type Script struct {
	Needs string // programs, besides bash and coreutils
	Root  bool   // only works as root
	Text  string
}

// prelude are the words of the scripts.
const prelude = `
set -u
LC_ALL=C
export LC_ALL
fail() { echo "FAIL in line ${BASH_LINENO[1]:-?}: $*" >&2; exit 1; }
eq() { [ "$1" = "$2" ] || fail "got <$1>, want <$2>"; }
holds() { eq "$(cat "$1"; echo x)" "$2"$'\n'x; }       # FILE LINES
empty() { eq "$(cat "$1"; echo x)" x; }
errs() { # TEXT COMMAND...: it fails and says so
	local want=$1 out; shift
	if out=$("$@" 2>&1); then fail "no error from: $*"; fi
	case $out in *"$want"*) ;; *) fail "got <$out>, want <$want>" ;; esac
}
soon() { # COMMAND...: it succeeds within 20 seconds
	local i; for i in $(seq 400); do "$@" >/dev/null 2>&1 && return; sleep 0.05; done
	fail "never: $*"
}
has() { grep -q -- "$2" "$1" || fail "$1 holds <$(cat "$1")>, want <$2> in it"; }
mkdir "$B" "$N"
trap '{ cd /; echo stop > $B/ctl; rmdir $B; rmdir $N; } 2> /dev/null' EXIT
cd "$B" || exit 1
`

// Scripts are all of them by name.
func Scripts() map[string]Script {
	all := map[string]Script{}
	for _, group := range []map[string]Script{shellScripts, readScripts, editScripts, copyScripts, blockScripts, errorScripts} {
		maps.Copy(all, group)
	}
	return all
}

// RunScripts runs all scripts as subtests on a sample tree mounted at mnt.
func RunScripts(t *testing.T, mnt string) {
	all := Scripts()
	for _, name := range slices.Sorted(maps.Keys(all)) {
		t.Run(name, func(t *testing.T) { all[name].Run(t, mnt) })
	}
}

// Run runs one script.
func (s Script) Run(t *testing.T, mnt string) {
	for _, tool := range strings.Fields(s.Needs) {
		if _, err := exec.LookPath(tool); err != nil {
			t.Skipf("no %s on this machine", tool)
		}
	}
	if s.Root && os.Getuid() != 0 {
		t.Skip("not root")
	}
	name := fmt.Sprintf("s%d-%d", os.Getpid(), unique.Add(1))
	limit, cancel := context.WithTimeout(context.Background(), 90*time.Second)
	defer cancel()
	c := exec.CommandContext(limit, "bash", "-c", prelude+s.Text)
	var out bytes.Buffer
	c.Stdout, c.Stderr = &out, &out
	c.Env = append(os.Environ(), "M="+mnt, "B="+mnt+"/box/"+name, "N="+mnt+"/net/"+name, "T="+t.TempDir(), "name="+name, "HOME="+t.TempDir())
	c.SysProcAttr = &syscall.SysProcAttr{Setsid: true} // a session of its own, as a terminal has
	c.WaitDelay = time.Second
	if err := c.Run(); err != nil {
		_ = syscall.Kill(-c.Process.Pid, syscall.SIGKILL)
		t.Fatalf("%v\n%s", err, out.String())
	}
}
