package nft

import (
	"fmt"
	"strings"

	"github.com/google/nftables"
	"golang.org/x/sys/unix"

	"github.com/containercloud/cc/net/link"
)

// chain is one chain of a table; hook is "" for one that others jump to.
type chain struct {
	name     string
	hook     string
	num      *nftables.ChainHook
	priority nftables.ChainPriority
	typ      nftables.ChainType
	rules    []rule
}

// ruleset is all that never changes while an instance runs: what comes and goes are elements of its sets.
type ruleset struct {
	inet, bridge             *nftables.Table
	same, nets, nat          *nftables.Set // inet
	isolated, isolatedFrames *nftables.Set // inet and bridge
	senders                  *nftables.Set // bridge
	inetChains, bridgeChains []chain
}

// Priorities. Ours are a little before "filter" (0), so that a frame or packet that may not be is gone before
// other people's rules count or log it; a drop is final whatever others say, and an accept binds nobody else.
const (
	prioFilter  nftables.ChainPriority = -10
	prioSrcNAT  nftables.ChainPriority = 100  // NF_IP_PRI_NAT_SRC
	prioFrames  nftables.ChainPriority = -300 // before the bridge's own NAT (NF_BR_PRI_NAT_DST_BRIDGED) and br_netfilter (0)
	prioForward nftables.ChainPriority = -200 // NF_BR_PRI_FILTER_BRIDGED
)

var (
	keyPort  = nftables.MustConcatSetType(nftables.TypeIFName, nftables.TypeEtherAddr, nftables.TypeIPAddr)
	keyLinks = nftables.MustConcatSetType(nftables.TypeIFName, nftables.TypeIFName)
)

// newRuleset is the pure part: from a name and a mark to tables, sets, chains and rules.
func newRuleset(table string, mark link.Mark) *ruleset {
	r := &ruleset{
		inet:   &nftables.Table{Name: table, Family: nftables.TableFamilyINet},
		bridge: &nftables.Table{Name: table, Family: nftables.TableFamilyBridge},
	}
	r.same = &nftables.Set{Table: r.inet, ID: 1, Name: "same", KeyType: keyLinks, Concatenation: true}
	r.nets = prefixes(r.inet, 2, "nets4")
	r.nat = prefixes(r.inet, 3, "nat4")
	r.isolated = prefixes(r.inet, 4, "isolated4")
	r.senders = &nftables.Set{Table: r.bridge, ID: 5, Name: "senders4", KeyType: keyPort, Concatenation: true}
	r.isolatedFrames = prefixes(r.bridge, 6, "isolated4")
	r.inetChains = r.packets(mark.BridgePrefix())
	r.bridgeChains = r.frames(mark.PortPrefix())
	return r
}

func prefixes(t *nftables.Table, id uint32, name string) *nftables.Set {
	return &nftables.Set{Table: t, ID: id, Name: name, KeyType: nftables.TypeIPAddr, Interval: true}
}

// packets is the inet table: what the host's own stack does for the bridges, whose names begin with br.
func (r *ruleset) packets(br string) []chain {
	return []chain{
		// Containers do not reach the host, whatever address of it they use; it reaches them.
		{name: "input", hook: "input", num: nftables.ChainHookInput, priority: prioFilter, typ: nftables.ChainTypeFilter, rules: []rule{
			{from(br), established(), accept()},
			{from(br), drop()},
		}},
		{name: "forward", hook: "forward", num: nftables.ChainHookForward, priority: prioFilter, typ: nftables.ChainTypeFilter, rules: []rule{
			{from(br), jump("leave")},
			{to(br), jump("enter")},
		}},
		{name: "postrouting", hook: "postrouting", num: nftables.ChainHookPostrouting, priority: prioSrcNAT, typ: nftables.ChainTypeNAT, rules: []rule{
			{from(br), notTo(br), ip(), in("ip saddr", ipSrc(), r.nat), masquerade()},
		}},
		// From a VPC. Packets that stay on their bridge come here with br_netfilter, or by way of the gateway.
		{name: "leave", rules: []rule{
			{links(r.same), goTo("within")},
			{to(br), drop()},
			{protocol("ipv6", unix.NFPROTO_IPV6), drop()},
			{ip(), ipDstIn16("169.254.0.0/16", 169, 254), drop()},
			{ip(), in("ip daddr", ipDst(), r.nets), drop()}, // a VPC whose bridge is not there: never to the default route
			{invalid(), drop()},                             // NAT does not translate it: it would leave with its own address
			{accept()},
		}},
		{name: "within", rules: []rule{
			{ip(), in("ip saddr", ipSrc(), r.isolated), drop()},
			{accept()},
		}},
		// Into a VPC from elsewhere.
		{name: "enter", rules: []rule{
			{established(), accept()},
			{drop()},
		}},
	}
}

