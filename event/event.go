// Package event numbers what happens in the cloud and hands it to whoever reads /cc/events or live/events.
package event

import (
	"context"
	"sync"
	"time"
)

// Event is one thing that happened to one object.
type Event struct {
	Rev    uint64 // counts events from 1, over restarts of the daemon too where Resume was called
	Time   time.Time
	Kind   string // "created", "started", "exited" ...
	Object string // path below /cc: "container/web"
	ID     string // the object's UUID, which a rename does not change
	Fields []Field
}

// Field is one key=value of an event.
type Field struct{ Key, Value string }

// Max is how many events a Log remembers.
const Max = 1000

// Log is a ring of the last Max events. The zero value is ready for use.
type Log struct {
	mu   sync.Mutex
	rev  uint64
	base uint64 // rev before the first event of this Log
	ring []Event
	wake chan struct{} // closed and replaced at every Add

	kept uint64 // what keep was called with last
	keep func(rev uint64)
}

// block is how many numbers are kept at a time: so many are left out, at most, after a daemon that was killed.
const block = 10_000

// Resume goes on behind the events of an earlier Log, before the first Add. last is what keep was called with last: keep
// remembers durably that numbers up to rev may have been given out. It is called now, and later in the background.
func (l *Log) Resume(last uint64, keep func(rev uint64)) {
	l.mu.Lock()
	l.rev, l.base, l.kept, l.keep = last, last, last+block, keep
	l.mu.Unlock()
	keep(last + block)
}

// Add appends an event; kv are alternating keys and values. A pair without a value is left out.
func (l *Log) Add(kind, object, id string, kv ...string) {
	e := Event{Time: time.Now().UTC(), Kind: kind, Object: object, ID: id}
	for i := 0; i+1 < len(kv); i += 2 {
		if kv[i+1] != "" {
			e.Fields = append(e.Fields, Field{kv[i], kv[i+1]})
		}
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.rev++
	e.Rev = l.rev
	if len(l.ring) < Max {
		l.ring = append(l.ring, e)
	} else {
		l.ring[l.place(l.rev)] = e
	}
	if l.keep != nil && l.rev+block/2 >= l.kept {
		l.kept += block
		go l.keep(l.kept)
	}
	if l.wake != nil {
		close(l.wake)
		l.wake = nil
	}
}

// place is where an event stands in the ring.
func (l *Log) place(rev uint64) uint64 { return (rev - l.base - 1) % Max }

// Since returns the remembered events after rev, oldest first, and how many between rev and the first
// of them were already forgotten.
func (l *Log) Since(rev uint64) (events []Event, lost uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.sinceLocked(rev)
}

func (l *Log) sinceLocked(rev uint64) (events []Event, lost uint64) {
	oldest := l.base + 1
	if l.rev > l.base+Max {
		oldest = l.rev - Max + 1
	}
	if rev+1 < oldest {
		lost = oldest - rev - 1
		rev = oldest - 1
	}
	for r := rev + 1; r <= l.rev; r++ {
		events = append(events, l.ring[l.place(r)])
	}
	return events, lost
}

// Rev is the number of the newest event, 0 before the first.
func (l *Log) Rev() uint64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.rev
}

// Wait blocks until there is an event after rev and returns as Since does, or ctx's error.
func (l *Log) Wait(ctx context.Context, rev uint64) (events []Event, lost uint64, err error) {
	for {
		l.mu.Lock()
		if l.rev > rev {
			events, lost = l.sinceLocked(rev)
			l.mu.Unlock()
			return events, lost, nil
		}
		if l.wake == nil {
			l.wake = make(chan struct{})
		}
		wake := l.wake
		l.mu.Unlock()
		select {
		case <-wake:
		case <-ctx.Done():
			return nil, 0, ctx.Err()
		}
	}
}
