// Package vpc is the noun vpc: private networks of containers on this host, their addresses, and who has them.
//
// A VPC's spec is durable in the store before a write returns. What the kernel has follows from it: a bridge
// with the gateway's address, elements in the packet rules, and for each container a veth. Everything carries
// the instance's mark, is made by an idempotent apply, and is found again or removed at Open and Restore, so no
// other state is kept: who has which address stands in the containers' records and in the kernel's rules.
//
// Lock order: VPC.turn, Manager.mu, VPC.mu; the pool and the rules have locks of their own below these.
package vpc

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/containercloud/cc/event"
	"github.com/containercloud/cc/fault"
	"github.com/containercloud/cc/net/link"
	"github.com/containercloud/cc/net/nft"
	"github.com/containercloud/cc/object"
	"github.com/containercloud/cc/store"
)

// Config is what a Manager works with. Events and Log may be nil.
type Config struct {
	Instance string // prefix of every kernel object
	Store    store.Store
	Events   *event.Log
	Log      *slog.Logger
}

// Manager holds all VPCs of an instance. Its methods are safe for concurrent use.
type Manager struct {
	conf  Config
	mark  link.Mark
	links *link.Host
	rules *nft.Table
	work  sync.WaitGroup // removals of links, which take their time in the kernel, and repairs
	deaf  func() error   // ends the watch over links

	mu     sync.Mutex
	byID   map[object.ID]*VPC
	byName map[string]*VPC // a nil value is being made
	claims map[object.ID]netip.Prefix
	watch  []func(*VPC)
	users  func(name string) []string
	notes  []string
}

// Open takes up the instance's networks: what the kernel has of them goes on without a break, what is missing is
// made, what belongs to none is removed. Restore must follow, to say which attachments live.
func Open(ctx context.Context, conf Config) (_ *Manager, err error) {
	if conf.Log == nil {
		conf.Log = slog.New(slog.DiscardHandler)
	}
	m := &Manager{
		conf: conf, mark: link.MarkOf(conf.Instance),
		byID: map[object.ID]*VPC{}, byName: map[string]*VPC{}, claims: map[object.ID]netip.Prefix{},
	}
	if m.links, err = link.Open(); err != nil {
		return nil, fault.Wrap(err, "cannot open networks")
	}
	if m.rules, err = nft.Open(conf.Instance, conf.Log); err != nil {
		return nil, errors.Join(fault.Wrap(err, "cannot open networks"), m.links.Close())
	}
	if err := m.load(ctx); err != nil {
		return nil, errors.Join(fault.Wrap(err, "cannot open networks"), m.Close())
	}
	return m, nil
}

// load reads the store and brings the kernel to it.
func (m *Manager) load(ctx context.Context) error {
	if err := m.readStore(ctx); err != nil {
		return err
	}
	if err := m.adopt(); err != nil {
		return err
	}
	for _, v := range m.List() {
		if v.Spec().CIDR.IsValid() {
			_ = v.remake(ctx) // a network that fails shows it and is tried again at each use
		}
	}
	if err := m.sweepBridges(); err != nil {
		return err
	}
	var err error
	m.deaf, err = m.links.Watch(m.linkGone, m.linksLost)
	return err
}

// linkGone makes a bridge again that somebody removed.
func (m *Manager) linkGone(name string) {
	if m.mark.IsBridge(name) {
		m.repair(func(v *VPC) bool { return v.bridge == name })
	}
}

func (m *Manager) linksLost() { m.repair(func(*VPC) bool { return true }) }

func (m *Manager) repair(which func(*VPC) bool) {
	for _, v := range m.List() {
		if !which(v) {
			continue
		}
		v.mu.Lock()
		ready, index := v.state == Ready, v.index
		v.mu.Unlock()
		if ready {
			m.work.Go(func() {
				if v.lost(index) {
					m.conf.Log.Warn("the bridge of a vpc was removed by others and is made again", "vpc", v.name, "link", v.bridge)
					_ = v.remake(context.Background()) // remembered by the VPC
				}
			})
		}
	}
}

// OnChange calls fn after every change of a VPC's spec, state or containers, also when it has gone. fn must be
// quick and must not call back.
func (m *Manager) OnChange(fn func(*VPC)) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.watch = append(m.watch, fn)
}

// SetUsers names a function that says which further objects (paths) refer to a network: it is not deleted before they go.
func (m *Manager) SetUsers(fn func(name string) []string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.users = fn
}

func (m *Manager) notify(v *VPC) {
	m.mu.Lock()
	list := m.watch
	m.mu.Unlock()
	for _, fn := range list {
		fn(v)
	}
}

func (m *Manager) changed(v *VPC, kind string, kv ...string) {
	if m.conf.Events != nil {
		m.conf.Events.Add(kind, "vpc/"+v.name, string(v.id), kv...)
	}
	m.notify(v)
}

