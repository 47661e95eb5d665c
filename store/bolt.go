package store

import (
	"bytes"
	"context"
	"encoding/binary"
	"runtime/debug"
	"sync"

	bolt "go.etcd.io/bbolt"

	"github.com/containercloud/cc/fault"
)

var (
	bucketKeys   = []byte("keys")
	bucketLeases = []byte("leases") // lease ID -> time to live in nanoseconds, both 8 bytes big endian
	bucketMeta   = []byte("meta")
	metaRev      = []byte("rev")    // 8 bytes big endian
	metaFormat   = []byte("format") // formatVersion
)

const formatVersion = "1"

// Bolt is the store of a single host: one bbolt file.
type Bolt struct {
	file string
	db   *bolt.DB

	reserve reserve // the committer's
	queue   queue
	history history
	leases  leases

	close sync.Once
	err   error          // of Close
	done  sync.WaitGroup // the committer and all watches
	ctx   context.Context
	stop  context.CancelFunc
}

var _ Store = (*Bolt)(nil)

// Get returns one key, or fault.NotFound.
func (b *Bolt) Get(ctx context.Context, key string) (Item, error) {
	item := Item{Key: key}
	err := b.view(ctx, func(tx *bolt.Tx) error {
		v := tx.Bucket(bucketKeys).Get([]byte(key))
		if v == nil {
			return fault.New(fault.NotFound, "no key %q in the store", key)
		}
		r, err := decode([]byte(key), v)
		item.Value, item.Rev = r.value, r.rev
		return err
	})
	if err != nil {
		return Item{}, err
	}
	return item, nil
}

// List returns all keys with the prefix, sorted, and the store's revision at that moment.
func (b *Bolt) List(ctx context.Context, prefix string) (items []Item, rev int64, err error) {
	err = b.view(ctx, func(tx *bolt.Tx) error {
		rev = readRev(tx)
		c := tx.Bucket(bucketKeys).Cursor()
		for k, v := c.Seek([]byte(prefix)); k != nil && bytes.HasPrefix(k, []byte(prefix)); k, v = c.Next() {
			r, err := decode(k, v)
			if err != nil {
				return err
			}
			items = append(items, Item{Key: string(k), Value: r.value, Rev: r.rev})
		}
		return nil
	})
	if err != nil {
		return nil, 0, err
	}
	return items, rev, nil
}

// Close waits for what runs, ends all watches and releases the file.
func (b *Bolt) Close() error {
	b.close.Do(func() {
		b.stop()
		b.leases.stop()
		b.queue.shut()
		b.done.Wait()
		b.err = b.db.Close()
	})
	return b.err
}

func (b *Bolt) view(ctx context.Context, fn func(*bolt.Tx) error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if b.ctx.Err() != nil {
		return errClosed(b.file)
	}
	return b.guard(func() error { return b.db.View(fn) })
}

// guard turns what a damaged file does to bbolt, a panic or a fault of its mapping, into an error.
func (b *Bolt) guard(fn func() error) (err error) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if p := recover(); p != nil {
			err = errDamaged(b.file, fault.New(fault.Internal, "%v", p))
		}
	}()
	return fn()
}

func errClosed(file string) error {
	return fault.New(fault.Again, "cannot use store %s: it is closed", file)
}

func readRev(tx *bolt.Tx) int64 {
	v := tx.Bucket(bucketMeta).Get(metaRev)
	if len(v) != 8 {
		return 0
	}
	return int64(binary.BigEndian.Uint64(v))
}

func writeRev(tx *bolt.Tx, rev int64) error {
	return tx.Bucket(bucketMeta).Put(metaRev, binary.BigEndian.AppendUint64(nil, uint64(rev)))
}
