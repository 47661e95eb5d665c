package boot

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// The same container by crun and by us must look the same from inside; what differs is listed with its reason.

func bothRuntimes(t *testing.T, change func(*Config), changeSpec func(*specs.Spec), args ...string) (ours, theirs string) {
	t.Helper()
	spawner(t)
	lower := image(t)
	withProbe(t, lower)
	env := []string{"PATH=/usr/bin:/bin", "HOME=/root", "BOOT_TEST_PART=probe"}
	cr := newCrun(t, lower, func(s *specs.Spec) {
		s.Process.Env = env
		if changeSpec != nil {
			changeSpec(s)
		}
	}, args...)
	got := runIn(t, SlotOptions{Cgroup: testGroup(t)}, lower, func(c *Config) {
		c.Process.Env = env
		if change != nil {
			change(c)
		}
	}, args...)
	r, w, err := os.Pipe()
	must(t, err)
	cmd := cr.command("run", cr.id)
	cmd.Stdout, cmd.Stderr = w, w
	must(t, cmd.Start())
	w.Close()
	var out bytes.Buffer
	out.ReadFrom(r)
	if err := cmd.Wait(); err != nil {
		t.Fatalf("crun: %v: %s", err, out.String())
	}
	return got.out, out.String()
}

func compareMaps(t *testing.T, what string, ours, theirs map[string]string, reasons map[string]string) {
	t.Helper()
	keys := slices.Sorted(maps.Keys(ours))
	for k := range theirs {
		if _, ok := ours[k]; !ok {
			keys = append(keys, k)
		}
	}
	for _, k := range keys {
		if ours[k] != theirs[k] && reasons[k] == "" {
			t.Errorf("%s %s: %q, crun has %q", what, k, ours[k], theirs[k])
		}
	}
}

func TestDifferentialStatus(t *testing.T) {
	for what, uid := range map[string]uint32{"root": 0, "user": 1000} {
		ours, theirs := bothRuntimes(t, func(c *Config) {
			c.Process.UID, c.Process.GID, c.Process.Groups = uid, uid, []uint32{7}
		}, func(s *specs.Spec) {
			s.Process.User = specs.User{UID: uid, GID: uid, AdditionalGids: []uint32{7}}
			if uid != 0 { // as Docker asks a runtime
				s.Process.Capabilities.Effective, s.Process.Capabilities.Permitted = nil, nil
			}
		}, "/bin/probe", "status")
		var a, b map[string]string
		must(t, json.Unmarshal([]byte(ours), &a))
		must(t, json.Unmarshal([]byte(theirs), &b))
		measured := "a measurement of the process, not of its container"
		reasons := map[string]string{"FDSize": measured, "Threads": measured, "SigQ": measured, "voluntary_ctxt_switches": measured,
			"nonvoluntary_ctxt_switches": measured, "SigCgt": measured}
		for k := range a {
			if strings.HasPrefix(k, "Vm") || strings.HasPrefix(k, "Rss") {
				reasons[k] = measured
			}
		}
		compareMaps(t, what+" status", a, b, reasons)
	}
}

// mountTable is the mounts by target: file system, options and the file system's own options.
func mountTable(mountinfo string) map[string]string {
	out := map[string]string{}
	for _, line := range strings.Split(mountinfo, "\n") {
		f := strings.Fields(line)
		if i := slices.Index(f, "-"); i > 5 {
			opts := slices.DeleteFunc(strings.Split(f[5], ","), func(o string) bool { return o == "relatime" })
			out[f[4]] = f[i+1] + " " + strings.Join(opts, ",")
		}
	}
	return out
}

func TestDifferentialMounts(t *testing.T) {
	ours, theirs := bothRuntimes(t, nil, nil, "cat", "/proc/self/mountinfo")
	reasons := map[string]string{
		"/":              "ours is an overlay without device nodes, crun's the bare directory",
		"/dev":           "crun adds an option of its own",
		"/sys/fs/cgroup": "crun leaves the tmpfs writable, ours is read-only",
	}
	for _, p := range thisHost().hidden.files {
		reasons[p] = "the mask is the container's own /dev/null, nosuid and noexec"
	}
	for _, p := range append(slices.Clone(thisHost().hidden.dirs), thisHost().hidden.readOnly...) {
		reasons[p] = "ours is nosuid, nodev, noexec too"
	}
	a, b := mountTable(ours), mountTable(theirs)
	for _, c := range []string{"cpuset", "blkio", "systemd"} {
		reasons["/sys/fs/cgroup/"+c] = "a hierarchy that the container is not limited in is not shown"
	}
	for k := range b {
		if a[k] == "" && reasons[k] == "" {
			t.Errorf("crun mounts %s (%s), we do not", k, b[k])
		}
	}
	compareMaps(t, "mount", a, b, reasons)
}

func TestDifferentialFiles(t *testing.T) {
	script := `ls -l /dev | sed 's/  *[A-Z][a-z][a-z]  *[0-9]* [0-9:]* / /'; ls /proc/self/fd | head -3; pwd; hostname; umask; cat /proc/self/cgroup | sed 's/.*:\([^:]*\):/\1 /'; id; echo $PPID; cat /proc/1/comm`
	ours, theirs := bothRuntimes(t, nil, nil, "sh", "-c", script)
	if ours != theirs {
		t.Errorf("ours:\n%s\ncrun's:\n%s", ours, theirs)
	}
}

func TestDifferentialLimits(t *testing.T) {
	ours, theirs := bothRuntimes(t, func(c *Config) {
		c.Rlimits = []Rlimit{{unix.RLIMIT_NOFILE, 100, 200}, {unix.RLIMIT_CORE, 0, 0}}
		c.OOMScoreAdj = 123
	}, func(s *specs.Spec) {
		s.Process.Rlimits = []specs.POSIXRlimit{{Type: "RLIMIT_NOFILE", Soft: 100, Hard: 200}, {Type: "RLIMIT_CORE"}}
		n := 123
		s.Process.OOMScoreAdj = &n
	}, "cat", "/proc/self/limits", "/proc/self/oom_score_adj")
	if ours != theirs {
		t.Errorf("ours:\n%s\ncrun's:\n%s", ours, theirs)
	}
}

// Every system call, with nothing but nonsense for arguments, gets the same answer.
func TestDifferentialCalls(t *testing.T) {
	ours, theirs := bothRuntimes(t, nil, nil, "/bin/probe", "errnos")
	var a, b map[int]int
	must(t, json.Unmarshal([]byte(ours), &a))
	must(t, json.Unmarshal([]byte(theirs), &b))
	if len(a) < 400 || len(b) < 400 {
		t.Fatalf("only %d and %d calls were made", len(a), len(b))
	}
	for nr := range a {
		if nr >= 450 && b[nr] == int(unix.EPERM) {
			continue // allowed by the profile, but its libseccomp does not know the name
		}
		if a[nr] != b[nr] {
			t.Errorf("call %d: %v, crun %v", nr, fmt.Sprint(unix.Errno(a[nr])), fmt.Sprint(unix.Errno(b[nr])))
		}
	}
}
