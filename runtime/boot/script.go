package boot

import (
	"encoding/binary"
	"fmt"
	"os"
	"runtime"
	"strconv"
	"syscall"
)

// A script is a list of system calls that ccinit runs in order, in one message:
//
//	header   count u32, magic u32, 8 bytes zero
//	op       nr u16, flags u8, indirect u8, result u32, tag u32, skip u32, args 6 * u64     (64 bytes each)
//	data     strings and structures that the ops point at
//
// ccinit keeps everything in one area at a fixed address, so that a pointer is a number known here:
//
//	area + 0x0000  its own msghdr, iovec, report
//	     + 0x0100  control message of the last script: the descriptors it came with
//	     + 0x0800  256 registers of 4 bytes; 0 is a waste-basket. They live as long as the process
//	     + 0x1000  the message
//	     + 0x40000 the arena: arguments and environment that are too large for a message
//
// The result of an op (32 bits) goes to the address in result. Bit i of indirect says that argument i is the
// address of a 32-bit number to load (a register, a received descriptor). Flags say what a negative (jn), zero (jz) or positive (jp)
// result does: jump forward over skip ops. A negative one without jn and ig, or zero with fz, ends the process
// after writing {tag, errno} to descriptor 3. Jumps only go forward, so every script ends.
const (
	areaBase  = 0x1000000
	ctrlBase  = areaBase + 0x100 + 16
	regBase   = areaBase + 0x800
	msgBase   = areaBase + 0x1000
	msgMax    = 128 << 10 // a message must fit into the socket's buffer (208 KiB by default)
	arenaBase = areaBase + 0x40000
	arenaLen  = 0x3c0000
	chunkLen  = 64 << 10
	bigData   = 32 << 10 // argument blocks above this go to the arena
	maxFds    = 253      // SCM_MAX_FD
	magic     = 0x31696363
	opLen     = 64
	headLen   = 16
)

const (
	jn = 1 << iota
	jz
	jp
	fz
	ig
)

// reg is one of ccinit's registers.
type reg uint8

const (
	waste   reg = iota
	regProc     // the staged mounts, from NewSlot to Arm
	regSys
	regDev
	regFree // the first one that a script may use as it likes
)

type valueKind uint8

const (
	isNumber valueKind = iota
	isData             // offset into the script's data
	isArena            // offset into the arena
	isReg              // contents of a register
	isFD               // received descriptor
)

// value is one argument and how it is printed: as text, quoted, or as what it is. Printing is for tests and errors
// only, so nothing is formatted before.
type value struct {
	kind  valueKind
	style uint8
	n     uint64
	text  string
}

const (
	plain = iota
	quoted
	inOctal
)

func num(n int) value               { return value{n: uint64(n)} }
func octal(n uint32) value          { return value{n: uint64(n), style: inOctal} }
func name(n uint64, s string) value { return value{n: n, text: s} }

func hex(n uint64) string { return fmt.Sprintf("%#x", n) }

// text prints a list, the front of it when it is long: it goes into errors.
func text(list []string) string {
	b := []byte{'['}
	for i, s := range list {
		if i > 0 {
			b = append(b, ' ')
		}
		if len(b) > 100 {
			return string(append(b, "...]"...))
		}
		b = strconv.AppendQuote(b, s[:min(len(s), 100)])
	}
	return string(append(b, ']'))
}

// bits prints the flags of n that pairs (text, bit) name.
func bits(n uint64, pairs ...any) value {
	text := ""
	for i := 0; i < len(pairs); i += 2 {
		if n&uint64(pairs[i+1].(int)) != 0 {
			text += "|" + pairs[i].(string)
		}
	}
	if text == "" {
		text = "|0"
	}
	return name(n, text[1:])
}

func (r reg) value() value { return value{kind: isReg, n: uint64(r)} }

func (r reg) String() string {
	switch r {
	case regProc:
		return "$proc"
	case regSys:
		return "$sys"
	case regDev:
		return "$dev"
	}
	return fmt.Sprintf("$%d", uint8(r))
}

var null = value{text: "NULL"}

type label int

