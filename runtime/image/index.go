package image

import (
	"crypto/sha256"
	"encoding/hex"
	"path"
	"slices"
	"sort"
	"strings"

	"github.com/containercloud/cc/fault"
	"github.com/containercloud/cc/runtime/image/unpack"
)

// load reads the records. What is torn or incomplete is dropped with a line in the log: a pull brings it back.
func (s *Store) load() error {
	for _, step := range []struct {
		dir string
		do  func(name string) error
	}{{"layer", s.loadLayer}, {"root", s.loadRoot}, {"image", s.loadImage}, {"ref", s.loadRef}} {
		names, err := s.names(step.dir)
		if err != nil {
			return err
		}
		for _, n := range names {
			if err := step.do(n); err != nil {
				s.log.Warn("dropped from the image store", "what", step.dir, "name", n, "error", err)
				old, err := s.discard(path.Join(step.dir, n))
				if err != nil {
					return err
				}
				if err := s.root.RemoveAll(old); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// believe tells whether a tree survived: see the package comment.
func (s *Store) believe(dir, boot string) error {
	if boot == s.boot {
		return nil
	}
	if _, err := s.root.Lstat(path.Join(dir, "durable")); err != nil {
		return fault.New(fault.Internal, "the machine stopped before it was on the disk")
	}
	return nil
}

func (s *Store) loadLayer(n string) error {
	dir := path.Join("layer", n)
	raw, err := s.root.ReadFile(path.Join(dir, "record"))
	if err != nil {
		return err
	}
	r, err := decode[layerRecord](raw)
	if err != nil {
		return err
	}
	if err := s.believe(dir, r.Boot); err != nil {
		return err
	}
	s.layers[n] = &r
	return nil
}

func (s *Store) loadRoot(n string) error {
	dir := path.Join("root", n)
	raw, err := s.root.ReadFile(path.Join(dir, "record"))
	if err != nil {
		return err
	}
	r, err := decode[rootRecord](raw)
	if err != nil {
		return err
	}
	if err := s.believe(dir, r.Boot); err != nil {
		return err
	}
	s.roots[n] = true
	return nil
}

func (s *Store) loadImage(n string) error {
	raw, err := s.root.ReadFile(path.Join("image", n))
	if err != nil {
		return err
	}
	rec, err := decode[imageRecord](raw)
	if err != nil {
		return err
	}
	img, err := s.complete(rec)
	if err != nil {
		return err
	}
	s.images[n] = img
	return nil
}

// complete checks that everything a record names is there, and decodes the config.
func (s *Store) complete(rec imageRecord) (*image, error) {
	if _, err := s.readBlob(rec.Manifest); err != nil {
		return nil, err
	}
	raw, err := s.readBlob(rec.Config)
	if err != nil {
		return nil, err
	}
	file, err := parseConfig(raw)
	if err != nil {
		return nil, err
	}
	for _, l := range rec.Layers {
		if s.layers[hexOf(l.DiffID)] == nil {
			return nil, fault.New(fault.NotFound, "layer %s is missing", l.DiffID)
		}
	}
	return &image{imageRecord: rec, file: *file, root: rootKey(rec.Layers)}, nil
}

func (s *Store) loadRef(n string) error {
	raw, err := s.root.ReadFile(path.Join("ref", n))
	if err != nil {
		return err
	}
	r, err := decode[refRecord](raw)
	if err != nil {
		return err
	}
	if s.images[r.Manifest] == nil || refKey(r.Canonical) != n {
		return fault.New(fault.NotFound, "name %s without its image", r.Given)
	}
	s.refs[r.Canonical], s.given[r.Given] = r, r.Canonical
	return nil
}

// readBlob reads a document and checks that it is what its name says.
func (s *Store) readBlob(h string) ([]byte, error) {
	raw, err := s.root.ReadFile(path.Join("blob", h))
	if err != nil {
		return nil, err
	}
	if digestOf(raw) != h {
		return nil, fault.New(fault.Internal, "blob %s is damaged", h)
	}
	return raw, nil
}

func digestOf(raw []byte) string {
	sum := sha256.Sum256(raw)
	return hex.EncodeToString(sum[:])
}

func hexOf(digest string) string { return strings.TrimPrefix(digest, "sha256:") }

// rootKey names the root that a list of layers makes.
func rootKey(layers []Layer) string {
	h := sha256.New()
	for _, l := range layers {
		h.Write([]byte(l.DiffID + "\n"))
	}
	return hex.EncodeToString(h.Sum(nil))
}

// Find returns a local image by name (without a tag: latest), by digest, or by a unique prefix of at least 4 digits
// of its digest.
func (s *Store) Find(ref string) (*Image, error) {
	if ref == Host {
		return hostImage(), nil
	}
	if ref == Builtin {
		if err := s.needBuiltin(); err != nil {
			return nil, err
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	h, err := s.findLocked(ref)
	if err != nil {
		return nil, err
	}
	return s.viewLocked(h), nil
}

func (s *Store) findLocked(ref string) (string, error) {
	if ref == Builtin && s.builtin != "" {
		return s.builtin, nil
	}
	if rec, ok := s.refs[s.given[ref]]; ok {
		return rec.Manifest, nil
	}
	r, bad := parseRef(ref, false)
	if bad == nil {
		if rec, ok := s.refs[r.canonical]; ok {
			return rec.Manifest, nil
		}
		if _, digest, ok := strings.Cut(r.canonical, "@"); ok {
			ref = digest
		}
	}
	if prefix, ok := digestPrefix(ref); ok {
		found := s.prefixLocked(prefix)
		if len(found) > 1 {
			found = s.forHostLocked(found)
		}
		switch len(found) {
		case 1:
			return found[0], nil
		case 0:
		default:
			return "", fault.New(fault.Invalid, "%d images begin with %q", len(found), ref).WithHint("give more digits")
		}
	} else if bad != nil {
		return "", bad
	}
	return "", fault.New(fault.NotFound, "no image %q here", ref).WithHint("cc image pull %s", ref)
}

// prefixLocked lists images whose digest, or whose index's digest, begins so.
func (s *Store) prefixLocked(prefix string) []string {
	var found []string
	for h := range s.images {
		if strings.HasPrefix(h, prefix) {
			found = append(found, h)
		}
	}
	for _, r := range s.refs {
		if r.Index != "" && strings.HasPrefix(r.Index, prefix) {
			found = append(found, r.Manifest)
		}
	}
	slices.Sort(found)
	return slices.Compact(found)
}

// forHostLocked keeps the images for this host's processor, if there are any: an index's digest names one for each.
func (s *Store) forHostLocked(found []string) []string {
	var ours []string
	for _, h := range found {
		if s.images[h].file.Architecture == hostPlatform().Architecture {
			ours = append(ours, h)
		}
	}
	if len(ours) == 0 {
		return found
	}
	return ours
}

// viewLocked makes the exported picture of an image.
func (s *Store) viewLocked(h string) *Image {
	img := s.images[h]
	v := &Image{
		Digest: "sha256:" + h, Config: *img.file.Config.DeepCopy(), Platform: img.file.OS + "/" + img.file.Architecture,
		Layers: slices.Clone(img.Layers), Size: img.Size, Created: img.file.Created.Time, Added: img.Added, Skipped: img.Skipped,
		store: s, root: img.root, manifest: img.Manifest, config: img.Config,
	}
	if v.Created.IsZero() {
		v.Created = img.Added
	}
	if h == s.builtin {
		v.Names = append(v.Names, Builtin)
	}
	for _, r := range s.refs {
		if r.Manifest == h {
			v.Names = append(v.Names, r.Given)
		}
	}
	sort.Strings(v.Names)
	return v
}

// List returns all local images, host included, the newest last.
func (s *Store) List() []*Image {
	s.mu.Lock()
	defer s.mu.Unlock()
	list := []*Image{hostImage()}
	for h := range s.images {
		list = append(list, s.viewLocked(h))
	}
	slices.SortFunc(list, func(a, b *Image) int {
		if c := a.Added.Compare(b.Added); c != 0 {
			return c
		}
		return strings.Compare(a.Digest, b.Digest)
	})
	return list
}

// skippedLocked sums what the layers of an image asked for in vain.
func (s *Store) skippedLocked(layers []Layer) (sum unpack.Skipped) {
	for _, l := range layers {
		if r := s.layers[hexOf(l.DiffID)]; r != nil {
			sum = sum.Add(r.Skipped)
		}
	}
	return sum
}
