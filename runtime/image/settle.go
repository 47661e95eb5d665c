package image

import (
	"fmt"
	"os/exec"
	"path"
	"syscall"
)

// settler flushes the file system behind the pulls. One flush runs at a time, and it takes seconds on a busy disk, which
// neither a pull nor Close waits for: until it has ended, the boot id is what the trees are believed by.
//
// The flush is a process of its own, `sync -f`, because syncfs(2) cannot be interrupted: in a thread of the daemon it would
// keep a killed daemon from ending, and its lock on the store from going, for as long as the disk takes.
type settler struct {
	running bool
	again   bool
}

// settleLocked starts a flush, or one more after the one that runs.
func (s *Store) settleLocked() {
	if s.settler.running {
		s.settler.again = true
		return
	}
	dirs := s.unsettledLocked()
	if len(dirs) == 0 || s.ctx.Err() != nil {
		return
	}
	s.settler.running = true
	store := s.root.Name()
	go func() { // outlives Close
		err := flush(store)
		s.mu.Lock()
		defer s.mu.Unlock()
		s.settler.running = false
		if s.ctx.Err() != nil {
			return
		}
		if err != nil {
			s.log.Warn("cannot flush the image store", "error", err)
			return
		}
		s.markLocked(dirs)
		if s.settler.again {
			s.settler.again = false
			s.settleLocked()
		}
	}()
}

func (s *Store) unsettledLocked() (dirs []string) {
	add := func(dir string) {
		if _, err := s.root.Lstat(path.Join(dir, "durable")); err != nil {
			dirs = append(dirs, dir)
		}
	}
	for h := range s.layers {
		add(path.Join("layer", h))
	}
	for key := range s.roots {
		add(path.Join("root", key))
	}
	return dirs
}

// markLocked marks trees that were there before a flush.
func (s *Store) markLocked(dirs []string) {
	for _, d := range dirs {
		f, err := s.root.Create(path.Join(d, "durable"))
		if err != nil {
			continue // removed meanwhile
		}
		f.Close()
	}
}

func flush(dir string) error {
	cmd := exec.Command("sync", "-f", dir)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("sync -f %s: %w: %s", dir, err, out)
	}
	return nil
}
