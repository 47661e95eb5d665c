package image

import (
	"context"
	"errors"
)

// flight is work on one key that several jobs wait for. It goes on as long as one of them does.
type flight struct {
	done   chan struct{}
	err    error
	want   int // waiting jobs; under Store.mu
	cancel context.CancelFunc
}

// errAbandoned is what a flight ends with when its last waiter went; nobody sees it.
var errAbandoned = errors.New("nobody waits for it any more")

// share runs work for key unless it is running already, and waits for it. led tells whether this call's own
// work ran: when it did not and failed, the caller may have better means (another registry, another login).
func (s *Store) share(ctx context.Context, key string, work func(ctx context.Context) error) (led bool, err error) {
	s.mu.Lock()
	f := s.flights[key]
	if f == nil {
		led = true
		if s.ctx.Err() != nil {
			s.mu.Unlock()
			return true, context.Cause(s.ctx)
		}
		c, cancel := context.WithCancelCause(s.ctx)
		f = &flight{done: make(chan struct{}), cancel: func() { cancel(errAbandoned) }}
		s.flights[key] = f
		s.work.Go(func() {
			err := work(c)
			s.mu.Lock()
			f.err = err
			if s.flights[key] == f {
				delete(s.flights, key)
			}
			s.mu.Unlock()
			f.cancel()
			close(f.done)
		})
	}
	f.want++
	s.mu.Unlock()
	select {
	case <-f.done:
		return led, f.err
	case <-ctx.Done():
	}
	s.mu.Lock()
	if f.want--; f.want == 0 {
		f.cancel()
		if s.flights[key] == f {
			delete(s.flights, key) // a newcomer starts afresh instead of dying with it
		}
	}
	s.mu.Unlock()
	return led, ctx.Err()
}

// once is share with the caller's own attempt after somebody else's failure.
func (s *Store) once(ctx context.Context, key string, work func(ctx context.Context) error) error {
	for {
		led, err := s.share(ctx, key, work)
		if err == nil || led || ctx.Err() != nil {
			return err
		}
	}
}

// pin keeps GC away from things that a job has found or is making, until the returned function runs.
func (s *Store) pin(keys ...string) (unpin func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, k := range keys {
		s.pins[k]++
	}
	return func() { s.unpin(keys...) }
}

func (s *Store) unpin(keys ...string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, k := range keys {
		if s.pins[k]--; s.pins[k] == 0 {
			delete(s.pins, k)
		}
	}
}
