package image

import (
	"context"
	"errors"
	"io/fs"
	"maps"
	"path"
	"slices"
	"strings"
	"syscall"

	"github.com/containercloud/cc/fault"
)

// Use keeps an image, in all its parts, from being removed until Release(by). Who uses images says so again after
// every start of the daemon, before anything may be collected.
func (s *Store) Use(digest, by string) error {
	if digest == Host {
		return nil
	}
	h := hexOf(digest)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.images[h] == nil {
		return fault.New(fault.NotFound, "no image %s here", digest).WithHint("cc image pull it again")
	}
	if s.uses[h] == nil {
		s.uses[h] = map[string]struct{}{}
	}
	s.uses[h][by] = struct{}{}
	return nil
}

// Release ends all uses by one user.
func (s *Store) Release(by string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for h, users := range s.uses {
		delete(users, by)
		if len(users) == 0 {
			delete(s.uses, h)
		}
	}
}

// UsedBy lists who uses an image.
func (s *Store) UsedBy(digest string) []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Sorted(maps.Keys(s.uses[hexOf(digest)]))
}

// Remove takes away a name, and with the last name the image and every layer that no other image has. By digest it takes
// all names. It reports the bytes freed. An image in use keeps its last name: Busy.
func (s *Store) Remove(ref string) (freed int64, err error) {
	if ref == Host || ref == Builtin {
		return 0, fault.New(fault.Fixed, "cannot remove image %s: it is part of the daemon", ref)
	}
	s.mu.Lock()
	gone, err := s.unnameLocked(ref)
	var old []string
	if err == nil && gone != "" {
		freed, old, err = s.dropLocked([]string{gone})
	}
	s.mu.Unlock()
	return freed, fault.Wrap(errors.Join(err, s.delete(context.Background(), old)), "cannot remove image %s", short(ref))
}

// unnameLocked takes a name, or all names of a digest, and returns the image that has none left.
func (s *Store) unnameLocked(ref string) (gone string, err error) {
	h, err := s.findLocked(ref)
	if err != nil {
		return "", err
	}
	var names, take []string
	r, bad := parseRef(ref, false)
	for canonical, rec := range s.refs {
		if rec.Manifest != h {
			continue
		}
		names = append(names, canonical)
		if bad == nil && canonical == r.canonical {
			take = []string{canonical}
		}
	}
	if take == nil {
		take = names
	}
	last := len(take) == len(names) && h != s.builtin
	if users := s.uses[h]; last && len(users) > 0 {
		return "", fault.New(fault.Busy, "used by %s", strings.Join(slices.Sorted(maps.Keys(users)), " "))
	}
	for _, c := range take {
		if err := s.root.Remove(path.Join("ref", refKey(c))); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return "", err
		}
		delete(s.refs, c)
	}
	if last {
		return h, nil
	}
	return "", nil
}

// Collected is what GC did.
type Collected struct {
	Images, Layers int
	Bytes          int64
}

// GC removes images without a name that nobody uses, and layers, roots, documents and half downloads that no image and no
// running job needs.
func (s *Store) GC(ctx context.Context) (Collected, error) {
	s.mu.Lock()
	named := map[string]bool{s.builtin: true}
	for _, r := range s.refs {
		named[r.Manifest] = true
	}
	var gone []string
	for h := range s.images {
		if !named[h] && len(s.uses[h]) == 0 {
			gone = append(gone, h)
		}
	}
	layers := len(s.layers)
	bytes, old, err := s.dropLocked(gone)
	c := Collected{Images: len(gone), Layers: layers - len(s.layers), Bytes: bytes}
	s.mu.Unlock()
	err = errors.Join(err, s.delete(ctx, old))
	freed, err2 := s.dropPartials()
	c.Bytes += freed
	return c, fault.Wrap(errors.Join(err, err2), "cannot collect images")
}

// dropLocked forgets images and moves what only they had out of sight. It returns the directories that delete
// must empty: deleting takes long and needs no lock, as nothing can find them any more.
func (s *Store) dropLocked(images []string) (freed int64, old []string, err error) {
	for _, h := range images {
		if e := s.root.Remove(path.Join("image", h)); e != nil && !errors.Is(e, fs.ErrNotExist) {
			return 0, nil, e // before anything of it is missing
		}
		delete(s.images, h)
	}
	keep := map[string]bool{}
	for h, img := range s.images {
		keep["blob/"+h], keep["blob/"+img.Config] = true, true
		for _, k := range pins(img.Layers) {
			keep[k] = true
		}
	}
	take := func(key string) bool {
		if keep[key] || s.pins[key] > 0 || s.flights[key] != nil {
			return false
		}
		dir, e := s.discard(key)
		err = errors.Join(err, e)
		if e == nil {
			old = append(old, dir)
		}
		return e == nil
	}
	for h, r := range s.layers {
		if take("layer/" + h) {
			freed += r.Bytes
			delete(s.layers, h)
		}
	}
	for key := range s.roots {
		if take("root/" + key) {
			delete(s.roots, key)
		}
	}
	blobs, e := s.names("blob")
	err = errors.Join(err, e)
	for _, h := range blobs {
		if st, e := s.root.Lstat("blob/" + h); e == nil && take("blob/"+h) {
			freed += st.Size()
		}
	}
	return freed, old, err
}

func (s *Store) delete(ctx context.Context, old []string) (err error) {
	for _, dir := range old {
		if ctx.Err() != nil {
			return errors.Join(err, ctx.Err()) // the rest goes at the next Open
		}
		err = errors.Join(err, s.root.RemoveAll(dir))
	}
	return err
}

// dropPartials removes half downloads that nobody is writing.
func (s *Store) dropPartials() (freed int64, err error) {
	names, err := s.names("partial")
	for _, n := range names {
		name := path.Join("partial", n)
		f, e := s.root.Open(name)
		if e != nil {
			continue
		}
		if syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB) == nil {
			if st, e := f.Stat(); e == nil {
				freed += st.Size()
			}
			if e := s.root.Remove(name); !errors.Is(e, fs.ErrNotExist) { // its download has just ended
				err = errors.Join(err, e)
			}
		}
		f.Close()
	}
	return freed, err
}
