package store

import (
	"os"

	"golang.org/x/sys/unix"
)

// reserveSize is enough for bbolt to copy the pages of a large delete.
const reserveSize = 256 << 10

// reserve is a file next to the store that holds disk space and nothing else: a full disk must not prevent
// the deletes that would empty it, and bbolt writes new pages for a delete too.
type reserve struct{ full bool }

func reserveName(file string) string { return file + ".reserve" }

// fill takes the space again, when there is any: its absence is no error until it is needed.
func (r *reserve) fill(file string) {
	if r.full {
		return
	}
	f, err := os.OpenFile(reserveName(file), os.O_CREATE|os.O_WRONLY|unix.O_NOFOLLOW, 0o600)
	if err != nil {
		return
	}
	defer f.Close()
	r.full = unix.Fallocate(int(f.Fd()), 0, 0, reserveSize) == nil
}

// spend gives the space back to the file system; false when there was none to give.
func (r *reserve) spend(file string) bool {
	if !r.full {
		return false
	}
	r.full = false
	return os.Remove(reserveName(file)) == nil
}
