package container

import (
	"context"
	"sync"
	"time"
)

// Warm parts are what a start needs and what needs no container: a slot (a process parked in its namespaces, attached to
// its network and cgroups) and a home (a record directory, with the image's root file system mounted over it). They are
// made when nobody is waiting: refilling begins when the last use is quiet ago, at the latest lag after the first.
//
//	           take                 want doubles when a shelf was empty, up to Config.Warm;
//	refill --> shelf --> start      it halves when nobody came for a while, to one and at last to none
const (
	quiet    = 5 * time.Millisecond
	lag      = 50 * time.Millisecond
	coldEach = 30 * time.Second // an unused shelf halves this often
	lastFor  = 10 * time.Minute // but the last part waits so long for somebody who types
	armQuiet = 5 * time.Millisecond
	armedFor = 2 * time.Minute // an armed container that nobody starts gives its slot back
)

// shelf is the ready parts of one kind.
type shelf[T any] struct {
	ready []T
	want  int
	used  time.Time
}

// take gets the part made first, if there is one, and lets the shelf grow when there is none.
func (s *shelf[T]) take(most int, now time.Time) (part T, ok bool) {
	s.used = now
	if len(s.ready) == 0 {
		s.want = min(max(2*s.want, 2), most)
		return part, false
	}
	part = s.ready[0]
	s.ready = append(s.ready[:0:0], s.ready[1:]...)
	return part, true
}

// cool halves an unused shelf and returns what is too much on it.
func (s *shelf[T]) cool(now time.Time) []T {
	unused := now.Sub(s.used)
	switch {
	case unused < coldEach:
		return nil
	case s.want > 1 || unused >= lastFor:
		s.want /= 2
	}
	return s.trim(s.want)
}

func (s *shelf[T]) trim(n int) []T {
	if len(s.ready) <= n {
		return nil
	}
	over := append([]T(nil), s.ready[n:]...)
	s.ready = s.ready[:n:n]
	return over
}

// slotKey is what slots differ in.
type slotKey struct {
	vpc  string
	host bool // the host's user ids
}

// warm has the shelves and the workers that fill them and clean up.
type warm struct {
	m    *Manager
	most int
	wake chan struct{}

	filling sync.Mutex // held while a part is made: what is drained has then none on the way

	mu    sync.Mutex
	slots map[slotKey]*shelf[*part]
	homes map[string]*shelf[*home] // by image digest; "" is a bare directory
	armed map[*Container]time.Time
	last  time.Time // when something was taken
	first time.Time // the first use since the last refill
	shut  bool
}

func newWarm(m *Manager, most int) *warm {
	return &warm{
		m: m, most: most,
		wake:  make(chan struct{}, 1),
		slots: map[slotKey]*shelf[*part]{}, homes: map[string]*shelf[*home]{}, armed: map[*Container]time.Time{},
	}
}

func (w *warm) slotShelf(k slotKey) *shelf[*part] {
	s := w.slots[k]
	if s == nil {
		s = &shelf[*part]{}
		w.slots[k] = s
	}
	return s
}

func (w *warm) homeShelf(digest string) *shelf[*home] {
	s := w.homes[digest]
	if s == nil {
		s = &shelf[*home]{}
		w.homes[digest] = s
	}
	return s
}

// usedLocked notes a use and wakes the refiller.
func (w *warm) usedLocked(now time.Time) {
	w.last = now
	if w.first.IsZero() {
		w.first = now
	}
	select {
	case w.wake <- struct{}{}:
	default:
	}
}

// slot takes a warm slot of the kind, or nil.
func (w *warm) slot(k slotKey) *part {
	if w.most == 0 {
		return nil
	}
	now := time.Now()
	for {
		w.mu.Lock()
		p, _ := w.slotShelf(k).take(w.most, now)
		w.usedLocked(now)
		w.mu.Unlock()
		if p == nil || alive(p.slot.PidFD()) == nil {
			return p
		}
		w.m.closePart(p) // somebody has killed it
	}
}

// home takes a directory: one with the root file system of the spec's image where there is one. When there is none it is
// furnished now, as a home that may come back (recycle.go). A container that is neither started nor armed soon gets a bare one:
// a mount costs two descriptors for as long as it waits.
func (w *warm) home(s Spec, start bool) (*home, error) {
	if w.most == 0 {
		return w.m.newHome("")
	}
	digest := ""
	if start || w.roomToArm() {
		digest = w.m.warmDigest(s)
	}
	h := w.takeHome(digest)
	switch {
	case h == nil:
		return w.m.newHome(digest)
	case h.rootfs == nil && digest != "":
		return h, w.m.furnishHome(h, digest)
	}
	return h, nil
}

// roomToArm reports whether one more container may be armed.
func (w *warm) roomToArm() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.armed) < w.m.maxArmed()
}

func (w *warm) takeHome(digest string) *home {
	now := time.Now()
	w.mu.Lock()
	defer w.mu.Unlock()
	w.usedLocked(now)
	if digest != "" {
		if h, ok := w.homeShelf(digest).take(w.most, now); ok {
			return h
		}
	}
	h, _ := w.homeShelf("").take(w.most, now)
	return h
}

// refill is the goroutine that fills the shelves.
func (w *warm) refill() {
	cool := time.NewTicker(coldEach)
	defer cool.Stop()
	for {
		select {
		case <-w.wake:
			if !w.calm() {
				return
			}
			w.fill()
		case <-cool.C:
			w.cool()
		case <-w.m.ctx.Done():
			return
		}
	}
}

