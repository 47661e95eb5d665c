package seccomp

import (
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	moby "github.com/moby/profiles/seccomp"
	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"github.com/containercloud/cc/fault"
)

// reference is what a profile means, call by call, with nothing clever: the verdict libseccomp gives.
func reference(p *specs.LinuxSeccomp, name string, args [6]uint64) uint32 {
	def, _ := action(p.DefaultAction, p.DefaultErrnoRet)
	verdict, conditional := def, false
	for _, call := range p.Syscalls {
		ret, _ := action(call.Action, call.ErrnoRet)
		if !slices.Contains(call.Names, name) || ret == def {
			continue
		}
		if len(call.Args) == 0 {
			return ret
		}
		if !conditional && matches(call.Args, args) {
			verdict, conditional = ret, true
		}
	}
	return verdict
}

func matches(conds []specs.LinuxSeccompArg, args [6]uint64) bool {
	perIndex := map[uint]int{}
	all, some := true, false
	for _, c := range conds {
		perIndex[c.Index]++
		v := args[c.Index]
		ok := map[specs.LinuxSeccompOperator]bool{
			specs.OpEqualTo: v == c.Value, specs.OpNotEqual: v != c.Value, specs.OpLessThan: v < c.Value, specs.OpLessEqual: v <= c.Value,
			specs.OpGreaterThan: v > c.Value, specs.OpGreaterEqual: v >= c.Value, specs.OpMaskedEqual: v&c.Value == c.ValueTwo,
		}[c.Op]
		all, some = all && ok, some || ok
	}
	for _, n := range perIndex {
		if n > 1 {
			return some
		}
	}
	return all
}

func nameOf() map[uint32]string {
	out := map[uint32]string{}
	for _, table := range []map[string]int{names(), newer} {
		for name, nr := range table {
			out[uint32(nr)] = name
		}
	}
	return out
}

// values that a condition of p may tell apart.
func values(p *specs.LinuxSeccomp) []uint64 {
	list := []uint64{0, 1, 2, math.MaxUint32, math.MaxUint32 + 1, math.MaxUint64, 1 << 63}
	for _, call := range p.Syscalls {
		for _, a := range call.Args {
			list = append(list, a.Value, a.Value-1, a.Value+1, a.Value|1<<32, a.Value<<32, a.ValueTwo, ^a.Value, a.ValueTwo|1<<40)
		}
	}
	slices.Sort(list)
	return slices.Compact(list)
}

// compare holds a compiled profile against the reference, for every number, every value in every argument, every architecture.
func compare(t *testing.T, p *specs.LinuxSeccomp, prog []unix.SockFilter) {
	t.Helper()
	known := nameOf()
	nosys := unix.SECCOMP_RET_ERRNO | uint32(unix.ENOSYS)
	check := func(c Call, want uint32) {
		t.Helper()
		if got, ok := Run(prog, c); !ok || got != want {
			t.Fatalf("call %d (%s) of %#x with %#x: %#x, want %#x", c.NR, known[c.NR], c.Arch, c.Args, got, want)
		}
	}
	list := values(p)
	conditional := map[string]bool{}
	for _, call := range p.Syscalls {
		for _, name := range call.Names {
			conditional[name] = conditional[name] || len(call.Args) > 0
		}
	}
	for nr := range uint32(700) {
		try := list
		if !conditional[known[nr]] {
			try = []uint64{0, math.MaxUint64} // arguments must not matter
		}
		for i := range 6 {
			for _, v := range try {
				c := Call{NR: nr, Arch: native.audit}
				c.Args[i] = v
				check(c, reference(p, known[nr], c.Args))
				for k := range 6 {
					c.Args[k] = v
				}
				check(c, reference(p, known[nr], c.Args))
			}
		}
		for _, foreign := range []uint32{unix.AUDIT_ARCH_I386, unix.AUDIT_ARCH_ARM, unix.AUDIT_ARCH_RISCV64, 0} {
			check(Call{NR: nr, Arch: foreign}, nosys)
		}
		check(Call{NR: nr | 0x40000000, Arch: native.audit}, nosys)
	}
	check(Call{NR: math.MaxUint32, Arch: native.audit}, nosys)
}

