package image

import (
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	"github.com/containercloud/cc/fault"
)

// Phase is what a job is at; the same words in status files and logs.
type Phase string

const (
	Resolving Phase = "resolving" // asking the registry, reading an archive's index
	Fetching  Phase = "fetching"  // downloading, checking and unpacking layers, all at once
	Merging   Phase = "merging"   // layers into one root
	Done      Phase = "done"
	Failed    Phase = "failed"
)

// Progress follows one pull, load or import. The zero value is ready for use; a nil *Progress given to the
// Store's methods means that only Jobs shows it.
type Progress struct {
	mu       sync.Mutex
	kind     string
	ref      string
	phase    Phase
	started  time.Time
	ended    time.Time
	layers   int
	err      error
	finished atomic.Int64 // layers
	bytes    atomic.Int64
	total    atomic.Int64
}

// Job is a picture of a Progress.
type Job struct {
	Kind       string // "pull", "load", "import"
	Ref        string // name or path as given
	Phase      Phase
	Started    time.Time
	Ended      time.Time // zero while it runs
	Layers     int
	LayersDone int
	Bytes      int64 // of Total; compressed, layers that were here already included
	Total      int64 // 0 when not known
	Err        error // why it failed
}

// Job takes the picture.
func (p *Progress) Job() Job {
	p.mu.Lock()
	defer p.mu.Unlock()
	return Job{
		Kind: p.kind, Ref: p.ref, Phase: p.phase, Started: p.started, Ended: p.ended, Err: p.err,
		Layers: p.layers, LayersDone: int(p.finished.Load()), Bytes: p.bytes.Load(), Total: p.total.Load(),
	}
}

func (p *Progress) enter(ph Phase) {
	p.mu.Lock()
	p.phase = ph
	p.mu.Unlock()
}

// expect begins to count anew: a load counts a compressed archive first, and then each of its images.
func (p *Progress) expect(layers int, bytes int64) {
	p.mu.Lock()
	p.layers = layers
	p.mu.Unlock()
	p.finished.Store(0)
	p.bytes.Store(0)
	p.total.Store(bytes)
}

// keptJobs is how many ended jobs Jobs still shows.
const keptJobs = 16

// begin registers a job; Close waits for its end.
func (s *Store) begin(kind, ref string, p *Progress) (*Progress, error) {
	if p == nil {
		p = &Progress{}
	}
	p.mu.Lock()
	p.kind, p.ref, p.phase, p.started = kind, ref, Resolving, time.Now()
	p.mu.Unlock()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ctx.Err() != nil {
		return nil, fault.New(fault.Again, "cannot %s %s: the image store is closed", kind, ref)
	}
	s.work.Add(1)
	s.jobs = append(s.jobs, p)
	return p, nil
}

func (s *Store) end(p *Progress, err error) {
	defer s.work.Done()
	defer debug.FreeOSMemory() // tens of megabytes of buffers and windows, which nothing else needs
	p.mu.Lock()
	p.ended, p.err, p.phase = time.Now(), err, Done
	if err != nil {
		p.phase = Failed
	}
	p.mu.Unlock()
	s.mu.Lock()
	defer s.mu.Unlock()
	ended := 0
	for i := len(s.jobs) - 1; i >= 0; i-- {
		if s.jobs[i].Job().Ended.IsZero() {
			continue
		}
		if ended++; ended > keptJobs {
			s.jobs = append(s.jobs[:i], s.jobs[i+1:]...)
		}
	}
}

// Jobs returns the running jobs and the last few ended ones, oldest first.
func (s *Store) Jobs() []Job {
	s.mu.Lock()
	defer s.mu.Unlock()
	list := make([]Job, len(s.jobs))
	for i, p := range s.jobs {
		list[i] = p.Job()
	}
	return list
}
