package seccomp

import (
	"math"
	"slices"

	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"github.com/containercloud/cc/fault"
)

// offsets in struct seccomp_data
const (
	offNR   = 0
	offArch = 4
	offArgs = 16
)

const maxLen = 4096 // BPF_MAXINSNS

// Compile makes the filter of a profile for the native architecture. Every other one, and the x32 numbers on
// amd64, get ENOSYS, whatever the profile's list of architectures says.
func Compile(p *specs.LinuxSeccomp) ([]unix.SockFilter, error) {
	pol, err := newPolicy(p)
	if err != nil {
		return nil, err
	}
	nosys := ret(unix.SECCOMP_RET_ERRNO | uint32(unix.ENOSYS))
	prog := []unix.SockFilter{load(offArch), jump(unix.BPF_JEQ, native.audit, 1, 0), nosys, load(offNR)}
	prog = append(prog, tree(pol.spans(nosys))...)
	if len(prog) > maxLen {
		return nil, fault.New(fault.Invalid, "cannot use the seccomp profile: it needs %d instructions, the kernel takes %d", len(prog), maxLen)
	}
	return prog, nil
}

// span is code for the numbers from on to the next span's.
type span struct {
	from uint32
	code []unix.SockFilter
}

// spans cuts the call numbers into runs of equal verdict.
func (p *policy) spans(foreign unix.SockFilter) []span {
	out := []span{{0, p.code(0)}}
	add := func(from uint32, code []unix.SockFilter) {
		if !slices.Equal(out[len(out)-1].code, code) {
			out = append(out, span{from, code})
		}
	}
	last := uint32(0)
	for nr := range p.rules {
		last = max(last, nr)
	}
	for nr := uint32(1); nr <= last; nr++ {
		add(nr, p.code(nr))
	}
	add(last+1, []unix.SockFilter{ret(p.def)})
	add(native.limit, []unix.SockFilter{foreign})
	return out
}

// tree finds A's span by halves.
func tree(spans []span) []unix.SockFilter {
	if len(spans) == 1 {
		return spans[0].code
	}
	half := len(spans) / 2
	low, high := tree(spans[:half]), tree(spans[half:])
	at := spans[half].from
	var out []unix.SockFilter
	if len(low) <= math.MaxUint8 {
		out = append(out, jump(unix.BPF_JGE, at, uint8(len(low)), 0))
	} else {
		out = append(out, jump(unix.BPF_JGE, at, 0, 1), unix.SockFilter{Code: unix.BPF_JMP | unix.BPF_JA, K: uint32(len(low))})
	}
	return append(append(out, low...), high...)
}

// code is the verdict on one call.
func (p *policy) code(nr uint32) []unix.SockFilter {
	rules := p.rules[nr]
	switch {
	case len(rules) == 0:
		return []unix.SockFilter{ret(p.def)}
	case len(rules[0].args) == 0:
		return []unix.SockFilter{ret(rules[0].ret)}
	}
	if code := valueTree(rules, p.def); code != nil {
		return code
	}
	var out []unix.SockFilter
	for _, r := range rules {
		out = append(out, r.code()...)
	}
	return append(out, ret(p.def))
}

// valueTree handles a call whose rules all look at the same argument and compare it with 32-bit numbers (socket, personality): a
// tree over the values. nil for any other.
func valueTree(rules []rule, def uint32) []unix.SockFilter {
	edges := []uint64{0}
	index := rules[0].args[0].Index
	for _, r := range rules {
		a := r.args[0]
		if len(r.args) != 1 || a.Index != index || a.Op == specs.OpMaskedEqual || a.Value > math.MaxUint32 {
			return nil
		}
		edges = append(edges, a.Value, a.Value+1)
	}
	slices.Sort(edges)
	var spans []span
	for _, e := range slices.Compact(edges) {
		code := []unix.SockFilter{ret(decide(rules, def, e))}
		if e <= math.MaxUint32 && (len(spans) == 0 || !slices.Equal(spans[len(spans)-1].code, code)) {
			spans = append(spans, span{uint32(e), code})
		}
	}
	low := append([]unix.SockFilter{load(argLow(index))}, tree(spans)...)
	if len(low) > math.MaxUint8 {
		return nil
	}
	out := []unix.SockFilter{load(argHigh(index)), jump(unix.BPF_JEQ, 0, 0, uint8(len(low)))}
	return append(append(out, low...), ret(decide(rules, def, math.MaxUint32+1)))
}

