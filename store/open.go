package store

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	bolt "go.etcd.io/bbolt"
	berrors "go.etcd.io/bbolt/errors"
	"golang.org/x/sys/unix"

	"github.com/containercloud/cc/fault"
)

// lockWait is how long Open waits for a daemon that is just ending.
const lockWait = 300 * time.Millisecond

// Open opens the store, or makes it where there is none. A damaged file is an error and stays as it is; so
// does one that another process uses.
func Open(file string) (*Bolt, error) {
	b := &Bolt{file: file}
	b.ctx, b.stop = context.WithCancel(context.Background())
	b.queue.init()
	if err := makeFile(file); err != nil {
		return nil, fault.Wrap(err, "cannot make store %s", file)
	}
	if err := b.guard(b.open); err != nil {
		if b.db != nil {
			_ = b.db.Close()
		}
		b.stop()
		return nil, err
	}
	b.reserve.fill(file)
	b.done.Go(b.commitLoop)
	b.leases.start(b)
	return b, nil
}

func (b *Bolt) open() (err error) {
	if err := checkSize(b.file); err != nil {
		return err
	}
	var f *os.File
	defer func() {
		if f != nil && b.db == nil { // bolt.Open may panic on a damaged file: its mapping, and so its lock, stays
			_ = unix.Flock(int(f.Fd()), unix.LOCK_UN)
			_ = f.Close()
		}
	}()
	b.db, err = bolt.Open(b.file, 0o600, &bolt.Options{
		Timeout:      lockWait,
		FreelistType: bolt.FreelistMapType,
		OpenFile: func(name string, flag int, mode os.FileMode) (_ *os.File, err error) {
			f, err = os.OpenFile(name, flag&^os.O_CREATE, mode)
			return f, err
		},
	})
	var no unix.Errno
	switch {
	case errors.Is(err, berrors.ErrTimeout):
		return errInUse(b.file)
	case errors.As(err, &no):
		return fault.Wrap(err, "cannot open store %s", b.file)
	case err != nil: // all that bbolt says without the kernel is about what stands in the file
		return errDamaged(b.file, err)
	}
	return b.load()
}

// load reads every record once: a store is small, and damage must show now and not in the middle of a
// user's change.
func (b *Bolt) load() error {
	return b.db.View(func(tx *bolt.Tx) error {
		if st, err := os.Stat(b.file); err != nil || st.Size() < tx.Size() {
			return errDamaged(b.file, fmt.Errorf("it is shorter than its %d bytes", tx.Size()))
		}
		meta, keys, leases := tx.Bucket(bucketMeta), tx.Bucket(bucketKeys), tx.Bucket(bucketLeases)
		if meta == nil || keys == nil || leases == nil {
			return errDamaged(b.file, errors.New("it lacks its buckets"))
		}
		if v := string(meta.Get(metaFormat)); v != formatVersion {
			return fault.New(fault.Unsupported, "cannot open store %s: format %q is not this version's %q", b.file, v, formatVersion).
				WithHint("use the version of Container Cloud that wrote it")
		}
		if err := keys.ForEach(func(k, v []byte) error { _, err := decode(k, v); return err }); err != nil {
			return errDamaged(b.file, err)
		}
		var first error
		for err := range tx.Check() { // to its end: the channel has a writer
			if first == nil {
				first = errDamaged(b.file, err)
			}
		}
		if first != nil {
			return first
		}
		b.history.reset(readRev(tx))
		return b.leases.load(leases)
	})
}

// makeFile makes a missing store whole: under another name first, so that a crash leaves none or a good one.
func makeFile(file string) error {
	if _, err := os.Lstat(file); !errors.Is(err, os.ErrNotExist) {
		return err
	}
	// O_EXCL by a random name: two daemons that start at once must not write into one file.
	f, err := os.CreateTemp(filepath.Dir(file), "."+filepath.Base(file)+".*")
	if err != nil {
		return err
	}
	tmp := f.Name()
	defer os.Remove(tmp)
	if err := f.Close(); err != nil {
		return err
	}
	db, err := bolt.Open(tmp, 0o600, nil)
	if err != nil {
		return err
	}
	err = db.Update(func(tx *bolt.Tx) error {
		for _, name := range [][]byte{bucketMeta, bucketKeys, bucketLeases} {
			if _, err := tx.CreateBucket(name); err != nil {
				return err
			}
		}
		return tx.Bucket(bucketMeta).Put(metaFormat, []byte(formatVersion))
	})
	if err := errors.Join(err, db.Close()); err != nil {
		return err
	}
	if err := os.Link(tmp, file); err != nil && !errors.Is(err, os.ErrExist) { // the other one was first
		return err
	}
	return syncDir(filepath.Dir(file))
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	return d.Sync()
}

// checkSize refuses an empty file: bbolt would take it for new and begin again from nothing.
func checkSize(file string) error {
	st, err := os.Stat(file)
	switch {
	case err != nil:
		return fault.Wrap(err, "cannot open store %s", file)
	case !st.Mode().IsRegular():
		return fault.New(fault.Invalid, "cannot open store %s: not a regular file", file)
	case st.Size() == 0:
		return errDamaged(file, errors.New("it is empty"))
	}
	return nil
}

func errDamaged(file string, cause error) error {
	return fault.New(fault.Internal, "cannot use store %s: the file is damaged: %w", file, cause).
		WithHint("put back a copy of it; to begin with no networks and volumes, move it away")
}

func errInUse(file string) error {
	who := "another process"
	if pid := lockHolder(file); pid > 0 {
		comm, _ := os.ReadFile(fmt.Sprintf("/proc/%d/comm", pid))
		who = strings.TrimSpace(fmt.Sprintf("process %d %s", pid, comm))
	}
	return fault.New(fault.Busy, "cannot open store %s: %s uses it", file, who).
		WithHint("stop that daemon, or give this one its own --state directory")
}

// lockHolder finds who holds the flock(2) on file (proc_locks(5)), 0 when it cannot be seen.
func lockHolder(file string) int {
	var st unix.Stat_t
	if unix.Stat(file, &st) != nil {
		return 0
	}
	want := fmt.Sprintf("%02x:%02x:%d", unix.Major(st.Dev), unix.Minor(st.Dev), st.Ino)
	f, err := os.Open("/proc/locks")
	if err != nil {
		return 0
	}
	defer f.Close()
	for s := bufio.NewScanner(f); s.Scan(); {
		// 1: FLOCK  ADVISORY  WRITE 1234 08:01:567 0 EOF
		w := strings.Fields(s.Text())
		if len(w) >= 6 && w[1] == "FLOCK" && w[5] == want {
			pid, _ := strconv.Atoi(w[4])
			return pid
		}
	}
	return 0
}
