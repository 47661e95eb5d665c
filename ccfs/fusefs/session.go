package fusefs

import (
	"fmt"
	"log"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"

	"github.com/hanwen/go-fuse/v2/fuse"
	"golang.org/x/sys/unix"

	"github.com/containercloud/cc/ccfs/tree"
)

// session is one FUSE connection from INIT to its end. Everything the kernel was told belongs to it: node numbers,
// lookup counts, handles.
type session struct {
	fd       int // our own descriptor of the connection: notifications and late answers
	kernel   *fuse.Server
	door     *door
	notifier *notifier
	requests *registry
	log      *slog.Logger
	over     atomic.Bool // the connection has ended
	done     chan struct{}
	gone     sync.Once
}

// newSession opens a connection, makes its superblock and answers INIT. It returns the detached mount.
func newSession(t *tree.Tree, o Options, ended chan<- struct{}) (*session, int, error) {
	fd, err := unix.Open("/dev/fuse", unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, -1, fmt.Errorf("open /dev/fuse: %w", err)
	}
	own, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 3)
	if err != nil {
		unix.Close(fd)
		return nil, -1, fmt.Errorf("dup /dev/fuse: %w", err)
	}
	mnt, err := newSuperblock(fd, o.Source)
	if err != nil {
		unix.Close(fd)
		unix.Close(own)
		return nil, -1, err
	}
	s := &session{fd: own, log: o.Log, done: make(chan struct{})}
	s.requests = newRegistry(s, o)
	s.door = newDoor(s, t, o)
	// go-fuse takes the descriptor over from this name; only the number in it counts.
	s.kernel, err = fuse.NewServer(s.door, fmt.Sprintf("/dev/fd/%d", fd), mountOptions(o))
	if err != nil {
		s.requests.close()
		unix.Close(mnt)
		unix.Close(own)
		return nil, -1, err
	}
	s.notifier = newNotifier(own, s.kernel.KernelSettings().Flags64()&fuse.CAP_HAS_EXPIRE_ONLY != 0, s.door.exists)
	go s.serve(ended)
	return s, mnt, nil
}

// mountOptions is what we negotiate in INIT. The mount itself is ours (newSuperblock).
func mountOptions(o Options) *fuse.MountOptions {
	m := &fuse.MountOptions{
		Name:     subtype,
		FsName:   o.Source,
		MaxWrite: maxWrite,
		// One level for a state directory on overlayfs, one for the passthrough itself.
		MaxStackDepth: 2,
		MaxBackground: 64,
		// Truncation arrives with the open (`>` is one operation); the kernel asks for attributes with a listing
		// only if somebody uses them; it need not ask for security.capability before every write; names may be
		// expired without looking deleted to inotify.
		ExtraCapabilities: fuse.CAP_ATOMIC_O_TRUNC | fuse.CAP_READDIRPLUS_AUTO | fuse.CAP_HANDLE_KILLPRIV_V2 |
			fuse.CAP_HAS_EXPIRE_ONLY,
		// Opens are ours to answer: rights are checked there. Files are never cached by the page cache.
		DisabledCapabilities: fuse.CAP_NO_OPEN_SUPPORT,
		DisableSplice:        true,
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
	s.kernel.Serve()
	s.finish()
	s.door.close()
	unix.Close(s.fd)
	close(s.done)
	select {
	case ended <- struct{}{}:
	default:
	}
}

// finish marks the session over: nothing is written to the connection any more and every request's context ends.
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

// refuse answers a request, whose handler does not return, with an errno (struct fuse_out_header). The kernel drops the
// handler's own answer when it comes at last.
func (s *session) refuse(unique uint64, errno syscall.Errno) error {
	var b [16]byte
	le.PutUint32(b[0:], 16)
	le.PutUint32(b[4:], uint32(-int32(errno)))
	le.PutUint64(b[8:], unique)
	_, err := unix.Write(s.fd, b[:])
	return err
}

// logWriter brings go-fuse's lines into our log. They are about answers that the kernel no longer wanted.
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
