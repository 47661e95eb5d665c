package container

import (
	"os"
	"sync"
	"time"
)

// saver does behind the callers' backs what follows a change: it writes the status record, watches a program that has
// started, and acknowledges an end to the keeper. It waits a little before: a program that is over in
// milliseconds is written down once, one that is deleted then not at all, and nothing of it is in the way of a start.
// What a kill of the daemon can lose in between, the keeper knows (adopt.go).
type saver struct {
	mu    sync.Mutex
	queue []*Container
	wake  chan struct{}
}

// behind is how long the saver waits for more.
const behind = 10 * time.Millisecond

// saveState is a container's place in the saver's queue; Container.mu guards queued and ended, write serialises the file.
type saveState struct {
	queued bool
	ended  bool // an end is to be acknowledged
	write  sync.Mutex
}

// saveSoon puts the container into the queue.
func (m *Manager) saveSoon(c *Container) {
	c.mu.Lock()
	was := c.saved.queued
	c.saved.queued = true
	c.mu.Unlock()
	if was {
		return
	}
	s := &m.saver
	s.mu.Lock()
	s.queue = append(s.queue, c)
	s.mu.Unlock()
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// save writes the status record now.
func (m *Manager) save(c *Container) {
	f := m.saveOpen(c)
	if f == nil {
		return
	}
	c.mu.Lock()
	switch r := c.body; {
	case r == nil:
	case r.rec.Begun:
		_ = mark(f) // it was marked in an older record meanwhile
	case r.mark != nil:
		f, r.mark = r.mark, f // an armed run is marked in the newest record
	}
	c.mu.Unlock()
	f.Close()
}

// mark marks the record of a run that is about to be started.
func (c *Container) mark(r *run) error {
	c.mu.Lock()
	f := r.mark
	r.mark, r.rec.Begun = nil, true
	c.mu.Unlock()
	if f == nil {
		return nil
	}
	defer f.Close()
	return mark(f)
}

// saveOpen is save that leaves the file open; nil when it could not be written.
func (m *Manager) saveOpen(c *Container) *os.File {
	c.saved.write.Lock()
	defer c.saved.write.Unlock()
	c.mu.Lock()
	c.saved.queued = false
	gone := c.gone
	rec := statusRecord{Status: c.st, InRow: c.backoff.inRow, Last: c.last, Layer: c.layer}
	if c.body != nil {
		run := c.body.rec
		rec.Run = &run
	}
	c.mu.Unlock()
	if gone {
		return nil
	}
	f, err := openRecord(c.dir, statusFile, rec)
	if err != nil && c.State() != Gone {
		m.log.Error("cannot record a container's status", "dir", c.dir, "error", err)
	}
	return f
}

// saveLoop is the saver's goroutine; it writes what is queued before it ends.
func (m *Manager) saveLoop() {
	s := &m.saver
	for {
		s.mu.Lock()
		queue := s.queue
		s.queue = nil
		s.mu.Unlock()
		for _, c := range queue {
			m.follow(c)
		}
		if len(queue) > 0 {
			continue
		}
		select {
		case <-s.wake:
		case <-m.ctx.Done():
		}
		select {
		case <-time.After(behind):
		case <-m.ctx.Done():
			s.mu.Lock()
			left := len(s.queue)
			s.mu.Unlock()
			if left == 0 {
				return
			}
		}
	}
}

// follow does what is due for one container.
func (m *Manager) follow(c *Container) {
	c.mu.Lock()
	r, ended := c.body, c.saved.ended
	alive := c.st.State.Alive()
	c.saved.ended = false
	c.mu.Unlock()
	if alive && r != nil {
		m.watchOOM(c, r)
	}
	m.save(c)
	if ended {
		m.conf.Keeper.Ack(string(c.id))
	}
}
