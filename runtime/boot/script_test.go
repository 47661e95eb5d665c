package boot

import (
	"flag"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/containercloud/cc/runtime/seccomp"
)

var update = flag.Bool("update", false, "write testdata/*.txt")

// someHost is a kernel that is the same everywhere.
var someHost = &host{
	hidden: hidden{files: []string{"/proc/kcore", "/proc/keys"}, dirs: []string{"/proc/acpi", "/sys/firmware"},
		readOnly: []string{"/proc/sys", "/proc/sysrq-trigger"}},
	groups:  parseHierarchies("5:memory:/x\n4:cpu,cpuacct:/x\n3:name=systemd:/\n2:cpuset:/\n0::/x\n"),
	lastCap: 40,
}

func golden(t *testing.T, name string, s *script) {
	t.Helper()
	if _, err := s.encode(); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join("testdata", name+".txt")
	if *update {
		must(t, os.MkdirAll("testdata", 0o755))
		must(t, os.WriteFile(file, []byte(s.String()), 0o644))
		return
	}
	want, err := os.ReadFile(file)
	must(t, err)
	if got := s.String(); got != string(want) {
		t.Errorf("%s differs (go test -update writes it). It is now:\n%s", file, got)
	}
}

func fileNamed(t testing.TB) *os.File {
	t.Helper()
	f, err := os.Open("/dev/null")
	must(t, err)
	t.Cleanup(func() { f.Close() })
	return f
}

func planned(t testing.TB, c *Config, ids IDMap, wait bool) *script {
	t.Helper()
	mounts, err := checkMounts(c.Mounts)
	must(t, err)
	p, err := newProgram(c.Process, c.Capabilities, c.Ambient, c.Seccomp, c.NoNewPrivs, ids)
	must(t, err)
	p.bounding, _ = capSet(DefaultCapabilities())
	p.files = programFiles(unix.Rlimit{Cur: 1024, Max: 524288}, c.Rlimits)
	p.stdio, p.tty, p.init, p.wait = c.Stdio, c.TTY, c.Init, wait
	must(t, p.check())
	return armScript(someHost, 3, c, mounts, p)
}

func TestGolden(t *testing.T) {
	f := fileNamed(t)
	caps, _ := capSet(DefaultCapabilities())
	attach := func(int, *os.File) error { return nil }
	v2 := *someHost
	v2.groups = nil
	filter, err := seccomp.Default()
	must(t, err)
	full := &Config{Root: f, ReadOnly: true, Hostname: "box", NoNewPrivs: true, Capabilities: []string{"CHOWN", "NET_BIND_SERVICE"},
		Ambient: []string{"NET_BIND_SERVICE"}, Seccomp: filter, TTY: true, Init: true, Stdio: [3]*os.File{f, f, f},
		Mounts: []Mount{{Target: "/data/sub", Source: fileNamed(t), ReadOnly: true}, {Target: "/etc/hosts", Source: fileNamed(t), File: true},
			{Target: "/run", Tmpfs: 1 << 20, NoExec: true}, {Target: "/dev/shm", Tmpfs: 1 << 30}},
		Process: Process{Args: []string{"serve", "-v"}, Env: []string{"PATH=/usr/bin:/bin"}, Dir: "/srv/app", UID: 1000, GID: 1000, Groups: []uint32{5, 27}}}
	least := &Config{Root: f, Process: Process{Args: []string{"/bin/true"}}}
	setuid := &Config{Root: f, Seccomp: filter, Process: Process{Args: []string{"/bin/su"}, UID: 1}}
	enter, err := newProgram(full.Process, nil, nil, filter, true, mapped)
	must(t, err)
	enter.bounding, enter.files = ^uint64(0), unix.Rlimit{Cur: 1024, Max: 520192}
	must(t, enter.check())
	golden(t, "hygiene", hygiene(unix.Rlimit{Cur: 1024, Max: 524288}))
	golden(t, "stage_mapped", stage(someHost, &SlotOptions{IDs: mapped, Cgroup: attach}, caps, f))
	golden(t, "stage_host_v2", stage(&v2, &SlotOptions{HostNet: true, CgroupFD: 9}, caps, f))
	golden(t, "arm_full", planned(t, full, mapped, true))
	golden(t, "arm_least", planned(t, least, IDMap{}, true))
	golden(t, "arm_without_no_new_privs", planned(t, setuid, IDMap{}, true))
	golden(t, "stem", stemScript(someHost, &Target{PidFD: fileNamed(t), IDs: mapped, CgroupFile: fileNamed(t)}, enter, fileNamed(t), fileNamed(t)))
	enter.enter = true
	must(t, enter.check())
	golden(t, "enter", enterScript(someHost, &Target{PidFD: fileNamed(t), IDs: mapped}, enter))
}

