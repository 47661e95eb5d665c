package container

import (
	"context"
	"log/slog"
	"sync"

	"github.com/containercloud/cc/event"
	"github.com/containercloud/cc/object"
)

// Config is what a Manager works with. All but Networks, Events and Log are necessary.
type Config struct {
	State    string // the daemon's state directory; containers live in STATE/container
	Run      string // the daemon's directory of things that may vanish at a reboot
	Instance string // prefix of every kernel object
	Events   *event.Log
	Log      *slog.Logger
	Warm     int // most slots kept ready per VPC; 0: none, every start is cold
}

// Manager has all containers of an instance.
type Manager struct {
	conf Config
	log  *slog.Logger

	mu     sync.Mutex
	byID   map[object.ID]*Container
	byName map[string]*Container
	watch  []func(*Container, ...string)
}

// Open finds the instance's containers, adopts those that run and makes the others as their records say.
func Open(ctx context.Context, conf Config) (*Manager, error) { return nil, errPending }

// Close lets go of everything and leaves the containers running.
func (m *Manager) Close() error { return errPending }

// Shutdown stops every container and closes the Manager.
func (m *Manager) Shutdown(ctx context.Context) error { return errPending }

// Get finds a container by name, id or unique beginning of an id (at least 4 characters).
func (m *Manager) Get(name string) (*Container, error) { return nil, errPending }

// List returns all containers by name.
func (m *Manager) List() []*Container { return nil }

// Rename gives a container another name.
func (m *Manager) Rename(ctx context.Context, c *Container, name string) error { return errPending }

// OnChange registers who is told when files of a container change: "status" (and what depends on the state), names of
// settings, "name", "labels", "error", "created", "deleted", "exec". It is called with no lock held, never from inside
// the call that made the change when that call came from a reader, and must not block.
func (m *Manager) OnChange(f func(c *Container, what ...string)) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.watch = append(m.watch, f)
}

// Update changes the spec: change edits a copy, which is checked as a whole and then recorded. Live settings apply to
// the running container before the call returns.
func (c *Container) Update(ctx context.Context, change func(*Spec) error) error { return errPending }

// SetMeta changes owner, modes or labels.
func (c *Container) SetMeta(ctx context.Context, change func(*object.Meta) error) error {
	return errPending
}

// Drain closes the warm parts that hold a VPC, so that it can be deleted.
func (m *Manager) DrainVPC(name string) {}

// DrainImage closes the warm parts that hold an image.
func (m *Manager) DrainImage(digest string) {}
