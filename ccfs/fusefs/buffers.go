package fusefs

import (
	"runtime"

	"golang.org/x/sys/unix"
)

// bufferSize holds the largest request and the largest answer: maxWrite bytes and the structures in front of them.
const bufferSize = maxWrite + 4096

// buffers are the memory of one request and its answer.
type buffers struct{ in, out []byte }

// newBuffers maps them: nearly all requests are a few hundred bytes, and of what is mapped the rest takes no memory. Allocated,
// the two megabytes of every leader counted as live, and the collector let the heap grow by as much again: a
// daemon with 1,000 containers had 42 MB of heap, 14 of them here.
func newBuffers() any {
	mem, err := unix.Mmap(-1, 0, 2*bufferSize, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS)
	if err != nil {
		panic(err) // out of memory, as it would be for make
	}
	_ = unix.Madvise(mem, unix.MADV_NOHUGEPAGE) // EINVAL: this kernel has no huge pages
	b := &buffers{mem[:bufferSize:bufferSize], mem[bufferSize:]}
	runtime.AddCleanup(b, func(mem []byte) { _ = unix.Munmap(mem) }, mem) // when the pool lets go of it
	return b
}
