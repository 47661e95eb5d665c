package image

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"os"
	"path"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"golang.org/x/sys/unix"

	"github.com/containercloud/cc/fault"
)

// Load brings in every image of an OCI layout (a directory or its tar) or of a tar written by docker save; tars may
// be compressed. The path is opened with the daemon's rights: for another caller's path use OpenAs and LoadFrom.
func (s *Store) Load(ctx context.Context, path string, p *Progress) ([]*Image, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, fault.Wrap(err, "cannot load image")
	}
	defer f.Close()
	return s.LoadFrom(ctx, f, p)
}

// LoadFrom is Load from an open file or directory.
func (s *Store) LoadFrom(ctx context.Context, f *os.File, p *Progress) (list []*Image, err error) {
	if p, err = s.begin("load", f.Name(), p); err != nil {
		return nil, err
	}
	defer func() { s.end(p, err) }()
	list, err = s.load1(ctx, f, p)
	return list, fault.Wrap(err, "cannot load %s", short(f.Name()))
}

func (s *Store) load1(ctx context.Context, f *os.File, p *Progress) ([]*Image, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(s.ctx, cancel)()
	a, done, err := s.openArchive(ctx, f, p)
	if err != nil {
		return nil, err
	}
	defer done()
	raw, err := document(a, "index.json", maxManifest)
	if err == nil {
		return s.loadLayout(ctx, a, raw, p)
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	raw, err = document(a, "manifest.json", maxManifest)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fault.New(fault.Invalid, "neither an OCI layout nor a docker archive").WithHint("a root file system is taken by cc image import")
	}
	if err != nil {
		return nil, err
	}
	return s.loadDocker(ctx, a, raw, p)
}

// Annotations that carry an image's name in an index.json.
const (
	containerdName = "io.containerd.image.name"
	ociRefName     = "org.opencontainers.image.ref.name"
)

// loadLayout takes the images that an index.json lists.
func (s *Store) loadLayout(ctx context.Context, a archive, raw []byte, p *Progress) ([]*Image, error) {
	idx, err := v1.ParseIndexManifest(bytes.NewReader(raw))
	if err != nil {
		return nil, fault.New(fault.Invalid, "index refused: %w", err)
	}
	o := layoutOrigin(a)
	var list []*Image
	for _, d := range idx.Manifests {
		if d.Platform != nil && d.Platform.OS == "unknown" || !d.MediaType.IsImage() && !d.MediaType.IsIndex() {
			continue
		}
		if err := checkDescriptor(d); err != nil {
			return list, err
		}
		manifest, index, err := o.descend(d, hostPlatform())
		if err != nil {
			return list, err
		}
		img, err := s.take(ctx, o, manifest, layoutName(d, index), p)
		if err != nil {
			return list, err
		}
		list = append(list, img)
	}
	if len(list) == 0 {
		return nil, fault.New(fault.NotFound, "no image in it")
	}
	return list, nil
}

func blobName(d v1.Hash) string { return path.Join("blobs", d.Algorithm, d.Hex) }

func layoutOrigin(a archive) origin {
	get := func(d v1.Descriptor, max int64) ([]byte, error) {
		raw, err := document(a, blobName(d.Digest), max)
		if err != nil {
			return nil, err
		}
		return raw, checkBytes(raw, d.Digest.String(), d.Size)
	}
	return origin{
		manifest: func(d v1.Descriptor) ([]byte, types.MediaType, error) {
			raw, err := get(d, maxManifest)
			return raw, d.MediaType, err
		},
		document: func(d v1.Descriptor) ([]byte, error) { return get(d, maxConfig) },
		blob:     func(d v1.Descriptor) blobSource { return fileBlob(a, blobName(d.Digest), d) },
	}
}

// layoutName picks an image's name out of its annotations. A bare tag, as buildah writes, names nothing.
func layoutName(d v1.Descriptor, index string) []refRecord {
	given := d.Annotations[containerdName]
	if n := d.Annotations[ociRefName]; given == "" && strings.ContainsAny(n, "/:") {
		given = n
	}
	r, err := parseRef(given, false)
	if given == "" || err != nil || r.digest() {
		return nil
	}
	return []refRecord{{Given: given, Canonical: r.canonical, Index: index}}
}

// dockerEntry is one image of a docker archive's manifest.json.
type dockerEntry struct {
	Config   string
	RepoTags []string
	Layers   []string
}

// loadDocker takes the images of a docker archive. They have no manifests of their own.
func (s *Store) loadDocker(ctx context.Context, a archive, raw []byte, p *Progress) ([]*Image, error) {
	var entries []dockerEntry
	if err := json.Unmarshal(raw, &entries); err != nil {
		return nil, fault.New(fault.Invalid, "manifest.json refused: %w", err)
	}
	var list []*Image
	for _, e := range entries {
		img, err := s.loadEntry(ctx, a, e, p)
		if err != nil {
			return list, err
		}
		list = append(list, img)
	}
	if len(list) == 0 {
		return nil, fault.New(fault.NotFound, "no image in it")
	}
	return list, nil
}

func (s *Store) loadEntry(ctx context.Context, a archive, e dockerEntry, p *Progress) (*Image, error) {
	config, err := document(a, e.Config, maxConfig)
	if err != nil {
		return nil, err
	}
	c, err := parseConfig(config)
	if err != nil {
		return nil, err
	}
	if len(e.Layers) != len(c.RootFS.DiffIDs) {
		return nil, fault.New(fault.Invalid, "image refused: %d layers, but %d diffIDs", len(e.Layers), len(c.RootFS.DiffIDs))
	}
	layers := make([]Layer, len(e.Layers))
	list := make([]wanted, len(e.Layers))
	for i, name := range e.Layers {
		id := c.RootFS.DiffIDs[i]
		layers[i] = Layer{DiffID: id.String()}
		r, size, err := a.open(name)
		if err != nil {
			return nil, err
		}
		r.Close()
		list[i] = wanted{id.Hex, size, plainBlob(a, name)}
	}
	defer s.pin(pins(layers)...)()
	if err := s.fetchLayers(ctx, p, list); err != nil {
		return nil, err
	}
	manifest, err := s.describe(config, layers)
	if err != nil {
		return nil, err
	}
	return s.commit(ctx, p, draft{manifest: manifest, config: config, layers: layers, names: dockerNames(e.RepoTags)})
}

// plainBlob is a layer of which only the diffID is known, which unpacking checks.
func plainBlob(a archive, name string) blobSource {
	return func(_ context.Context, count func(int)) (io.ReadCloser, error) {
		r, _, err := a.open(name)
		if err != nil {
			return nil, err
		}
		return &counted{r, count}, nil
	}
}

func dockerNames(tags []string) (list []refRecord) {
	for _, t := range tags {
		if r, err := parseRef(t, false); err == nil && !r.digest() {
			list = append(list, refRecord{Given: t, Canonical: r.canonical})
		}
	}
	return list
}
