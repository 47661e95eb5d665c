// Package nft keeps the packet rules of an instance: one inet and one bridge table of nftables.
//
// The rules are the same for any number of VPCs and containers, which are elements of sets: to add one costs
// the same with 5,000 others (50 us); a rule for each would cost more with every one. Both tables carry the
// instance's name, and no other table is ever touched.
//
//	bridge table   senders4  port . MAC . IP     what a container may call itself
//	               isolated4 prefix              whose containers do not see each other
//	inet table     same      bridge . bridge     forwarding that stays within a VPC
//	               nets4 nat4 isolated4 prefix   VPCs; those with NAT; isolated ones
//
// Rules come before links: they match links by the instance's mark and drop what no set knows.
//
// Rejected: a chain per VPC and a rule per container, which is how docker does it and why its rules need a
// lock and grow slow; jumping to per-VPC chains by a verdict map, until a firewall gives them something to say.
package nft

import (
	"errors"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"syscall"

	"github.com/google/nftables"
	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"

	"github.com/containercloud/cc/fault"
	"github.com/containercloud/cc/net/link"
	"github.com/containercloud/cc/object"
)

// Table is an instance's rules. Its methods are safe for concurrent use.
type Table struct {
	log   *slog.Logger
	rules *ruleset
	port  uint32 // netlink port of conn: changes by it are ours

	mu       sync.Mutex
	conn     *nftables.Conn
	live     bool               // the kernel has the tables
	networks map[string]Network // by bridge
	ports    map[string]Port    // by name

	watch     *netlink.Conn
	watchDone chan struct{}
}

// Open connects to the kernel and changes nothing. Set must come next.
func Open(instance string, log *slog.Logger) (*Table, error) {
	t := &Table{
		log:      log,
		rules:    newRuleset(object.Mark(instance), link.MarkOf(instance)),
		networks: map[string]Network{},
		ports:    map[string]Port{},
	}
	var err error
	if t.conn, err = nftables.New(nftables.AsLasting(), nftables.WithSockOptions(t.tune)); err != nil {
		return nil, fault.Wrap(err, "cannot open nftables")
	}
	if err := t.startWatch(); err != nil {
		return nil, errors.Join(fault.Wrap(err, "cannot watch nftables"), t.conn.CloseLasting())
	}
	return t, nil
}

// tune makes room for a whole ruleset in one transaction and learns the socket's port.
func (t *Table) tune(c *netlink.Conn) error {
	_ = c.SetWriteBuffer(8 << 20) // without the right to, the system's limit stays
	_ = c.SetReadBuffer(4 << 20)
	raw, err := c.SyscallConn()
	if err != nil {
		return err
	}
	var name unix.Sockaddr
	if e := raw.Control(func(fd uintptr) { name, err = unix.Getsockname(int(fd)) }); e != nil {
		return e
	}
	if nl, ok := name.(*unix.SockaddrNetlink); ok {
		t.port = nl.Pid
	}
	return err
}

// Close ends the connection. The rules stay.
func (t *Table) Close() error {
	err := t.watch.Close()
	<-t.watchDone
	t.mu.Lock()
	defer t.mu.Unlock()
	return errors.Join(err, t.conn.CloseLasting())
}

// Ports lists the ports that the kernel's table has, which a daemon before this one may have put there.
func (t *Table) Ports() ([]Port, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	keys, err := t.elements(t.rules.senders)
	if isGone(err) {
		return nil, nil
	}
	byName := map[string]Port{}
	for _, e := range keys {
		p, err := parsePort(e.Key)
		if err != nil {
			continue // of an older layout: Set will replace the table
		}
		if old, ok := byName[p.Name]; ok {
			p.Addrs = append(old.Addrs, p.Addrs...)
		}
		byName[p.Name] = p
	}
	return slices.Collect(maps.Values(byName)), err
}

// Set makes the kernel have exactly these networks and ports. What is right already is left alone; what is
// not is replaced in one transaction, so there is no moment without rules. Without networks the tables go.
func (t *Table) Set(networks []Network, ports []Port) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	clear(t.networks)
	clear(t.ports)
	for _, n := range networks {
		t.networks[n.Bridge] = n
	}
	for _, p := range ports {
		t.ports[p.Name] = p
	}
	_, err := t.repairLocked()
	return err
}

// SetNetwork adds or changes a network.
func (t *Table) SetNetwork(n Network) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	old, had := t.networks[n.Bridge]
	t.networks[n.Bridge] = n
	if !t.live {
		return t.failLocked(t.rebuildLocked())
	}
	var gone []change
	if had {
		gone = t.rules.networkElements(old)
	}
	return t.failLocked(t.apply(gone, t.rules.networkElements(n)))
}

// DropNetwork removes a network; with the last one the tables go.
func (t *Table) DropNetwork(bridge string) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	old, had := t.networks[bridge]
	if !had {
		return nil
	}
	delete(t.networks, bridge)
	if len(t.networks) == 0 {
		clear(t.ports)
		return t.removeLocked()
	}
	return t.failLocked(t.apply(t.rules.networkElements(old), nil))
}

// SetPort lets a port send under its addresses. Call it before the link is made.
func (t *Table) SetPort(p Port) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	old, had := t.ports[p.Name]
	t.ports[p.Name] = p
	var gone []change
	if had {
		gone = t.rules.portElements(old)
	}
	return t.failLocked(t.apply(gone, t.rules.portElements(p)))
}

// DropPort silences a port. One that is not there is no error.
func (t *Table) DropPort(name string) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	old, had := t.ports[name]
	if !had {
		return nil
	}
	delete(t.ports, name)
	return t.failLocked(t.apply(t.rules.portElements(old), nil))
}

// Teardown removes the tables of the instance from the kernel, whoever made them.
func (t *Table) Teardown() error {
	t.mu.Lock()
	defer t.mu.Unlock()
	clear(t.networks)
	clear(t.ports)
	return t.removeLocked()
}

// failLocked answers a failed change of elements: somebody may have flushed the tables just before.
func (t *Table) failLocked(err error) error {
	if err == nil {
		return nil
	}
	if _, again := t.repairLocked(); again != nil {
		return fault.Wrap(errors.Join(err, again), "cannot set packet rules")
	}
	return nil
}

// ForeignDrops names the chains of others that drop forwarded packets by policy: docker's, a firewall's.
// Packets of VPCs to the outside die there unless the owner of the chain lets them pass.
func (t *Table) ForeignDrops() ([]string, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	chains, err := t.conn.ListChains()
	if err != nil {
		return nil, fault.Wrap(err, "cannot list chains")
	}
	var names []string
	for _, c := range chains {
		if c.Hooknum != nil && *c.Hooknum == *nftables.ChainHookForward && c.Policy != nil && *c.Policy == nftables.ChainPolicyDrop &&
			(c.Table.Family == nftables.TableFamilyIPv4 || c.Table.Family == nftables.TableFamilyINet) {
			names = append(names, c.Table.Name+" "+c.Name)
		}
	}
	slices.Sort(names)
	return names, nil
}

func isGone(err error) bool    { return errors.Is(err, syscall.ENOENT) }
func isOverrun(err error) bool { return errors.Is(err, syscall.ENOBUFS) }
