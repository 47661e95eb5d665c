package container

import (
	"context"
	"time"
)

// Stream is one open end of a conversation. Read returns fault.NoData instead of blocking when nonblock is
// set, io.EOF at the end, and the context's error when that ends first.
type Stream interface {
	Read(ctx context.Context, p []byte, nonblock bool) (int, error)
	Write(ctx context.Context, p []byte) (int, error)
	Close() error
}

// Proc is one process of a container.
type Proc struct {
	PID, PPID int // as the container sees them; 0 for what is outside
	HostPID   int
	UID       uint32 // the container's id
	User      string // its name in the container, else the number
	CPU       time.Duration
	Memory    int64 // resident bytes
	State     string
	Args      []string
}

// Stat is the counters of a container since it started.
type Stat struct {
	CPU, CPUUser, CPUSystem time.Duration
	Throttled               time.Duration
	Memory, MemoryPeak      int64
	MemoryLimit             int64 // Max
	Pids, PidsLimit         int64
	OOMKills                uint64
	RxBytes, TxBytes        uint64
	RxPackets, TxPackets    uint64
	ReadBytes, WriteBytes   uint64
}

// Change is one line of diff: what the container did to a path of its image.
type Change struct {
	Kind byte // 'A' added, 'C' changed, 'D' deleted
	Path string
}

// Sample is one metric in Prometheus terms.
type Sample struct {
	Name   string // cc_container_...
	Help   string
	Type   string // gauge or counter
	Labels [][2]string
	Value  float64
}
