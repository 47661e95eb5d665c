package image

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"hash"
	"io"
	"io/fs"
	"os"
	"path"
	"sync/atomic"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"

	"github.com/containercloud/cc/fault"
	"github.com/containercloud/cc/runtime/image/unpack"
)

// blobSource opens a layer's blob. The reader gives the blob's bytes, checks their number and digest, and ends with io.EOF
// only when both are right.
type blobSource func(ctx context.Context, count func(n int)) (io.ReadCloser, error)

// wanted is a layer that a job needs.
type wanted struct {
	diffID string // hex
	size   int64  // of the blob
	open   blobSource
}

func (l Limits) withDefaults() Limits {
	if l.Layers <= 0 {
		l.Layers = 128
	}
	if l.Ratio <= 0 {
		l.Ratio = 300
	}
	if l.Jobs <= 0 {
		l.Jobs = 4
	}
	if l.Layer.Bytes <= 0 {
		l.Layer.Bytes = 64 << 30
	}
	return l
}

// fetchLayers brings all layers into the store, several at once. The caller holds pins on them.
func (s *Store) fetchLayers(ctx context.Context, p *Progress, list []wanted) error {
	lim := s.limits.withDefaults()
	if len(list) > lim.Layers {
		return fault.New(fault.Invalid, "image refused: %d layers (limit %d)", len(list), lim.Layers)
	}
	var total int64
	for _, w := range list {
		total += w.size
	}
	p.expect(len(list), total)
	p.enter(Fetching)
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(lim.Jobs)
	for _, w := range list {
		g.Go(func() error {
			var counted atomic.Int64
			count := func(n int) { counted.Add(int64(n)); p.bytes.Add(int64(n)) }
			err := s.once(ctx, "layer/"+w.diffID, func(ctx context.Context) error { return s.makeLayer(ctx, w, count) })
			if err != nil {
				return fault.Wrap(err, "layer sha256:%.12s", w.diffID)
			}
			p.bytes.Add(w.size - counted.Load()) // found here, made by another job, or resumed
			p.finished.Add(1)
			return nil
		})
	}
	return g.Wait()
}

func (s *Store) hasLayer(h string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.layers[h] != nil
}

// makeLayer unpacks one layer unless it is there. Bytes that an earlier pull left may be wrong (a disk that lost
// power has such files): then it begins once more without them.
func (s *Store) makeLayer(ctx context.Context, w wanted, count func(int)) error {
	if s.hasLayer(w.diffID) {
		return nil
	}
	stale, err := s.tryLayer(ctx, w, count)
	if err != nil && stale && ctx.Err() == nil {
		_, err = s.tryLayer(ctx, w, count)
	}
	return err
}

func (s *Store) tryLayer(ctx context.Context, w wanted, count func(int)) (stale bool, err error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	r, err := w.open(ctx, count)
	if err != nil {
		return false, err
	}
	defer r.Close()
	_, err = s.unpackLayer(ctx, r, w.diffID, cancel)
	if b, ok := r.(*blob); ok && fault.Is(err, fault.Invalid) {
		stale = !b.fresh
		b.spoil()
	}
	return stale, err
}

// unpackLayer unpacks the compressed or plain layer tar r and files it under its diffID, which must be want unless
// want is empty; then it comes back pinned, as no caller could have pinned it before. abort must make a blocked read
// of r return.
func (s *Store) unpackLayer(ctx context.Context, r io.Reader, want string, abort func()) (diffID string, err error) {
	stage, err := s.stage("layer")
	if err != nil {
		return "", err
	}
	defer func() {
		err = errors.Join(err, s.root.RemoveAll(stage))
	}()
	made := path.Join(stage, "x")
	if err := errors.Join(s.root.Mkdir(made, 0o700), s.root.Mkdir(path.Join(made, "tree"), 0o755)); err != nil {
		return "", err
	}
	tree, err := s.openDir(path.Join(made, "tree"), os.O_RDONLY)
	if err != nil {
		return "", err
	}
	defer tree.Close()
	rec, diffID, size, err := s.stream(ctx, r, tree, abort)
	if err != nil {
		return "", err
	}
	if want != "" && diffID != want {
		return "", fault.New(fault.Invalid, "layer refused: its content is sha256:%s, the image says sha256:%s", diffID, want)
	}
	lr := &layerRecord{Record: *rec, Tar: size, Boot: s.boot}
	if err := s.root.WriteFile(path.Join(made, "record"), encode(lr), 0o600); err != nil {
		return "", err
	}
	return diffID, s.fileLayer(made, diffID, lr, want == "")
}

func (s *Store) fileLayer(made, diffID string, lr *layerRecord, pin bool) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if pin {
		s.pins["layer/"+diffID]++
	}
	if s.layers[diffID] != nil {
		return nil // an import of the same content was faster
	}
	if err := s.root.Rename(made, path.Join("layer", diffID)); err != nil {
		return err
	}
	s.layers[diffID] = lr
	return nil
}

