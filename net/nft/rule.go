package nft

import (
	"encoding/binary"
	"fmt"
	"net"
	"strings"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"
)

// part is one statement of a rule: as nft(8) writes it and as the kernel takes it. Rules are put together
// from parts, so that the text that people and golden files see cannot say another thing than the kernel does.
type part struct {
	text  string
	exprs []expr.Any
}

// rule is a line of a chain.
type rule []part

func (r rule) String() string {
	words := make([]string, len(r))
	for i, p := range r {
		words[i] = p.text
	}
	return strings.Join(words, " ")
}

func (r rule) exprs() (list []expr.Any) {
	for _, p := range r {
		list = append(list, p.exprs...)
	}
	return list
}

// Registers hold 16 bytes each, or four times 4 bytes under names of their own: reg2mid is the third quarter
// of reg2. The parts of a concatenation lie one behind the other (linux/netfilter/nf_tables.h, enum nft_registers).
const (
	reg1    = unix.NFT_REG_1
	reg2    = unix.NFT_REG_2
	reg2mid = unix.NFT_REG32_06
)

func cmp(op expr.CmpOp, data []byte) *expr.Cmp { return &expr.Cmp{Op: op, Register: reg1, Data: data} }

func meta(key expr.MetaKey) *expr.Meta { return &expr.Meta{Key: key, Register: reg1} }

// load reads a header field into reg1.
func load(base expr.PayloadBase, offset, size uint32) *expr.Payload {
	return &expr.Payload{DestRegister: reg1, Base: base, Offset: offset, Len: size}
}

const (
	linkHeader      = expr.PayloadBaseLLHeader
	networkHeader   = expr.PayloadBaseNetworkHeader
	transportHeader = expr.PayloadBaseTransportHeader
)

// from and to match links by the beginning of their names.
func from(prefix string) part { return ifname("iifname", expr.MetaKeyIIFNAME, expr.CmpOpEq, prefix) }
func to(prefix string) part   { return ifname("oifname", expr.MetaKeyOIFNAME, expr.CmpOpEq, prefix) }
func notTo(prefix string) part {
	return ifname("oifname !=", expr.MetaKeyOIFNAME, expr.CmpOpNeq, prefix)
}

func ifname(word string, key expr.MetaKey, op expr.CmpOp, prefix string) part {
	return part{fmt.Sprintf("%s %q", word, prefix+"*"), []expr.Any{meta(key), cmp(op, []byte(prefix))}}
}

func ctState(word string, bits uint32) part {
	return part{"ct state " + word, []expr.Any{
		&expr.Ct{Key: expr.CtKeySTATE, Register: reg1},
		&expr.Bitwise{SourceRegister: reg1, DestRegister: reg1, Len: 4, Mask: native(bits), Xor: native(0)},
		cmp(expr.CmpOpNeq, native(0)),
	}}
}

func native(v uint32) []byte { return binary.NativeEndian.AppendUint32(nil, v) }

func established() part {
	return ctState("established,related", expr.CtStateBitESTABLISHED|expr.CtStateBitRELATED)
}

func invalid() part { return ctState("invalid", expr.CtStateBitINVALID) }

func etherType(name string, v uint16) part {
	return part{"ether type " + name, []expr.Any{load(linkHeader, 12, 2), cmp(expr.CmpOpEq, be16(v))}}
}

func be16(v uint16) []byte { return binary.BigEndian.AppendUint16(nil, v) }

// etherDst matches the destination under a mask.
func etherDst(addr, mask net.HardwareAddr) part {
	return part{fmt.Sprintf("ether daddr & %s == %s", mask, addr), []expr.Any{
		load(linkHeader, 0, 6),
		&expr.Bitwise{SourceRegister: reg1, DestRegister: reg1, Len: 6, Mask: mask, Xor: make([]byte, 6)},
		cmp(expr.CmpOpEq, addr),
	}}
}

// arpIPv4 matches ARP of IPv4 over Ethernet (RFC 826): the only one whose addresses lie where arpSender reads them.
func arpIPv4() part {
	return part{"arp htype 1 arp ptype ip arp hlen 6 arp plen 4", []expr.Any{
		load(networkHeader, 0, 6), cmp(expr.CmpOpEq, []byte{0, 1, 8, 0, 6, 4}),
	}}
}

func protocol(family string, v byte) part {
	return part{"meta nfproto " + family, []expr.Any{meta(expr.MetaKeyNFPROTO), cmp(expr.CmpOpEq, []byte{v})}}
}

func udpFrom(port uint16) part {
	return part{fmt.Sprintf("udp sport %d", port), []expr.Any{
		meta(expr.MetaKeyL4PROTO), cmp(expr.CmpOpEq, []byte{unix.IPPROTO_UDP}),
		load(transportHeader, 0, 2), cmp(expr.CmpOpEq, be16(port)),
	}}
}

// Offsets of addresses: RFC 791, RFC 826.
func ipSrc() *expr.Payload     { return load(networkHeader, 12, 4) }
func ipDst() *expr.Payload     { return load(networkHeader, 16, 4) }
func arpSender() *expr.Payload { return load(networkHeader, 14, 4) }

// ipDstIn matches a /16 by its first two bytes.
func ipDstIn16(text string, a, b byte) part {
	return part{"ip daddr " + text, []expr.Any{load(networkHeader, 16, 2), cmp(expr.CmpOpEq, []byte{a, b})}}
}

// ip guards the parts that read IPv4 addresses in a table of several families.
func ip() part { return protocol("ipv4", unix.NFPROTO_IPV4) }

func in(field string, what *expr.Payload, set *nftables.Set) part {
	return part{field + " @" + set.Name, []expr.Any{what, lookup(set)}}
}

func lookup(set *nftables.Set) *expr.Lookup {
	return &expr.Lookup{SourceRegister: reg1, SetName: set.Name, SetID: set.ID}
}

// links looks up both link names of a forwarded packet.
func links(set *nftables.Set) part {
	return part{"iifname . oifname @" + set.Name, []expr.Any{
		meta(expr.MetaKeyIIFNAME), &expr.Meta{Key: expr.MetaKeyOIFNAME, Register: reg2}, lookup(set),
	}}
}

// sender looks up port, MAC and IP address of a frame's sender.
func sender(macField string, mac *expr.Payload, addrField string, addr *expr.Payload, set *nftables.Set) part {
	m, a := *mac, *addr
	m.DestRegister, a.DestRegister = reg2, reg2mid
	return part{fmt.Sprintf("iifname . %s . %s @%s", macField, addrField, set.Name),
		[]expr.Any{meta(expr.MetaKeyIIFNAME), &m, &a, lookup(set)}}
}

func verdict(text string, kind expr.VerdictKind, chain string) part {
	return part{strings.TrimSpace(text + " " + chain), []expr.Any{&expr.Verdict{Kind: kind, Chain: chain}}}
}

func accept() part           { return verdict("accept", expr.VerdictAccept, "") }
func drop() part             { return verdict("drop", expr.VerdictDrop, "") }
func jump(chain string) part { return verdict("jump", expr.VerdictJump, chain) }
func goTo(chain string) part { return verdict("goto", expr.VerdictGoto, chain) }
func masquerade() part       { return part{"masquerade", []expr.Any{&expr.Masq{}}} }
func mac(s string) net.HardwareAddr {
	m, err := net.ParseMAC(s)
	if err != nil {
		panic(err) // a constant of this package
	}
	return m
}
