package drain

import (
	"encoding/binary"

	"golang.org/x/sys/unix"
)

// Layout of NAME.idx.
const (
	HeaderSize = 80
	Records    = 4096 // offset of the first record
	RecordSize = 16
	magic      = 0x31676f6c6363 // "cclog1"
)

// Header is the state of a log, at offset 0 of NAME.idx.
//
//	0 magic  8 ino  16 base  24 head  32 dropped  40 received  48 cuts  56 ended  64 first  72 sum
type Header struct {
	Ino      uint64 // of the file the numbers are about
	Base     int64  // log offset of the file's first byte
	Head     int64  // log offset of the oldest kept byte
	Dropped  int64  // bytes thrown away before they reached the file
	Received int64  // bytes taken from pipes, at the time the header was written
	Cuts     uint64 // how often the head was cut
	Ended    int64  // when the last writer went, ns after 1970; 0 while there is one
	First    int64  // number of the oldest kept record
}

// Encode is the header as it stands in the file, with its sum: a reader that meets a half-written one sees it.
func (h Header) Encode() []byte {
	b := make([]byte, HeaderSize)
	for i, v := range []uint64{magic, h.Ino, uint64(h.Base), uint64(h.Head), uint64(h.Dropped), uint64(h.Received),
		h.Cuts, uint64(h.Ended), uint64(h.First)} {
		binary.LittleEndian.PutUint64(b[8*i:], v)
	}
	binary.LittleEndian.PutUint64(b[72:], sum(b[:72]))
	return b
}

// DecodeHeader reads a header; ok is false for anything else.
func DecodeHeader(b []byte) (h Header, ok bool) {
	if len(b) < HeaderSize {
		return h, false
	}
	u := func(i int) uint64 { return binary.LittleEndian.Uint64(b[8*i:]) }
	h = Header{u(1), int64(u(2)), int64(u(3)), int64(u(4)), int64(u(5)), u(6), int64(u(7)), int64(u(8))}
	return h, u(0) == magic && u(9) == sum(b[:72]) && h.Base >= 0 && h.Head >= h.Base && h.First >= 0
}

// sum is FNV-1a.
func sum(b []byte) uint64 {
	h := uint64(14695981039346656037)
	for _, c := range b {
		h = (h ^ uint64(c)) * 1099511628211
	}
	return h
}

// Record says that the bytes from Offset on came at Time (ns after 1970) or later.
type Record struct{ Offset, Time int64 }

// DecodeRecord reads one record.
func DecodeRecord(b []byte) Record {
	return Record{int64(binary.LittleEndian.Uint64(b)), int64(binary.LittleEndian.Uint64(b[8:]))}
}

func (r Record) encode() []byte {
	b := binary.LittleEndian.AppendUint64(nil, uint64(r.Offset))
	return binary.LittleEndian.AppendUint64(b, uint64(r.Time))
}

// ReadRecord reads record number n of an index.
func ReadRecord(fd int, n int64) (Record, error) {
	var b [RecordSize]byte
	got, err := unix.Pread(fd, b[:], Records+n*RecordSize)
	if err == nil && got < RecordSize {
		err = unix.ENODATA
	}
	return DecodeRecord(b[:]), err
}

// Find returns the number of the last record of first..count-1 for which before is true; first when none is. The records
// are in order.
func Find(fd int, first, count int64, before func(Record) bool) (int64, error) {
	lo, hi := first, count
	for lo < hi {
		mid := lo + (hi-lo)/2
		r, err := ReadRecord(fd, mid)
		if err != nil {
			return first, err
		}
		if before(r) {
			lo = mid + 1
		} else {
			hi = mid
		}
	}
	return max(first, lo-1), nil
}