// stream runs the pipeline: r | decompress | hash | unpack, in three goroutines.
func (s *Store) stream(ctx context.Context, r io.Reader, tree *os.File, abort func()) (rec *unpack.Record, diffID string, size int64, err error) {
	lim := s.limits.withDefaults()
	in := &counter{r: r}
	fetch := newAhead(in)
	defer fetch.Close()
	defer func() {
		if err != nil {
			abort()
		}
	}()
	plain, closePlain, err := decompress(fetch)
	if err != nil {
		return nil, "", 0, err
	}
	defer closePlain()
	// Headers and padding come on top of the files' bytes that unpack counts.
	bound := &limited{r: plain, max: lim.Layer.Bytes + lim.Layer.Bytes/4 + 1<<30, in: in.n.Load, ratio: lim.Ratio}
	sum := sha256.New()
	unpacked := newAhead(&tee{bound, sum})
	rec, err = unpack.Layer(ctx, unpacked, tree, lim.Layer)
	if err != nil {
		abort()
	}
	unpacked.Close()
	if err == nil {
		// Whatever follows the compressed stream belongs to the blob too; its end is where the digest is checked.
		_, err = io.Copy(io.Discard, fetch)
	}
	if err != nil {
		return nil, "", 0, err
	}
	return rec, hex.EncodeToString(sum.Sum(nil)), bound.n, nil
}

type counter struct {
	r io.Reader
	n atomic.Int64
}

func (c *counter) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	c.n.Add(int64(n))
	return n, err
}

type tee struct {
	r   io.Reader
	sum hash.Hash
}

func (t *tee) Read(p []byte) (int, error) {
	n, err := t.r.Read(p)
	t.sum.Write(p[:n])
	return n, err
}

// mergeRoot makes the root of a list of layers unless it is there.
func (s *Store) mergeRoot(ctx context.Context, layers []Layer) error {
	key := rootKey(layers)
	return s.once(ctx, "root/"+key, func(ctx context.Context) error {
		s.mu.Lock()
		have := s.roots[key]
		s.mu.Unlock()
		if have {
			return nil
		}
		return s.makeRoot(ctx, key, layers)
	})
}

func (s *Store) makeRoot(ctx context.Context, key string, layers []Layer) (err error) {
	stage, err := s.stage("root")
	if err != nil {
		return err
	}
	defer func() {
		err = errors.Join(err, s.root.RemoveAll(stage))
	}()
	made, held := path.Join(stage, "x"), path.Join(stage, "links")
	for _, d := range []string{made, path.Join(made, "tree"), held} {
		if err := s.root.Mkdir(d, 0o700); err != nil {
			return err
		}
	}
	var open []*os.File
	defer func() {
		for _, f := range open {
			f.Close()
		}
	}()
	dir := func(name string) *os.File {
		f, e := s.openDir(name, os.O_RDONLY)
		err = errors.Join(err, e)
		if e == nil {
			open = append(open, f)
		}
		return f
	}
	rec := rootRecord{Boot: s.boot}
	var list []unpack.Source
	for _, l := range layers {
		h := hexOf(l.DiffID)
		s.mu.Lock()
		lr := s.layers[h]
		s.mu.Unlock()
		if lr == nil {
			return fault.New(fault.NotFound, "layer %s is missing", l.DiffID)
		}
		list = append(list, unpack.Source{Tree: dir(path.Join("layer", h, "tree")), Record: &lr.Record})
		rec.Layers = append(rec.Layers, h)
	}
	root, links := dir(path.Join(made, "tree")), dir(held)
	if err != nil {
		return err
	}
	if err := unpack.Merge(ctx, list, root, links); err != nil {
		return err
	}
	if err := unpack.MountPoints(root); err != nil {
		return err
	}
	if err := s.root.WriteFile(path.Join(made, "record"), encode(rec), 0o600); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.root.Rename(made, path.Join("root", key)); err != nil {
		return err
	}
	s.roots[key] = true
	return nil
}

// openRoot opens an image's root. Only after a loss of power may it have to be merged anew.
func (s *Store) openRoot(i *Image) (*os.File, error) {
	defer s.pin("root/" + i.root)()
	name := path.Join("root", i.root, "tree")
	f, err := s.openDir(name, unix.O_PATH)
	if !errors.Is(err, fs.ErrNotExist) {
		return f, err
	}
	s.mu.Lock()
	img := s.images[i.manifest]
	s.mu.Unlock()
	if img == nil {
		return nil, fault.New(fault.NotFound, "image %s is gone", i.Digest).WithHint("cc image pull it again")
	}
	if err := s.mergeRoot(s.ctx, img.Layers); err != nil {
		return nil, fault.Wrap(err, "cannot open the root of image %s", i.Digest)
	}
	return s.openDir(name, unix.O_PATH)
}