// Create makes a VPC without addresses, durably.
func (m *Manager) Create(ctx context.Context, name string, uid, gid uint32) (*VPC, error) {
	if err := object.CheckName(name); err != nil {
		return nil, fault.Wrap(err, "cannot create vpc %s", name)
	}
	m.mu.Lock()
	_, taken := m.byName[name]
	if !taken {
		m.byName[name] = nil
	}
	m.mu.Unlock()
	if taken {
		return nil, fault.New(fault.Exists, "cannot create vpc %s: there is one", name)
	}
	meta := object.Meta{ID: object.NewID(), Name: name, Created: time.Now().UTC(), Version: 1, UID: uid, GID: gid}
	rev, err := m.put(ctx, record{meta, Default()}, 0)
	m.mu.Lock()
	if err != nil {
		delete(m.byName, name)
		m.mu.Unlock()
		return nil, fault.Wrap(err, "cannot create vpc %s", name)
	}
	v := newVPC(m, meta, Default(), rev)
	m.byName[name], m.byID[v.id] = v, v
	m.mu.Unlock()
	m.changed(v, "created")
	return v, nil
}

// Get finds a VPC by name or id; fault.NotFound.
func (m *Manager) Get(nameOrID string) (*VPC, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if v := m.byName[nameOrID]; v != nil {
		return v, nil
	}
	if v := m.byID[object.ID(nameOrID)]; v != nil {
		return v, nil
	}
	return nil, fault.New(fault.NotFound, "no vpc %s", nameOrID).WithHint("mkdir vpc/%s, or see ls vpc", nameOrID)
}

// List is all VPCs, by name.
func (m *Manager) List() []*VPC {
	m.mu.Lock()
	defer m.mu.Unlock()
	list := make([]*VPC, 0, len(m.byID))
	for _, v := range m.byID {
		list = append(list, v)
	}
	slices.SortFunc(list, func(a, b *VPC) int { return cmp.Compare(a.name, b.name) })
	return list
}

// Delete removes a VPC and all that the kernel has of it. fault.Busy names who uses it; warm parts do not count
// and lose their addresses.
func (m *Manager) Delete(ctx context.Context, v *VPC) error {
	// Before the turn: SetUsers' function may take locks that somebody holds who waits for the turn.
	if users := v.UsedBy(); len(users) > 0 {
		return fault.Wrap(busy(users), "cannot delete vpc %s", v.name)
	}
	if err := v.lock(ctx); err != nil {
		return err
	}
	defer v.unlock()
	if err := m.delete(ctx, v); err != nil {
		return fault.Wrap(err, "cannot delete vpc %s", v.name)
	}
	m.changed(v, "deleted")
	return nil
}

func (m *Manager) delete(ctx context.Context, v *VPC) error {
	v.mu.Lock()
	if users := v.usersLocked(); len(users) > 0 || v.state == Gone {
		state := v.state
		v.mu.Unlock()
		if state == Gone {
			return fault.New(fault.NotFound, "no vpc %s: it is deleted", v.name)
		}
		return busy(users)
	}
	state, rev := v.state, v.rev
	v.state = Gone // no attachment from here on
	v.mu.Unlock()
	_, err := m.conf.Store.Txn(ctx, []store.Compare{{Key: keyOf(v.id), Rev: rev}},
		[]store.Op{store.Delete(keyOf(v.id)), store.Delete(keyOfName(v.name))})
	if err != nil {
		v.mu.Lock()
		v.state = state
		v.mu.Unlock()
		return err
	}
	m.remove(v)
	return nil
}

func busy(users []string) error {
	list := users
	if len(list) > 5 {
		list = append(slices.Clone(list[:5]), fmt.Sprintf("and %d more", len(users)-5))
	}
	return fault.New(fault.Busy, "used by %s", strings.Join(list, " ")).WithHint("stop and delete these containers first; see usedby")
}

// remove takes a VPC that is out of the store out of the kernel. What resists is removed by the next Open.
func (m *Manager) remove(v *VPC) {
	v.mu.Lock()
	leases := v.leases
	v.leases = map[netip.Addr]*lease{}
	v.mu.Unlock()
	var errs []error
	for _, l := range leases {
		errs = append(errs, m.rules.DropPort(l.link))
	}
	if err := errors.Join(append(errs, v.unmake())...); err != nil {
		m.conf.Log.Error("something of a deleted vpc stays until the next start", "vpc", v.name, "error", err)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.byID, v.id)
	delete(m.byName, v.name)
	delete(m.claims, v.id)
}

// Close lets go of the kernel's objects, which stay, and waits for removals.
func (m *Manager) Close() error {
	var err error
	if m.deaf != nil {
		err = m.deaf()
	}
	m.work.Wait()
	return errors.Join(err, m.rules.Close(), m.links.Close())
}
