package container

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

const (
	janitors = 4   // at work at once: much of it is waiting for the kernel
	backlog  = 128 // more than so many jobs hold up those who make new containers
)

// janitor does what nobody waits for: kernel objects and directories of what has ended.
type janitor struct {
	mu    sync.Mutex
	moved sync.Cond // jobs came, or one is done
	jobs  []func()
	doing int
	ended bool
}

func newJanitor() *janitor {
	j := &janitor{}
	j.moved.L = &j.mu
	return j
}

// later has f done, off everybody's path.
func (j *janitor) later(f func()) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.jobs = append(j.jobs, f)
	j.moved.Broadcast()
}

// breathe waits while too much is left to do: containers come and go faster than the kernel can clean up behind them.
func (j *janitor) breathe() {
	j.mu.Lock()
	defer j.mu.Unlock()
	for len(j.jobs) > backlog && !j.ended {
		j.moved.Wait()
	}
}

// flush waits until nothing is left to do.
func (j *janitor) flush() {
	j.mu.Lock()
	defer j.mu.Unlock()
	for len(j.jobs)+j.doing > 0 {
		j.moved.Wait()
	}
}

// busy reports whether something is left to do.
func (j *janitor) busy() bool {
	j.mu.Lock()
	defer j.mu.Unlock()
	return len(j.jobs)+j.doing > 0
}

// work is a goroutine that does jobs until ctx ends and none is left.
func (j *janitor) work(ctx context.Context) {
	defer context.AfterFunc(ctx, func() {
		j.mu.Lock()
		defer j.mu.Unlock()
		j.ended = true
		j.moved.Broadcast()
	})()
	j.mu.Lock()
	defer j.mu.Unlock()
	for {
		if len(j.jobs) == 0 {
			if j.ended {
				return
			}
			j.moved.Wait()
			continue
		}
		f := j.jobs[0]
		j.jobs = j.jobs[1:]
		j.doing++
		j.mu.Unlock()
		f()
		j.mu.Lock()
		j.doing--
		j.moved.Broadcast()
	}
}

// removeTree removes a directory of ours and says so when it cannot.
func removeTree(dir string, log *slog.Logger) {
	err := os.RemoveAll(dir)
	for try := 0; errors.Is(err, unix.ENOTEMPTY) && try < 20; try++ { // the keeper writes down how a process ended that was just killed
		<-time.After(10 * time.Millisecond)
		err = os.RemoveAll(dir)
	}
	if err != nil {
		log.Warn("cannot remove", "dir", dir, "error", err)
	}
}
