package drain

import "testing"

func TestHeader(t *testing.T) {
	h := Header{Ino: 1, Base: 2, Head: 3, Dropped: 4, Received: 5, Cuts: 6, Ended: 7, First: 8}
	b := h.Encode()
	if got, ok := DecodeHeader(b); !ok || got != h {
		t.Errorf("%+v %v", got, ok)
	}
	for i := range b {
		b[i] ^= 1
		if _, ok := DecodeHeader(b); ok {
			t.Errorf("byte %d may be wrong", i)
		}
		b[i] ^= 1
	}
}

func FuzzHeader(f *testing.F) {
	f.Add(Header{}.Encode())
	f.Add(Header{Ino: 1, Base: 10, Head: 20}.Encode())
	f.Fuzz(func(t *testing.T, b []byte) {
		if h, ok := DecodeHeader(b); ok && (h.Head < h.Base || h.Base < 0 || h.First < 0) {
			t.Errorf("%+v", h)
		}
	})
}
