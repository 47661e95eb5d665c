package store

import (
	"context"
	"runtime/debug"
	"slices"
	"sync"

	bolt "go.etcd.io/bbolt"

	"github.com/containercloud/cc/fault"
)

// request is one writer that waits for the committer.
type request struct {
	apply  func(*batch) error // must not have written anything when it returns an error that is a refusal
	rev    int64
	err    error
	done   chan struct{}
	shrink bool // frees space: it may use the reserve
}

// batch is the bbolt transaction that all waiting requests share.
type batch struct {
	tx     *bolt.Tx
	rev    int64 // of the last request that changed something
	events []Event
	broken error // a failed write: nobody's changes may stay
}

// queue holds the requests that came while the committer was at the disk.
type queue struct {
	mu     sync.Mutex
	list   []*request
	closed bool
	wake   chan struct{} // capacity 1
}

func (q *queue) init() { q.wake = make(chan struct{}, 1) }

func (q *queue) add(r *request) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.closed {
		return false
	}
	q.list = append(q.list, r)
	select {
	case q.wake <- struct{}{}:
	default:
	}
	return true
}

// take empties the queue; more is false after the last call.
func (q *queue) take() (list []*request, more bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	list, q.list = q.list, nil
	return list, !q.closed || len(list) > 0
}

// drop takes a request back; false when the committer already has it.
func (q *queue) drop(r *request) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	for i := range q.list {
		if q.list[i] == r {
			q.list = append(q.list[:i], q.list[i+1:]...)
			return true
		}
	}
	return false
}

func (q *queue) shut() {
	q.mu.Lock()
	defer q.mu.Unlock()
	if !q.closed {
		q.closed = true
		close(q.wake)
	}
}

// submit waits until apply's changes are durable. A caller that gives up in time changes nothing; one that
// gives up while the committer writes is answered when that is done.
func (b *Bolt) submit(ctx context.Context, shrink bool, apply func(*batch) error) (int64, error) {
	if err := ctx.Err(); err != nil {
		return 0, err
	}
	r := &request{apply: apply, shrink: shrink, done: make(chan struct{})}
	if !b.queue.add(r) {
		return 0, errClosed(b.file)
	}
	select {
	case <-r.done:
	case <-ctx.Done():
		if b.queue.drop(r) {
			return 0, ctx.Err()
		}
		<-r.done
	}
	return r.rev, r.err
}

func (b *Bolt) commitLoop() {
	debug.SetPanicOnFault(true)
	for {
		<-b.queue.wake
		list, more := b.queue.take()
		if len(list) > 0 {
			b.commit(list)
		}
		if !more {
			return
		}
	}
}

func (b *Bolt) commit(list []*request) {
	events, err := b.update(list)
	switch {
	case err == nil:
		b.history.add(events)
		b.reserve.fill(b.file)
	case fault.Is(err, fault.NoSpace) && len(list) > 1:
		for _, r := range list { // those that free space must not fail with those that need it
			b.commit([]*request{r})
		}
		return
	case fault.Is(err, fault.NoSpace) && list[0].shrink && b.reserve.spend(b.file):
		b.commit(list)
		return
	}
	for _, r := range list {
		if err != nil {
			r.rev, r.err = 0, fault.Wrap(err, "cannot write store %s", b.file)
		}
		close(r.done)
	}
}

func (b *Bolt) update(list []*request) (events []Event, err error) {
	err = b.guard(func() error {
		return b.db.Update(func(tx *bolt.Tx) error {
			old := readRev(tx)
			bt := &batch{tx: tx, rev: old}
			for _, r := range list {
				r.err = r.apply(bt)
				r.rev = bt.rev
				if bt.broken != nil {
					return bt.broken
				}
			}
			events = bt.events
			if bt.rev == old {
				return nil
			}
			return writeRev(tx, bt.rev)
		})
	})
	return events, err
}

// Txn does all operations or none, durably.
func (b *Bolt) Txn(ctx context.Context, cmps []Compare, ops []Op) (int64, error) {
	if err := checkTxn(cmps, ops); err != nil {
		return 0, err
	}
	shrink := !slices.ContainsFunc(ops, func(o Op) bool { return !o.Delete })
	return b.submit(ctx, shrink, func(bt *batch) error {
		for _, c := range cmps {
			if err := bt.compare(c); err != nil {
				return err
			}
		}
		for _, o := range ops {
			if o.Lease != 0 && !o.Delete && bt.tx.Bucket(bucketLeases).Get(leaseKey(o.Lease)) == nil {
				return fault.New(fault.NotFound, "no lease %d in the store: it has ended", o.Lease)
			}
		}
		bt.do(ops)
		return nil
	})
}

func checkTxn(cmps []Compare, ops []Op) error {
	if len(cmps) > MaxOps || len(ops) > MaxOps {
		return fault.New(fault.Range, "%d compares and %d operations in one transaction: more than %d", len(cmps), len(ops), MaxOps)
	}
	seen, size := make(map[string]bool, len(ops)), 0
	for _, o := range ops {
		switch size += len(o.Value); {
		case o.Key == "" || len(o.Key) > MaxKey:
			return fault.New(fault.Invalid, "bad key %.40q: not 1 to %d bytes", o.Key, MaxKey)
		case seen[o.Key]:
			return fault.New(fault.Invalid, "key %q twice in one transaction", o.Key)
		case size > MaxValue:
			return fault.New(fault.TooLong, "values of more than %d bytes in one transaction", MaxValue)
		}
		seen[o.Key] = true
	}
	return nil
}

func (bt *batch) compare(c Compare) error {
	var have int64
	if v := bt.tx.Bucket(bucketKeys).Get([]byte(c.Key)); v != nil {
		r, err := decode([]byte(c.Key), v)
		if err != nil {
			return err
		}
		have = r.rev
	}
	if have != c.Rev {
		return fault.New(fault.Stale, "key %q is at revision %d, not %d", c.Key, have, c.Rev)
	}
	return nil
}

// do writes one request's operations under the next revision. Deletes of nothing do not count.
func (bt *batch) do(ops []Op) {
	keys, rev := bt.tx.Bucket(bucketKeys), bt.rev+1
	for _, o := range ops {
		e, err := Event{Key: o.Key, Rev: rev, Deleted: o.Delete}, error(nil)
		if o.Delete {
			if keys.Get([]byte(o.Key)) == nil {
				continue
			}
			err = keys.Delete([]byte(o.Key))
		} else {
			e.Value = append([]byte{}, o.Value...)
			err = keys.Put([]byte(o.Key), record{rev, o.Lease, e.Value}.encode(o.Key))
		}
		if err != nil {
			bt.broken = err
			return
		}
		bt.events = append(bt.events, e)
		bt.rev = rev
	}
}
