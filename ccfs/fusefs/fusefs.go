// Package fusefs is the FUSE door: it shows one ccfs/tree.Tree as a file system of this host.
//
// It speaks the raw protocol (go-fuse's RawFileSystem and codec), because the node API costs 10-15 % on an open, 2.3
// times the time on a listing of 10,000 names, and hides the inode numbers. It mounts by
// itself, for the spare, and reads requests by itself, for the time that takes (see loop).
//
//	Server   what ccd holds: the mount point, kept mounted whoever unmounts it   guard.go
//	mount    superblock, attached mount, detached spare                          mount.go mountinfo.go
//	session  one FUSE connection from INIT to its end                            session.go
//	loop     reads requests, sends answers                                       loop.go
//	door     one method per FUSE operation                                       door.go names.go files.go dirs.go attrs.go
//	         what it handed out: node numbers, handles, backing files            lookups.go table.go backing.go
//	request  deadline, interrupt, caller                                         request.go registry.go caller.go
//	notifier tells the kernel what changed, never from inside a request          notify.go
//
// Rules that the code does not show:
//
// The door makes no permission checks; the tree does, per call and per caller. The kernel makes none either
// (no default_permissions: it would cost one GETATTR per open of every file whose attributes may not be cached, and
// it knows only mode bits). So the kernel may keep a name only if everyone may search its directory; the
// tree says which (tree.Attr.CacheName).
//
// EINTR is answered to blocked stream reads and writes only. Go programs signal themselves to preempt goroutines;
// FUSE turns every such signal into an INTERRUPT, and a metadata operation that obeyed it would fail at random.
//
// The process that serves never touches its own mount: no open, stat, exec or working directory below it.
package fusefs

import (
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/containercloud/cc/ccfs/tree"
	"github.com/containercloud/cc/fault"
)

// Options of a mount. Only Dir is mandatory.
type Options struct {
	Dir    string // the mount point; made when missing
	Source string // the mount's source, our mark in /proc/self/mountinfo: "cc" or "cc-INSTANCE"
	Log    *slog.Logger

	// Deadline is how long one request may take before it is answered ETIMEDOUT (default 30 s). Reads and writes of
	// streams have none: they end with a signal. WriteDeadline is that of write(2), where `wait=` may wait (default 10 min).
	Deadline      time.Duration
	WriteDeadline time.Duration

	// CacheFor is how long the kernel may keep a name or attributes that the tree declared cacheable. Changes are
	// announced, so it only bounds the damage of a lost announcement (default 30 s).
	CacheFor time.Duration

	// Mounted is given every superblock that is made, as a mount that is attached nowhere, so that another process can
	// abort the connection when this one is killed. It may be nil; after an error the tree is served all the same.
	Mounted func(mount *os.File) error

	// NoPassthrough reads log files through the daemon even where the kernel could read them directly.
	NoPassthrough bool

	Debug bool // log every FUSE request
}

func (o *Options) setDefaults() {
	if o.Source == "" {
		o.Source = "cc"
	}
	if o.Log == nil {
		o.Log = slog.Default()
	}
	if o.Deadline == 0 {
		o.Deadline = 30 * time.Second
	}
	if o.WriteDeadline == 0 {
		o.WriteDeadline = max(10*time.Minute, o.Deadline)
	}
	if o.CacheFor == 0 {
		o.CacheFor = 30 * time.Second
	}
}

// Server serves a tree at a mount point until Unmount.
type Server struct {
	tree *tree.Tree
	opts Options
	dir  string // absolute, no links in it

	session atomic.Pointer[session] // the living connection; nil between two

	mu      sync.Mutex
	mount   *mount
	closing bool

	watch   *mountWatch
	ended   chan struct{} // a session has ended
	quit    chan struct{}
	guarded chan struct{} // the guard has ended
	done    chan struct{} // unmounted
}

// Mount shows t at o.Dir and serves it. A mount of ours that is dead (its daemon was killed) is detached first; one that
// is alive is fault.Busy. When Mount returns, requests are answered. ctx bounds Mount itself, not the serving.
func Mount(ctx context.Context, t *tree.Tree, o Options) (*Server, error) {
	o.setDefaults()
	dir, err := prepareDir(ctx, o)
	if err != nil {
		return nil, fault.Wrap(err, "cannot mount %s", o.Dir)
	}
	s := &Server{
		tree: t, opts: o, dir: dir,
		ended: make(chan struct{}, 1), quit: make(chan struct{}),
		guarded: make(chan struct{}), done: make(chan struct{}),
	}
	if s.watch, err = newMountWatch(); err != nil {
		return nil, fault.Wrap(err, "cannot watch mounts")
	}
	if err := s.connect(); err != nil {
		s.watch.close()
		return nil, fault.Wrap(err, "cannot mount %s", dir)
	}
	t.Watch(s.changed)
	go s.guard()
	return s, nil
}

// Dir is the mount point, absolute.
func (s *Server) Dir() string { return s.dir }

// Wait returns when the server has been unmounted.
func (s *Server) Wait() { <-s.done }

// prepareDir finds or makes the mount point and clears dead mounts from it. It must not stat a dead mount.
func prepareDir(ctx context.Context, o Options) (string, error) {
	dir, err := filepath.Abs(o.Dir)
	if err != nil {
		return "", err
	}
	if err := os.MkdirAll(filepath.Dir(dir), 0o755); err != nil {
		return "", err
	}
	parent, err := filepath.EvalSymlinks(filepath.Dir(dir))
	if err != nil {
		return "", err
	}
	dir = filepath.Join(parent, filepath.Base(dir))
	if err := clearDead(ctx, dir, o); err != nil {
		return "", err
	}
	return dir, makeDir(dir)
}

func makeDir(dir string) error {
	if err := os.Mkdir(dir, 0o755); err != nil && !os.IsExist(err) {
		return err
	}
	return nil
}

// changed hands what the tree announces to the living session.
func (s *Server) changed(c tree.Change) {
	if sess := s.session.Load(); sess != nil {
		sess.notifier.add(c)
	}
}
