package store

import (
	"context"
	"strings"
	"sync"

	"github.com/containercloud/cc/fault"
)

// How much a store remembers for watches: events, and bytes of their values.
const (
	historyEvents = 1 << 14
	historyBytes  = 16 << 20
)

// history is the tail of all changes since the store was opened. Events never change once they are in.
type history struct {
	mu    sync.Mutex
	floor int64 // every event after this revision is in list
	rev   int64
	first int64 // sequence number of list[0]
	list  []Event
	bytes int
	wake  chan struct{} // closed and replaced when events come
}

func (h *history) reset(rev int64) {
	h.floor, h.rev, h.wake = rev, rev, make(chan struct{})
}

func (h *history) add(events []Event) {
	if len(events) == 0 {
		return
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, e := range events {
		h.bytes += len(e.Key) + len(e.Value)
	}
	h.list = append(h.list, events...)
	h.rev = events[len(events)-1].Rev
	if len(h.list) > historyEvents || h.bytes > historyBytes {
		h.trimLocked()
	}
	close(h.wake)
	h.wake = make(chan struct{})
}

// trimLocked forgets the older half, whole transactions only. It copies: watches hold parts of the old array.
func (h *history) trimLocked() {
	n := 0
	for n < len(h.list) && (len(h.list)-n > historyEvents/2 || h.bytes > historyBytes/2) {
		h.floor = h.list[n].Rev
		for n < len(h.list) && h.list[n].Rev == h.floor {
			h.bytes -= len(h.list[n].Key) + len(h.list[n].Value)
			n++
		}
	}
	h.first += int64(n)
	h.list = append([]Event(nil), h.list[n:]...)
}

// seek finds the sequence number of the first event after rev.
func (h *history) seek(rev int64) (seq int64, ok bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if rev < h.floor {
		return 0, false
	}
	i := 0
	for i < len(h.list) && h.list[i].Rev <= rev {
		i++
	}
	return h.first + int64(i), true
}

// from returns the events from seq on, and what to wait for after them. ok is false when they are forgotten.
func (h *history) from(seq int64) (events []Event, wake <-chan struct{}, ok bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if seq < h.first {
		return nil, nil, false
	}
	return h.list[seq-h.first:], h.wake, true
}

// Watch sends every change of keys with the prefix after that revision.
func (b *Bolt) Watch(ctx context.Context, prefix string, after int64) (<-chan Event, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	seq, ok := b.history.seek(after)
	if !ok {
		return nil, fault.New(fault.Stale, "cannot watch %q after revision %d: it is forgotten", prefix, after).
			WithHint("list again and watch after the revision that the list gives")
	}
	if !b.hold() {
		return nil, errClosed(b.file)
	}
	ch := make(chan Event, 16)
	go func() {
		defer b.done.Done()
		defer close(ch)
		b.feed(ctx, ch, prefix, after, seq)
	}()
	return ch, nil
}

// hold keeps Close waiting for one more goroutine; false when it has already begun.
func (b *Bolt) hold() bool {
	b.queue.mu.Lock() // shut takes it: no Add happens after Close's Wait began
	defer b.queue.mu.Unlock()
	if b.queue.closed {
		return false
	}
	b.done.Add(1)
	return true
}

func (b *Bolt) feed(ctx context.Context, ch chan<- Event, prefix string, after, seq int64) {
	for {
		events, wake, ok := b.history.from(seq)
		if !ok {
			return
		}
		for _, e := range events {
			if e.Rev <= after || !strings.HasPrefix(e.Key, prefix) {
				continue
			}
			select {
			case ch <- e:
			case <-ctx.Done():
				return
			case <-b.ctx.Done():
				return
			}
		}
		seq += int64(len(events))
		select {
		case <-wake:
		case <-ctx.Done():
			return
		case <-b.ctx.Done():
			return
		}
	}
}
