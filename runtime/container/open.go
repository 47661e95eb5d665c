package container

import (
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/containercloud/cc/fault"
	"github.com/containercloud/cc/object"
	"github.com/containercloud/cc/runtime/boot"
)

// DefaultIDs is the range of the host's user ids that containers with a user namespace get: one for all containers of an
// instance, so that images and layers are mapped once. 0x70000000 on are what neither systemd's ranges nor useradd's
// sub-ids use (docs/decisions/102-user-namespace.md).
var DefaultIDs = boot.IDMap{Base: 0x70000000, Size: 1 << 24}

// Open finds the instance's containers, adopts those that run, makes the others as their records say, and removes what
// belongs to none.
func Open(ctx context.Context, conf Config) (*Manager, error) {
	m := newManager(conf)
	if err := m.open(ctx); err != nil {
		m.cancel()
		return nil, fault.Wrap(err, "cannot open the containers of %s", conf.Instance)
	}
	return m, nil
}

func newManager(conf Config) *Manager {
	if conf.Log == nil {
		conf.Log = slog.New(slog.DiscardHandler)
	}
	if conf.IDs.Size == 0 {
		conf.IDs = DefaultIDs
	}
	m := &Manager{
		conf: conf, log: conf.Log, dir: filepath.Join(conf.State, "container"),
		byID: map[object.ID]*Container{}, byName: map[string]*Container{},
	}
	m.saver.wake = make(chan struct{}, 1)
	m.ctx, m.cancel = context.WithCancel(context.Background())
	m.janitor = newJanitor()
	m.warm = newWarm(m, conf.Warm)
	return m
}

func (m *Manager) open(ctx context.Context) error {
	raiseFileLimit()
	if err := m.directories(); err != nil {
		return err
	}
	if err := m.lookAtHost(); err != nil {
		return err
	}
	var err error
	if m.etc, err = openEtc(filepath.Join(m.conf.Run, "etc")); err != nil {
		return err
	}
	left, err := m.sweepWarm()
	if err != nil {
		return err
	}
	if err := m.adopt(ctx); err != nil {
		return err
	}
	m.work.Go(m.exits)
	m.work.Go(m.saveLoop)
	for range janitors {
		m.work.Go(func() { m.janitor.work(m.ctx) })
	}
	m.work.Go(m.warm.refill)
	for _, dir := range left {
		m.janitor.later(func() { removeTree(dir, m.log) })
	}
	m.resume()
	return nil
}

// raiseFileLimit lets the daemon hold the few descriptors of each of thousands of containers.
func raiseFileLimit() {
	const want = 1 << 20
	var l unix.Rlimit
	if unix.Getrlimit(unix.RLIMIT_NOFILE, &l) != nil || l.Cur >= want {
		return
	}
	for n := uint64(want); n > l.Cur; n /= 2 {
		if unix.Setrlimit(unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: n, Max: max(n, l.Max)}) == nil {
			return
		}
	}
}

func (m *Manager) directories() error {
	for _, dir := range []string{m.dir, filepath.Join(m.conf.State, "warm"), m.trash()} {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return err
		}
	}
	return nil
}

// sweepWarm throws away what an earlier daemon had prepared and what it had not finished to remove. It returns the directories to
// remove later.
func (m *Manager) sweepWarm() ([]string, error) {
	var left []string
	for _, dir := range []string{filepath.Join(m.conf.State, "warm"), m.trash()} {
		names, err := readNames(dir)
		if err != nil {
			return nil, err
		}
		for _, n := range names {
			to := filepath.Join(m.trash(), n)
			if err := os.Rename(filepath.Join(dir, n), to); dir != m.trash() && err != nil {
				return nil, err
			}
			left = append(left, to)
		}
	}
	return left, nil
}

func readNames(dir string) ([]string, error) {
	f, err := os.Open(dir)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return f.Readdirnames(-1)
}

