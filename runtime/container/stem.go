package container

import (
	"context"
	"sync"
	"time"

	"github.com/containercloud/cc/object"
	"github.com/containercloud/cc/runtime/boot"
)

// stem is the one process that the helpers of execs are forked from. It is made behind the first exec and made anew when it, or
// the keeper that is its parent, has ended.
type stem struct {
	mu     sync.Mutex
	at     *boot.Stem
	keeper int // pid
	making bool
	shut   bool
}

// stemFor is the stem, or nil: then the keeper spawns the helper.
func (m *Manager) stemFor() *boot.Stem {
	if m.conf.Warm == 0 {
		return nil
	}
	s := &m.stem
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.at != nil && (s.keeper != m.conf.Keeper.PID() || s.at.Ended()) {
		_ = s.at.Close()
		s.at = nil
	}
	if s.at == nil && !s.making && !s.shut {
		s.making = m.spawn(m.makeStem)
	}
	return s.at
}

func (m *Manager) makeStem() {
	ctx, cancel := context.WithTimeout(m.ctx, 10*time.Second)
	defer cancel()
	keeper := m.conf.Keeper.PID()
	made, err := boot.NewStem(ctx, m.conf.Keeper, "stem/"+string(object.NewID()))
	s := &m.stem
	s.mu.Lock()
	defer s.mu.Unlock()
	s.making = false
	switch {
	case err != nil:
		m.log.Debug("cannot make a stem", "error", err)
	case s.shut:
		_ = made.Close()
	default:
		s.at, s.keeper = made, keeper
	}
}

func (s *stem) close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.shut = true
	if s.at != nil {
		_ = s.at.Close()
		s.at = nil
	}
}
