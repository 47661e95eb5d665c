package vpc

import (
	"context"
	"encoding/json"
	"net/netip"
	"slices"
	"sync"

	"github.com/containercloud/cc/fault"
	"github.com/containercloud/cc/net/ipam"
	"github.com/containercloud/cc/object"
	"github.com/containercloud/cc/store"
)

// VPC is one private network. Its methods are safe for concurrent use.
type VPC struct {
	m        *Manager
	id       object.ID
	name     string
	bridge   string
	failures object.Failures

	// turn has room for one: who changes the spec or the kernel's objects. mu is never held while waiting for it.
	turn chan struct{}

	mu     sync.Mutex
	meta   object.Meta
	spec   Spec
	rev    int64 // of its record in the store
	state  State
	reason string
	index  int // of the bridge, while ready
	pool   *ipam.Pool
	leases map[netip.Addr]*lease
}

// record is a VPC in the store.
type record struct {
	Meta object.Meta `json:"meta"`
	Spec Spec        `json:"spec"`
}

// Keys of the store: a VPC under its id, and its id under its name, which keeps names apart in a cluster too.
func keyOf(id object.ID) string    { return "vpc/id/" + string(id) }
func keyOfName(name string) string { return "vpc/name/" + name }

func newVPC(m *Manager, meta object.Meta, spec Spec, rev int64) *VPC {
	return &VPC{
		m: m, id: meta.ID, name: meta.Name, bridge: m.mark.Bridge(string(meta.ID)),
		turn: make(chan struct{}, 1), meta: meta, spec: spec, rev: rev, state: Defined, leases: map[netip.Addr]*lease{},
	}
}

// Meta is what every object has.
func (v *VPC) Meta() object.Meta {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.meta.Clone()
}

// Failures are the last things that went wrong with the network.
func (v *VPC) Failures() *object.Failures { return &v.failures }

// Spec is what the network is wanted to be.
func (v *VPC) Spec() Spec {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.spec.clone()
}

// lock waits for the turn.
func (v *VPC) lock(ctx context.Context) error {
	select {
	case v.turn <- struct{}{}:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (v *VPC) unlock() { <-v.turn }

// SetMeta changes owner, modes or labels, durably. Its errors, as those of Update, say the cause only: who calls knows what was to
// be changed.
func (v *VPC) SetMeta(ctx context.Context, change func(*object.Meta) error) error {
	return v.change(ctx, func(m *object.Meta, _ *Spec) error { return change(m) })
}

// Update changes the spec: checked as a whole, durable when it returns, and applied. What the kernel refuses is
// not an error of the write: the state and the failures say it, and every use of the network tries again.
func (v *VPC) Update(ctx context.Context, change func(*Spec) error) error {
	return v.change(ctx, func(_ *object.Meta, s *Spec) error { return change(s) })
}

func (v *VPC) change(ctx context.Context, change func(*object.Meta, *Spec) error) error {
	if err := v.lock(ctx); err != nil {
		return err
	}
	defer v.unlock()
	changed, err := v.store(ctx, change)
	if err != nil {
		return err
	}
	if changed {
		_ = v.apply() // remembered by the VPC
	}
	return nil
}

// store writes a change to the store; it needs the turn.
func (v *VPC) store(ctx context.Context, change func(*object.Meta, *Spec) error) (specChanged bool, err error) {
	v.mu.Lock()
	meta, spec, rev, attached, state := v.meta.Clone(), v.spec.clone(), v.rev, v.attachedLocked(), v.state
	v.mu.Unlock()
	if state == Gone {
		return false, fault.New(fault.NotFound, "it is deleted")
	}
	was := spec.clone()
	if err := change(&meta, &spec); err != nil {
		return false, err
	}
	meta.ID, meta.Name = v.id, v.name
	if err := was.change(spec, attached); err != nil {
		return false, err
	}
	if err := spec.complete(); err != nil {
		return false, err
	}
	undo, err := v.m.claim(v, spec.CIDR)
	if err != nil {
		return false, err
	}
	meta.Version++
	rev, err = v.m.put(ctx, record{meta, spec}, rev)
	if err != nil {
		undo()
		return false, err
	}
	v.mu.Lock()
	v.meta, v.spec, v.rev = meta, spec, rev
	v.mu.Unlock()
	v.m.changed(v, "changed", "version", formatUint(meta.Version))
	return !was.equal(spec), nil
}

// put writes a record; rev 0 makes it, with its name.
func (m *Manager) put(ctx context.Context, r record, rev int64) (int64, error) {
	b, err := json.Marshal(r)
	if err != nil {
		return 0, err
	}
	cmps := []store.Compare{{Key: keyOf(r.Meta.ID), Rev: rev}}
	ops := []store.Op{store.Put(keyOf(r.Meta.ID), b)}
	if rev == 0 {
		cmps = append(cmps, store.Compare{Key: keyOfName(r.Meta.Name)})
		ops = append(ops, store.Put(keyOfName(r.Meta.Name), []byte(r.Meta.ID)))
	}
	return m.conf.Store.Txn(ctx, cmps, ops)
}

// claim takes a network for a VPC among the instance's VPCs, after a look at the host's routes. undo gives it
// back as it was.
func (m *Manager) claim(v *VPC, p netip.Prefix) (undo func(), err error) {
	m.mu.Lock()
	old := m.claims[v.id]
	m.mu.Unlock()
	if old == p {
		return func() {}, nil
	}
	var list []taken
	if p.IsValid() {
		if list, err = m.hostNetworks(); err != nil {
			return nil, err
		}
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	for id, q := range m.claims {
		if id != v.id {
			list = append(list, taken{q, "vpc " + m.byID[id].name + " (" + q.String() + ")"})
		}
	}
	if p.IsValid() {
		if err := overlap(p, list); err != nil {
			return nil, err
		}
	}
	m.setClaimLocked(v.id, p)
	return func() {
		m.mu.Lock()
		defer m.mu.Unlock()
		m.setClaimLocked(v.id, old)
	}, nil
}

func (m *Manager) setClaimLocked(id object.ID, p netip.Prefix) {
	if p.IsValid() {
		m.claims[id] = p
	} else {
		delete(m.claims, id)
	}
}

func (m *Manager) hostNetworks() ([]taken, error) {
	links, err := m.links.Links()
	if err != nil {
		return nil, err
	}
	routes, err := m.links.Routes()
	if err != nil {
		return nil, err
	}
	return hostNetworks(links, routes, m.mark), nil
}

// UsedBy are the paths of the objects that need the network: containers with an address of it, and what
// SetUsers' function names.
func (v *VPC) UsedBy() []string {
	v.mu.Lock()
	paths := v.usersLocked()
	v.mu.Unlock()
	v.m.mu.Lock()
	more := v.m.users
	v.m.mu.Unlock()
	if more != nil {
		paths = append(paths, more(v.name)...)
	}
	slices.Sort(paths)
	return slices.Compact(paths)
}
