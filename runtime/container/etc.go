package container

import (
	"bufio"
	"bytes"
	"net/netip"
	"os"
	"strings"
)

// The three files below /etc that every container gets. They live in its record, so that a program's own
// changes to them stay until the next start, and are bound over whatever the image has there.

// hostsFile is /etc/hosts: the container's own names on its own address.
func hostsFile(hostname, name string, ip netip.Addr) []byte {
	var b bytes.Buffer
	b.WriteString("127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n")
	own := hostname
	if name != hostname {
		own += " " + name
	}
	if !ip.IsValid() {
		ip = netip.AddrFrom4([4]byte{127, 0, 1, 1})
	}
	b.WriteString(ip.String() + "\t" + own + "\n")
	return b.Bytes()
}

// resolvConf is the host's resolver configuration without what a container cannot reach: name servers on the
// host's loopback. Where only such are named it looks at systemd-resolved's upstream list.
func resolvConf() []byte {
	for _, file := range []string{"/etc/resolv.conf", "/run/systemd/resolve/resolv.conf"} {
		text, err := os.ReadFile(file)
		if err != nil {
			continue
		}
		if out, servers := reachable(text); servers > 0 {
			return out
		}
	}
	return []byte("# the host names no resolver that a container could reach\n")
}

func reachable(text []byte) (out []byte, servers int) {
	var b bytes.Buffer
	in := bufio.NewScanner(bytes.NewReader(text))
	for in.Scan() {
		w := strings.Fields(in.Text())
		if len(w) < 2 || strings.HasPrefix(w[0], "#") || strings.HasPrefix(w[0], ";") {
			continue
		}
		if w[0] == "nameserver" {
			a, err := netip.ParseAddr(w[1])
			if err != nil || a.IsLoopback() || a.IsUnspecified() || a.Zone() != "" {
				continue
			}
			servers++
		}
		b.WriteString(strings.Join(w, " ") + "\n")
	}
	return b.Bytes(), servers
}
