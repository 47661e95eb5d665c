package image

import (
	"archive/tar"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"

	"github.com/containercloud/cc/fault"
	"github.com/containercloud/cc/runtime/image/imagetest"
)

// liar is a registry that says whatever a test wants.
type liar struct {
	manifests map[string][]byte // by tag or digest
	types     map[string]string
	blobs     map[string]http.HandlerFunc
	hits      atomic.Int64
}

func newLiar() *liar {
	return &liar{manifests: map[string][]byte{}, types: map[string]string{}, blobs: map[string]http.HandlerFunc{}}
}

func (l *liar) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	l.hits.Add(1)
	part := strings.Split(r.URL.Path, "/")
	what := part[len(part)-1]
	switch {
	case r.URL.Path == "/v2/":
	case strings.Contains(r.URL.Path, "/manifests/") && l.manifests[what] != nil:
		w.Header().Set("Content-Type", l.types[what])
		w.Write(l.manifests[what])
	case strings.Contains(r.URL.Path, "/blobs/") && l.blobs[what] != nil:
		l.blobs[what](w, r)
	default:
		http.NotFound(w, r)
	}
}

func digest(raw []byte) string {
	sum := sha256.Sum256(raw)
	return "sha256:" + hex.EncodeToString(sum[:])
}

func hashOf(raw []byte) v1.Hash { return v1.Hash{Algorithm: "sha256", Hex: digest(raw)[7:]} }

func (l *liar) blob(raw []byte) v1.Descriptor {
	l.blobs[digest(raw)] = func(w http.ResponseWriter, r *http.Request) {
		http.ServeContent(w, r, "", imagetest.Time, bytes.NewReader(raw))
	}
	return v1.Descriptor{MediaType: types.OCILayer, Size: int64(len(raw)), Digest: hashOf(raw)}
}

// image publishes an image under the tag "t" after change has had its way with the documents.
func (l *liar) image(layers [][]byte, change func(m *v1.Manifest, c *v1.ConfigFile)) {
	m := v1.Manifest{SchemaVersion: 2, MediaType: types.OCIManifestSchema1}
	c := v1.ConfigFile{OS: "linux", Architecture: runtime.GOARCH, RootFS: v1.RootFS{Type: "layers"}}
	for _, raw := range layers {
		m.Layers = append(m.Layers, l.blob(imagetest.Gzip(raw)))
		c.RootFS.DiffIDs = append(c.RootFS.DiffIDs, hashOf(raw))
	}
	change(&m, &c)
	config, _ := json.Marshal(c)
	d := l.blob(config)
	d.MediaType = types.OCIConfigJSON
	if m.Config.Digest.Hex == "" {
		m.Config = d
	} else {
		l.blobs[m.Config.Digest.String()] = l.blobs[d.Digest.String()]
		m.Config.MediaType = types.OCIConfigJSON
	}
	raw, _ := json.Marshal(m)
	l.publish("t", raw, types.OCIManifestSchema1)
}

func (l *liar) publish(tag string, raw []byte, mt types.MediaType) {
	for _, what := range []string{tag, digest(raw)} {
		l.manifests[what], l.types[what] = raw, string(mt)
	}
}

func endless(counter *atomic.Int64) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		junk := bytes.Repeat([]byte("junk"), 64<<10)
		for range 2048 {
			n, err := w.Write(junk)
			counter.Add(int64(n))
			if err != nil {
				return
			}
		}
	}
}

// leftovers lists what a failed pull left behind, apart from partial downloads.
func leftovers(t testing.TB, dir string) string {
	t.Helper()
	var found []string
	for _, d := range []string{"layer", "root", "image", "ref", "tmp", "blob"} {
		list, err := os.ReadDir(filepath.Join(dir, d))
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range list {
			found = append(found, d+"/"+e.Name())
		}
	}
	return strings.Join(found, " ")
}

