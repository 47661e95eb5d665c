package store

import (
	"context"
	"encoding/binary"
	"math/rand/v2"
	"sync"
	"time"

	bolt "go.etcd.io/bbolt"

	"github.com/containercloud/cc/fault"
)

// leases are the running clocks of all leases. Which keys hang on a lease stands in their records.
type leases struct {
	store  *Bolt
	mu     sync.Mutex
	list   map[LeaseID]*boltLease
	closed bool
}

type boltLease struct {
	store *Bolt
	id    LeaseID
	ttl   time.Duration
	timer *time.Timer // guarded by leases.mu
}

func leaseKey(id LeaseID) []byte { return binary.BigEndian.AppendUint64(nil, uint64(id)) }

// Lease makes a lease, durably.
func (b *Bolt) Lease(ctx context.Context, ttl time.Duration) (Lease, error) {
	if ttl <= 0 {
		return nil, fault.New(fault.Range, "bad time to live %s: not above zero", ttl)
	}
	l := &boltLease{store: b, id: LeaseID(rand.Int64N(1<<62) + 1), ttl: ttl}
	_, err := b.submit(ctx, false, func(bt *batch) error {
		bt.broken = bt.tx.Bucket(bucketLeases).Put(leaseKey(l.id), binary.BigEndian.AppendUint64(nil, uint64(ttl)))
		return nil
	})
	if err != nil {
		return nil, err
	}
	b.leases.add(l)
	return l, nil
}

func (l *boltLease) ID() LeaseID { return l.id }

// Renew starts the lease's time anew. That is not written: after a restart every lease gets its full time.
func (l *boltLease) Renew(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	ls := &l.store.leases
	ls.mu.Lock()
	defer ls.mu.Unlock()
	if ls.list[l.id] != l || !l.timer.Stop() {
		return fault.New(fault.NotFound, "no lease %d in the store: it has ended", l.id)
	}
	l.timer.Reset(l.ttl)
	return nil
}

// End deletes the lease's keys in one transaction.
func (l *boltLease) End(ctx context.Context) error {
	_, err := l.store.submit(ctx, true, func(bt *batch) error {
		bt.endLease(l.id)
		return nil
	})
	if err == nil {
		l.store.leases.remove(l)
	}
	return err
}

// endLease looks through all keys: leases are rare on a single host, and no second index can disagree.
func (bt *batch) endLease(id LeaseID) {
	var ops []Op
	bt.broken = bt.tx.Bucket(bucketKeys).ForEach(func(k, v []byte) error {
		r, err := decode(k, v)
		if err == nil && r.lease == id {
			ops = append(ops, Delete(string(k)))
		}
		return err
	})
	if bt.broken == nil {
		bt.do(ops)
	}
	if bt.broken == nil {
		bt.broken = bt.tx.Bucket(bucketLeases).Delete(leaseKey(id))
	}
}

func (ls *leases) load(b *bolt.Bucket) error {
	ls.list = map[LeaseID]*boltLease{}
	return b.ForEach(func(k, v []byte) error {
		if len(k) != 8 || len(v) != 8 {
			return fault.New(fault.Internal, "the record of a lease is damaged")
		}
		l := &boltLease{id: LeaseID(binary.BigEndian.Uint64(k)), ttl: time.Duration(binary.BigEndian.Uint64(v))}
		ls.list[l.id] = l
		return nil
	})
}

// start lets the clocks run that load found.
func (ls *leases) start(b *Bolt) {
	ls.mu.Lock()
	defer ls.mu.Unlock()
	ls.store = b
	for _, l := range ls.list {
		l.store = b
		ls.runLocked(l)
	}
}

func (ls *leases) add(l *boltLease) {
	ls.mu.Lock()
	defer ls.mu.Unlock()
	if ls.closed {
		return
	}
	ls.list[l.id] = l
	ls.runLocked(l)
}

func (ls *leases) runLocked(l *boltLease) {
	l.timer = time.AfterFunc(l.ttl, func() {
		// An error is the disk's or a closing store's; the lease then ends after the next start.
		_ = l.End(context.Background())
	})
}

func (ls *leases) remove(l *boltLease) {
	ls.mu.Lock()
	defer ls.mu.Unlock()
	if l.timer != nil {
		l.timer.Stop()
	}
	delete(ls.list, l.id)
}

func (ls *leases) stop() {
	ls.mu.Lock()
	defer ls.mu.Unlock()
	ls.closed = true
	for _, l := range ls.list {
		l.timer.Stop()
	}
}
