package wire

import (
	"bytes"
	"reflect"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

var samples = []struct {
	name string
	m    interface{ Encode() []byte }
	dec  func([]byte) (any, error)
}{
	{"hello", Hello{1, 42, "abc", true}, func(b []byte) (any, error) { return DecodeHello(b) }},
	{"text", Text{"x/y"}, func(b []byte) (any, error) { return DecodeText(b) }},
	{"failure", Failure{13, "no"}, func(b []byte) (any, error) { return DecodeFailure(b) }},
	{"spawn", Spawn{"slot/1", 0x7c020000, 100000, 65536, true}, func(b []byte) (any, error) { return DecodeSpawn(b) }},
	{"watch", Watch{ID: "a/exec/1", PID: 7}, func(b []byte) (any, error) { return DecodeWatch(b) }},
	{"watch+adopt", Watch{"a", 7, Adopt{ID: "a", Keep: true, Dir: true}}, func(b []byte) (any, error) { return DecodeWatch(b) }},
	{"adopt", Adopt{"slot/1", "a", true, true, true, []Log{{Stdout, true, Policy{1, true, false}}, {Stderr, false, Policy{0, false, true}}},
		[]string{"a/mnt", "a/tty"}}, func(b []byte) (any, error) { return DecodeAdopt(b) }},
	{"policy", SetPolicy{"a", Policy{5, false, false}}, func(b []byte) (any, error) { return DecodeSetPolicy(b) }},
	{"number", Number{1 << 60}, func(b []byte) (any, error) { return DecodeNumber(b) }},
	{"exit", Exit{9, "a", 7, 1234, true, true, 256, -1, 2, 3, 4}, func(b []byte) (any, error) { return DecodeExit(b) }},
	{"states", States{[]State{{"a", 1, 2, true, false, true, 6, 7, 8}, {ID: "b"}}, true}, func(b []byte) (any, error) { return DecodeStates(b) }},
	{"names", Names{[]string{"a", "b"}, false}, func(b []byte) (any, error) { return DecodeNames(b) }},
}

func TestRoundTrip(t *testing.T) {
	for _, s := range samples {
		b := s.m.Encode()
		got, err := s.dec(b)
		if err != nil || !reflect.DeepEqual(got, any(s.m)) {
			t.Errorf("%s: %+v became %+v, %v", s.name, s.m, got, err)
		}
		for n := range b { // nothing that is cut off or has a tail is taken
			if _, err := s.dec(b[:n]); err == nil {
				t.Errorf("%s: %d of %d bytes were enough", s.name, n, len(b))
			}
		}
		if _, err := s.dec(append(bytes.Clone(b), 0)); err == nil {
			t.Errorf("%s: a byte too many", s.name)
		}
	}
}

func TestBounds(t *testing.T) {
	long := strings.Repeat("x", MaxID+1)
	for _, b := range [][]byte{
		Spawn{ID: long}.Encode(), Spawn{ID: ""}.Encode(), Spawn{ID: "a b"}.Encode(), Spawn{ID: "a\x7f"}.Encode(),
	} {
		if _, err := DecodeSpawn(b); err == nil {
			t.Errorf("%q was taken", b)
		}
	}
	if _, err := DecodeText(Text{strings.Repeat("x", MaxText+1)}.Encode()); err == nil {
		t.Error("a long text was taken")
	}
	many := Adopt{ID: "a"}
	for range MaxHolds + 1 {
		many.Holds = append(many.Holds, "k")
	}
	if _, err := DecodeAdopt(many.Encode()); err == nil {
		t.Error("too many holds were taken")
	}
	if _, err := DecodeSetPolicy(SetPolicy{"a", Policy{Max: -1}}.Encode()); err == nil {
		t.Error("a negative bound was taken")
	}
	if _, err := Packet(Header{}, make([]byte, MaxPacket)); err == nil {
		t.Error("a long packet was made")
	}
}

func TestPackets(t *testing.T) {
	p, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer Close(p[:])
	b, _ := Packet(Header{OpHold, 0, 7}, Text{"key"}.Encode())
	null, _ := unix.Open("/dev/null", unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err := Send(p[0], b, []int{null, null}, 0); err != nil {
		t.Fatal(err)
	}
	unix.Close(null)
	buf := make([]byte, MaxPacket+1)
	n, files, err := Recv(p[1], buf, 0)
	if err != nil || len(files) != 2 {
		t.Fatal(n, files, err)
	}
	for _, fd := range files {
		if flags, _ := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0); flags&unix.FD_CLOEXEC == 0 {
			t.Error("not close-on-exec")
		}
	}
	Close(files)
	h, body, err := Split(buf[:n])
	if m, derr := DecodeText(body); err != nil || derr != nil || h != (Header{OpHold, 0, 7}) || m.S != "key" {
		t.Error(h, m, err, derr)
	}
	if err := Send(p[0], make([]byte, MaxPacket+100), nil, 0); err != nil {
		t.Fatal(err)
	}
	if _, _, err := Recv(p[1], buf, 0); err != ErrMalformed {
		t.Error("a packet longer than the buffer:", err)
	}
}

func FuzzDecode(f *testing.F) {
	for i, s := range samples {
		p, _ := Packet(Header{Op(i + 1), 0, 1}, s.m.Encode())
		f.Add(uint8(i), p)
	}
	f.Fuzz(func(t *testing.T, which uint8, p []byte) {
		_, body, err := Split(p)
		if err != nil {
			return
		}
		s := samples[int(which)%len(samples)]
		m, err := s.dec(body)
		if err != nil {
			return
		}
		// What is taken says the same when it is sent on.
		again := m.(interface{ Encode() []byte }).Encode()
		if !bytes.Equal(again, body) {
			t.Errorf("%s: %x became %x", s.name, body, again)
		}
	})
}