func TestDefaultEqualsReference(t *testing.T) {
	for _, caps := range [][]string{nil, {"SYS_ADMIN"}, {"CAP_SYS_PTRACE", "CAP_SYSLOG", "CAP_BPF"}, {"NET_ADMIN", "SYS_MODULE", "SYS_TIME"}} {
		prog, err := Default(caps...)
		if err != nil {
			t.Fatal(err)
		}
		p, err := moby.GetDefaultProfile(withCaps(caps))
		if err != nil {
			t.Fatal(err)
		}
		compare(t, p, prog)
		if len(prog) > 260 {
			t.Errorf("%v: %d instructions", caps, len(prog))
		}
	}
}

// Profiles of every operator at random.
func TestRandomProfiles(t *testing.T) {
	for seed := range uint64(40) {
		r := rand.New(rand.NewPCG(seed, 3))
		p := randomProfile(r)
		prog, err := Compile(p)
		if err != nil {
			t.Fatal(err)
		}
		compare(t, p, prog)
	}
}

func randomProfile(r *rand.Rand) *specs.LinuxSeccomp {
	all := make([]string, 0, len(names()))
	for n := range names() {
		all = append(all, n)
	}
	slices.Sort(all)
	actions := []specs.LinuxSeccompAction{specs.ActAllow, specs.ActErrno, specs.ActKillProcess, specs.ActLog, specs.ActTrap}
	p := &specs.LinuxSeccomp{DefaultAction: actions[r.IntN(3)]}
	for range r.IntN(12) + 1 {
		call := specs.LinuxSyscall{Action: actions[r.IntN(len(actions))]}
		for range r.IntN(8) + 1 {
			call.Names = append(call.Names, all[r.IntN(len(all))])
		}
		for range r.IntN(4) {
			call.Args = append(call.Args, specs.LinuxSeccompArg{Index: uint(r.IntN(6)), Value: r.Uint64() >> r.IntN(64),
				ValueTwo: r.Uint64() >> r.IntN(64), Op: operators[r.IntN(len(operators))]})
		}
		p.Syscalls = append(p.Syscalls, call)
	}
	return p
}

// What security asks for on top of "the profile": all of it must hold in the default.
func TestBlocked(t *testing.T) {
	prog, err := Default("CHOWN", "SETUID", "NET_BIND_SERVICE")
	if err != nil {
		t.Fatal(err)
	}
	verdict := func(name string, args ...uint64) uint32 {
		nr, ok := number(name)
		if !ok {
			t.Fatal(name)
		}
		c := Call{NR: nr, Arch: native.audit}
		copy(c.Args[:], args)
		v, _ := Run(prog, c)
		return v
	}
	eperm := unix.SECCOMP_RET_ERRNO | uint32(unix.EPERM)
	for _, name := range []string{"io_uring_setup", "io_uring_enter", "io_uring_register", "keyctl", "add_key", "request_key", "bpf",
		"unshare", "setns", "mount", "umount2", "move_mount", "fsopen", "open_tree", "perf_event_open", "userfaultfd", "kexec_load", "init_module",
		"finit_module", "delete_module", "open_by_handle_at", "clock_settime", "settimeofday", "swapon", "reboot", "pivot_root", "quotactl", "acct", "syslog"} {
		if v := verdict(name); v != eperm {
			t.Errorf("%s: %#x", name, v)
		}
	}
	if v := verdict("clone3"); v != unix.SECCOMP_RET_ERRNO|uint32(unix.ENOSYS) {
		t.Errorf("clone3: %#x", v)
	}
	for _, ns := range []uint64{unix.CLONE_NEWUSER, unix.CLONE_NEWNS, unix.CLONE_NEWPID, unix.CLONE_NEWNET, unix.CLONE_NEWCGROUP} {
		if v := verdict("clone", ns|uint64(unix.SIGCHLD)); v != eperm {
			t.Errorf("clone(%#x): %#x", ns, v)
		}
	}
	if v := verdict("clone", unix.CLONE_VM|unix.CLONE_THREAD); v != unix.SECCOMP_RET_ALLOW {
		t.Errorf("clone of a thread: %#x", v)
	}
	for family, want := range map[uint64]uint32{unix.AF_ALG: eperm, unix.AF_VSOCK: eperm, unix.AF_ALG | 1<<32: eperm,
		unix.AF_INET: unix.SECCOMP_RET_ALLOW, unix.AF_INET6: unix.SECCOMP_RET_ALLOW, unix.AF_UNIX: unix.SECCOMP_RET_ALLOW, unix.AF_NETLINK: unix.SECCOMP_RET_ALLOW} {
		if v := verdict("socket", family); v != want {
			t.Errorf("socket(%d): %#x, want %#x", family, v, want)
		}
	}
}

