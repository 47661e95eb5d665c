package image

import (
	"context"
	"runtime"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"

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
	from := s.registryOrigin(ctx, reg)
	manifest, index, err := from.descend(v1.Descriptor{Size: -1}, platform)
	if err != nil {
		return nil, err
	}
	return s.take(ctx, from, manifest, []refRecord{{Given: r.given, Canonical: r.canonical, Index: index}}, p)
}

// registryOrigin is where the reference of reg leads to: a descriptor without a digest stands for the reference itself.
func (s *Store) registryOrigin(ctx context.Context, reg *registry) origin {
	return origin{
		manifest: func(d v1.Descriptor) ([]byte, types.MediaType, error) {
			what := reg.ref.Identifier()
			if d.Digest.Hex != "" {
				what = d.Digest.String()
			}
			raw, served, err := reg.manifest(ctx, what)
			if err == nil && strings.HasPrefix(what, "sha256:") {
				err = checkBytes(raw, what, d.Size)
			}
			return raw, served, err
		},
		document: func(d v1.Descriptor) ([]byte, error) { return reg.document(ctx, d) },
		blob:     func(d v1.Descriptor) blobSource { return s.openBlob(reg, d) },
	}
}
