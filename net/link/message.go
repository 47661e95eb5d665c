package link

import (
	"encoding/binary"
	"iter"

	"golang.org/x/sys/unix"
)

// message is one netlink message as it grows: header, fixed body, attributes (netlink(7), rtnetlink(7)).
type message struct {
	what string // for errors: "add veth"
	b    []byte
}

const nlHeader = 16

// newMessage begins a request that the kernel acknowledges; body is its fixed part.
func newMessage(what string, typ, flags uint16, body []byte) *message {
	m := &message{what: what, b: make([]byte, nlHeader, 256)}
	ne.PutUint16(m.b[4:], typ)
	ne.PutUint16(m.b[6:], flags|unix.NLM_F_REQUEST)
	m.raw(body)
	return m
}

var ne = binary.NativeEndian

func (m *message) raw(b []byte) {
	m.b = append(m.b, b...)
	for len(m.b)%4 != 0 {
		m.b = append(m.b, 0)
	}
}

func (m *message) attr(typ uint16, data []byte) {
	m.b = ne.AppendUint16(m.b, uint16(4+len(data)))
	m.b = ne.AppendUint16(m.b, typ)
	m.raw(data)
}

func (m *message) u8(typ uint16, v uint8)   { m.attr(typ, []byte{v}) }
func (m *message) u32(typ uint16, v uint32) { m.attr(typ, ne.AppendUint32(nil, v)) }
func (m *message) str(typ uint16, v string) { m.attr(typ, append([]byte(v), 0)) }

// nest writes an attribute whose content is what fn appends.
func (m *message) nest(typ uint16, fn func()) {
	at := len(m.b)
	m.attr(typ|unix.NLA_F_NESTED, nil)
	fn()
	ne.PutUint16(m.b[at:], uint16(len(m.b)-at))
}

// finish sets length and sequence.
func (m *message) finish(seq uint32) []byte {
	ne.PutUint32(m.b, uint32(len(m.b)))
	ne.PutUint32(m.b[8:], seq)
	return m.b
}

// attrs goes through the attributes in b.
func attrs(b []byte) iter.Seq2[uint16, []byte] {
	return func(yield func(uint16, []byte) bool) {
		for len(b) >= 4 {
			n := int(ne.Uint16(b))
			if n < 4 || n > len(b) {
				return
			}
			if !yield(ne.Uint16(b[2:])&^(unix.NLA_F_NESTED|unix.NLA_F_NET_BYTEORDER), b[4:n]) {
				return
			}
			b = b[min((n+3)&^3, len(b)):]
		}
	}
}

// ifinfomsg is struct ifinfomsg: which link, and the flags to set among those in change.
func ifinfomsg(index int, flags, change uint32) []byte {
	b := make([]byte, unix.SizeofIfInfomsg)
	ne.PutUint32(b[4:], uint32(index))
	ne.PutUint32(b[8:], flags)
	ne.PutUint32(b[12:], change)
	return b
}

func cstring(b []byte) string {
	for i, c := range b {
		if c == 0 {
			return string(b[:i])
		}
	}
	return string(b)
}