// calm waits until nobody took anything for the time quiet, or lag has passed. It reports false at the end.
func (w *warm) calm() bool {
	for {
		w.mu.Lock()
		now := time.Now()
		wait := min(w.last.Add(quiet).Sub(now), w.first.Add(lag).Sub(now))
		if wait <= 0 {
			w.first = time.Time{}
		}
		w.mu.Unlock()
		if wait <= 0 {
			return true
		}
		select {
		case <-time.After(wait):
		case <-w.m.ctx.Done():
			return false
		}
	}
}

// fill makes what is missing, one part at a time, and lets go when somebody comes for one.
func (w *warm) fill() {
	for w.m.ctx.Err() == nil {
		w.mu.Lock()
		begun := w.last
		job := w.missingLocked()
		w.mu.Unlock()
		if job == nil {
			return
		}
		w.filling.Lock()
		err := job()
		w.filling.Unlock()
		if err != nil {
			w.m.log.Debug("cannot make a warm part", "error", err)
			return
		}
		w.mu.Lock()
		busy := w.last != begun
		w.mu.Unlock()
		if busy && !w.calm() {
			return
		}
	}
}

// missingLocked is how to make one part that a shelf lacks, or nil.
func (w *warm) missingLocked() func() error {
	for key, s := range w.slots {
		if len(s.ready) < s.want {
			return func() error { return w.addSlot(key) }
		}
	}
	for digest, s := range w.homes {
		if len(s.ready) < s.want {
			return func() error { return w.addHome(digest) }
		}
	}
	return nil
}

func (w *warm) addSlot(key slotKey) error {
	ctx, cancel := context.WithTimeout(w.m.ctx, 10*time.Second)
	defer cancel()
	p, err := w.m.newPart(ctx, key, partOptions{})
	if err == nil {
		err = p.slot.Ready(ctx)
	}
	w.mu.Lock()
	s := w.slotShelf(key)
	if err != nil {
		s.want = 0 // the next use asks again
	} else if !w.shut && len(s.ready) < s.want {
		s.ready = append(s.ready, p)
		p = nil
	}
	w.mu.Unlock()
	if p != nil {
		w.m.closePart(p)
	}
	return err
}

func (w *warm) addHome(digest string) error {
	h, err := w.m.newHome(digest)
	w.mu.Lock()
	s := w.homeShelf(digest)
	if err != nil {
		s.want = 0
	} else if !w.shut && len(s.ready) < s.want {
		s.ready = append(s.ready, h)
		h = nil
	}
	w.mu.Unlock()
	if h != nil {
		h.close(w.m)
	}
	return err
}

// giveBack puts a home back that somebody has used; false: there are enough.
func (w *warm) giveBack(h *home) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	s := w.homes[h.rootfs.digest]
	if w.shut || s == nil || len(s.ready) >= s.want+spareHomes {
		return false
	}
	s.ready = append(s.ready, h)
	return true
}

// cool shrinks what nobody uses and disarms what nobody starts.
func (w *warm) cool() {
	now := time.Now()
	var parts []*part
	var homes []*home
	var tired []*Container
	w.mu.Lock()
	for k, s := range w.slots {
		parts = append(parts, s.cool(now)...)
		if s.want == 0 && len(s.ready) == 0 {
			delete(w.slots, k)
		}
	}
	for d, s := range w.homes {
		homes = append(homes, s.cool(now)...)
		if s.want == 0 && len(s.ready) == 0 {
			delete(w.homes, d)
		}
	}
	for c, at := range w.armed {
		if now.Sub(at) > armedFor {
			tired = append(tired, c)
		}
	}
	w.mu.Unlock()
	w.closeAll(parts, homes)
	for _, c := range tired {
		if c.lock(w.m.ctx) == nil {
			w.m.disarm(c)
			c.unlock()
		}
	}
}

func (w *warm) closeAll(parts []*part, homes []*home) {
	for _, p := range parts {
		w.m.closePart(p)
	}
	for _, h := range homes {
		h.close(w.m)
	}
}

// DrainVPC closes the warm parts that hold a VPC, so that it can be deleted.
func (m *Manager) DrainVPC(name string) {
	w := m.warm
	var parts []*part
	var armed []*Container
	w.filling.Lock()
	w.mu.Lock()
	for k, s := range w.slots {
		if k.vpc == name {
			parts = append(parts, s.trim(0)...)
			delete(w.slots, k)
		}
	}
	for c := range w.armed {
		armed = append(armed, c)
	}
	w.mu.Unlock()
	w.filling.Unlock()
	w.closeAll(parts, nil)
	m.disarmThose(armed, func(c *Container) bool { return c.spec.VPC == name })
	w.m.janitor.flush()
}

// DrainImage closes the warm parts that hold an image.
func (m *Manager) DrainImage(digest string) {
	w := m.warm
	var homes []*home
	var armed []*Container
	w.filling.Lock()
	w.mu.Lock()
	if s := w.homes[digest]; s != nil {
		homes = s.trim(0)
		delete(w.homes, digest)
	}
	for c := range w.armed {
		armed = append(armed, c)
	}
	w.mu.Unlock()
	w.filling.Unlock()
	w.closeAll(nil, homes)
	m.disarmThose(armed, func(c *Container) bool { return c.st.Digest == digest })
	w.m.janitor.flush()
}

func (m *Manager) disarmThose(list []*Container, which func(*Container) bool) {
	for _, c := range list {
		if c.lock(m.ctx) != nil {
			continue
		}
		c.mu.Lock()
		hit := which(c)
		c.mu.Unlock()
		if hit {
			m.disarm(c)
		}
		c.unlock()
	}
}

// close empties all shelves.
func (w *warm) close() {
	var parts []*part
	var homes []*home
	w.mu.Lock()
	w.shut = true
	for _, s := range w.slots {
		parts = append(parts, s.trim(0)...)
	}
	for _, s := range w.homes {
		homes = append(homes, s.trim(0)...)
	}
	w.mu.Unlock()
	w.closeAll(parts, homes)
}