func decide(rules []rule, def uint32, v uint64) uint32 {
	for _, r := range rules {
		if holds(r.args[0], v) {
			return r.ret
		}
	}
	return def
}

// holds is the meaning of a condition; the generated code says the same in 32-bit steps.
func holds(a specs.LinuxSeccompArg, v uint64) bool {
	switch a.Op {
	case specs.OpNotEqual:
		return v != a.Value
	case specs.OpLessThan:
		return v < a.Value
	case specs.OpLessEqual:
		return v <= a.Value
	case specs.OpEqualTo:
		return v == a.Value
	case specs.OpGreaterEqual:
		return v >= a.Value
	case specs.OpGreaterThan:
		return v > a.Value
	}
	return v&a.Value == a.ValueTwo // OpMaskedEqual
}

// code checks the conditions in turn; the first that does not hold leads behind the rule.
func (r rule) code() []unix.SockFilter {
	out := []unix.SockFilter{ret(r.ret)}
	for _, a := range slices.Backward(r.args) {
		out = append(condition(a, uint8(len(out))), out...)
	}
	return out
}

// condition falls through when a holds, else jumps over n more instructions.
func condition(a specs.LinuxSeccompArg, n uint8) []unix.SockFilter {
	high, low := uint32(a.Value>>32), uint32(a.Value)
	lh, ll := load(argHigh(a.Index)), load(argLow(a.Index))
	switch a.Op {
	case specs.OpEqualTo:
		return []unix.SockFilter{lh, jump(unix.BPF_JEQ, high, 0, n+2), ll, jump(unix.BPF_JEQ, low, 0, n)}
	case specs.OpNotEqual:
		return []unix.SockFilter{lh, jump(unix.BPF_JEQ, high, 0, 2), ll, jump(unix.BPF_JEQ, low, n, 0)}
	case specs.OpGreaterEqual:
		return []unix.SockFilter{lh, jump(unix.BPF_JGT, high, 3, 0), jump(unix.BPF_JEQ, high, 0, n+2), ll, jump(unix.BPF_JGE, low, 0, n)}
	case specs.OpGreaterThan:
		return []unix.SockFilter{lh, jump(unix.BPF_JGT, high, 3, 0), jump(unix.BPF_JEQ, high, 0, n+2), ll, jump(unix.BPF_JGT, low, 0, n)}
	case specs.OpLessThan:
		return []unix.SockFilter{lh, jump(unix.BPF_JGT, high, n+3, 0), jump(unix.BPF_JEQ, high, 0, 2), ll, jump(unix.BPF_JGE, low, n, 0)}
	case specs.OpLessEqual:
		return []unix.SockFilter{lh, jump(unix.BPF_JGT, high, n+3, 0), jump(unix.BPF_JEQ, high, 0, 2), ll, jump(unix.BPF_JGT, low, n, 0)}
	}
	return []unix.SockFilter{
		lh, and(high), jump(unix.BPF_JEQ, uint32(a.ValueTwo>>32), 0, n+3),
		ll, and(low), jump(unix.BPF_JEQ, uint32(a.ValueTwo), 0, n),
	}
}

// Arguments are 64 bits in the machine's order; both of our architectures are little-endian.
func argLow(i uint) uint32  { return offArgs + 8*uint32(i) }
func argHigh(i uint) uint32 { return offArgs + 8*uint32(i) + 4 }

func load(off uint32) unix.SockFilter {
	return unix.SockFilter{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, K: off}
}

func and(mask uint32) unix.SockFilter {
	return unix.SockFilter{Code: unix.BPF_ALU | unix.BPF_AND | unix.BPF_K, K: mask}
}

func ret(v uint32) unix.SockFilter {
	return unix.SockFilter{Code: unix.BPF_RET | unix.BPF_K, K: v}
}

func jump(cond uint16, k uint32, yes, no uint8) unix.SockFilter {
	return unix.SockFilter{Code: unix.BPF_JMP | cond | unix.BPF_K, Jt: yes, Jf: no, K: k}
}
