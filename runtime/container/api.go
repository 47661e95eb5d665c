package container

import (
	"context"
	"os"
	"time"
)

// LogView is one stream's log as it is now; offsets count from the oldest byte kept when it was opened.
type LogView interface {
	Size() (bytes int64, mtime time.Time, err error)
	ReadAt(p []byte, off int64) (int, error)
	Backing() int
	Generation() uint64
	// Wait returns when there is something behind off, or when the container ended and nothing more comes (io.EOF).
	Wait(ctx context.Context, off int64) error
	Close() error
}

// Stream is one open end of a conversation. Read returns fault.NoData instead of blocking when nonblock is
// set, io.EOF at the end, and the context's error when that ends first.
type Stream interface {
	Read(ctx context.Context, p []byte, nonblock bool) (int, error)
	Write(ctx context.Context, p []byte) (int, error)
	Close() error
}

// LogLine is one line of both streams in the order of their arrival.
type LogLine struct {
	Stream string    `json:"stream"`
	Time   time.Time `json:"time"`
	Line   string    `json:"line"`
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

// Root is a container's root file system, for copying in and out.
type Root struct {
	*os.Root
	Base     uint32 // what the host's ids are above the container's
	ReadOnly bool
	close    func()
}

// Close lets go of the file system.
func (r *Root) Close() error {
	err := r.Root.Close()
	if r.close != nil {
		r.close()
	}
	return err
}

// ExecSpec is a command to run in a running container.
type ExecSpec struct {
	Args []string
	Env  []string // over the container's
	Dir  string   // "": the container's
	User string   // "": the container's
	TTY  Terminal
}