// parse compiles a profile in Docker's form.
func parse(json string, caps ...string) ([]unix.SockFilter, error) {
	p, err := moby.LoadProfile(json, withCaps(caps))
	if err != nil {
		return nil, err
	}
	if p == nil {
		return nil, errors.New("it says nothing")
	}
	return Compile(p)
}

func TestFor(t *testing.T) {
	def, err := For("default")
	if err != nil || len(def) == 0 {
		t.Fatal(err)
	}
	if prog, err := For("unconfined"); prog != nil || err != nil {
		t.Errorf("unconfined: %d instructions, %v", len(prog), err)
	}
	if _, err := For("other"); !fault.Is(err, fault.Invalid) {
		t.Errorf("other: %v", err)
	}
}

func TestProfiles(t *testing.T) {
	prog, err := parse(`{"defaultAction":"SCMP_ACT_ALLOW","architectures":["SCMP_ARCH_X86_64","SCMP_ARCH_X86"],
		"syscalls":[{"names":["mkdir","mkdirat","no_such_call"],"action":"SCMP_ACT_ERRNO","errnoRet":28}]}`)
	if err != nil {
		t.Fatal(err)
	}
	nr, _ := number("mkdirat")
	if v, _ := Run(prog, Call{NR: nr, Arch: native.audit}); v != unix.SECCOMP_RET_ERRNO|28 {
		t.Errorf("mkdirat: %#x", v)
	}
	if !Allows(prog, 0, [6]uint64{}) || Allows(prog, int(nr), [6]uint64{}) || !Allows(nil, int(nr), [6]uint64{}) {
		t.Error("Allows is wrong")
	}
	// A Docker profile with conditions on capabilities.
	conditional := `{"defaultAction":"SCMP_ACT_ERRNO","syscalls":[{"names":["mkdirat"],"action":"SCMP_ACT_ALLOW","includes":{"caps":["CAP_SYS_ADMIN"]}}]}`
	with, _ := parse(conditional, "SYS_ADMIN")
	without, _ := parse(conditional)
	if !Allows(with, int(nr), [6]uint64{}) || Allows(without, int(nr), [6]uint64{}) {
		t.Error("the condition on capabilities has no effect")
	}
	for what, bad := range map[string]string{
		"no JSON": "{", "nothing": "{}", "action": `{"defaultAction":"SCMP_ACT_NONSENSE"}`,
		"notify":   `{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[{"names":["read"],"action":"SCMP_ACT_NOTIFY"}]}`,
		"operator": `{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[{"names":["read"],"action":"SCMP_ACT_ERRNO","args":[{"index":0,"op":"X"}]}]}`,
		"index":    `{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[{"names":["read"],"action":"SCMP_ACT_ERRNO","args":[{"index":6,"op":"SCMP_CMP_EQ"}]}]}`,
		"errno":    `{"defaultAction":"SCMP_ACT_ERRNO","defaultErrnoRet":70000}`,
		"flag":     `{"defaultAction":"SCMP_ACT_ALLOW","flags":["SECCOMP_FILTER_FLAG_NEW_LISTENER"]}`,
	} {
		if _, err := parse(bad); err == nil {
			t.Errorf("%s: %v", what, err)
		}
	}
	var huge strings.Builder
	for i := range 500 {
		fmt.Fprintf(&huge, `,{"names":["read"],"action":"SCMP_ACT_ERRNO","errnoRet":1,"args":[{"index":0,"value":%d,"op":"SCMP_CMP_MASKED_EQ"},{"index":1,"value":1,"op":"SCMP_CMP_EQ"}]}`, i+1)
	}
	if _, err := parse(`{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[` + huge.String()[1:] + `]}`); err == nil {
		t.Error("a filter longer than the kernel takes was accepted")
	}
}

func FuzzCompile(f *testing.F) {
	f.Add(`{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[{"names":["read"],"action":"SCMP_ACT_ERRNO"}]}`)
	f.Fuzz(func(t *testing.T, json string) {
		prog, err := parse(json)
		if err != nil {
			return
		}
		for nr := range uint32(500) {
			if _, ok := Run(prog, Call{NR: nr, Arch: native.audit}); !ok {
				t.Fatalf("the program for %q leaves itself", json)
			}
		}
	})
}
