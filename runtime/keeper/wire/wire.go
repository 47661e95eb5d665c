// Package wire is the protocol between ccd and cc-keeper.
//
// One unix SEQPACKET socket, RUN/keeper.sock, mode 0600; both ends are uid 0 of the host. One packet is one
// message of at most MaxPacket bytes with at most MaxFiles descriptors (SCM_RIGHTS); all numbers are little
// endian, a string is its length (u16) and its bytes.
//
//	 0    1       2            4             8
//	+----+-------+------------+-------------+--------- - -
//	| op | flags | 0      u16 | seq     u32 | body
//	+----+-------+------------+-------------+--------- - -
//
//	ccd ---- request, seq N --------------------> keeper     seq counts up from 1
//	ccd <--- same op, Answer, seq N ------------- keeper     in any order
//	ccd <--- same op, Answer|Failed, seq N ------ keeper     body: errno u32, sentence
//	ccd <--- Exit, seq 0 ------------------------ keeper     until Ack, and again after a reconnect
//
// The first message of a connection is Hello. The header, Hello, Upgrade and the body of a failure never
// change: whatever versions meet, the newer ccd can replace the older keeper. Everything else belongs to
// Version.
//
// The package keeps to what a process of 4 MB can afford: no fmt, no reflection.
package wire

import (
	"encoding/binary"
	"errors"
)

// Version of the messages below. A keeper of another version is upgraded before anything else is asked.
const Version = 1

// Bounds of what a message may hold.
const (
	MaxPacket = 32 << 10
	MaxFiles  = 32
	MaxID     = 255  // bytes of an id or key, at least 1
	MaxText   = 1024 // bytes of a sentence or a tag
	MaxHolds  = 16   // descriptors to hold in one Adopt
	headerLen = 8
)

// Op says what a message is about.
type Op uint8

// The operations. Numbers are never reused.
const (
	OpHello    Op = 1
	OpUpgrade  Op = 2
	OpInit     Op = 3
	OpSpawn    Op = 4
	OpWatch    Op = 5
	OpAdopt    Op = 6
	OpPolicy   Op = 7
	OpHold     Op = 8
	OpFetch    Op = 9
	OpDrop     Op = 10
	OpForget   Op = 11
	OpList     Op = 12
	OpExport   Op = 13
	OpHolds    Op = 14
	OpAck      Op = 15
	OpShutdown Op = 16
	OpExit     Op = 17
	// 18 was OpCut.
	OpGuard Op = 19 // no body; file: a FUSE mount that the client serves
)

// Flags of a header.
const (
	Answer uint8 = 1
	Failed uint8 = 2
)

// ErrMalformed is any message that breaks the rules above.
var ErrMalformed = errors.New("malformed message")

// Header is the fixed beginning of a message.
type Header struct {
	Op    Op
	Flags uint8
	Seq   uint32
}

// Packet returns header and body as one packet, or ErrMalformed when it is too long.
func Packet(h Header, body []byte) ([]byte, error) {
	if headerLen+len(body) > MaxPacket {
		return nil, ErrMalformed
	}
	b := make([]byte, headerLen, headerLen+len(body))
	b[0], b[1] = byte(h.Op), h.Flags
	binary.LittleEndian.PutUint32(b[4:], h.Seq)
	return append(b, body...), nil
}

// Split is the reverse of Packet. The body shares p's memory.
func Split(p []byte) (Header, []byte, error) {
	if len(p) < headerLen || len(p) > MaxPacket || p[2] != 0 || p[3] != 0 {
		return Header{}, nil, ErrMalformed
	}
	return Header{Op(p[0]), p[1], binary.LittleEndian.Uint32(p[4:])}, p[headerLen:], nil
}

// An Encoder appends values to a body.
type Encoder struct{ B []byte }

func (e *Encoder) U8(v uint8)   { e.B = append(e.B, v) }
func (e *Encoder) U16(v uint16) { e.B = binary.LittleEndian.AppendUint16(e.B, v) }
func (e *Encoder) U32(v uint32) { e.B = binary.LittleEndian.AppendUint32(e.B, v) }
func (e *Encoder) U64(v uint64) { e.B = binary.LittleEndian.AppendUint64(e.B, v) }
func (e *Encoder) I64(v int64)  { e.U64(uint64(v)) }
func (e *Encoder) Bool(v bool) {
	if v {
		e.U8(1)
	} else {
		e.U8(0)
	}
}

// Str appends a string, cut to what a u16 can count.
func (e *Encoder) Str(s string) {
	s = s[:min(len(s), 1<<16-1)]
	e.U16(uint16(len(s)))
	e.B = append(e.B, s...)
}

// A Decoder takes values from a body. The first value that is not there makes every later one zero and Done an error.
type Decoder struct {
	b   []byte
	bad bool
}

// NewDecoder reads from b, which must not change meanwhile.
func NewDecoder(b []byte) *Decoder { return &Decoder{b: b} }

func (d *Decoder) take(n int) []byte {
	if d.bad || n > len(d.b) {
		d.bad, d.b = true, nil
		return nil
	}
	p := d.b[:n]
	d.b = d.b[n:]
	return p
}

func (d *Decoder) U8() uint8 {
	if p := d.take(1); p != nil {
		return p[0]
	}
	return 0
}

func (d *Decoder) U16() uint16 {
	if p := d.take(2); p != nil {
		return binary.LittleEndian.Uint16(p)
	}
	return 0
}

func (d *Decoder) U32() uint32 {
	if p := d.take(4); p != nil {
		return binary.LittleEndian.Uint32(p)
	}
	return 0
}

func (d *Decoder) U64() uint64 {
	if p := d.take(8); p != nil {
		return binary.LittleEndian.Uint64(p)
	}
	return 0
}

func (d *Decoder) I64() int64 { return int64(d.U64()) }

// Bool takes 0 or 1; any other byte is malformed.
func (d *Decoder) Bool() bool {
	v := d.U8()
	if v > 1 {
		d.bad = true
	}
	return v == 1
}

// Str takes a string of at most limit bytes.
func (d *Decoder) Str(limit int) string {
	n := int(d.U16())
	if n > limit {
		d.bad = true
		return ""
	}
	return string(d.take(n))
}

// ID takes an id or a key: 1 to MaxID bytes, none of them below 0x21.
func (d *Decoder) ID() string {
	s := d.Str(MaxID)
	if !GoodID(s) {
		d.bad = true
	}
	return s
}

// Done is nil when every value was there and nothing is left.
func (d *Decoder) Done() error {
	if d.bad || len(d.b) != 0 {
		return ErrMalformed
	}
	return nil
}

// GoodID reports whether s may be an id or a key.
func GoodID(s string) bool {
	if len(s) == 0 || len(s) > MaxID {
		return false
	}
	for i := range len(s) {
		if s[i] <= ' ' || s[i] == 0x7f {
			return false
		}
	}
	return true
}
