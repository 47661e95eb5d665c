package seccomp

import "golang.org/x/sys/unix"

// Call is what a filter looks at (struct seccomp_data).
type Call struct {
	NR   uint32
	Arch uint32 // unix.AUDIT_ARCH_*
	Args [6]uint64
}

// Run evaluates a filter as the kernel does and returns its verdict (unix.SECCOMP_RET_*). ok is false when it leaves
// the program or has an instruction that Compile never makes.
func Run(prog []unix.SockFilter, c Call) (verdict uint32, ok bool) {
	var a uint32
	for pc := 0; pc < len(prog); pc++ {
		in := prog[pc]
		yes := false
		switch in.Code {
		case unix.BPF_LD | unix.BPF_W | unix.BPF_ABS:
			a = c.word(in.K)
			continue
		case unix.BPF_ALU | unix.BPF_AND | unix.BPF_K:
			a &= in.K
			continue
		case unix.BPF_RET | unix.BPF_K:
			return in.K, true
		case unix.BPF_JMP | unix.BPF_JA:
			pc += int(in.K)
			continue
		case unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K:
			yes = a == in.K
		case unix.BPF_JMP | unix.BPF_JGE | unix.BPF_K:
			yes = a >= in.K
		case unix.BPF_JMP | unix.BPF_JGT | unix.BPF_K:
			yes = a > in.K
		default:
			return 0, false
		}
		if yes {
			pc += int(in.Jt)
		} else {
			pc += int(in.Jf)
		}
	}
	return 0, false
}

func (c *Call) word(off uint32) uint32 {
	switch {
	case off == offNR:
		return c.NR
	case off == offArch:
		return c.Arch
	case off >= offArgs && off < offArgs+48:
		return uint32(c.Args[(off-offArgs)/8] >> (8 * (off % 8)))
	}
	return 0 // the instruction pointer: no profile asks for it
}

// Allows reports whether a native call passes. nil is no filter.
func Allows(prog []unix.SockFilter, nr int, args [6]uint64) bool {
	if prog == nil {
		return true
	}
	v, ok := Run(prog, Call{NR: uint32(nr), Arch: native.audit, Args: args})
	return ok && (v == unix.SECCOMP_RET_ALLOW || v == unix.SECCOMP_RET_LOG)
}
