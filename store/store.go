// Package store keeps what users want to exist: the specs of networks, volumes, services and the like.
//
// It is a small set of ordered keys under one revision counter, with the semantics that etcd has, so that
// a cluster can put etcd behind the same interface: storetest is the suite both must pass. Bolt, the back
// end of a single host, makes every change durable before it answers and lets concurrent writers share one
// fsync.
//
//	Txn ──> queue ──> committer: one bbolt transaction and fsync for all that wait
//	                      │ afterwards
//	                      └─> history ──> watches (each reads at its own pace)
//
// Rejected: bbolt's own Batch, which waits up to 10 ms for company before it begins; a log file of our own,
// which would need compaction and recovery that bbolt already has.
package store

import (
	"context"
	"time"
)

// Item is one key as it stands.
type Item struct {
	Key   string
	Value []byte
	Rev   int64 // revision of its last change, from 1
}

// Event is one change of one key.
type Event struct {
	Key     string
	Value   []byte // nil when Deleted
	Rev     int64  // events of one transaction share it
	Deleted bool
}

// Compare is a condition of a transaction: the key's revision is Rev. Rev 0 means that the key must not exist.
type Compare struct {
	Key string
	Rev int64
}

// LeaseID names a lease; 0 is none.
type LeaseID int64

// Op is one step of a transaction: a put, or a delete. Deleting what is not there is no error and no change.
type Op struct {
	Key    string
	Value  []byte
	Delete bool
	Lease  LeaseID // the key goes when this lease ends
}

// Put makes the operation that sets a key.
func Put(key string, value []byte) Op { return Op{Key: key, Value: value} }

// Delete makes the operation that removes a key.
func Delete(key string) Op { return Op{Key: key, Delete: true} }

// Lease keeps keys alive. It ends by itself when it is not renewed for its time to live, and when that
// time passes after a restart of the store without a renewal.
type Lease interface {
	ID() LeaseID
	Renew(ctx context.Context) error // fault.NotFound when it has ended
	End(ctx context.Context) error   // deletes its keys; ending twice is no error
}

// Store is what the nouns keep their specs in. All methods are safe for concurrent use.
type Store interface {
	// Get returns one key, or fault.NotFound.
	Get(ctx context.Context, key string) (Item, error)
	// List returns all keys with the prefix, sorted, and the store's revision at that moment: a Watch after
	// that revision continues the list without a gap.
	List(ctx context.Context, prefix string) (items []Item, rev int64, err error)
	// Txn does all operations or none. It is durable when it returns. fault.Stale says that a compare failed.
	// A key may stand in one operation only.
	Txn(ctx context.Context, cmps []Compare, ops []Op) (rev int64, err error)
	// Watch sends every change of keys with the prefix after that revision, in order. fault.Stale says that
	// history no longer reaches back so far: List again. The channel is closed when ctx ends, when the store
	// closes, and when the reader has fallen behind history.
	Watch(ctx context.Context, prefix string, after int64) (<-chan Event, error)
	// Lease makes a lease.
	Lease(ctx context.Context, ttl time.Duration) (Lease, error)
	Close() error
}

// Limits, those of etcd's defaults so that no code comes to depend on more.
const (
	MaxKey   = 1 << 10 // bytes of a key
	MaxValue = 1 << 20 // bytes of all values of a transaction
	MaxOps   = 128     // operations, and compares, of a transaction
)
