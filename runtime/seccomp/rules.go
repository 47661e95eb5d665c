package seccomp

import (
	"runtime"
	"slices"
	"sync"

	"github.com/elastic/go-seccomp-bpf/arch"
	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"github.com/containercloud/cc/fault"
)

// rule is one way for a call to get a verdict: all of args must match.
type rule struct {
	args []specs.LinuxSeccompArg
	ret  uint32
}

// policy is a profile for one architecture: per call number its rules. As in libseccomp, an unconditional rule makes the
// conditional ones of that call void, and a rule that says the same as the default is no rule; of the others the first that matches
// decides, else the default does.
type policy struct {
	rules map[uint32][]rule
	def   uint32
}

// newPolicy reads a profile. Names this architecture does not have are left out, as every runtime does.
func newPolicy(p *specs.LinuxSeccomp) (*policy, error) {
	def, err := action(p.DefaultAction, p.DefaultErrnoRet)
	if err != nil {
		return nil, err
	}
	if p.ListenerPath != "" {
		return nil, fault.New(fault.Unsupported, "cannot use the seccomp profile: listenerPath is not supported")
	}
	if err := checkFlags(p.Flags); err != nil {
		return nil, err
	}
	out := &policy{rules: map[uint32][]rule{}, def: def}
	for _, call := range p.Syscalls {
		if err := out.add(call); err != nil {
			return nil, err
		}
	}
	return out, nil
}

func (p *policy) add(call specs.LinuxSyscall) error {
	ret, err := action(call.Action, call.ErrnoRet)
	if err != nil {
		return err
	}
	for _, a := range call.Args {
		if a.Index > 5 || !slices.Contains(operators, a.Op) {
			return fault.New(fault.Invalid, "cannot use the seccomp profile: condition %s on argument %d", a.Op, a.Index)
		}
	}
	if ret == p.def {
		return nil
	}
	for _, name := range call.Names {
		nr, ok := number(name)
		if !ok || p.decided(nr) {
			continue
		}
		if len(call.Args) == 0 {
			p.rules[nr] = nil
		}
		for _, args := range alternatives(call.Args) {
			p.rules[nr] = append(p.rules[nr], rule{args, ret})
		}
	}
	return nil
}

// decided: the call has its unconditional rule.
func (p *policy) decided(nr uint32) bool {
	list := p.rules[nr]
	return len(list) == 1 && len(list[0].args) == 0
}

// alternatives splits a rule that names one argument twice: runc takes such conditions as "or".
func alternatives(args []specs.LinuxSeccompArg) [][]specs.LinuxSeccompArg {
	seen := map[uint]bool{}
	for _, a := range args {
		if seen[a.Index] {
			var out [][]specs.LinuxSeccompArg
			for _, a := range args {
				out = append(out, []specs.LinuxSeccompArg{a})
			}
			return out
		}
		seen[a.Index] = true
	}
	return [][]specs.LinuxSeccompArg{args}
}

var names = sync.OnceValue(func() map[string]int {
	info, err := arch.GetInfo(runtime.GOARCH)
	if err != nil {
		panic("seccomp: " + err.Error()) // an architecture without a table: native would be empty as well
	}
	return info.SyscallNames
})

func number(name string) (uint32, bool) {
	nr, ok := names()[name]
	if !ok {
		nr, ok = newer[name]
	}
	return uint32(nr), ok
}

// newer are calls that the table does not know yet; their numbers are the same on every architecture.
var newer = map[string]int{"file_getattr": 468, "file_setattr": 469}

var operators = []specs.LinuxSeccompOperator{
	specs.OpNotEqual, specs.OpLessThan, specs.OpLessEqual, specs.OpEqualTo, specs.OpGreaterEqual, specs.OpGreaterThan, specs.OpMaskedEqual,
}

func action(a specs.LinuxSeccompAction, errno *uint) (uint32, error) {
	code := uint32(unix.EPERM)
	if errno != nil {
		if *errno > 0xffff {
			return 0, fault.New(fault.Invalid, "cannot use the seccomp profile: errnoRet %d", *errno)
		}
		code = uint32(*errno)
	}
	switch a {
	case specs.ActKill, specs.ActKillThread:
		return unix.SECCOMP_RET_KILL_THREAD, nil
	case specs.ActKillProcess:
		return unix.SECCOMP_RET_KILL_PROCESS, nil
	case specs.ActTrap:
		return unix.SECCOMP_RET_TRAP, nil
	case specs.ActErrno:
		return unix.SECCOMP_RET_ERRNO | code, nil
	case specs.ActTrace:
		return unix.SECCOMP_RET_TRACE | code, nil
	case specs.ActAllow:
		return unix.SECCOMP_RET_ALLOW, nil
	case specs.ActLog:
		return unix.SECCOMP_RET_LOG, nil
	case specs.ActNotify:
		return 0, fault.New(fault.Unsupported, "cannot use the seccomp profile: SCMP_ACT_NOTIFY needs a listener")
	}
	return 0, fault.New(fault.Invalid, "cannot use the seccomp profile: action %q", a)
}

// checkFlags accepts what has no effect on verdicts. A filter is for one process, so there is nothing to synchronise.
func checkFlags(flags []specs.LinuxSeccompFlag) error {
	for _, f := range flags {
		switch f {
		case specs.LinuxSeccompFlagLog, specs.LinuxSeccompFlagSpecAllow, "SECCOMP_FILTER_FLAG_TSYNC":
		default:
			return fault.New(fault.Unsupported, "cannot use the seccomp profile: flag %s", f)
		}
	}
	return nil
}