// TestHonest is the control of TestLies: without a lie the same registry's image comes, and a visit to the trap is counted.
func TestHonest(t *testing.T) {
	layer := imagetest.Tar(imagetest.File("f", "content"))
	var trap atomic.Int64
	away := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		trap.Add(1)
		w.Write(imagetest.Gzip(layer))
	}))
	defer away.Close()
	l := newLiar()
	l.image([][]byte{layer}, func(*v1.Manifest, *v1.ConfigFile) {})
	reg := imagetest.Serve(t, l, nil)
	for _, visits := range []int64{0, 1} {
		s := open(t, t.TempDir())
		img, err := s.Pull(context.Background(), reg.Host+"/x:t", PullOptions{}, nil)
		if err != nil || read(t, img, "f") != "content" {
			t.Fatal(err)
		}
		if n := trap.Load(); n != visits {
			t.Errorf("%d visits to the trap, want %d", n, visits)
		}
		l.blobs[digest(imagetest.Gzip(layer))] = func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, away.URL, http.StatusTemporaryRedirect)
		}
	}
}

// TestLies tries bombs, lies about digests and sizes, and foreign URLs: what a registry may say that is not so.
func TestLies(t *testing.T) {
	layer := imagetest.Tar(imagetest.File("f", "content"))
	other := imagetest.Tar(imagetest.File("f", "other"))
	same := func(*v1.Manifest, *v1.ConfigFile) {}
	var sent, trap atomic.Int64
	away := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { trap.Add(1) }))
	defer away.Close()
	blobOf := func(l *liar, h http.HandlerFunc) { l.blobs[digest(imagetest.Gzip(layer))] = h }
	for _, c := range []struct {
		name  string
		setup func(l *liar) (ref string) // "" is :t
		want  string
		kind  fault.Kind
	}{
		{"layer blob of other content, same size", func(l *liar) string {
			l.image([][]byte{layer}, same)
			raw := imagetest.Gzip(layer)
			raw[len(raw)-1] ^= 1
			blobOf(l, func(w http.ResponseWriter, _ *http.Request) { w.Write(raw) })
			return ""
		}, "", fault.Invalid},
		{"layer blob with something after the tar", func(l *liar) string {
			l.image([][]byte{layer}, same)
			blobOf(l, func(w http.ResponseWriter, r *http.Request) { w.Write(append(imagetest.Gzip(layer), "more"...)) })
			return ""
		}, "refused", fault.Invalid},
		{"layer blob longer than announced, no length", func(l *liar) string {
			l.image([][]byte{layer}, same)
			blobOf(l, endless(&sent))
			return ""
		}, "", fault.Invalid},
		{"layer blob shorter than announced", func(l *liar) string {
			l.image([][]byte{layer}, func(m *v1.Manifest, _ *v1.ConfigFile) { m.Layers[0].Size++ })
			return ""
		}, "announced", fault.Invalid},
		{"diffID of another tar", func(l *liar) string {
			l.image([][]byte{layer}, func(_ *v1.Manifest, c *v1.ConfigFile) { c.RootFS.DiffIDs[0] = hashOf(other) })
			return ""
		}, "its content is", fault.Invalid},
		{"more diffIDs than layers", func(l *liar) string {
			l.image([][]byte{layer}, func(_ *v1.Manifest, c *v1.ConfigFile) { c.RootFS.DiffIDs = append(c.RootFS.DiffIDs, hashOf(other)) })
			return ""
		}, "diffIDs", fault.Invalid},
		{"config of other content", func(l *liar) string {
			l.image([][]byte{layer}, func(m *v1.Manifest, _ *v1.ConfigFile) { m.Config = v1.Descriptor{Digest: hashOf(other), Size: 400} })
			return ""
		}, "", fault.Invalid},
		{"config larger than allowed", func(l *liar) string {
			l.image([][]byte{layer}, func(m *v1.Manifest, _ *v1.ConfigFile) {
				m.Config = v1.Descriptor{Digest: hashOf(other), Size: 1 << 30}
			})
			return ""
		}, "a config of", fault.Invalid},
		{"manifest of other content, asked by digest", func(l *liar) string {
			l.image([][]byte{layer}, same)
			d := digest([]byte("x"))
			l.manifests[d], l.types[d] = l.manifests["t"], string(types.OCIManifestSchema1)
			return "@" + d
		}, "announced", fault.Invalid},
		{"index that points to other content", func(l *liar) string {
			l.image([][]byte{layer}, same)
			d := v1.Descriptor{MediaType: types.OCIManifestSchema1, Digest: hashOf([]byte("x")), Size: int64(len(l.manifests["t"])),
				Platform: &v1.Platform{OS: "linux", Architecture: runtime.GOARCH}}
			l.manifests[d.Digest.String()] = l.manifests["t"]
			raw, _ := json.Marshal(v1.IndexManifest{SchemaVersion: 2, MediaType: types.OCIImageIndex, Manifests: []v1.Descriptor{d}})
			l.publish("t", raw, types.OCIImageIndex)
			return ""
		}, "announced", fault.Invalid},
		{"index with a wrong size", func(l *liar) string {
			l.image([][]byte{layer}, same)
			d := v1.Descriptor{MediaType: types.OCIManifestSchema1, Digest: hashOf(l.manifests["t"]), Size: 7,
				Platform: &v1.Platform{OS: "linux", Architecture: runtime.GOARCH}}
			raw, _ := json.Marshal(v1.IndexManifest{SchemaVersion: 2, Manifests: []v1.Descriptor{d}})
			l.publish("t", raw, types.OCIImageIndex)
			return ""
		}, "announced", fault.Invalid},
		{"index that contains itself", func(l *liar) string {
			// Cannot hash itself: a chain of four.
			raw := []byte(`{}`)
			for range 4 {
				d := v1.Descriptor{MediaType: types.OCIImageIndex, Digest: hashOf(raw), Size: int64(len(raw)), Platform: &v1.Platform{OS: "linux", Architecture: runtime.GOARCH}}
				raw, _ = json.Marshal(v1.IndexManifest{SchemaVersion: 2, Manifests: []v1.Descriptor{d}})
				l.publish("t", raw, types.OCIImageIndex)
			}
			return ""
		}, "indexes in indexes", fault.Invalid},
		{"no entry for this platform", func(l *liar) string {
			d := v1.Descriptor{MediaType: types.OCIManifestSchema1, Digest: hashOf(layer), Platform: &v1.Platform{OS: "linux", Architecture: "s390x"}}
			raw, _ := json.Marshal(v1.IndexManifest{SchemaVersion: 2, Manifests: []v1.Descriptor{d}})
			l.publish("t", raw, types.OCIImageIndex)
			return ""
		}, "only for: linux/s390x", fault.NotFound},
		{"manifest and index at once", func(l *liar) string {
			l.image([][]byte{layer}, same)
			raw := bytes.Replace(l.manifests["t"], []byte(`{`), []byte(`{"manifests":[],`), 1)
			l.publish("t", raw, types.OCIManifestSchema1)
			return ""
		}, "at once", fault.Invalid},
		{"manifest served as an index", func(l *liar) string {
			l.image([][]byte{layer}, same)
			l.types["t"] = string(types.OCIImageIndex)
			return ""
		}, "is not that", fault.Invalid},
		{"schema 1", func(l *liar) string {
			l.publish("t", []byte(`{"schemaVersion":1,"fsLayers":[]}`), types.DockerManifestSchema1)
			return ""
		}, "schema 1", fault.Unsupported},
		{"not JSON", func(l *liar) string { l.publish("t", []byte(`<html>`), "text/html"); return "" }, "refused", fault.Invalid},
		{"endless manifest", func(l *liar) string {
			l.publish("t", bytes.Repeat([]byte(" "), 5<<20), types.OCIManifestSchema1)
			return ""
		}, "more than", fault.Invalid},
		{"artifact that is no image", func(l *liar) string {
			l.image([][]byte{layer}, func(m *v1.Manifest, _ *v1.ConfigFile) {})
			raw := bytes.Replace(l.manifests["t"], []byte(types.OCIConfigJSON), []byte("application/vnd.cncf.helm.config.v1+json"), 1)
			l.publish("t", raw, types.OCIManifestSchema1)
			return ""
		}, "not a container image", fault.Invalid},
		{"encrypted layer", func(l *liar) string {
			l.image([][]byte{layer}, func(m *v1.Manifest, _ *v1.ConfigFile) { m.Layers[0].MediaType += "+encrypted" })
			return ""
		}, "a layer of type", fault.Unsupported},
		{"digest of another algorithm", func(l *liar) string {
			l.image([][]byte{layer}, same)
			raw := bytes.ReplaceAll(l.manifests["t"], []byte(`"digest":"sha256:`), []byte(`"digest":"sha512:`))
			l.publish("t", raw, types.OCIManifestSchema1)
			return ""
		}, "", fault.Internal},
		{"digest that is a path", func(l *liar) string {
			l.image([][]byte{layer}, same)
			raw := bytes.ReplaceAll(l.manifests["t"], []byte(l.blob(imagetest.Gzip(layer)).Digest.Hex[:10]), []byte(`../../../.`))
			l.publish("t", raw, types.OCIManifestSchema1)
			return ""
		}, "", fault.Internal},
		{"negative size", func(l *liar) string {
			l.image([][]byte{layer}, func(m *v1.Manifest, _ *v1.ConfigFile) { m.Layers[0].Size = -1 })
			return ""
		}, "a size of", fault.Invalid},
		{"windows image", func(l *liar) string {
			l.image([][]byte{layer}, func(_ *v1.Manifest, c *v1.ConfigFile) { c.OS = "windows" })
			return ""
		}, "is for windows", fault.Unsupported},
		{"more layers than allowed", func(l *liar) string {
			many := make([][]byte, 130)
			for i := range many {
				many[i] = layer
			}
			l.image(many, same)
			return ""
		}, "130 layers", fault.Invalid},
		{"hostile layer", func(l *liar) string {
			l.image([][]byte{imagetest.Tar(imagetest.File("../../../../etc/evil", ""))}, same)
			return ""
		}, "leads out", fault.Invalid},
		{"foreign layer", func(l *liar) string {
			l.image([][]byte{layer}, func(m *v1.Manifest, _ *v1.ConfigFile) {
				m.Layers[0].MediaType = types.DockerForeignLayer
				m.Layers[0].URLs = []string{away.URL + "/layer"}
			})
			delete(l.blobs, digest(imagetest.Gzip(layer)))
			return ""
		}, "404", fault.NotFound},
		{"redirect to a file URL", func(l *liar) string {
			l.image([][]byte{layer}, same)
			blobOf(l, func(w http.ResponseWriter, r *http.Request) {
				http.Redirect(w, r, "file:///etc/passwd", http.StatusTemporaryRedirect)
			})
			return ""
		}, "", fault.Denied},
		{"redirect to a metadata service", func(l *liar) string {
			l.image([][]byte{layer}, same)
			blobOf(l, func(w http.ResponseWriter, r *http.Request) {
				http.Redirect(w, r, "https://169.254.169.254/x", http.StatusTemporaryRedirect)
			})
			return ""
		}, "no registry is looked for", fault.Denied},
		{"redirect without end", func(l *liar) string {
			l.image([][]byte{layer}, same)
			blobOf(l, func(w http.ResponseWriter, r *http.Request) {
				http.Redirect(w, r, r.URL.Path, http.StatusTemporaryRedirect)
			})
			return ""
		}, "without end", fault.Invalid},
		{"wrong range", func(l *liar) string {
			l.image([][]byte{layer}, same)
			blobOf(l, func(w http.ResponseWriter, r *http.Request) {
				raw := imagetest.Gzip(layer)
				if r.Header.Get("Range") == "" {
					w.Header().Set("Content-Length", fmt.Sprint(len(raw)))
					w.Write(raw[:10])
					w.(http.Flusher).Flush()
					panic(http.ErrAbortHandler)
				}
				w.Header().Set("Content-Range", "bytes 0-9/10")
				w.WriteHeader(206)
				w.Write(raw[:10])
			})
			return ""
		}, "the range", fault.Invalid},
	} {
		t.Run(c.name, func(t *testing.T) {
			l := newLiar()
			ref := c.setup(l)
			if ref == "" {
				ref = ":t"
			}
			reg := imagetest.Serve(t, l, nil)
			dir := t.TempDir()
			s := open(t, dir)
			_, err := s.Pull(context.Background(), reg.Host+"/x"+ref, PullOptions{}, nil)
			if err == nil || !strings.Contains(err.Error(), c.want) || !fault.Is(err, c.kind) && c.kind != fault.Internal {
				t.Errorf("%v (%v), want %q %v", err, fault.KindOf(err), c.want, c.kind)
			}
			if left := leftovers(t, dir); left != "" {
				t.Errorf("left behind: %s", left)
			}
			if jobs := s.Jobs(); len(jobs) != 1 || jobs[0].Phase != Failed || jobs[0].Err == nil {
				t.Errorf("jobs: %+v", jobs)
			}
		})
	}
	if n := sent.Load(); n > 64<<20 {
		t.Errorf("read %d bytes past a small blob", n)
	}
	if trap.Load() != 0 {
		t.Error("a foreign URL was visited")
	}
}

