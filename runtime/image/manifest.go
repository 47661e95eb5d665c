package image

import (
	"bytes"
	"encoding/json"
	"io"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/containercloud/cc/fault"
)

// Sizes of documents that are held in memory.
const (
	maxManifest = 4 << 20 // what registries accept
	maxConfig   = 8 << 20
)

// Platform is what an image must be made for.
type Platform struct{ OS, Architecture, Variant string }

func (p Platform) String() string {
	return strings.TrimSuffix(p.OS+"/"+p.Architecture+"/"+p.Variant, "/")
}

// ParsePlatform reads "linux/arm64" or "linux/arm/v7".
func ParsePlatform(s string) (Platform, error) {
	part := strings.Split(s, "/")
	if len(part) < 2 || len(part) > 3 || part[0] != "linux" || part[1] == "" {
		return Platform{}, fault.New(fault.Invalid, "bad platform %q", s).WithHint("linux/amd64, linux/arm64, linux/arm/v7 ...")
	}
	return Platform{part[0], part[1], strings.Join(part[2:], "")}, nil
}

// shape is what all manifests and indexes are read into first, to see which one it is.
type shape struct {
	SchemaVersion int             `json:"schemaVersion"`
	MediaType     types.MediaType `json:"mediaType"`
	Manifests     json.RawMessage `json:"manifests"`
	Layers        json.RawMessage `json:"layers"`
	Config        json.RawMessage `json:"config"`
	FSLayers      json.RawMessage `json:"fsLayers"`
}

// kindOf tells an index from a manifest. A document that could be read as both, or that calls itself something
// else than it was served as, would be one thing to us and another to a scanner (CVE-2021-41190): refused.
func kindOf(raw []byte, served types.MediaType) (types.MediaType, error) {
	var s shape
	if err := json.Unmarshal(raw, &s); err != nil {
		return "", fault.New(fault.Invalid, "manifest refused: %w", err)
	}
	switch {
	case s.FSLayers != nil || s.SchemaVersion == 1:
		return "", fault.New(fault.Unsupported, "manifest refused: schema 1 was given up by docker in 2019").WithHint("push the image again with a current tool")
	case s.SchemaVersion != 2:
		return "", fault.New(fault.Invalid, "manifest refused: schema version %d", s.SchemaVersion)
	case s.Manifests != nil && (s.Layers != nil || s.Config != nil):
		return "", fault.New(fault.Invalid, "manifest refused: it is an index and an image at once")
	}
	kind := types.OCIManifestSchema1
	if s.Manifests != nil {
		kind = types.OCIImageIndex
	}
	for _, t := range []types.MediaType{s.MediaType, served} {
		if t != "" && (t.IsIndex() != kind.IsIndex() && (t.IsIndex() || t.IsImage())) {
			return "", fault.New(fault.Invalid, "manifest refused: it is called %q but is not that", t)
		}
	}
	return kind, nil
}

// choose finds the entry of an index for a platform.
func choose(raw []byte, want Platform) (v1.Descriptor, error) {
	index, err := v1.ParseIndexManifest(bytes.NewReader(raw))
	if err != nil {
		return v1.Descriptor{}, fault.New(fault.Invalid, "index refused: %w", err)
	}
	var have []string
	var second *v1.Descriptor
	for i, d := range index.Manifests {
		if !d.MediaType.IsImage() && !d.MediaType.IsIndex() {
			continue
		}
		if d.Platform == nil {
			if len(index.Manifests) == 1 {
				return d, nil
			}
			continue
		}
		p := Platform{d.Platform.OS, d.Platform.Architecture, d.Platform.Variant}
		if p.OS != "unknown" { // attestations
			have = append(have, p.String())
		}
		switch {
		case p == want, p == (Platform{want.OS, want.Architecture, defaultVariant(want)}):
			return d, nil
		case p.OS == want.OS && p.Architecture == want.Architecture && want.Variant == "" && second == nil:
			second = &index.Manifests[i]
		}
	}
	if second != nil {
		return *second, nil
	}
	return v1.Descriptor{}, fault.New(fault.NotFound, "no image for %s, only for: %s", want, strings.Join(have, " "))
}

func defaultVariant(p Platform) string {
	if p.Architecture == "arm64" && p.Variant == "" {
		return "v8"
	}
	return p.Variant
}

