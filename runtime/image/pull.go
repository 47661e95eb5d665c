package image

import (
	"context"
	"runtime"
	"strings"

	"github.com/containercloud/cc/fault"
)

// PullOptions say how a registry is asked.
type PullOptions struct {
	Insecure bool   // http, or TLS with any certificate; registries on 127.0.0.0/8, ::1 and localhost need no asking
	Platform string // "linux/arm64"; empty: this host's
	Login    Login
}

func (o PullOptions) platform() (Platform, error) {
	if o.Platform == "" {
		return hostPlatform(), nil
	}
	return ParsePlatform(o.Platform)
}

func hostPlatform() Platform { return Platform{OS: "linux", Architecture: runtime.GOARCH} }

// Pull brings an image from its registry. The name is its own from then on, also when another image had it. Layers that are
// here already are not fetched; a pull that fails leaves no image, only bytes that the next one goes on from.
func (s *Store) Pull(ctx context.Context, ref string, o PullOptions, p *Progress) (img *Image, err error) {
	if p, err = s.begin("pull", ref, p); err != nil {
		return nil, err
	}
	defer func() { s.end(p, err) }()
	img, err = s.pull(ctx, ref, o, p)
	return img, fault.Wrap(err, "cannot pull %s", short(ref))
}

func (s *Store) pull(ctx context.Context, ref string, o PullOptions, p *Progress) (*Image, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	defer context.AfterFunc(s.ctx, func() { cancel(errAbandoned) })()
	r, err := parseRef(ref, o.Insecure)
	if err != nil {
		return nil, err
	}
	if !o.Insecure && isLoopback(r.ref.Context().RegistryStr()) {
		if r, err = parseRef(ref, true); err != nil { // lets the library try http
			return nil, err
		}
	}
	platform, err := o.platform()
	if err != nil {
		return nil, err
	}
	keys, err := o.Login.keychain()
	if err != nil {
		return nil, err
	}
	reg, err := connect(ctx, r.ref, o.Insecure, keys)
	if err != nil {
		return nil, err
	}
	defer reg.close()
	return s.pullFrom(ctx, reg, r, platform, p)
}

func (s *Store) pullFrom(ctx context.Context, reg *registry, r reference, platform Platform, p *Progress) (*Image, error) {
	raw, index, err := reg.resolve(ctx, platform)
	if err != nil {
		return nil, err
	}
	m, err := parseManifest(raw)
	if err != nil {
		return nil, err
	}
	config, err := reg.document(ctx, m.Config)
	if err != nil {
		return nil, err
	}
	c, err := parseConfig(config)
	if err != nil {
		return nil, err
	}
	layers, err := pair(m, c)
	if err != nil {
		return nil, err
	}
	defer s.pin(pins(layers)...)()
	list := make([]wanted, len(layers))
	for i, l := range layers {
		list[i] = wanted{hexOf(l.DiffID), l.Size, s.openBlob(reg, m.Layers[i])}
	}
	if err := s.fetchLayers(ctx, p, list); err != nil {
		return nil, err
	}
	return s.commit(ctx, p, draft{
		manifest: raw, config: config, layers: layers,
		names: []refRecord{{Given: r.given, Canonical: r.canonical, Index: index}},
	})
}

// resolve goes from the reference to the manifest for a platform, through indexes; every step is checked
// against the digest that led to it.
func (r *registry) resolve(ctx context.Context, platform Platform) (raw []byte, index string, err error) {
	what, size := r.ref.Identifier(), int64(-1)
	for range 3 {
		raw, served, err := r.manifest(ctx, what)
		if err != nil {
			return nil, "", err
		}
		if strings.HasPrefix(what, "sha256:") {
			if err := checkBytes(raw, what, size); err != nil {
				return nil, "", err
			}
		}
		kind, err := kindOf(raw, served)
		if err != nil {
			return nil, "", err
		}
		if kind.IsImage() {
			return raw, index, nil
		}
		d, err := choose(raw, platform)
		if err != nil {
			return nil, "", err
		}
		if err := checkDescriptor(d); err != nil {
			return nil, "", err
		}
		if index == "" {
			index = digestOf(raw)
		}
		what, size = d.Digest.String(), d.Size
	}
	return nil, "", fault.New(fault.Invalid, "index refused: indexes in indexes")
}