// bomb compresses the tar of one file of n zero bytes without holding it in memory.
func bomb(t testing.TB, n int64, compress func(io.Writer) io.WriteCloser) []byte {
	t.Helper()
	var out bytes.Buffer
	z := compress(&out)
	w := tar.NewWriter(z)
	if err := w.WriteHeader(&tar.Header{Name: "f", Typeflag: tar.TypeReg, Size: n, Mode: 0o644}); err != nil {
		t.Fatal(err)
	}
	zero := make([]byte, 1<<20)
	for left := n; left > 0; left -= int64(len(zero)) {
		if _, err := w.Write(zero[:min(left, int64(len(zero)))]); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(w.Close(), z.Close()); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func gzipTo(w io.Writer) io.WriteCloser { z, _ := gzip.NewWriterLevel(w, gzip.BestSpeed); return z }

func zstdTo(w io.Writer) io.WriteCloser {
	z, _ := zstd.NewWriter(w, zstd.WithWindowSize(64<<20), zstd.WithEncoderConcurrency(1))
	return z
}

// TestBombs pulls layers that unpack to very much, in a child process whose memory is measured.
func TestBombs(t *testing.T) {
	for _, c := range []struct {
		name string
		raw  []byte
		want string
	}{
		{"gzip", bomb(t, 2<<30, gzipTo), "a bomb"},
		{"zstd with a large window", bomb(t, 2<<30, zstdTo), "a bomb"},
	} {
		t.Run(c.name, func(t *testing.T) {
			l := newLiar()
			l.image(nil, func(m *v1.Manifest, cf *v1.ConfigFile) {
				for range 2 { // at once
					m.Layers = append(m.Layers, l.blob(c.raw))
				}
				for i := range 2 {
					cf.RootFS.DiffIDs = append(cf.RootFS.DiffIDs, hashOf([]byte{byte(i)}))
				}
			})
			reg := imagetest.Serve(t, l, nil)
			dir := t.TempDir()
			out, rss, err := child(t, "pull", dir, reg.Host+"/x:t")
			if err == nil || !strings.Contains(out, c.want) {
				t.Errorf("%v: %s", err, out)
			}
			if rss > 700<<20 {
				t.Errorf("%d MiB resident", rss>>20)
			}
			t.Logf("%d KiB compressed, %d MiB resident", len(c.raw)>>10, rss>>20)
			open(t, dir).Close()
			if left := leftovers(t, dir); left != "" {
				t.Errorf("left behind: %s", left)
			}
		})
	}
}
