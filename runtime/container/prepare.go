package container

import (
	"context"
	"errors"
	"net/netip"
	"os"
	"path/filepath"
	"runtime"
	"time"

	"golang.org/x/sys/unix"

	"github.com/containercloud/cc/fault"
	"github.com/containercloud/cc/object"
	"github.com/containercloud/cc/runtime/boot"
	"github.com/containercloud/cc/runtime/image"
	"github.com/containercloud/cc/runtime/keeper"
)

// plan is everything that a start needs to know, from one look at the container.
type plan struct {
	c    *Container
	meta object.Meta
	spec Spec
	last netip.Addr

	img      *image.Image
	host     bool // no user namespace
	caps     []string
	hostname string
	process  boot.Process
}

// ids are the ids of the container's user namespace.
func (m *Manager) idsOf(host bool) boot.IDMap {
	if host {
		return boot.IDMap{}
	}
	return m.host.ids
}

// plan reads the spec and finds the image; c.op is held.
func (m *Manager) plan(c *Container) (*plan, error) {
	c.mu.Lock()
	p := &plan{c: c, meta: c.meta, spec: c.spec, last: c.last}
	digest := c.st.Digest
	c.mu.Unlock()
	p.host = p.spec.UserNS == UserNSHost || m.host.ids.Size == 0
	ref := digest
	if ref == "" {
		ref = p.spec.Image
	}
	var err error
	if p.img, err = m.conf.Images.Find(ref); err != nil {
		return nil, err
	}
	if p.caps, err = Capabilities(p.spec.Capability); err != nil {
		return nil, err
	}
	if p.host && p.meta.UID != 0 && !subset(p.caps, boot.DefaultCapabilities()) {
		return nil, fault.New(fault.Denied, "capabilities beyond the default need a user namespace, and this one has none").
			WithHint("they are then for containers of the host's owner only")
	}
	p.hostname = p.spec.Hostname
	if p.hostname == "" {
		p.hostname = p.meta.Name
	}
	return p, nil
}

// resolve works out the program: words, environment, directory, user.
func (p *plan) resolve(m *Manager, fs *rootfs) error {
	cfg := p.img.Config
	args, err := command(p.spec, cfg)
	if err != nil {
		return err
	}
	user, err := userOf(p.spec, cfg)
	if err != nil {
		return err
	}
	u, err := m.users.find(fs, user)
	if err != nil {
		return err
	}
	env, err := environment(p.spec, cfg, p.hostname, u.Home)
	if err != nil {
		return err
	}
	dir, err := workdir(p.spec, cfg)
	if err != nil {
		return err
	}
	p.process = boot.Process{Args: args, Env: env, Dir: dir, UID: u.UID, GID: u.GID, Groups: u.Groups}
	return nil
}

// prepare makes everything of a start but its last message: root file system, slot, limits, files, streams; then the slot is armed.
// wait says that it stays so (Status().Warm) until its start. What was made is taken apart when something fails.
func (m *Manager) prepare(ctx context.Context, c *Container, wait bool) (_ *run, err error) {
	p, err := m.plan(c)
	if err != nil {
		return nil, err
	}
	if p.spec.IP.IsValid() && p.spec.VPC == "" {
		return nil, fault.New(fault.Invalid, "it has the ip %s and no vpc", p.spec.IP).WithHint("set vpc, or empty ip")
	}
	if err := c.left(ctx); err != nil {
		return nil, err
	}
	r := &run{ended: make(chan struct{})}
	defer func() {
		if err != nil {
			m.abandon(c, r)
		}
	}()
	slot := m.slotOf(ctx, p) // a cold one is made while the root file system is mounted
	fs, errFS := m.rootOf(p)
	made := <-slot
	if made.part != nil {
		m.occupy(r, made.part)
	}
	if err := errors.Join(errFS, made.err); err != nil {
		return nil, err
	}
	if err := p.resolve(m, fs); err != nil {
		return nil, err
	}
	if err := r.group.Set(limits(p.spec)); err != nil {
		return nil, fault.Wrap(err, "cannot limit it")
	}
	return r, m.furnish(ctx, p, r, fs, wait)
}