// Whatever the kernel answers, nothing executes without the byte of Start.
func TestNoStartWithoutByte(t *testing.T) {
	f := fileNamed(t)
	filter, err := seccomp.Default()
	must(t, err)
	for _, c := range []*Config{
		{Root: f, Process: Process{Args: []string{"/bin/true"}}},
		{Root: f, Process: Process{Args: []string{"sh"}, Env: []string{"PATH=/a:/b"}}, Seccomp: filter, NoNewPrivs: true},
		{Root: f, Process: Process{Args: []string{"sh"}, Dir: "/a/b"}, Init: true, TTY: true, Mounts: []Mount{{Target: "/x/y"}}},
	} {
		packets, err := planned(t, c, IDMap{}, true).encode()
		must(t, err)
		started := 0
		for seed := range uint64(3000) {
			r := rand.New(rand.NewPCG(seed, 2))
			byteCame := false
			var m sim
			err := m.run(packets[0].data, func(c call, _ [6]uint64) (int64, bool) {
				switch {
				case c == callExecve && byteCame:
					started++
					return 0, false
				case c == callExecve: // that of notFound
					return -1, true
				case c == callRead:
					n := int64(r.IntN(3) - 1)
					byteCame = n > 0
					return n, true
				}
				if r.IntN(10) == 0 {
					return int64(r.IntN(3)) - 1, true
				}
				return int64(r.IntN(2)), true
			})
			must(t, err)
			if n := slices.Index(m.calls, "execve"); n >= 0 && !byteCame && !searchFailed(m.calls) {
				t.Fatalf("execve without the byte: %s", strings.Join(m.calls, " "))
			}
		}
		if started == 0 {
			t.Error("no run of the script ever started: the test proves nothing")
		}
	}
}

// searchFailed: the execve that only says that PATH has no such file; it cannot succeed.
func searchFailed(calls []string) bool {
	i := slices.Index(calls, "execve")
	return i > 0 && calls[i-1] == "faccessat2"
}

func FuzzPlan(f *testing.F) {
	file, err := os.Open("/dev/null")
	must(f, err)
	f.Add("/data", "/srv", "sh", "PATH=/bin", "box", uint32(0), uint64(1), byte(0))
	f.Add("/a/../../b", "../x", "./x", "PATH=::", "", uint32(70000), ^uint64(0), byte(255))
	f.Fuzz(func(t *testing.T, target, dir, arg, env, host string, uid uint32, size uint64, bits byte) {
		c := &Config{Root: file, Hostname: host, ReadOnly: bits&1 != 0, Init: bits&2 != 0, TTY: bits&4 != 0, NoNewPrivs: bits&8 != 0,
			Mounts:  []Mount{{Target: target, Tmpfs: int64(size >> 1), File: bits&16 != 0, ReadOnly: bits&32 != 0}},
			Process: Process{Args: []string{arg}, Env: []string{env}, Dir: dir, UID: uid}}
		mounts, err := checkMounts(c.Mounts)
		if err != nil {
			return
		}
		p, err := newProgram(c.Process, nil, nil, nil, c.NoNewPrivs, mapped)
		if err != nil {
			return
		}
		p.tty, p.init, p.wait = c.TTY, c.Init, bits&64 != 0
		packets, err := armScript(someHost, 3, c, mounts, p).encode()
		if err != nil {
			return
		}
		var m sim
		must(t, m.run(packets[0].data, func(c call, _ [6]uint64) (int64, bool) { return 1, c != callExecve && c != callInit }))
	})
}

func TestChecks(t *testing.T) {
	for _, target := range []string{"", "/", "relative", "/proc", "/proc/self", "/sys/fs", "/dev", "/x/../proc", "/a\x00b"} {
		if _, err := checkMounts([]Mount{{Target: target}}); err == nil {
			t.Errorf("mount at %q was taken", target)
		}
	}
	for what, p := range map[string]Process{
		"no command": {}, "empty": {Args: []string{""}}, "nul": {Args: []string{"a\x00"}}, "nul in env": {Args: []string{"a"}, Env: []string{"\x00"}},
		"uid": {Args: []string{"a"}, UID: 65536}, "uid -1": {Args: []string{"a"}, UID: ^uint32(0)}, "group": {Args: []string{"a"}, Groups: []uint32{70000}},
	} {
		if _, err := newProgram(p, nil, nil, nil, true, mapped); err == nil {
			t.Errorf("%s was taken", what)
		}
	}
	if _, err := newProgram(Process{Args: []string{"a"}}, []string{"CHOWN"}, []string{"KILL"}, nil, true, mapped); err == nil {
		t.Error("an ambient capability that is not given was taken")
	}
	if _, err := capSet([]string{"CAP_NOTHING"}); err == nil {
		t.Error("an unknown capability was taken")
	}
	if set, err := capSet([]string{"CAP_CHOWN", "net_raw"}); err != nil || set != 1<<unix.CAP_CHOWN|1<<unix.CAP_NET_RAW {
		t.Errorf("capSet: %#x, %v", set, err)
	}
}
