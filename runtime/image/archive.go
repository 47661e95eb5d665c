package image

import (
	"archive/tar"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"hash"
	"io"
	"io/fs"
	"os"
	"path"
	"strings"
	"syscall"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/containercloud/cc/fault"
)

// archive is where Load finds files by name: a directory or a tar.
type archive interface {
	// open gives a regular file and its size, or fs.ErrNotExist.
	open(name string) (io.ReadCloser, int64, error)
}

// dirArchive is an OCI layout on disk. Links cannot lead out of it.
type dirArchive struct{ *os.Root }

func (d dirArchive) open(name string) (io.ReadCloser, int64, error) {
	f, err := d.OpenFile(name, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, 0, err
	}
	st, err := f.Stat()
	if err == nil && !st.Mode().IsRegular() {
		err = fault.New(fault.Invalid, "%s is not a regular file", name)
	}
	if err != nil {
		f.Close()
		return nil, 0, err
	}
	return f, st.Size(), nil
}

// tarArchive is an uncompressed tar on disk, read in any order.
type tarArchive struct {
	f     io.ReaderAt
	files map[string]span
	links map[string]string
}

type span struct{ off, size int64 }

// maxArchive bounds the entries of an archive: images have some dozens.
const maxArchive = 100_000

// index finds the files of a tar. The tar package reads whole blocks and nothing ahead, so after each header
// the file's position is where the content begins.
func index(f *os.File) (*tarArchive, error) {
	a := &tarArchive{f: f, files: map[string]span{}, links: map[string]string{}}
	tr := tar.NewReader(f)
	for n := 0; ; n++ {
		h, err := tr.Next()
		if err == io.EOF {
			return a, nil
		}
		if err != nil {
			return nil, fault.New(fault.Invalid, "archive refused: %w", err)
		}
		if n >= maxArchive {
			return nil, fault.New(fault.Invalid, "archive refused: more than %d entries", maxArchive)
		}
		name := path.Clean(h.Name)
		switch h.Typeflag {
		case tar.TypeReg:
			off, err := f.Seek(0, io.SeekCurrent)
			if err != nil {
				return nil, err
			}
			if !sparse(h) {
				a.files[name] = span{off, h.Size}
			}
		case tar.TypeSymlink, tar.TypeLink: // docker save links equal layers
			to := h.Linkname
			if h.Typeflag == tar.TypeSymlink {
				to = path.Join(path.Dir(name), to)
			}
			a.links[name] = path.Clean(to)
		}
	}
}

func sparse(h *tar.Header) bool {
	for k := range h.PAXRecords {
		if strings.HasPrefix(k, "GNU.sparse.") {
			return true
		}
	}
	return false
}

func (a *tarArchive) open(name string) (io.ReadCloser, int64, error) {
	name = path.Clean(name)
	for range 8 {
		if s, ok := a.files[name]; ok {
			return io.NopCloser(io.NewSectionReader(a.f, s.off, s.size)), s.size, nil
		}
		to, ok := a.links[name]
		if !ok {
			break
		}
		name = to
	}
	return nil, 0, &fs.PathError{Op: "open", Path: short(name), Err: fs.ErrNotExist}
}

// openArchive makes an archive of an open file or directory; a compressed tar is unpacked into the store's tmp first,
// bounded as a layer is.
func (s *Store) openArchive(ctx context.Context, f *os.File, p *Progress) (archive, func(), error) {
	st, err := f.Stat()
	if err != nil {
		return nil, nil, err
	}
	if st.IsDir() {
		root, err := os.OpenRoot(fdPath(int(f.Fd())))
		if err != nil {
			return nil, nil, err
		}
		return dirArchive{root}, func() { root.Close() }, nil
	}
	if !st.Mode().IsRegular() {
		return nil, nil, fault.New(fault.Invalid, "neither a file nor a directory")
	}
	var magic [4]byte
	n, err := f.ReadAt(magic[:], 0)
	if err != nil && err != io.EOF {
		return nil, nil, err
	}
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		return nil, nil, err
	}
	done := func() {}
	if isCompressed(magic[:n]) {
		p.expect(0, st.Size())
		if f, done, err = s.inflate(ctx, &counting{f, p}); err != nil {
			return nil, nil, err
		}
	}
	a, err := index(f)
	if err != nil {
		done()
		return nil, nil, err
	}
	return a, done, nil
}

func isCompressed(magic []byte) bool {
	m := string(magic)
	return strings.HasPrefix(m, "\x1f\x8b") || m == "\x28\xb5\x2f\xfd" || m == "\xfd7zX" || strings.HasPrefix(m, "BZh")
}

// inflate decompresses an archive into a file that has no name any more when it is used.
func (s *Store) inflate(ctx context.Context, f io.Reader) (*os.File, func(), error) {
	stage, err := s.stage("archive")
	if err != nil {
		return nil, nil, err
	}
	defer s.root.RemoveAll(stage)
	out, err := s.root.OpenFile(path.Join(stage, "tar"), os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return nil, nil, err
	}
	in := &counter{r: &cancelled{ctx, f}}
	plain, done, err := decompress(in)
	if err == nil {
		lim := s.limits.withDefaults()
		_, err = io.Copy(out, &limited{r: plain, max: lim.Layer.Bytes, in: in.n.Load, ratio: lim.Ratio})
		done()
	}
	if err == nil {
		_, err = out.Seek(0, io.SeekStart)
	}
	if err != nil {
		return nil, nil, errors.Join(err, out.Close())
	}
	return out, func() { out.Close() }, nil
}

// counted tells count of every byte read.
type counted struct {
	io.ReadCloser
	count func(int)
}

func (c *counted) Read(p []byte) (int, error) {
	n, err := c.ReadCloser.Read(p)
	c.count(n)
	return n, err
}

// checked reads an archive's blob and compares it with its descriptor at the end.
type checked struct {
	counted
	want v1.Descriptor
	sum  hash.Hash
	n    int64
}

// fileBlob is the blobSource of archives.
func fileBlob(a archive, name string, want v1.Descriptor) blobSource {
	return func(ctx context.Context, count func(int)) (io.ReadCloser, error) {
		r, size, err := a.open(name)
		if err != nil {
			return nil, err
		}
		if size != want.Size {
			r.Close()
			return nil, fault.New(fault.Invalid, "blob %s refused: %d bytes, announced %d", want.Digest, size, want.Size)
		}
		return &checked{counted{r, count}, want, sha256.New(), 0}, nil
	}
}

func (c *checked) Read(p []byte) (int, error) {
	n, err := c.counted.Read(p)
	c.sum.Write(p[:n])
	c.n += int64(n)
	if err == io.EOF {
		if got := hex.EncodeToString(c.sum.Sum(nil)); got != c.want.Digest.Hex || c.n != c.want.Size {
			err = fault.New(fault.Invalid, "blob refused: it is sha256:%s, announced %s", got, c.want.Digest)
		}
	}
	return n, err
}

// document reads a small file of an archive whole.
func document(a archive, name string, max int64) ([]byte, error) {
	r, _, err := a.open(name)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	return readLimited(r, max)
}