// frames is the bridge table: what comes out of the containers, whose ports' names begin with port. A frame
// of a port that no set knows is dropped, so rules are in force before a link is up.
func (r *ruleset) frames(port string) []chain {
	ether, arpHW := load(linkHeader, 6, 6), load(networkHeader, 8, 6)
	return []chain{
		{name: "prerouting", hook: "prerouting", num: nftables.ChainHookPrerouting, priority: prioFrames, typ: nftables.ChainTypeFilter, rules: []rule{
			{from(port), jump("port")},
		}},
		// Frames to the bridge itself (IEEE 802.1D, 01:80:c2:00:00:0x) pass no prerouting, but it learns from them.
		{name: "input", hook: "input", num: nftables.ChainHookInput, priority: prioForward, typ: nftables.ChainTypeFilter, rules: []rule{
			{from(port), etherDst(mac("01:80:c2:00:00:00"), mac("ff:ff:ff:ff:ff:f0")), drop()},
		}},
		{name: "forward", hook: "forward", num: nftables.ChainHookForward, priority: prioForward, typ: nftables.ChainTypeFilter, rules: []rule{
			{from(port), etherType("ip", unix.ETH_P_IP), in("ip saddr", ipSrc(), r.isolatedFrames), drop()},
			{from(port), etherType("arp", unix.ETH_P_ARP), in("arp saddr ip", arpSender(), r.isolatedFrames), drop()},
		}},
		{name: "port", rules: []rule{
			{etherType("ip", unix.ETH_P_IP), sender("ether saddr", ether, "ip saddr", ipSrc(), r.senders), goTo("packet")},
			{etherType("arp", unix.ETH_P_ARP), arpIPv4(),
				sender("ether saddr", ether, "arp saddr ip", arpSender(), r.senders),
				sender("arp saddr ether", arpHW, "arp saddr ip", arpSender(), r.senders), accept()},
			{drop()}, // IPv6, VLAN tags, and whatever else claims things that nobody checked
		}},
		{name: "packet", rules: []rule{
			{udpFrom(67), drop()}, // nobody but us says who has which address
			{accept()},
		}},
	}
}

// String is the ruleset as nft(8) would write it, without elements.
func (r *ruleset) String() string {
	var b strings.Builder
	r.table(&b, "inet", r.inet, []*nftables.Set{r.same, r.nets, r.nat, r.isolated}, r.inetChains)
	r.table(&b, "bridge", r.bridge, []*nftables.Set{r.senders, r.isolatedFrames}, r.bridgeChains)
	return b.String()
}

func (r *ruleset) table(b *strings.Builder, family string, t *nftables.Table, sets []*nftables.Set, chains []chain) {
	fmt.Fprintf(b, "table %s %s {\n", family, t.Name)
	for _, s := range sets {
		fmt.Fprintf(b, "\tset %s {\n\t\ttype %s\n", s.Name, s.KeyType.Name)
		if s.Interval {
			b.WriteString("\t\tflags interval\n")
		}
		b.WriteString("\t}\n\n")
	}
	for i, c := range chains {
		if i > 0 {
			b.WriteString("\n")
		}
		fmt.Fprintf(b, "\tchain %s {\n", c.name)
		if c.hook != "" {
			fmt.Fprintf(b, "\t\ttype %s hook %s priority %d; policy accept;\n", c.typ, c.hook, c.priority)
		}
		for _, l := range c.rules {
			fmt.Fprintf(b, "\t\t%s\n", l)
		}
		b.WriteString("\t}\n")
	}
	b.WriteString("}\n")
}
