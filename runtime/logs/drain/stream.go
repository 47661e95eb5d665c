package drain

import (
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

const (
	pipeSize = 1 << 20               // what logs.Pipe asks for
	budget   = 4 << 20               // bytes a stream may move before the others get their turn
	every    = 10 * time.Millisecond // a record at most this often,
	apart    = 256 << 10             // or when so many bytes came
	crumbs   = 64 << 10              // fewer bytes at a time than this are not worth chasing a busy writer for
	maxRest  = 4 * time.Millisecond
	memory   = 5 * time.Millisecond   // how long a stream's rate is remembered
	retry    = 100 * time.Millisecond // for a blocked stream on a full disk
	nullPath = "/dev/null"
)

// Stream is one pipe and its log.
//
//	draining --- no writer left ---> ended --- Finish ---> closed
type Stream struct {
	worker *worker
	name   string
	dir    int

	policy atomic.Pointer[Policy]
	pipe   int
	// terminal: pipe is the master of a terminal
	terminal bool
	ended    atomic.Bool // no pipe any more
	whole    atomic.Bool // ended, and the last byte and the header are in the files
	closed   bool

	file, index int
	header      Header
	end         int64 // log offset after the newest byte
	records     int64 // number of the next record
	last        Record
	noPunch     bool
	limit       int64 // of the file's length

	received, dropped atomic.Int64

	resting bool
	due     time.Time
	looked  time.Time // when the pipe was looked at before
	rate    float64   // bytes a second, lately
	idle    time.Duration
}

// Counts returns the bytes taken from the pipe since the stream began, and how many of them were thrown away because the disk was full.
func (s *Stream) Counts() (received, dropped int64) { return s.received.Load(), s.dropped.Load() }

// Policy returns the policy in force.
func (s *Stream) Policy() Policy { return *s.policy.Load() }

// Pipe is the descriptor that is drained, -1 when there is none any more.
func (s *Stream) Pipe() int {
	if s.ended.Load() {
		return -1
	}
	return s.pipe
}

// SetPolicy changes Max and Block; Direct stays what it was.
func (s *Stream) SetPolicy(p Policy) {
	p.Direct = s.Policy().Direct
	s.policy.Store(&p)
	s.worker.do(func() { s.again() })
}

// Finish brings streams to their end: it takes what is in the pipes, marks the logs as ended and closes everything. When it
// returns the logs are whole; for a stream whose writers have gone that was so before, and nobody waits for the closing.
func Finish(list ...*Stream) {
	var rest sync.WaitGroup
	for _, s := range list {
		if s.whole.Load() {
			s.worker.post(s.finish)
			continue
		}
		rest.Add(1)
		s.worker.post(func() {
			defer rest.Done()
			s.finish()
		})
	}
	rest.Wait()
}

func (s *Stream) finish() {
	if s.closed {
		return
	}
	s.lastBytes()
	s.endPipe()
	s.worker.leave(s)
	s.closed = true
	unix.Close(s.file)
	unix.Close(s.index)
	s.worker.load.Add(-1)
}

// lastBytes moves what is in the pipe now; what a blocking policy or a full disk does not take is counted as
// dropped. Whoever still writes is not waited for.
func (s *Stream) lastBytes() {
	if s.policy.Load().Direct {
		s.lookAtFile(time.Now())
		return
	}
	for moved := int64(0); moved < 2*pipeSize && !s.ended.Load(); {
		n, err := s.move(time.Now())
		if err != nil || n == 0 {
			break
		}
		moved += n
	}
	for !s.ended.Load() {
		n := s.discard()
		if n <= 0 {
			return
		}
	}
}

// again looks at the stream now, after something about it was changed.
func (s *Stream) again() {
	if s.closed {
		return
	}
	s.worker.wakeUp(s)
	s.bound(0)
	s.step(time.Now())
}

// step is one look at the pipe: empty it, and decide when to look again.
func (s *Stream) step(now time.Time) {
	if s.closed || s.resting {
		return
	}
	if s.policy.Load().Direct {
		s.lookAtFile(now)
		return
	}
	var moved int64
	for moved < budget && !s.ended.Load() {
		n, err := s.move(now)
		moved += n
		switch {
		case err == unix.EAGAIN || s.ended.Load() || err == nil && n < crumbs:
			s.next(now, moved)
			return
		case err == unix.ENOSPC: // only a blocking policy lets it through
			s.worker.rest(s, now.Add(retry))
			return
		case err == unix.EBUSY: // a blocking policy and Max reached: SetPolicy goes on
			return
		}
	}
	s.next(now, moved)
}

// next chooses between being woken by the next byte and a rest. Rest when the pipe would not be more than
// half full after it: then small writes are taken in bulk, at a fifth of the CPU time. A writer that fills the pipe
// meanwhile is faster than it looks.
func (s *Stream) next(now time.Time, moved int64) {
	since := now.Sub(s.looked).Seconds()
	s.looked = now
	if s.ended.Load() {
		return
	}
	seen := float64(moved) / max(since, 1e-6)
	if moved > pipeSize*9/10 {
		s.rate = max(s.rate, 2*seen)
	}
	s.rate += (seen - s.rate) * since / (since + memory.Seconds())
	if moved == 0 {
		s.worker.arm(s)
		return
	}
	rest := maxRest
	if s.rate > 0 {
		rest = min(rest, time.Duration(pipeSize*0.4/s.rate*1e9))
	}
	if rest < time.Millisecond {
		s.worker.arm(s)
		return
	}
	s.worker.rest(s, now.Add(rest.Truncate(time.Millisecond)))
}

// endPipe marks the log as ended and lets go of the pipe.
func (s *Stream) endPipe() {
	if s.ended.Swap(true) {
		return
	}
	s.worker.leave(s)
	if s.pipe >= 0 {
		unix.Close(s.pipe)
		s.pipe = -1
	}
	s.header.Ended = time.Now().UnixNano()
	s.writeHeader()
	s.whole.Store(true)
}
