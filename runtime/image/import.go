package image

import (
	"bytes"
	"context"
	"io"
	"runtime"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/containercloud/cc/fault"
)

// Import makes an image of one layer from the tar of a root file system (plain, gzip or zstd). Its config
// is empty but for the command sh, and the same tar always gives the same digest.
func (s *Store) Import(ctx context.Context, tar io.Reader, name string, p *Progress) (img *Image, err error) {
	if p, err = s.begin("import", name, p); err != nil {
		return nil, err
	}
	defer func() { s.end(p, err) }()
	r, err := parseRef(name, false)
	if err == nil && r.digest() {
		err = fault.New(fault.Invalid, "a digest is not a name")
	}
	if err == nil {
		img, err = s.importAs(ctx, tar, rootfsConfig(nil, "sh"), []refRecord{{Given: name, Canonical: r.canonical}}, p)
	}
	return img, fault.Wrap(err, "cannot import %s", short(name))
}

func rootfsConfig(env []string, cmd ...string) v1.ConfigFile {
	return v1.ConfigFile{OS: "linux", Architecture: runtime.GOARCH, Config: v1.Config{Cmd: cmd, Env: env}}
}

func (s *Store) importAs(ctx context.Context, tar io.Reader, c v1.ConfigFile, names []refRecord, p *Progress) (*Image, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(s.ctx, cancel)()
	abort := func() { closeReader(tar) }
	defer context.AfterFunc(ctx, abort)()
	p.expect(1, 0)
	p.enter(Fetching)
	in := &counting{r: tar, p: p}
	diffID, err := s.unpackLayer(ctx, &cancelled{ctx, in}, "", abort)
	if err != nil && ctx.Err() != nil {
		err = ctx.Err() // reading what was closed for it fails in other words
	}
	if err != nil {
		return nil, err
	}
	defer s.unpin("layer/" + diffID)
	p.finished.Add(1)
	layers := []Layer{{DiffID: "sha256:" + diffID}}
	manifest, config, err := s.synthesize(c, layers)
	if err != nil {
		return nil, err
	}
	defer s.pin(pins(layers)...)()
	return s.commit(ctx, p, draft{manifest: manifest, config: config, layers: layers, names: names})
}

// closeReader unblocks a reader that can be closed.
func closeReader(r io.Reader) {
	if c, ok := r.(io.Closer); ok {
		c.Close()
	}
}

type counting struct {
	r io.Reader
	p *Progress
}

func (c *counting) Read(b []byte) (int, error) {
	n, err := c.r.Read(b)
	c.p.bytes.Add(int64(n))
	return n, err
}

type cancelled struct {
	ctx context.Context
	r   io.Reader
}

func (c *cancelled) Read(b []byte) (int, error) {
	if err := c.ctx.Err(); err != nil {
		return 0, err
	}
	return c.r.Read(b)
}

// synthesize writes the documents of an image that came without a manifest. Its layers are described as what they
// are known by here: plain tars with the diffID as digest.
func (s *Store) synthesize(c v1.ConfigFile, layers []Layer) (manifest, config []byte, err error) {
	c.RootFS = v1.RootFS{Type: "layers"}
	for _, l := range layers {
		c.RootFS.DiffIDs = append(c.RootFS.DiffIDs, v1.Hash{Algorithm: "sha256", Hex: hexOf(l.DiffID)})
	}
	config = encode(c)
	manifest, err = s.describe(config, layers)
	return manifest, config, err
}

func (s *Store) describe(config []byte, layers []Layer) ([]byte, error) {
	h, size, err := v1.SHA256(bytes.NewReader(config))
	if err != nil {
		return nil, err
	}
	m := v1.Manifest{
		SchemaVersion: 2, MediaType: types.OCIManifestSchema1,
		Config: v1.Descriptor{MediaType: types.OCIConfigJSON, Digest: h, Size: size},
		Layers: []v1.Descriptor{},
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for i := range layers {
		l := &layers[i]
		if r := s.layers[hexOf(l.DiffID)]; r != nil {
			l.Size = r.Tar
		}
		l.Digest = l.DiffID
		m.Layers = append(m.Layers, v1.Descriptor{
			MediaType: types.OCIUncompressedLayer, Size: l.Size,
			Digest: v1.Hash{Algorithm: "sha256", Hex: hexOf(l.DiffID)},
		})
	}
	return encode(m), nil
}
