package image

import (
	"context"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/containercloud/cc/fault"
)

// origin is where an image comes from: a registry or an OCI layout. What it gives is what the descriptor announced.
type origin struct {
	manifest func(v1.Descriptor) (raw []byte, served types.MediaType, err error)
	document func(v1.Descriptor) ([]byte, error)
	blob     func(v1.Descriptor) blobSource
}

// descend goes from a manifest or index to the manifest for a platform, and tells the index it was chosen from, if any.
func (o origin) descend(d v1.Descriptor, platform Platform) (raw []byte, index string, err error) {
	for range 3 {
		raw, served, err := o.manifest(d)
		if err != nil {
			return nil, "", err
		}
		kind, err := kindOf(raw, served)
		if err != nil {
			return nil, "", err
		}
		if kind.IsImage() {
			return raw, index, nil
		}
		if index == "" {
			index = digestOf(raw)
		}
		if d, err = choose(raw, platform); err != nil {
			return nil, "", err
		}
		if err := checkDescriptor(d); err != nil {
			return nil, "", err
		}
	}
	return nil, "", fault.New(fault.Invalid, "index refused: indexes in indexes")
}

// take brings in the image of a manifest.
func (s *Store) take(ctx context.Context, o origin, manifest []byte, names []refRecord, p *Progress) (*Image, error) {
	m, err := parseManifest(manifest)
	if err != nil {
		return nil, err
	}
	config, err := o.document(m.Config)
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
		list[i] = wanted{hexOf(l.DiffID), l.Size, o.blob(m.Layers[i])}
	}
	if err := s.fetchLayers(ctx, p, list); err != nil {
		return nil, err
	}
	return s.commit(ctx, p, draft{manifest: manifest, config: config, layers: layers, names: names})
}
