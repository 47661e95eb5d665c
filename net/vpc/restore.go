package vpc

import (
	"context"
	"encoding/json"
	"errors"
	"net/netip"
	"strings"
	"time"

	"github.com/containercloud/cc/fault"
	"github.com/containercloud/cc/net/link"
	"github.com/containercloud/cc/net/nft"
	"github.com/containercloud/cc/object"
)

// Held is an attachment that a living container has, as its record says.
type Held struct {
	Attachment
	Container object.ID
	Name      string
	Since     time.Time
}

// readStore makes the VPCs of the store. A record that cannot be read is left as it is.
func (m *Manager) readStore(ctx context.Context) error {
	items, _, err := m.conf.Store.List(ctx, keyOf(""))
	if err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, i := range items {
		var r record
		if err := json.Unmarshal(i.Value, &r); err != nil || keyOf(r.Meta.ID) != i.Key {
			m.conf.Log.Error("the record of a vpc cannot be read", "key", i.Key, "error", err)
			continue
		}
		v := newVPC(m, r.Meta, r.Spec, i.Rev)
		m.byID[v.id], m.byName[v.name] = v, v
		m.setClaimLocked(v.id, r.Spec.CIDR)
	}
	return nil
}

// adopt takes the ports that the rules know for leases until Restore says whose they are, and sets the rules:
// what is right stays untouched, so nothing that runs notices.
func (m *Manager) adopt() error {
	ports, err := m.rules.Ports()
	if err != nil {
		return err
	}
	var networks []nft.Network
	all := m.List()
	for _, v := range all {
		spec, err := v.setPool()
		if err != nil {
			v.failures.Add(err)
			continue
		}
		if spec.CIDR.IsValid() {
			networks = append(networks, v.network(spec))
		}
	}
	var keep []nft.Port
	for _, p := range ports {
		if adoptPort(all, p) {
			keep = append(keep, p)
		}
	}
	return m.rules.Set(networks, keep)
}

func adoptPort(all []*VPC, p nft.Port) bool {
	if len(p.Addrs) != 1 {
		return false
	}
	for _, v := range all {
		v.mu.Lock()
		ok := v.pool != nil && v.spec.CIDR.Contains(p.Addrs[0]) && v.pool.Adopt(p.Addrs[0], "a part of the last run") == nil
		if ok {
			v.leases[p.Addrs[0]] = &lease{ip: p.Addrs[0], mac: p.MAC, link: p.Name, since: time.Now().UTC(), found: true}
		}
		v.mu.Unlock()
		if ok {
			return true
		}
	}
	return false
}

// sweepBridges removes the instance's bridges that no VPC has.
func (m *Manager) sweepBridges() error {
	links, err := m.links.Links()
	if err != nil {
		return err
	}
	want := map[string]bool{}
	for _, v := range m.List() {
		want[v.bridge] = v.Spec().CIDR.IsValid()
	}
	for _, l := range links {
		if m.mark.IsBridge(l.Name) && !want[l.Name] {
			m.conf.Log.Info("a bridge without a vpc is removed", "link", l.Name, "was", l.Alias)
			m.clear(l.Name)
		}
	}
	return nil
}

// clear removes links in the background: the kernel takes 10 to 30 ms, which is on nobody's way.
func (m *Manager) clear(names ...string) {
	m.work.Go(func() {
		var err error
		if len(names) == 1 {
			err = m.links.Delete(names[0])
		} else {
			err = m.links.DeletePorts(m.mark, names)
		}
		if err != nil {
			m.conf.Log.Warn("links stay behind until the next start", "links", names, "error", err)
		}
	})
}

// Restore says which attachments of before this start live. They keep their addresses and are put right; all
// others that Open found, and all ports with our mark that nobody has, are removed. What is wrong with one
// container's attachment goes to the log and to its network's failures, not to the caller.
func (m *Manager) Restore(_ context.Context, held []Held) error {
	links, err := m.links.Links()
	if err != nil {
		return fault.Wrap(err, "cannot restore networks")
	}
	byName := make(map[string]link.Link, len(links))
	for _, l := range links {
		byName[l.Name] = l
	}
	for _, h := range held {
		if err := m.restore(h, byName[h.Link]); err != nil {
			err = fault.Wrap(err, "cannot restore address %s of container %s", h.IP.Addr(), h.Name)
			m.conf.Log.Error("a container may be without its network", "error", err)
			if v := m.of(&h.Attachment); v != nil {
				v.failures.Add(err)
			}
		}
	}
	err = m.dropFound()
	m.sweepPorts(links)
	return fault.Wrap(err, "cannot restore networks")
}

