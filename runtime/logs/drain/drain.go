// Package drain moves what processes write from pipes into log files, and keeps the files bounded.
//
// It is the half of package logs that runs in cc-keeper, so it is made of few imports: no fmt, no os.
//
// A stream is two files in one directory. NAME holds the bytes, at their offset since the log began; the
// oldest are cut off by punching a hole, so offsets never move. NAME.idx says what the hole is and when bytes came:
//
//	NAME      |......... hole .........|oldest kept byte ...................newest|
//	          0 = Base                 Head                                       size
//
//	NAME.idx  |header, one page|....hole....|{offset, time}{offset, time}...|      16 bytes a record
//
// Where holes cannot be punched, and before a file gets too long for its file system, what is kept is copied
// into a new file under the same name, whose first byte has offset Base; Ino in the header tells which file
// the numbers belong to.
//
// Rejected: rotated segments (a reader must know them all, `tail -f` and FUSE passthrough cannot); time
// stamps in the text (0.15 GB/s instead of 1.5); O_APPEND (splice refuses it).
//
// A worker is one goroutine with one epoll. A stream belongs to one worker and is touched by it alone; the
// counters are atomic. A pipe is emptied when it becomes readable, and then rests before the next look: long
// enough that small writes come in bulk, short enough that the pipe does not fill (stream.rest).
package drain

import "golang.org/x/sys/unix"

// DefaultMax is how many bytes a stream keeps when its policy does not say.
const DefaultMax = 32 << 20

// MinMax is the smallest bound there is.
const MinMax = 16 << 10

// Policy bounds a log.
type Policy struct {
	// Max is the number of bytes kept, 0 for DefaultMax, at least MinMax. A pipe's log never keeps more; a direct one does
	// until the next look.
	Max int64
	// Block makes the writer wait when Max is reached or the disk is full. Otherwise the oldest bytes
	// are dropped, and on a full disk the newest.
	Block bool
	// Direct means there is no pipe: the process writes to the file itself, with O_APPEND, and the file is looked
	// at now and then.
	Direct bool
}

func (p Policy) max() int64 {
	if p.Max <= 0 {
		return DefaultMax
	}
	return max(p.Max, MinMax)
}

// Options make a stream.
type Options struct {
	Pipe   int    // read end, or the master of a terminal; the stream's from now on; -1 with Policy.Direct
	Dir    int    // directory of the files; the caller keeps it open as long as the stream
	Name   string // of the file: "stdout"
	Policy Policy
	// Beside is a stream of the same process, whose worker gets this one too: their ends come together, and are then one
	// wake-up. nil: any worker.
	Beside *Stream
	// Received and Dropped continue the counts of an earlier stream on the same pipe.
	Received, Dropped int64
}

// Pool is a few workers.
type Pool struct{ workers []*worker }

// New starts n workers. They live as long as the process.
func New(n int) (*Pool, error) {
	p := &Pool{}
	for range n {
		w, err := newWorker()
		if err != nil {
			return nil, err
		}
		p.workers = append(p.workers, w)
		go w.run()
	}
	return p, nil
}

// Add opens the files of a stream, makes them when they are missing, and starts to drain its pipe. The pipe is closed on failure.
func (p *Pool) Add(o Options) (*Stream, error) {
	s, err := open(o)
	if err != nil {
		if o.Pipe >= 0 {
			unix.Close(o.Pipe)
		}
		return nil, err
	}
	s.worker = p.least()
	if o.Beside != nil {
		s.worker = o.Beside.worker
	}
	s.worker.load.Add(1)
	s.worker.take(s)
	return s, nil
}

// least is the worker with the fewest streams.
func (p *Pool) least() *worker {
	w := p.workers[0]
	for _, other := range p.workers[1:] {
		if other.load.Load() < w.load.Load() {
			w = other
		}
	}
	return w
}

// Pause stops all workers between two steps, and returns what lets them go on.
func (p *Pool) Pause() (resume func()) {
	c := make(chan struct{})
	for _, w := range p.workers {
		paused := make(chan struct{})
		w.post(func() { close(paused); <-c })
		<-paused
	}
	return func() { close(c) }
}