type op struct {
	call   call
	args   []value
	flags  uint8
	to     label // where jn, jz, jp lead
	result value // isReg or isData
}

// script collects ops. Its methods never fail; encode does.
type script struct {
	host   *host
	arch   string
	serial uint16 // upper half of every op's tag
	ops    []op
	data   []byte
	relocs []reloc
	labels []int // op index
	fds    []*os.File
	arena  []byte
	next   reg
	prog   value // the seccomp program, once it is in data
}

type reloc struct {
	at int // offset into data where the 8-byte address of v goes
	v  value
}

func newScript(h *host, serial uint16) *script {
	return &script{host: h, arch: runtime.GOARCH, serial: serial, next: regFree, ops: make([]op, 0, 96), data: make([]byte, 0, 6<<10)}
}

// do appends a call whose failure ends the process.
func (s *script) do(c call, args ...value) *op {
	s.ops = append(s.ops, op{call: c, args: args, result: waste.value()})
	return &s.ops[len(s.ops)-1]
}

// try appends a call whose failure does not matter.
func (s *script) try(c call, args ...value) {
	s.do(c, args...).flags |= ig
}

func (o *op) on(flags uint8, to label) *op {
	o.flags |= flags
	o.to = to
	return o
}

// orNext lets the script go on after a failure; with on(jz|jp, l) that is a branch.
func (o *op) orNext() *op { o.flags |= ig; return o }

func (o *op) zeroFails() *op { o.flags |= fz; return o }

func (o *op) into(v value) *op { o.result = v; return o }

// keep stores the op's result in a fresh register.
func (s *script) keep(o *op) value {
	o.result = s.reg().value()
	return o.result
}

// reg takes a fresh register; encode refuses a script that took too many.
func (s *script) reg() reg {
	if s.next < 255 {
		s.next++
	}
	return s.next - 1
}

func (s *script) label() label {
	s.labels = append(s.labels, -1)
	return label(len(s.labels) - 1)
}

func (s *script) place(l label) { s.labels[l] = len(s.ops) }

// fd names a descriptor that travels with the script. 0..2 and 3 are never touched by it: it arrives above them.
func (s *script) fd(f *os.File, text string) value {
	for i, have := range s.fds {
		if have == f {
			return value{kind: isFD, n: uint64(i), text: text}
		}
	}
	s.fds = append(s.fds, f)
	return value{kind: isFD, n: uint64(len(s.fds) - 1), text: text}
}

func (s *script) bytes(b []byte, text string) value {
	for len(s.data)%8 != 0 {
		s.data = append(s.data, 0)
	}
	off := len(s.data)
	s.data = append(s.data, b...)
	return value{kind: isData, n: uint64(off), text: text}
}

func (s *script) str(str string) value {
	for len(s.data)%8 != 0 {
		s.data = append(s.data, 0)
	}
	off := len(s.data)
	s.data = append(append(s.data, str...), 0)
	return value{kind: isData, style: quoted, n: uint64(off), text: str}
}

// words makes a structure of 8-byte fields; values that are addresses are filled in by encode.
func (s *script) words(text string, vs ...value) value {
	v := s.bytes(make([]byte, 8*len(vs)), text)
	for i, f := range vs {
		at := int(v.n) + 8*i
		if f.kind == isNumber {
			binary.LittleEndian.PutUint64(s.data[at:], f.n)
			continue
		}
		s.relocs = append(s.relocs, reloc{at, f})
	}
	return v
}

// strings makes a NULL-terminated array of string pointers, in the arena when it is large.
func (s *script) strings(list []string, text string) value {
	size := 8 * (len(list) + 1)
	for _, str := range list {
		size += len(str) + 1
	}
	if size <= bigData {
		ptrs := make([]value, 0, len(list)+1)
		for _, str := range list {
			off := len(s.data)
			s.data = append(append(s.data, str...), 0)
			ptrs = append(ptrs, value{kind: isData, n: uint64(off)})
		}
		return s.words(text, append(ptrs, null)...)
	}
	for len(s.arena)%8 != 0 {
		s.arena = append(s.arena, 0)
	}
	off := len(s.arena)
	block := make([]byte, 8*(len(list)+1), size)
	for i, str := range list {
		binary.LittleEndian.PutUint64(block[8*i:], uint64(arenaBase+off+len(block)))
		block = append(append(block, str...), 0)
	}
	s.arena = append(s.arena, block...)
	return value{kind: isArena, n: uint64(off), text: text}
}

