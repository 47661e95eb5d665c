package image

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"github.com/containercloud/cc/fault"
	"github.com/containercloud/cc/runtime/image/unpack"
)

// Options of a Store. The zero value is useful.
type Options struct {
	Log     *slog.Logger
	Builtin *io.SectionReader // rootfs tar (gzip or zstd) of the image `builtin`; nil: there is none
	Limits  Limits
}

// Limits bound what one image may take; a zero field means the default.
type Limits struct {
	Layer  unpack.Limits
	Layers int   // layers of an image, default 128
	Ratio  int64 // how much larger than its blob a layer may be once it is larger than 1 GiB, default 300
	Jobs   int   // layers at work at once, default 4
}

// Store is a directory of images.
type Store struct {
	log      *slog.Logger
	limits   Limits
	embedded *io.SectionReader
	root     *os.Root
	top      *os.File // the same directory
	lock     *os.File
	boot     string
	stages   atomic.Int64 // directories made in tmp

	ctx    context.Context // ends with Close
	cancel context.CancelFunc
	work   sync.WaitGroup

	mu      sync.Mutex
	images  map[string]*image              // by manifest, hex
	refs    map[string]refRecord           // by canonical name
	given   map[string]string              // canonical names of names as they were given: saves parsing at every start
	layers  map[string]*layerRecord        // by diffID, hex
	roots   map[string]bool                // by key
	uses    map[string]map[string]struct{} // who uses an image, by manifest
	pins    map[string]int                 // "layer/HEX" and the like that a job needs
	flights map[string]*flight
	jobs    []*Progress
	builtin string // manifest, hex; empty until it is unpacked
	settler settler
	closed  bool
}

var subdirs = []string{"blob", "partial", "layer", "root", "image", "ref", "tmp"}

// Open opens the store in dir, makes it when it is not there, and throws away what a crash left half done. A
// second Open of the same directory fails with Busy.
func Open(dir string, o Options) (*Store, error) {
	s := &Store{
		log: o.Log, limits: o.Limits, embedded: o.Builtin,
		images: map[string]*image{}, refs: map[string]refRecord{}, given: map[string]string{}, layers: map[string]*layerRecord{},
		roots: map[string]bool{}, uses: map[string]map[string]struct{}{}, pins: map[string]int{},
		flights: map[string]*flight{},
	}
	if s.log == nil {
		s.log = slog.New(slog.DiscardHandler)
	}
	s.ctx, s.cancel = context.WithCancel(context.Background())
	if err := s.open(dir); err != nil {
		s.Close()
		return nil, fault.Wrap(err, "cannot open image store %s", dir)
	}
	if s.embedded != nil {
		if err := s.needBuiltin(); err != nil {
			s.log.Error("image builtin is not usable", "error", err)
		}
	}
	return s, nil
}

func (s *Store) open(dir string) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	if err := os.Chmod(dir, 0o700); err != nil {
		return err
	}
	var err error
	if s.root, err = os.OpenRoot(dir); err != nil {
		return err
	}
	if s.top, err = s.root.Open("."); err != nil {
		return err
	}
	if s.lock, err = s.root.OpenFile("lock", os.O_RDWR|os.O_CREATE, 0o600); err != nil {
		return err
	}
	if err := lockFile(s.lock); err != nil {
		return fault.New(fault.Busy, "another daemon uses it").WithHint("give each daemon its own --state")
	}
	boot, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return err
	}
	s.boot = strings.TrimSpace(string(boot))
	for _, d := range subdirs {
		if err := s.root.Mkdir(d, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
			return err
		}
	}
	if err := s.sweep(); err != nil {
		return err
	}
	if err := s.load(); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.settleLocked() // what a daemon that was killed could not
	return nil
}

// lockFile takes the lock. A process that was just being forked when its parent ended holds it for a moment more, until
// its execve: so a refusal is believed after some looks only.
func lockFile(f *os.File) (err error) {
	for range 40 {
		if err = unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err == nil {
			return nil
		}
		<-time.After(25 * time.Millisecond)
	}
	return err
}

// Close ends running jobs and gives the directory free.
func (s *Store) Close() error {
	s.cancel()
	s.work.Wait()
	s.mu.Lock() // nothing is marked any more after this
	defer s.mu.Unlock()
	if s.closed {
		return nil
	}
	s.closed = true
	for _, f := range []*os.File{s.top, s.lock} {
		if f != nil {
			f.Close()
		}
	}
	if s.root != nil {
		s.root.Close()
	}
	return nil
}

// sweep empties tmp, where everything unfinished is.
func (s *Store) sweep() error {
	names, err := s.names("tmp")
	for _, n := range names {
		err = errors.Join(err, s.root.RemoveAll(path.Join("tmp", n)))
	}
	return err
}

// names lists a directory of the store.
func (s *Store) names(dir string) ([]string, error) {
	d, err := s.root.Open(dir)
	if err != nil {
		return nil, err
	}
	defer d.Close()
	return d.Readdirnames(-1)
}

// stage makes a fresh directory in tmp.
func (s *Store) stage(what string) (string, error) {
	dir := path.Join("tmp", what+"-"+strconv.FormatInt(s.stages.Add(1), 10))
	return dir, s.root.Mkdir(dir, 0o700)
}

// writeFile puts a small file in place by rename.
func (s *Store) writeFile(name string, data []byte) error {
	dir, err := s.stage("file")
	if err != nil {
		return err
	}
	defer s.root.RemoveAll(dir)
	tmp := path.Join(dir, "file")
	if err := s.root.WriteFile(tmp, data, 0o600); err != nil {
		return err
	}
	return s.root.Rename(tmp, name)
}

// discard moves a tree out of sight, so that a crash while deleting leaves nothing half there; the deletion
// itself is remove's.
func (s *Store) discard(name string) (string, error) {
	dir, err := s.stage("old")
	if err != nil {
		return "", err
	}
	return dir, s.root.Rename(name, path.Join(dir, "x"))
}

func openPath(name string) (*os.File, error) {
	fd, err := unix.Open(name, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, &fs.PathError{Op: "open", Path: name, Err: err}
	}
	return os.NewFile(uintptr(fd), name), nil
}

// openDir opens a directory of the store, O_PATH or readable.
func (s *Store) openDir(name string, flags int) (*os.File, error) {
	how := unix.OpenHow{Flags: uint64(flags | unix.O_DIRECTORY | unix.O_CLOEXEC), Resolve: unix.RESOLVE_BENEATH | unix.RESOLVE_NO_SYMLINKS}
	fd, err := unix.Openat2(int(s.top.Fd()), name, &how)
	if err != nil {
		return nil, &fs.PathError{Op: "open", Path: name, Err: err}
	}
	return os.NewFile(uintptr(fd), name), nil
}
