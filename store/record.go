package store

import (
	"encoding/binary"
	"hash/crc32"

	"github.com/containercloud/cc/fault"
)

// A record is a value as the file holds it, big endian:
//
//	0       4        12       20
//	| crc32c | revision | lease | value ...
//
// The sum covers the key and everything behind itself: bbolt checks its own pages' structure but not their content.
const recordHead = 20

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

type record struct {
	rev   int64
	lease LeaseID
	value []byte
}

func sum(key, rest []byte) uint32 {
	return crc32.Update(crc32.Checksum(key, castagnoli), castagnoli, rest)
}

func (r record) encode(key string) []byte {
	b := make([]byte, recordHead, recordHead+len(r.value))
	binary.BigEndian.PutUint64(b[4:], uint64(r.rev))
	binary.BigEndian.PutUint64(b[12:], uint64(r.lease))
	b = append(b, r.value...)
	binary.BigEndian.PutUint32(b, sum([]byte(key), b[4:]))
	return b
}

// decode copies the value: bbolt's memory is the file's mapping and ends with the transaction.
func decode(key, b []byte) (record, error) {
	if len(b) < recordHead || binary.BigEndian.Uint32(b) != sum(key, b[4:]) {
		return record{}, fault.New(fault.Internal, "the record of key %q is damaged", key)
	}
	return record{
		rev:   int64(binary.BigEndian.Uint64(b[4:])),
		lease: LeaseID(binary.BigEndian.Uint64(b[12:])),
		value: append([]byte{}, b[recordHead:]...),
	}, nil
}
