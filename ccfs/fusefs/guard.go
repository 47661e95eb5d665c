package fusefs

import (
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

const (
	settle    = 50 * time.Millisecond // mount tables change in bursts
	healthy   = 2 * time.Second       // how often it looks anyway: Linux 6.18 forgets to announce some unmounts
	drainTime = time.Second           // how long Unmount waits for requests in progress
)

// connect makes a session and mounts it at the server's directory.
func (s *Server) connect() error {
	sess, fd, err := newSession(s.tree, s.opts, s.ended)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	m, err := attach(fd, s.dir)
	if err != nil {
		sess.finish()
		return err
	}
	s.mu.Lock()
	s.mount = m
	s.session.Store(sess)
	s.mu.Unlock()
	s.mounted(fd)
	return nil
}

// mounted hands the attached mount fd on, as a copy that keeps nobody from unmounting it.
func (s *Server) mounted(fd int) {
	if s.opts.Mounted == nil {
		return
	}
	n, err := unix.OpenTree(fd, "", unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC|unix.AT_EMPTY_PATH)
	if err == nil {
		mount := os.NewFile(uintptr(n), s.dir)
		err = s.opts.Mounted(mount)
		mount.Close()
	}
	if err != nil {
		s.opts.Log.Warn("clients may hang when this daemon is killed", "error", err)
	}
}

// guard keeps the mount in place until Unmount: it puts the spare back when somebody unmounted the directory, and makes
// a new connection when the old one was aborted.
//
//	mounted --umount--> stolen --spare--> mounted     open files stay good
//	mounted --abort---> dead --connect--> mounted     open files get ENOTCONN
func (s *Server) guard() {
	defer close(s.guarded)
	tick := time.NewTicker(healthy)
	defer tick.Stop()
	for {
		select {
		case <-s.quit:
			return
		case <-s.ended:
			s.revive()
		case <-tick.C:
			s.revive()
			s.recover()
		case <-s.watch.changed:
			if !s.pause(settle) {
				return
			}
			s.recover()
		}
	}
}

// pause waits for d, or reports false when the server is to end.
func (s *Server) pause(d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-s.quit:
		return false
	}
}

// revive replaces a dead connection.
func (s *Server) revive() {
	sess := s.session.Load()
	s.mu.Lock()
	m, closing := s.mount, s.closing
	s.mu.Unlock()
	if closing || sess != nil && !sess.dead() {
		return
	}
	if sess != nil {
		s.opts.Log.Warn("the FUSE connection was aborted, mount again", "dir", s.dir)
		sess.finish()
		if err := m.detach(); err != nil {
			s.opts.Log.Warn("cannot detach the dead mount", "error", err)
		}
		s.session.Store(nil)
	}
	if err := makeDir(s.dir); err != nil {
		s.opts.Log.Error("cannot make the mount point", "error", err)
		return
	}
	if err := s.connect(); err != nil {
		s.opts.Log.Error("cannot mount again", "dir", s.dir, "error", err) // the next tick tries again
	}
}

// recover mounts the spare when our mount is no longer at the directory.
func (s *Server) recover() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if sess := s.session.Load(); s.closing || sess == nil || sess.dead() {
		return
	}
	ok, err := s.mount.attached()
	if err != nil || ok {
		return
	}
	s.opts.Log.Warn("somebody unmounted the tree, mount it again", "dir", s.dir)
	if err := s.mount.restore(); err != nil {
		s.opts.Log.Error("cannot mount the spare", "dir", s.dir, "error", err)
	}
}

// Unmount takes the tree away: requests in progress get a moment to end, then the mount is detached and the connection
// aborted, whoever holds files open. It is idempotent.
func (s *Server) Unmount() error {
	s.mu.Lock()
	again := s.closing
	s.closing = true
	s.mu.Unlock()
	if again {
		<-s.done
		return nil
	}
	defer close(s.done)
	close(s.quit)
	<-s.guarded
	s.watch.close()
	sess := s.session.Swap(nil)
	if sess == nil {
		return nil
	}
	sess.requests.drain(drainTime)
	if err := s.mount.detach(); err != nil {
		return fmt.Errorf("cannot unmount %s: %w", s.dir, err)
	}
	if !s.await(sess) {
		s.opts.Log.Warn("requests are still being worked on, or the mount is in use elsewhere", "dir", s.dir)
	}
	return nil
}

// await waits for the session's end. It does not come while a handler does not return, or while the superblock is
// mounted elsewhere and in use; then it comes with the end of the process.
func (s *Server) await(sess *session) bool {
	t := time.NewTimer(drainTime)
	defer t.Stop()
	select {
	case <-sess.done:
		return true
	case <-t.C:
		sess.finish()
		return false
	}
}
