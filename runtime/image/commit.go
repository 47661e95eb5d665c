package image

import (
	"context"
	"path"
	"time"

	"github.com/containercloud/cc/fault"
)

// draft is an image whose documents are known and checked.
type draft struct {
	manifest, config []byte
	layers           []Layer
	names            []refRecord // Manifest is filled in by commit
}

// pins are the store's things that a list of layers needs.
func pins(layers []Layer) []string {
	keys := []string{"root/" + rootKey(layers)}
	for _, l := range layers {
		keys = append(keys, "layer/"+hexOf(l.DiffID))
	}
	return keys
}

// commit makes a draft whose layers are here an image, under its names. The caller holds pins.
func (s *Store) commit(ctx context.Context, p *Progress, d draft) (*Image, error) {
	p.enter(Merging)
	if err := s.mergeRoot(ctx, d.layers); err != nil {
		return nil, err
	}
	rec := imageRecord{Manifest: digestOf(d.manifest), Config: digestOf(d.config), Layers: d.layers, Added: time.Now().UTC()}
	defer s.pin("blob/"+rec.Manifest, "blob/"+rec.Config)()
	if err := s.writeFile(path.Join("blob", rec.Manifest), d.manifest); err != nil {
		return nil, err
	}
	if err := s.writeFile(path.Join("blob", rec.Config), d.config); err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for i, l := range rec.Layers {
		if r := s.layers[hexOf(l.DiffID)]; r != nil {
			rec.Layers[i].Bytes = r.Bytes
			rec.Size += r.Bytes
		}
	}
	rec.Skipped = s.skippedLocked(rec.Layers)
	if old := s.images[rec.Manifest]; old == nil {
		img, err := s.complete(rec)
		if err != nil {
			return nil, err
		}
		if err := s.writeFile(path.Join("image", rec.Manifest), encode(rec)); err != nil {
			return nil, err
		}
		s.images[rec.Manifest] = img
	}
	for _, n := range d.names {
		n.Manifest = rec.Manifest
		if err := s.nameLocked(n); err != nil {
			return nil, err
		}
	}
	s.settleLocked()
	return s.viewLocked(rec.Manifest), nil
}

// nameLocked lets a name stand for an image. What it stood for before keeps its data until GC.
func (s *Store) nameLocked(r refRecord) error {
	if s.refs[r.Canonical] == r {
		return nil
	}
	if err := s.writeFile(path.Join("ref", refKey(r.Canonical)), encode(r)); err != nil {
		return err
	}
	s.refs[r.Canonical], s.given[r.Given] = r, r.Canonical
	return nil
}

// Tag gives an image one more name; a name that another image had changes hands.
func (s *Store) Tag(image, name string) error {
	r, err := parseRef(name, false)
	if err == nil && r.digest() {
		err = fault.New(fault.Invalid, "a digest is not a name")
	}
	if err != nil {
		return fault.Wrap(err, "cannot tag")
	}
	if image == Builtin {
		if err := s.needBuiltin(); err != nil {
			return fault.Wrap(err, "cannot tag")
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	h, err := s.findLocked(image)
	if err != nil {
		return fault.Wrap(err, "cannot tag")
	}
	return s.nameLocked(refRecord{Given: name, Canonical: r.canonical, Manifest: h})
}