// left waits until the teardown of the last run is done: its address and its root file system are then free again.
func (c *Container) left(ctx context.Context) error {
	c.mu.Lock()
	leaving := c.leaving
	c.mu.Unlock()
	if leaving == nil {
		return nil
	}
	select {
	case <-leaving:
		return nil
	case <-ctx.Done():
		return fault.New(fault.Again, "what it left behind at its end is still being removed")
	}
}

// occupy makes a part the run's.
func (m *Manager) occupy(r *run, p *part) {
	r.part, r.slot, r.group = p, p.slot, p.group
	r.pidfd, r.mntns = p.slot.PidFD(), p.mntns
	r.rec = runRecord{
		Cgroup: p.name, PID: p.slot.PID(), Start: p.start, UserNS: !p.key.host && m.host.ids.Size != 0,
		Attachment: p.att, Boot: m.host.boot,
	}
}

// furnish gives the slot its files and arms it. Arming goes on in the container's process while the record is written and the keeper
// is told.
func (m *Manager) furnish(ctx context.Context, p *plan, r *run, fs *rootfs, wait bool) error {
	r.rec.Spec, r.rec.Process, r.rec.Caps, r.rec.Init = p.spec, p.process, p.caps, p.spec.Init
	r.rec.Seccomp = p.spec.Seccomp
	var files fileList
	defer files.close()
	cfg := boot.Config{
		ReadOnly:     p.spec.ReadOnly,
		Hostname:     p.hostname,
		NoNewPrivs:   true,
		Capabilities: p.caps,
		Process:      p.process,
		Init:         p.spec.Init,
	}
	var err error
	if cfg.Seccomp, err = m.filters.get(p.spec.Seccomp, p.caps); err != nil {
		return err
	}
	if cfg.Root, err = fs.attachable(); err != nil {
		return err
	}
	files.add(cfg.Root)
	if cfg.Mounts, err = m.mounts(p, r, &files); err != nil {
		return err
	}
	adopt := keeper.Adoption{ID: string(p.meta.ID), Policy: logPolicy(p.spec)}
	if err := m.stdio(ctx, p, r, &cfg, &adopt, &files); err != nil {
		return err
	}
	armed := make(chan error, 1)
	now(func() { armed <- r.slot.Arm(ctx, cfg) })
	err = m.keep(ctx, p, r, adopt, wait)
	return errors.Join(<-armed, err)
}

// keep records the run and makes it one that outlives the daemon.
func (m *Manager) keep(ctx context.Context, p *plan, r *run, adopt keeper.Adoption, wait bool) error {
	var files fileList
	defer files.close()
	if err := m.home(p, &adopt, &files); err != nil {
		return err
	}
	p.c.mu.Lock()
	p.c.st.Digest = p.img.Digest
	p.c.body, p.c.armed = r, wait
	p.c.setAddressLocked(r)
	p.c.mu.Unlock()
	record := m.saveOpen(p.c)
	p.c.mu.Lock()
	r.mark = record
	p.c.mu.Unlock()
	return fault.Wrap(m.conf.Keeper.Adopt(ctx, r.part.id, adopt), "cannot hand it to the keeper")
}

// home opens the directories that the keeper writes to.
func (m *Manager) home(p *plan, a *keeper.Adoption, files *fileList) error {
	exit := filepath.Join(p.c.dir, keeper.RecordName)
	if info, err := os.Lstat(exit); err == nil && info.Size() > 0 { // of the run before
		_ = os.Remove(exit)
	}
	dir, err := os.OpenFile(p.c.dir, unix.O_DIRECTORY|unix.O_RDONLY, 0)
	if err != nil {
		return err
	}
	files.add(dir)
	logs, err := os.OpenFile(filepath.Join(p.c.dir, "logs"), unix.O_DIRECTORY|unix.O_RDONLY, 0)
	if err != nil {
		return err
	}
	files.add(logs)
	a.Dir, a.LogDir = dir, logs
	return nil
}

// abandon takes a run apart that did not become one.
func (m *Manager) abandon(c *Container, r *run) {
	c.mu.Lock()
	if c.body == r {
		c.body, c.armed = nil, false
	}
	c.mu.Unlock()
	if r.part != nil {
		m.teardown(c, r, true)
	}
}

