package image

import (
	"archive/tar"
	"bytes"
	"context"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/tarball"

	"github.com/containercloud/cc/runtime/image/imagetest"
)

// hostImageOf makes an image of about size bytes in n layers from this host's own /usr: real files of real sizes that compress as
// files do.
func hostLayers(b *testing.B, size int64, n int) []v1.Layer {
	b.Helper()
	var layers []v1.Layer
	var buf bytes.Buffer
	w := tar.NewWriter(&buf)
	var in int64
	done := fmt.Errorf("enough")
	flush := func() {
		w.Close()
		raw := bytes.Clone(buf.Bytes())
		l, err := tarball.LayerFromOpener(func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(raw)), nil }, tarball.WithCompressedCaching)
		if err != nil {
			b.Fatal(err)
		}
		layers = append(layers, l)
		buf.Reset()
		w = tar.NewWriter(&buf)
		in = 0
	}
	err := filepath.WalkDir("/usr", func(p string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return nil
		}
		raw, err := os.ReadFile(p)
		if err != nil || len(raw) > 30<<20 {
			return nil
		}
		if err := w.WriteHeader(&tar.Header{Name: strings.TrimPrefix(p, "/"), Mode: 0o755, Size: int64(len(raw)), ModTime: imagetest.Time}); err != nil {
			return err
		}
		if _, err := w.Write(raw); err != nil {
			return err
		}
		if in += int64(len(raw)); in >= size/int64(n) {
			if flush(); len(layers) == n {
				return done
			}
		}
		return nil
	})
	if err != done {
		b.Skip("this host's /usr is too small for the image")
	}
	return layers
}

// BenchmarkPull pulls 500 MB of layers (unpacked) from a registry on loopback, in turns with podman pull where that is
// installed; the metric "x-podman" is the ratio of the medians.
func BenchmarkPull(b *testing.B) {
	reg := imagetest.NewDiskRegistry(b, b.TempDir())
	ref := reg.Push(b, "bench", imagetest.ImageOf(v1.Config{}, hostLayers(b, 500<<20, 5)...))
	podman, err := exec.LookPath("podman")
	if err != nil {
		b.Log("no podman here: no ratio")
	}
	var ours, theirs time.Duration
	for b.Loop() {
		dir := b.TempDir()
		start := time.Now()
		if out, _, err := child(b, "pull", dir, ref); err != nil {
			b.Fatal(out)
		}
		ours += time.Since(start)
		if podman == "" {
			continue
		}
		b.StopTimer()
		theirs += podmanPull(b, podman, ref)
		os.RemoveAll(dir)
		b.StartTimer()
	}
	b.ReportMetric(float64(ours.Milliseconds())/float64(b.N), "ms/pull")
	if theirs > 0 {
		b.ReportMetric(float64(theirs.Milliseconds())/float64(b.N), "ms/podman")
		b.ReportMetric(float64(ours)/float64(theirs), "x-podman")
	}
}

func podmanPull(b *testing.B, podman, ref string) time.Duration {
	dir := b.TempDir()
	args := []string{"--root", dir + "/root", "--runroot", dir + "/run", "--storage-driver", "overlay"}
	start := time.Now()
	cmd := exec.Command(podman, append(args, "pull", "-q", "--tls-verify=false", ref)...)
	cmd.Env = append(os.Environ(), "TMPDIR="+dir)
	if out, err := cmd.CombinedOutput(); err != nil {
		b.Fatalf("podman pull: %v: %s", err, out)
	}
	took := time.Since(start)
	exec.Command(podman, append(args, "rmi", "-af")...).Run()
	exec.Command("umount", dir+"/root/overlay").Run()
	os.RemoveAll(dir)
	return took
}

// BenchmarkFind is what each container start pays.
func BenchmarkFind(b *testing.B) {
	s := open(b, b.TempDir())
	for i := range 100 {
		if _, err := s.Import(context.Background(), bytes.NewReader(imagetest.Tar(imagetest.File("f", fmt.Sprint(i)))), fmt.Sprint("img", i), nil); err != nil {
			b.Fatal(err)
		}
	}
	for b.Loop() {
		img, err := s.Find("img50")
		if err != nil {
			b.Fatal(err)
		}
		f, err := img.Root()
		if err != nil {
			b.Fatal(err)
		}
		f.Close()
	}
}

// BenchmarkUnpack is the part of a pull after the network, on one layer.
func BenchmarkUnpack(b *testing.B) {
	l := hostLayers(b, 100<<20, 1)[0]
	r, err := l.Compressed()
	if err != nil {
		b.Fatal(err)
	}
	raw, err := io.ReadAll(r)
	if err != nil {
		b.Fatal(err)
	}
	b.SetBytes(100 << 20)
	for b.Loop() {
		dir := b.TempDir()
		s := open(b, dir)
		if _, err := s.Import(context.Background(), bytes.NewReader(raw), "x", nil); err != nil {
			b.Fatal(err)
		}
		b.StopTimer()
		s.Close()
		os.RemoveAll(dir)
		b.StartTimer()
	}
}
