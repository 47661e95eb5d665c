// Package imagetest makes images for tests: in memory from entries, or from Debian packages, and serves them from a
// registry on loopback.
package imagetest

import (
	"archive/tar"
	"bytes"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/registry"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
)

// Entry is one entry of a layer; Body is a regular file's content.
type Entry struct {
	tar.Header
	Body string
}

// Time is the time of everything that imagetest makes: images are the same in every run.
var Time = time.Date(2024, 2, 29, 12, 0, 0, 0, time.UTC)

// File is a regular file of root with mode 0644.
func File(name, body string) Entry {
	return Entry{tar.Header{Name: name, Typeflag: tar.TypeReg, Mode: 0o644}, body}
}

// Exec is a program.
func Exec(name, body string) Entry {
	return Entry{tar.Header{Name: name, Typeflag: tar.TypeReg, Mode: 0o755}, body}
}

// Dir is a directory of root with mode 0755.
func Dir(name string) Entry {
	return Entry{tar.Header{Name: name, Typeflag: tar.TypeDir, Mode: 0o755}, ""}
}

// Symlink is a symbolic link.
func Symlink(name, target string) Entry {
	return Entry{tar.Header{Name: name, Typeflag: tar.TypeSymlink, Linkname: target, Mode: 0o777}, ""}
}

// Hardlink is a hard link to an earlier entry or a lower layer's file.
func Hardlink(name, target string) Entry {
	return Entry{tar.Header{Name: name, Typeflag: tar.TypeLink, Linkname: target}, ""}
}

// Tar writes entries as they are, however wrong: it never fails for a name.
func Tar(entries ...Entry) []byte {
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, e := range entries {
		h := e.Header
		if h.Typeflag == tar.TypeReg {
			h.Size = int64(len(e.Body))
		}
		if h.ModTime.IsZero() {
			h.ModTime = Time
		}
		if len(h.PAXRecords) > 0 {
			h.Format = tar.FormatPAX
		}
		if err := w.WriteHeader(&h); err != nil {
			panic(fmt.Sprintf("%.40q: %v", h.Name, err))
		}
		if _, err := io.WriteString(w, e.Body); err != nil {
			panic(err)
		}
	}
	if err := w.Close(); err != nil {
		panic(err)
	}
	return b.Bytes()
}

// Gzip compresses.
func Gzip(raw []byte) []byte {
	var b bytes.Buffer
	w, _ := gzip.NewWriterLevel(&b, gzip.BestSpeed)
	w.Write(raw)
	w.Close()
	return b.Bytes()
}

// Zstd compresses.
func Zstd(raw []byte) []byte {
	w, err := zstd.NewWriter(nil)
	if err != nil {
		panic(err)
	}
	defer w.Close()
	return w.EncodeAll(raw, nil)
}

// Layer makes a layer of a tar, compressed by gzip.
func Layer(raw []byte) v1.Layer {
	l, err := tarball.LayerFromOpener(func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(raw)), nil },
		tarball.WithCompressedCaching, tarball.WithMediaType(types.OCILayer))
	if err != nil {
		panic(err)
	}
	return l
}

// Image makes an image of layers given as tars.
func Image(c v1.Config, layers ...[]byte) v1.Image {
	list := make([]v1.Layer, len(layers))
	for i, raw := range layers {
		list[i] = Layer(raw)
	}
	return ImageOf(c, list...)
}

// ImageOf makes an image of layers.
func ImageOf(c v1.Config, layers ...v1.Layer) v1.Image {
	img := mutate.MediaType(empty.Image, types.OCIManifestSchema1)
	img = mutate.ConfigMediaType(img, types.OCIConfigJSON)
	img, err := mutate.AppendLayers(img, layers...)
	if err != nil {
		panic(err)
	}
	file, err := img.ConfigFile()
	if err != nil {
		panic(err)
	}
	file = file.DeepCopy()
	file.Config, file.OS, file.Architecture = c, "linux", hostArch
	file.Created = v1.Time{Time: Time}
	if img, err = mutate.ConfigFile(img, file); err != nil {
		panic(err)
	}
	return img
}

// Registry is a registry on loopback.
type Registry struct {
	Host string // "127.0.0.1:PORT"

	server *http.Server
}

// NewRegistry serves an empty registry that keeps its blobs in memory until the test ends. wrap, when not nil, may change what it answers.
func NewRegistry(t testing.TB, wrap func(http.Handler) http.Handler) *Registry {
	return Serve(t, registry.New(registry.Logger(log.New(io.Discard, "", 0))), wrap)
}

// NewDiskRegistry is NewRegistry with its blobs in a directory, for large images.
func NewDiskRegistry(t testing.TB, dir string) *Registry {
	return Serve(t, registry.New(registry.Logger(log.New(io.Discard, "", 0)), registry.WithBlobHandler(registry.NewDiskBlobHandler(dir))), nil)
}

// Serve serves any handler as a registry.
func Serve(t testing.TB, h http.Handler, wrap func(http.Handler) http.Handler) *Registry {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	if wrap != nil {
		h = wrap(h)
	}
	r := &Registry{Host: l.Addr().String(), server: &http.Server{Handler: h, ErrorLog: log.New(io.Discard, "", 0)}}
	go r.server.Serve(l)
	t.Cleanup(func() { r.server.Close() })
	return r
}

// Push puts an image or index into the registry as NAME[:TAG] and returns its full reference.
func (r *Registry) Push(t testing.TB, ref string, img remote.Taggable) string {
	t.Helper()
	full := r.Host + "/" + strings.TrimPrefix(ref, "/")
	tag, err := name.ParseReference(full)
	if err != nil {
		t.Fatal(err)
	}
	switch img := img.(type) {
	case v1.ImageIndex:
		err = remote.WriteIndex(tag, img)
	case v1.Image:
		err = remote.Write(tag, img)
	default:
		t.Fatalf("cannot push a %T", img)
	}
	if err != nil {
		t.Fatal(err)
	}
	return full
}
