package container

import (
	"context"
	"net/netip"
	"os"

	"github.com/containercloud/cc/fault"
	"github.com/containercloud/cc/net/vpc"
	"github.com/containercloud/cc/object"
	"github.com/containercloud/cc/runtime/boot"
	"github.com/containercloud/cc/runtime/cgroup"
	"github.com/containercloud/cc/runtime/keeper"
)

// part is a slot with what belongs to it: cgroup, network, namespaces.
type part struct {
	key   slotKey
	name  string // of the cgroup
	id    string // at the keeper, before it is a container's
	slot  *boot.Slot
	start uint64 // of its process, as keeper.StartTime
	group *cgroup.Group
	att   *vpc.Attachment
	netns *os.File
	mntns *os.File
}

// partOptions are what only a certain container wants of its slot.
type partOptions struct {
	ip     netip.Addr // must have
	prefer netip.Addr // would like
	owner  string     // the container's id; "" for a warm part
	name   string     // the container's, for what is reserved for it
	caps   []string   // nil: the default set
}

// newPart makes a slot. On failure nothing is left of it.
func (m *Manager) newPart(ctx context.Context, key slotKey, o partOptions) (_ *part, err error) {
	name := string(object.NewID())
	p := &part{key: key, name: name, id: "slot/" + name}
	defer func() {
		if err != nil {
			m.closePart(p)
		}
	}()
	if p.group, err = m.conf.Cgroups.Create(name); err != nil {
		return nil, fault.Wrap(err, "cannot make a cgroup")
	}
	if err = p.group.Set(limits(Default())); err != nil { // what is usual is set in advance
		return nil, err
	}
	in, err := p.group.Birth()
	if err != nil {
		return nil, err
	}
	defer in.Close()
	opts := boot.SlotOptions{ID: p.id, IDs: m.idsOf(key.host), Capabilities: o.caps, CgroupFD: in.FD(), Tasks: in.Tasks}
	if p.slot, err = boot.NewSlot(ctx, m.conf.Keeper, opts); err != nil {
		return nil, err
	}
	if key.vpc != "" {
		if err = m.connect(ctx, p, key.vpc, o); err != nil {
			return nil, err
		}
	}
	// Held open, the end of the mounts is not in the way of the program's exit.
	if p.mntns, err = p.slot.MountNS(); err != nil {
		return nil, err
	}
	p.start, err = keeper.StartTime(p.slot.PID())
	return p, err
}

// connect attaches a part to a VPC, at the address it must or would like to have.
func (m *Manager) connect(ctx context.Context, p *part, network string, o partOptions) (err error) {
	if m.conf.Networks == nil {
		return fault.New(fault.Unsupported, "there are no networks on this host")
	}
	if p.netns == nil {
		if p.netns, err = p.slot.NetNS(); err != nil {
			return err
		}
	}
	p.key.vpc = network
	want := vpc.AttachOptions{IP: o.ip, Owner: o.owner, Name: o.name}
	if !want.IP.IsValid() && o.prefer.IsValid() {
		want.IP = o.prefer
		if p.att, err = m.conf.Networks.Attach(ctx, network, p.netns, want); err == nil {
			return m.assign(ctx, p, o)
		}
		want.IP = netip.Addr{} // taken meanwhile, or of another network now
	}
	if p.att, err = m.conf.Networks.Attach(ctx, network, p.netns, want); err != nil {
		return err
	}
	return m.assign(ctx, p, o)
}

// assign tells the network whose an address is now; a warm part's is nobody's.
func (m *Manager) assign(ctx context.Context, p *part, o partOptions) error {
	if o.owner == "" {
		return nil
	}
	return m.conf.Networks.Assign(ctx, p.att, object.ID(o.owner), o.name)
}

// closePart takes a part apart that became no container.
func (m *Manager) closePart(p *part) {
	if p.slot != nil {
		if err := p.slot.Close(); err != nil {
			m.log.Debug("a slot did not close well", "id", p.id, "error", err)
		}
	}
	// In the background: kernel objects take their time to go.
	m.janitor.later(func() {
		m.giveBack(p.att)
		closeAll(p.netns, p.mntns)
		m.deleteGroup(p.group)
	})
}
