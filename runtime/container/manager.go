package container

import (
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"github.com/containercloud/cc/fault"
	"github.com/containercloud/cc/object"
	"github.com/containercloud/cc/runtime/boot"
)

// Manager has all containers of an instance.
type Manager struct {
	conf Config
	log  *slog.Logger
	dir  string // STATE/container
	host hostInfo

	ctx     context.Context // ends with the Manager
	cancel  context.CancelFunc
	work    sync.WaitGroup // everything that runs in the background
	saver   saver
	warm    *warm
	stem    stem
	janitor *janitor
	etc     *etcFiles
	filters filters
	users   users

	mu     sync.Mutex
	closed bool // no new work
	ending bool // Shutdown: nothing is started again
	byID   map[object.ID]*Container
	byName map[string]*Container
	watch  []func(*Container, ...string)
}

// hostInfo is what was found out about the host once.
type hostInfo struct {
	boot      string     // boot id
	ids       boot.IDMap // the containers' user namespace; zero where the state directory cannot be mapped
	note      string     // why ids is zero
	fineTimes bool       // every change of a file has a time of its own
}

// Get finds a container by name, id or unique beginning of an id (at least 4 characters).
func (m *Manager) Get(name string) (*Container, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if c := m.byName[name]; c != nil {
		return c, nil
	}
	if c := m.byID[object.ID(name)]; c != nil {
		return c, nil
	}
	if len(name) < 4 {
		return nil, unknown(name)
	}
	var found *Container
	for id, c := range m.byID {
		if !strings.HasPrefix(string(id), name) {
			continue
		}
		if found != nil {
			return nil, fault.New(fault.Invalid, "%q begins more than one container's id", name)
		}
		found = c
	}
	if found == nil {
		return nil, unknown(name)
	}
	return found, nil
}

func unknown(name string) error { return fault.New(fault.NotFound, "no container %q", name) }

// List returns all containers by name.
func (m *Manager) List() []*Container {
	m.mu.Lock()
	defer m.mu.Unlock()
	names := make([]string, 0, len(m.byName))
	for n := range m.byName {
		names = append(names, n)
	}
	slices.Sort(names)
	list := make([]*Container, len(names))
	for i, n := range names {
		list[i] = m.byName[n]
	}
	return list
}

// reserve takes name for c, or says who has it.
func (m *Manager) reserve(name string, c *Container) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.closed {
		return fault.New(fault.Again, "the daemon is stopping")
	}
	if m.byName[name] != nil {
		return fault.New(fault.Exists, "container %s exists", name)
	}
	m.byName[name] = c
	m.byID[c.id] = c
	return nil
}

// forget takes the container out of the lists.
func (m *Manager) forget(name string, id object.ID) {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.byName, name)
	delete(m.byID, id)
}

// byUUID finds a container by its whole id, or nil.
func (m *Manager) byUUID(id object.ID) *Container {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.byID[id]
}

// OnChange registers who is told when files of a container change: "status" (and what depends on the state), names of
// settings, "name", "labels", "error", "created", "deleted", "exec". It is called with no lock held and must not block.
func (m *Manager) OnChange(f func(c *Container, what ...string)) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.watch = append(m.watch, f)
}

// tell calls the watchers.
func (m *Manager) tell(c *Container, what ...string) {
	m.mu.Lock()
	watch := m.watch
	m.mu.Unlock()
	for _, f := range watch {
		f(c, what...)
	}
}

// event adds one line to the journal of the cloud.
func (m *Manager) event(kind string, meta object.Meta, kv ...string) {
	if m.conf.Events != nil {
		m.conf.Events.Add(kind, "container/"+meta.Name, string(meta.ID), kv...)
	}
}

// told tells the world of a transition: watchers, journal, log. No lock is held.
func (m *Manager) told(c *Container, ch change, kv ...string) {
	meta := c.Meta()
	if ch.Reason != "" {
		kv = append(kv, "reason", ch.Reason)
	}
	m.event(string(ch.To), meta, kv...)
	m.log.Debug("container", "name", meta.Name, "id", meta.ID, "from", ch.From, "to", ch.To, "reason", ch.Reason)
	m.tell(c, "status")
}

// spawn runs f in the background; Close waits for it. It reports false when the Manager is closing.
func (m *Manager) spawn(f func()) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.closed {
		return false
	}
	m.work.Go(f)
	return true
}

// Rename gives a container another name. The running program keeps its host name until the next start.
func (m *Manager) Rename(ctx context.Context, c *Container, name string) error {
	if err := object.CheckName(name); err != nil {
		return fault.Wrap(err, "cannot rename container %s", c.Meta().Name)
	}
	if err := c.lock(ctx); err != nil {
		return err
	}
	defer c.unlock()
	old := c.Meta()
	if old.Name == name {
		return nil
	}
	m.mu.Lock()
	if m.byName[name] != nil {
		m.mu.Unlock()
		return fault.New(fault.Exists, "cannot rename container %s: container %s exists", old.Name, name)
	}
	m.byName[name] = c
	m.mu.Unlock()
	meta := old.Clone()
	meta.Name = name
	meta.Version++
	if err := writeRecord(c.dir, specFile, specRecord{meta, c.Spec()}); err != nil {
		m.drop(name)
		return fault.Wrap(err, "cannot rename container %s", old.Name)
	}
	c.mu.Lock()
	c.meta = meta
	c.mu.Unlock()
	m.drop(old.Name)
	m.disarm(c)
	m.renamed(ctx, c)
	m.event("renamed", meta, "from", old.Name)
	m.tell(c, "name")
	m.armSoon(c)
	return nil
}

func (m *Manager) drop(name string) {
	m.mu.Lock()
	delete(m.byName, name)
	m.mu.Unlock()
}

// trash is where the remains of containers wait for their removal.
func (m *Manager) trash() string { return filepath.Join(m.conf.State, "trash") }

// discard takes a directory out of the state: its name is gone when discard returns. What becomes of it, rest does in the background.
func (m *Manager) discard(dir string, rest func(dir string)) error {
	to := filepath.Join(m.trash(), string(object.NewID()))
	if err := os.Rename(dir, to); err != nil {
		return err
	}
	m.janitor.later(func() { rest(to) })
	return nil
}

// remove is discard of what nobody needs.
func (m *Manager) remove(dir string) error {
	return m.discard(dir, func(dir string) { removeTree(dir, m.log) })
}
