package image

import (
	"context"
	"crypto/tls"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"syscall"
	"time"

	"github.com/containercloud/cc/fault"
)

// guard is the only way out of this package to the network. The registry that the user named is reached as they
// said; where a registry sends us (redirects to its storage, its token server) we go with less trust: not to
// addresses that mean something only on this host or link, and not without TLS.
type guard struct {
	host     string // "registry:5000", as in URLs
	loopback bool   // the registry is on this host: http and any certificate will do, as for docker
	insecure bool   // the caller asked for it: http and any certificate will do
	home     *http.Transport
	away     *http.Transport
}

func newGuard(host string, insecure bool) *guard {
	g := &guard{host: host, loopback: isLoopback(host), insecure: insecure}
	g.home = g.transport(insecure || g.loopback, checkHome)
	g.away = g.transport(insecure, g.checkAway)
	return g
}

func (g *guard) transport(anyCert bool, check func(netip.Addr) error) *http.Transport {
	return &http.Transport{
		Proxy:                  http.ProxyFromEnvironment,
		DialContext:            dialer(check),
		TLSClientConfig:        &tls.Config{InsecureSkipVerify: anyCert},
		TLSHandshakeTimeout:    15 * time.Second,
		ResponseHeaderTimeout:  time.Minute,
		MaxResponseHeaderBytes: 256 << 10,
		ForceAttemptHTTP2:      true,
		DisableCompression:     true,
		MaxIdleConnsPerHost:    8,
		IdleConnTimeout:        30 * time.Second,
		ReadBufferSize:         64 << 10,
	}
}

func (g *guard) close() {
	g.home.CloseIdleConnections()
	g.away.CloseIdleConnections()
}

// isLoopback tells whether a registry's host is this host: localhost, *.localhost, 127.0.0.0/8 or ::1.
func isLoopback(host string) bool {
	h := hostname(host)
	if h == "localhost" || strings.HasSuffix(h, ".localhost") {
		return true
	}
	a, err := netip.ParseAddr(h)
	return err == nil && a.Unmap().IsLoopback()
}

func hostname(host string) string {
	u := url.URL{Host: host}
	return u.Hostname()
}

type proxied struct{}

func dialer(check func(netip.Addr) error) func(context.Context, string, string) (net.Conn, error) {
	return func(ctx context.Context, network, addr string) (net.Conn, error) {
		d := net.Dialer{Timeout: 30 * time.Second, KeepAlive: 30 * time.Second}
		if p, _ := ctx.Value(proxied{}).(*url.URL); p == nil { // a proxy may well be on this host
			d.Control = func(_, address string, _ syscall.RawConn) error {
				ap, err := netip.ParseAddrPort(address)
				if err != nil {
					return err
				}
				return check(ap.Addr().Unmap())
			}
		}
		return d.DialContext(ctx, network, addr)
	}
}

// checkHome keeps even a named registry off the metadata service of a cloud host.
func checkHome(a netip.Addr) error {
	if a.IsLinkLocalUnicast() || a.IsMulticast() || a.IsUnspecified() {
		return fault.New(fault.Denied, "no registry is looked for at %s", a)
	}
	return nil
}

func (g *guard) checkAway(a netip.Addr) error {
	if a.IsLoopback() && !g.loopback {
		return fault.New(fault.Denied, "registry %s sends us to this host (%s)", g.host, a)
	}
	return checkHome(a)
}

func (g *guard) RoundTrip(r *http.Request) (*http.Response, error) {
	t := g.home
	away := r.URL.Host != g.host
	if away {
		t = g.away
	}
	switch r.URL.Scheme {
	case "https":
	case "http":
		if !g.insecure && !(g.loopback && (!away || isLoopback(r.URL.Host))) {
			return nil, fault.New(fault.Denied, "%s offers no TLS", r.URL.Host).WithHint("ask with insecure=on, if you trust the network between")
		}
	default:
		return nil, fault.New(fault.Denied, "registry %s sends us to a %q address", g.host, short(r.URL.Scheme))
	}
	if p, _ := t.Proxy(r); p != nil {
		r = r.WithContext(context.WithValue(r.Context(), proxied{}, p))
	}
	return t.RoundTrip(r)
}