// layerTypes are the media types of layers that can be unpacked. The ones that "may not be distributed" are
// asked from the registry like all others: a manifest's foreign URLs are never visited (CVE-2020-15157).
var layerTypes = map[types.MediaType]bool{
	types.DockerLayer: true, types.DockerUncompressedLayer: true, types.DockerForeignLayer: true,
	types.OCILayer: true, types.OCIUncompressedLayer: true, types.OCILayerZStd: true,
	types.OCIRestrictedLayer: true, types.OCIUncompressedRestrictedLayer: true,
	"application/vnd.oci.image.layer.nondistributable.v1.tar+zstd": true,
	"application/vnd.docker.image.rootfs.diff.tar.zstd":            true,
}

func parseManifest(raw []byte) (*v1.Manifest, error) {
	m, err := v1.ParseManifest(bytes.NewReader(raw))
	if err != nil {
		return nil, fault.New(fault.Invalid, "manifest refused: %w", err)
	}
	if !m.Config.MediaType.IsConfig() {
		return nil, fault.New(fault.Invalid, "not a container image: its config is %q", m.Config.MediaType)
	}
	if err := checkDescriptor(m.Config); err != nil {
		return nil, err
	}
	if m.Config.Size > maxConfig {
		return nil, fault.New(fault.Invalid, "image refused: a config of %d bytes", m.Config.Size)
	}
	for _, l := range m.Layers {
		if !layerTypes[l.MediaType] {
			return nil, fault.New(fault.Unsupported, "image refused: a layer of type %q", l.MediaType)
		}
		if err := checkDescriptor(l); err != nil {
			return nil, err
		}
	}
	return m, nil
}

func checkDescriptor(d v1.Descriptor) error {
	if d.Digest.Algorithm != "sha256" || len(d.Digest.Hex) != 64 || !hexDigits.MatchString(d.Digest.Hex) {
		return fault.New(fault.Unsupported, "image refused: digest %q", short(d.Digest.String()))
	}
	if d.Size < 0 {
		return fault.New(fault.Invalid, "image refused: a size of %d", d.Size)
	}
	return nil
}

func short(s string) string {
	if len(s) > 100 {
		return s[:100] + "..."
	}
	return s
}

func parseConfig(raw []byte) (*v1.ConfigFile, error) {
	c, err := v1.ParseConfigFile(bytes.NewReader(raw))
	if err != nil {
		return nil, fault.New(fault.Invalid, "image config refused: %w", err)
	}
	if c.OS != "" && c.OS != "linux" {
		return nil, fault.New(fault.Unsupported, "image is for %s", short(c.OS))
	}
	for _, id := range c.RootFS.DiffIDs {
		if id.Algorithm != "sha256" || len(id.Hex) != 64 || !hexDigits.MatchString(id.Hex) {
			return nil, fault.New(fault.Unsupported, "image config refused: diffID %q", short(id.String()))
		}
	}
	return c, nil
}

// pair puts a manifest's layers and its config's diffIDs together.
func pair(m *v1.Manifest, c *v1.ConfigFile) ([]Layer, error) {
	if len(m.Layers) != len(c.RootFS.DiffIDs) {
		return nil, fault.New(fault.Invalid, "image refused: %d layers, but %d diffIDs", len(m.Layers), len(c.RootFS.DiffIDs))
	}
	list := make([]Layer, len(m.Layers))
	for i, l := range m.Layers {
		list[i] = Layer{DiffID: c.RootFS.DiffIDs[i].String(), Digest: l.Digest.String(), Size: l.Size}
	}
	return list, nil
}

// readLimited reads a small document whole, one byte past what is allowed at most.
func readLimited(r io.Reader, max int64) ([]byte, error) {
	raw, err := io.ReadAll(io.LimitReader(r, max+1))
	if err == nil && int64(len(raw)) > max {
		err = fault.New(fault.Invalid, "document refused: more than %d bytes", max)
	}
	return raw, err
}

// checkBytes compares a document with what pointed to it.
func checkBytes(raw []byte, digest string, size int64) error {
	if size >= 0 && int64(len(raw)) != size {
		return fault.New(fault.Invalid, "document refused: %d bytes, announced %d", len(raw), size)
	}
	if got := "sha256:" + digestOf(raw); got != digest {
		return fault.New(fault.Invalid, "document refused: it is %s, announced %s", got, digest)
	}
	return nil
}