// packet is one message with its descriptors.
type packet struct {
	data []byte
	fds  []*os.File
}

// encode makes the messages to send: the script, then the pieces of its arena.
func (s *script) encode() ([]packet, error) {
	chunks := s.loadArena()
	if s.next == 255 || len(s.fds) > maxFds || len(s.arena) > arenaLen {
		return nil, &OpError{Op: "script", Errno: syscall.E2BIG}
	}
	dataBase := uint64(msgBase + headLen + opLen*len(s.ops))
	size := headLen + opLen*len(s.ops) + len(s.data)
	if size > msgMax {
		return nil, &OpError{Op: "script", Errno: syscall.E2BIG}
	}
	b := make([]byte, 0, size)
	b = binary.LittleEndian.AppendUint32(b, uint32(len(s.ops)))
	b = binary.LittleEndian.AppendUint32(b, magic)
	b = binary.LittleEndian.AppendUint64(b, 0)
	for i := range s.ops {
		b = s.appendOp(b, i, dataBase)
	}
	for _, r := range s.relocs {
		binary.LittleEndian.PutUint64(s.data[r.at:], r.v.address(dataBase))
	}
	b = append(b, s.data...)
	return append([]packet{{b, s.fds}}, chunks...), nil
}

// sent lets go of what only encode needs; the ops stay, to name a failure.
func (s *script) sent() { s.data, s.arena, s.relocs, s.fds = nil, nil, nil, nil }

// loadArena puts the reads of the arena's pieces in front of the script.
func (s *script) loadArena() []packet {
	var packets []packet
	var reads []op
	for off := 0; off < len(s.arena); off += chunkLen {
		piece := s.arena[off:min(off+chunkLen, len(s.arena))]
		packets = append(packets, packet{data: piece})
		reads = append(reads, op{call: callRead, flags: fz, result: waste.value(),
			args: []value{num(3), {kind: isArena, n: uint64(off), text: "arena"}, num(len(piece))}})
	}
	if len(reads) > 0 {
		s.ops = append(reads, s.ops...)
		for i := range s.labels {
			s.labels[i] += len(reads)
		}
	}
	return packets
}

func (s *script) appendOp(b []byte, i int, dataBase uint64) []byte {
	o := &s.ops[i]
	var indirect uint8
	var args [6]uint64
	for k, a := range o.args {
		if a.kind == isReg || a.kind == isFD {
			indirect |= 1 << k
		}
		args[k] = a.address(dataBase)
	}
	var skip uint32
	if o.flags&(jn|jz|jp) != 0 {
		to := s.labels[o.to]
		if to <= i {
			panic("boot: a script jumps backwards or to nowhere: " + s.String())
		}
		skip = uint32(to - i - 1)
	}
	b = binary.LittleEndian.AppendUint16(b, o.call.nrOn(s.arch))
	b = append(b, o.flags, indirect)
	b = binary.LittleEndian.AppendUint32(b, uint32(o.result.address(dataBase)))
	b = binary.LittleEndian.AppendUint32(b, s.tag(i))
	b = binary.LittleEndian.AppendUint32(b, skip)
	for _, a := range args {
		b = binary.LittleEndian.AppendUint64(b, a)
	}
	return b
}

func (s *script) tag(i int) uint32 { return uint32(s.serial)<<16 | uint32(i) }

// address is the number that goes into the op: the value itself, or where ccinit finds it.
func (v value) address(dataBase uint64) uint64 {
	switch v.kind {
	case isData:
		return dataBase + v.n
	case isArena:
		return arenaBase + v.n
	case isReg:
		return regBase + 4*v.n
	case isFD:
		return ctrlBase + 4*v.n
	}
	return v.n
}
