package image

import (
	"bufio"
	"bytes"
	"errors"
	"io"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"

	"github.com/containercloud/cc/fault"
)

// maxWindow bounds the memory of a zstd decoder; 128 MiB is what `zstd --ultra --long=27` writes.
const maxWindow = 128 << 20

// decompress looks at the first bytes, as docker does: media types lie. What is not compressed passes as it is.
func decompress(r io.Reader) (io.Reader, func(), error) {
	b := bufio.NewReaderSize(source{r}, 256<<10)
	magic, err := b.Peek(6)
	if err != nil && err != io.EOF {
		return nil, nil, badCompression(err)
	}
	switch {
	case bytes.HasPrefix(magic, []byte{0x1f, 0x8b}):
		z, err := gzip.NewReader(b)
		if err != nil {
			return nil, nil, badCompression(err)
		}
		return z, func() { z.Close() }, nil
	case bytes.HasPrefix(magic, []byte{0x28, 0xb5, 0x2f, 0xfd}), len(magic) > 3 && magic[0]&0xf0 == 0x50 && bytes.Equal(magic[1:4], []byte{0x2a, 0x4d, 0x18}):
		z, err := zstd.NewReader(b, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxWindow(maxWindow), zstd.WithDecoderLowmem(true))
		if err != nil {
			return nil, nil, badCompression(err)
		}
		return z, z.Close, nil
	case bytes.HasPrefix(magic, []byte{0xfd, '7', 'z', 'X', 'Z', 0}):
		return nil, nil, fault.New(fault.Unsupported, "cannot read xz compression").WithHint("xz -d it first")
	case bytes.HasPrefix(magic, []byte("BZh")):
		return nil, nil, fault.New(fault.Unsupported, "cannot read bzip2 compression").WithHint("bzip2 -d it first")
	}
	return b, func() {}, nil
}

// sourceError is a failure of where the bytes come from, as opposed to what they are.
type sourceError struct{ error }

func (e sourceError) Unwrap() error { return e.error }

// source marks a reader's failures.
type source struct{ io.Reader }

func (s source) Read(p []byte) (int, error) {
	n, err := s.Reader.Read(p)
	if err != nil && err != io.EOF {
		err = sourceError{err}
	}
	return n, err
}

func badCompression(err error) error {
	var s sourceError
	if errors.As(err, &s) {
		return s.error
	}
	return fault.New(fault.Invalid, "damaged compression: %w", err)
}

// limited fails when more than max bytes come through, or more than ratio times what went in.
type limited struct {
	r     io.Reader
	n     int64
	max   int64
	in    func() int64 // compressed bytes so far
	ratio int64
}

// ratioFloor is how much any layer may hold, however well it is compressed.
const ratioFloor = 1 << 30

func (l *limited) Read(p []byte) (int, error) {
	n, err := l.r.Read(p)
	l.n += int64(n)
	switch {
	case l.n > l.max:
		return 0, fault.New(fault.Invalid, "layer refused: more than %d bytes unpacked", l.max)
	case l.n > ratioFloor && l.n/l.ratio > l.in():
		return 0, fault.New(fault.Invalid, "layer refused: %d bytes unpack to more than %d: a bomb", l.in(), l.n)
	}
	if err != nil && err != io.EOF {
		err = badCompression(err)
	}
	return n, err
}

// ahead reads r in a goroutine of its own, so that fetching, decompressing and unpacking overlap. Close ends
// the goroutine after the read it is in, and waits for it.
type ahead struct {
	full, free chan []byte
	stop       chan struct{}
	ended      chan struct{}
	err        error // of the goroutine; valid once full is closed
	cur, rest  []byte
}

const (
	aheadSize = 256 << 10
	aheadMany = 8
)

func newAhead(r io.Reader) *ahead {
	a := &ahead{
		full: make(chan []byte, aheadMany), free: make(chan []byte, aheadMany),
		stop: make(chan struct{}), ended: make(chan struct{}),
	}
	for range aheadMany {
		a.free <- make([]byte, aheadSize)
	}
	go a.run(r)
	return a
}

func (a *ahead) run(r io.Reader) {
	defer close(a.ended)
	defer close(a.full)
	for {
		select {
		case buf := <-a.free:
			n, err := fill(r, buf)
			if n > 0 {
				a.full <- buf[:n] // room for all buffers: never blocks
			}
			if err != nil {
				a.err = err
				return
			}
		case <-a.stop:
			a.err = io.ErrClosedPipe
			return
		}
	}
}

// fill reads until buf is full or the source ends.
func fill(r io.Reader, buf []byte) (int, error) {
	for n := 0; ; {
		m, err := r.Read(buf[n:])
		n += m
		if err != nil || n == len(buf) {
			return n, err
		}
	}
}

func (a *ahead) Read(p []byte) (int, error) {
	if len(a.rest) == 0 {
		if a.cur != nil {
			a.free <- a.cur[:cap(a.cur)]
			a.cur = nil
		}
		buf, ok := <-a.full
		if !ok {
			return 0, a.err
		}
		a.cur, a.rest = buf, buf
	}
	n := copy(p, a.rest)
	a.rest = a.rest[n:]
	return n, nil
}

func (a *ahead) Close() {
	close(a.stop)
	<-a.ended
}