// lookAtHost finds out what the kernel and the file systems can do.
func (m *Manager) lookAtHost() error {
	id, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return err
	}
	m.host.boot = strings.TrimSpace(string(id))
	m.host.fineTimes = fineTimes(m.conf.State)
	if err := m.probeMaps(); err != nil {
		m.host.note = "no user namespace: " + err.Error()
		m.log.Warn("containers get no user namespace", "error", err)
		return nil
	}
	m.host.ids = m.conf.IDs
	return nil
}

// probeMaps tries a root file system whose ids are mapped, with a layer in the state directory.
func (m *Manager) probeMaps() error {
	dir := filepath.Join(m.conf.State, "warm", "probe")
	if err := os.RemoveAll(dir); err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	if err := makeHome(dir); err != nil {
		return err
	}
	lower, err := openDir(filepath.Join(dir, "app"))
	if err != nil {
		return err
	}
	defer lower.Close()
	layer, err := openDir(layerDir(dir))
	if err != nil {
		return err
	}
	defer layer.Close()
	mount, err := over(lower, layer, boot.OverlayOptions{Volatile: true, IDs: m.conf.IDs})
	if err != nil {
		return err
	}
	return mount.Close()
}

// Close lets go of everything and leaves the containers running.
func (m *Manager) Close() error {
	m.mu.Lock()
	if m.closed {
		m.mu.Unlock()
		return nil
	}
	m.closed = true
	list := make([]*Container, 0, len(m.byID))
	for _, c := range m.byID {
		list = append(list, c)
	}
	m.mu.Unlock()
	for _, c := range list {
		c.mu.Lock()
		c.stopTimersLocked()
		if c.arming != nil {
			c.arming.Stop()
		}
		c.mu.Unlock()
		m.closeSessions(c)
		if c.lock(context.Background()) == nil { // what runs in an operation now ends first
			m.disarm(c)
			c.unlock()
		}
	}
	m.warm.close()
	m.stem.close()
	m.cancel()
	m.work.Wait()
	for _, c := range list {
		c.letGo()
	}
	closeAll(m.etc.dir)
	return nil
}

// letGo closes what the daemon has open of a container that goes on without it.
func (c *Container) letGo() {
	c.mu.Lock()
	r, fs, app := c.body, c.rootfs, c.app
	c.body, c.rootfs, c.app = nil, nil, nil
	c.mu.Unlock()
	closeAll(app)
	c.dropView(nil)
	fs.drop()
	if r == nil {
		return
	}
	closeAll(r.stdin, r.tty, r.mntns, r.mark)
	if r.part != nil {
		closeAll(r.part.netns)
	}
	if r.slot != nil {
		_ = r.slot.Close()
	} else {
		closeAll(r.pidfd)
	}
}

// Shutdown stops every container and closes the Manager. What ran is started again by the next Open where its policy is always.
func (m *Manager) Shutdown(ctx context.Context) error {
	m.mu.Lock()
	m.ending = true
	m.mu.Unlock()
	list := m.List()
	var running []*Container
	for _, c := range list {
		if err := c.shutdown(ctx); err != nil {
			m.log.Warn("cannot stop a container", "id", c.id, "error", err)
			continue
		}
		running = append(running, c)
	}
	for _, c := range running {
		if err := c.Wait(ctx, Defined, Exited, Gone); err != nil && !fault.Is(err, fault.NotFound) {
			c.forceEnd()
		}
	}
	return m.Close()
}

// shutdown stops a container without forgetting that it is wanted.
func (c *Container) shutdown(ctx context.Context) error {
	if err := c.lock(ctx); err != nil {
		return err
	}
	defer c.unlock()
	if !c.State().Active() {
		return nil
	}
	return c.m.stop(c, -1, true)
}

// forceEnd kills what did not end in time.
func (c *Container) forceEnd() {
	if r, err := c.living(); err == nil {
		r.kill()
		<-r.ended
	}
}