// fileList is descriptors that are needed until the end of a function.
type fileList struct{ list []*os.File }

func (l *fileList) add(f ...*os.File) { l.list = append(l.list, f...) }

func (l *fileList) close() { closeAll(l.list...) }

// made is the answer of slotFor.
type made struct {
	part *part
	err  error
}

// early is a slot that is being made while its container is.
type early struct {
	slot   <-chan made
	cancel context.CancelFunc
}

// beginSlot begins to make the slot of a new container. What is wrong with the container its start will say.
func (m *Manager) beginSlot(c *Container) {
	p, err := m.plan(c)
	if err != nil {
		return
	}
	ctx, cancel := context.WithTimeout(m.ctx, startDeadline)
	c.early = &early{m.slotFor(ctx, p), cancel}
}

// dropEarly takes a slot apart that no start has asked for.
func (m *Manager) dropEarly(c *Container) {
	e := c.early
	if e == nil {
		return
	}
	c.early = nil
	drop := func() {
		if x := <-e.slot; x.part != nil {
			m.closePart(x.part)
		}
		e.cancel()
	}
	if !m.spawn(drop) {
		drop()
	}
}

// slotOf is the slot that was begun early, or one that is begun now.
func (m *Manager) slotOf(ctx context.Context, p *plan) <-chan made {
	e := p.c.early
	if e == nil {
		return m.slotFor(ctx, p)
	}
	p.c.early = nil
	context.AfterFunc(ctx, e.cancel)
	return e.slot
}

// slotFor finds a slot for the plan: a warm one, a warm one without a network that is attached now, or a new one. It answers at once; the
// slot comes through the channel.
func (m *Manager) slotFor(ctx context.Context, p *plan) <-chan made {
	out := make(chan made, 1)
	key := slotKey{vpc: p.spec.VPC, host: p.host}
	o := partOptions{ip: p.spec.IP, prefer: p.last, owner: string(p.meta.ID), name: p.meta.Name}
	if !subset(p.caps, boot.DefaultCapabilities()) {
		o.caps = p.caps
	}
	if o.caps == nil && !m.particular(key, o) {
		if part := m.takeSlot(ctx, key, p); part != nil {
			out <- made{part, nil}
			return out
		}
	}
	now(func() { out <- m.makeSlot(ctx, key, o) })
	return out
}

// particular reports whether a container wants an address of its own, which no warm slot has.
func (m *Manager) particular(key slotKey, o partOptions) bool {
	if key.vpc == "" || m.conf.Networks == nil {
		return false
	}
	_, reserved := m.conf.Networks.Reserved(key.vpc, o.name)
	return o.ip.IsValid() || o.prefer.IsValid() || reserved
}

// takeSlot takes a warm slot and makes its address the container's. One whose address was given away meanwhile is of no use.
func (m *Manager) takeSlot(ctx context.Context, key slotKey, p *plan) *part {
	for {
		part := m.warm.slot(key)
		if part == nil || part.att == nil {
			return part
		}
		err := m.conf.Networks.Assign(ctx, part.att, p.meta.ID, p.meta.Name)
		if err == nil {
			return part
		}
		m.log.Debug("a warm slot is of no use", "error", err)
		m.closePart(part)
	}
}

// makeSlot connects a warm slot that has no network, or makes a new one.
func (m *Manager) makeSlot(ctx context.Context, key slotKey, o partOptions) made {
	if o.caps == nil && key.vpc != "" {
		if part := m.warm.slot(slotKey{host: key.host}); part != nil {
			return made{part, m.connect(ctx, part, key.vpc, o)}
		}
	}
	part, err := m.newPart(ctx, key, o)
	return made{part, err}
}

// now runs f in a goroutine that gets the thread at once: a new goroutine otherwise waits until its maker does, or until another
// thread, which sleeps 50 us before it may, steals it.
func now(f func()) {
	go f()
	runtime.Gosched()
}

func subset(a, b []string) bool {
	in := map[string]bool{}
	for _, s := range b {
		in[s] = true
	}
	for _, s := range a {
		if !in[s] {
			return false
		}
	}
	return true
}

// startDeadline ends a start that hangs in the kernel; nothing else does.
const startDeadline = 30 * time.Second