func (m *Manager) restore(h Held, port link.Link) error {
	v := m.of(&h.Attachment)
	if v == nil {
		return fault.New(fault.NotFound, "no vpc %s", h.VPC)
	}
	l := &lease{ip: h.IP.Addr(), mac: h.MAC, link: h.Link, owner: string(h.Container), container: h.Container, name: h.Name, since: h.Since}
	old, err := v.enter(l)
	if err != nil {
		return err
	}
	if old != nil && old.link != l.link {
		if err := m.rules.DropPort(old.link); err != nil {
			return err
		}
	}
	if err := m.rules.SetPort(l.port()); err != nil {
		return err
	}
	if port.Name == "" {
		return fault.New(fault.NotFound, "its link %s is gone", h.Link)
	}
	v.mu.Lock()
	index, ready := v.index, v.state == Ready
	v.mu.Unlock()
	if ready && (port.Master != index || !port.Up) {
		return m.links.SetMaster(h.Link, index)
	}
	return nil
}

// enter enters a lease that is so already. Only what Open found gives way; it is returned.
func (v *VPC) enter(l *lease) (old *lease, err error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if err := v.usableLocked(); err != nil {
		return nil, err
	}
	if old = v.leases[l.ip]; old != nil {
		if !old.found {
			return nil, fault.New(fault.AddrInUse, "it is in use by %s", old.who())
		}
		v.dropLocked(old)
	}
	if err := v.pool.Adopt(l.ip, l.who()); err != nil {
		return old, err
	}
	v.leases[l.ip] = l
	return old, nil
}

// dropFound ends the leases that Open found and nobody claimed.
func (m *Manager) dropFound() error {
	var errs []error
	for _, v := range m.List() {
		v.mu.Lock()
		var gone []string
		for _, l := range v.leases {
			if l.found {
				gone = append(gone, l.link)
			}
		}
		v.mu.Unlock()
		for _, name := range gone { // silent before the address is free
			errs = append(errs, m.rules.DropPort(name))
		}
		v.mu.Lock()
		for _, l := range v.leases {
			if l.found {
				v.dropLocked(l)
			}
		}
		v.mu.Unlock()
	}
	return errors.Join(errs...)
}

// sweepPorts removes those of the links, listed before now, that carry our mark and have no lease. A lease is
// older than its link, so none of a running Attach is among them.
func (m *Manager) sweepPorts(links []link.Link) {
	used := map[string]bool{}
	for _, v := range m.List() {
		v.mu.Lock()
		for _, l := range v.leases {
			used[l.link] = true
		}
		v.mu.Unlock()
	}
	var names []string
	for _, l := range links {
		if m.mark.IsPort(l.Name) && !used[l.Name] {
			names = append(names, l.Name)
		}
	}
	if len(names) > 0 {
		m.conf.Log.Info("links that no container has are removed", "links", strings.Join(names, " "))
		m.clear(names...)
	}
}

// Down removes everything of the instance from the kernel: links, then rules. The specs stay, and the next Open
// makes it all again. Nothing may be attached any more.
func (m *Manager) Down(ctx context.Context) error {
	for _, v := range m.List() { // from here on nobody repairs
		if err := v.lock(ctx); err != nil {
			return err
		}
		v.mu.Lock()
		v.leases = map[netip.Addr]*lease{}
		v.pool, v.state, v.index = nil, Defined, 0
		v.mu.Unlock()
		v.unlock()
	}
	m.work.Wait()
	links, err := m.links.Links()
	if err != nil {
		return fault.Wrap(err, "cannot remove networks")
	}
	var errs []error
	var ports []string
	for _, l := range links {
		if m.mark.IsPort(l.Name) {
			ports = append(ports, l.Name)
		}
	}
	errs = append(errs, m.links.DeletePorts(m.mark, ports))
	for _, l := range links {
		if m.mark.IsBridge(l.Name) {
			errs = append(errs, m.links.Delete(l.Name))
		}
	}
	errs = append(errs, m.rules.Teardown())
	return fault.Wrap(errors.Join(errs...), "cannot remove networks")
}
