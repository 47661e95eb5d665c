package link

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/base32"
	"net"
	"strings"
)

// Mark is what the names of one instance's links begin with:
//
//	cc-XXXXbYYYYYYY   bridge of a VPC: X from the instance, Y from the VPC's id
//	cc-XXXXvZZZZZZZ   host end of a veth: Z is random, because the last veth of an address may still be dying
//
// 15 characters, which is all that IFNAMSIZ leaves. X has 20 bits, Y and Z have 35.
type Mark string

var names = base32.NewEncoding("abcdefghijklmnopqrstuvwxyz234567").WithPadding(base32.NoPadding)

// MarkOf is the mark of a daemon's instance name.
func MarkOf(instance string) Mark {
	h := sha256.Sum256([]byte("instance\x00" + instance))
	return Mark("cc-" + names.EncodeToString(h[:])[:4])
}

// Bridge names the bridge of a VPC: the same at every start.
func (m Mark) Bridge(vpc string) string {
	h := sha256.Sum256([]byte("bridge\x00" + vpc))
	return m.BridgePrefix() + names.EncodeToString(h[:])[:7]
}

// Port makes a new name for the host end of a veth.
func (m Mark) Port() string {
	var b [5]byte
	rand.Read(b[:])
	return m.PortPrefix() + names.EncodeToString(b[:])[:7]
}

// BridgePrefix is what the names of all the instance's bridges, and no others, begin with.
func (m Mark) BridgePrefix() string { return string(m) + "b" }

// PortPrefix is what the names of all the instance's veths, and no others, begin with.
func (m Mark) PortPrefix() string { return string(m) + "v" }

// IsBridge reports whether a link is one of the instance's bridges.
func (m Mark) IsBridge(name string) bool { return strings.HasPrefix(name, m.BridgePrefix()) }

// IsPort reports whether a link is one of the instance's veths.
func (m Mark) IsPort(name string) bool { return strings.HasPrefix(name, m.PortPrefix()) }

// MAC makes a unicast address of the locally administered half (IEEE 802, 48 bits) that is always the same
// for the same words. Container addresses and bridges begin with 02, host ends of veths with 06: a bridge
// must never meet one address on two ports.
func MAC(words ...string) net.HardwareAddr {
	h := sha256.Sum256([]byte("mac\x00" + strings.Join(words, "\x00")))
	return net.HardwareAddr{0x02, h[0], h[1], h[2], h[3], h[4]}
}

func hostMAC(port string) net.HardwareAddr {
	m := MAC("port", port)
	m[0] = 0x06
	return m
}
