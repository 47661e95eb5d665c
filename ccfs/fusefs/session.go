package fusefs

import (
	"fmt"
	"log"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/hanwen/go-fuse/v2/fuse"
	"golang.org/x/sys/unix"

	"github.com/containercloud/cc/ccfs/tree"
	"github.com/containercloud/cc/fault"
)

// session is one FUSE connection from INIT to its end. Everything the kernel was told belongs to it: node numbers,
// lookup counts, handles.
type session struct {
	fd       int // of /dev/fuse
	loop     *loop
	door     *door
	notifier *notifier
	requests *registry
	over     atomic.Bool // the connection has ended
	done     chan struct{}
	gone     sync.Once
}

// newSession opens a connection, makes its superblock and answers INIT. It returns the detached mount.
func newSession(t *tree.Tree, o Options, ended chan<- struct{}) (*session, int, error) {
	fd, err := unix.Open("/dev/fuse", unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, -1, fault.New(fault.KindOf(err), "cannot open /dev/fuse: %w", err).WithHint("modprobe fuse")
	}
	mnt, err := newSuperblock(fd, o.Source)
	if err != nil {
		unix.Close(fd)
		return nil, -1, err
	}
	s := &session{fd: fd, done: make(chan struct{}), requests: newRegistry(o)}
	s.door = newDoor(s, t, o)
	s.loop = newLoop(fd, s.door, s.requests, mountOptions(o))
	s.requests.refuse = s.loop.refuse
	able, err := s.loop.init()
	if err != nil {
		unix.Close(mnt)
		unix.Close(fd)
		return nil, -1, fmt.Errorf("INIT: %w", err)
	}
	s.door.backings.none = o.NoPassthrough || able&fuse.CAP_PASSTHROUGH == 0
	s.notifier = newNotifier(fd, able&fuse.CAP_HAS_EXPIRE_ONLY != 0, s.door.exists)
	go s.requests.run()
	go s.serve(ended)
	return s, mnt, nil
}

// mountOptions is what we negotiate in INIT. The mount itself is ours (newSuperblock).
func mountOptions(o Options) *fuse.MountOptions {
	m := &fuse.MountOptions{
		MaxWrite: maxWrite,
		// One level for a state directory on overlayfs, one for the passthrough itself.
		MaxStackDepth: 2,
		MaxBackground: 64,
		// Truncation arrives with the open (`>` is one operation); the kernel asks for attributes with a listing
		// only if somebody uses them; it need not ask for security.capability before every write; names may be
		// expired without looking deleted to inotify.
		ExtraCapabilities: fuse.CAP_ATOMIC_O_TRUNC | fuse.CAP_READDIRPLUS_AUTO | fuse.CAP_HANDLE_KILLPRIV_V2 |
			fuse.CAP_HAS_EXPIRE_ONLY,
		// Opens are ours to answer: rights are checked there.
		DisabledCapabilities: fuse.CAP_NO_OPEN_SUPPORT,
		Debug:                o.Debug,
		Logger:               log.New(logWriter{o.Log, o.Debug}, "", 0),
		PanicHandler:         panicHandler(o.Log),
	}
	if o.NoPassthrough {
		m.DisabledCapabilities |= fuse.CAP_PASSTHROUGH
	}
	return m
}

// serve answers requests until the connection ends, then gives back what the kernel held.
func (s *session) serve(ended chan<- struct{}) {
	s.loop.run()
	s.finish()
	s.door.close()
	unix.Close(s.fd)
	close(s.done)
	select {
	case ended <- struct{}{}:
	default:
	}
}

// finish marks the session over: nothing is announced any more and every request's context ends.
func (s *session) finish() {
	s.gone.Do(func() {
		s.over.Store(true)
		s.notifier.close()
		s.requests.close()
	})
}

// dead reports whether the connection was aborted. The kernel says so by an error condition on the descriptor.
func (s *session) dead() bool {
	if s.over.Load() {
		return true
	}
	fds := []unix.PollFd{{Fd: int32(s.fd)}}
	n, err := unix.Poll(fds, 0)
	return err == nil && n > 0 && fds[0].Revents&(unix.POLLERR|unix.POLLNVAL) != 0
}

// logWriter brings go-fuse's lines into our log: odd requests, and all of them with Debug.
type logWriter struct {
	log   *slog.Logger
	debug bool
}

func (w logWriter) Write(p []byte) (int, error) {
	line := strings.TrimSpace(string(p))
	if w.debug {
		w.log.Info(line)
	} else {
		w.log.Debug(line)
	}
	return len(p), nil
}
