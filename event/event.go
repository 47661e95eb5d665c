// Package event numbers what happens in the cloud and hands it to whoever reads /cc/events or live/events.
package event

import (
	"context"
	"sync"
	"time"
)

// Event is one thing that happened to one object.
type Event struct {
	Rev    uint64 // counts events since the daemon started, from 1
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
	ring []Event
	wake chan struct{} // closed and replaced at every Add
}

// Add appends an event; kv are alternating keys and values.
func (l *Log) Add(kind, object, id string, kv ...string) {
	e := Event{Time: time.Now().UTC(), Kind: kind, Object: object, ID: id}
	for i := 0; i+1 < len(kv); i += 2 {
		e.Fields = append(e.Fields, Field{kv[i], kv[i+1]})
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.rev++
	e.Rev = l.rev
	if len(l.ring) < Max {
		l.ring = append(l.ring, e)
	} else {
		l.ring[(l.rev-1)%Max] = e
	}
	if l.wake != nil {
		close(l.wake)
		l.wake = nil
	}
}

// Since returns the remembered events after rev, oldest first, and how many between rev and the first
// of them were already forgotten.
func (l *Log) Since(rev uint64) (events []Event, lost uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.sinceLocked(rev)
}

func (l *Log) sinceLocked(rev uint64) (events []Event, lost uint64) {
	oldest := uint64(1)
	if l.rev > Max {
		oldest = l.rev - Max + 1
	}
	if rev+1 < oldest {
		lost = oldest - rev - 1
		rev = oldest - 1
	}
	for r := rev + 1; r <= l.rev; r++ {
		events = append(events, l.ring[(r-1)%Max])
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
