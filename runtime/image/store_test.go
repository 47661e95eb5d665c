package image

import (
	"archive/tar"
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/containercloud/cc/fault"
	"github.com/containercloud/cc/runtime/image/imagetest"
)

// check verifies everything a store believes: what it has in memory is what is on the disk, images are complete, nothing is
// in tmp.
func check(t testing.TB, dir string) {
	t.Helper()
	s := open(t, dir)
	defer s.Close()
	for _, img := range s.List() {
		if img.Host {
			continue
		}
		r, err := img.Root()
		if err != nil {
			t.Errorf("%s: %v", img.Digest, err)
			continue
		}
		r.Close()
		if _, err := img.Manifest(); err != nil {
			t.Error(err)
		}
	}
	for _, d := range []string{"layer", "root"} {
		list, _ := os.ReadDir(filepath.Join(dir, d))
		for _, e := range list {
			if _, err := os.Stat(filepath.Join(dir, d, e.Name(), "record")); err != nil {
				t.Error(err)
			}
		}
	}
	if list, _ := os.ReadDir(filepath.Join(dir, "tmp")); len(list) > 0 {
		t.Errorf("tmp: %v", list)
	}
}

// bigImage has several layers of many files.
func bigImage(seed uint64) v1.Image {
	var layers [][]byte
	for l := range 4 {
		var es []imagetest.Entry
		for i := range 300 {
			es = append(es, imagetest.File(fmt.Sprintf("d%d/%d/f", l, i), noise(seed+uint64(l), 1+i*37)))
		}
		es = append(es, imagetest.File(".wh.d9", ""))
		layers = append(layers, imagetest.Tar(es...))
	}
	return imagetest.Image(v1.Config{Cmd: []string{fmt.Sprint(seed)}}, layers...)
}

// TestKill kills pulls and collections at random moments: the store opens, is whole, and a pull completes.
func TestKill(t *testing.T) {
	reg := imagetest.NewRegistry(t, nil)
	var refs []string
	for i := range 3 {
		refs = append(refs, reg.Push(t, fmt.Sprintf("a%d", i), bigImage(uint64(i))))
	}
	dir := t.TempDir()
	start := time.Now()
	if out, _, err := child(t, "pull", dir, refs[0]); err != nil {
		t.Fatal(out)
	}
	whole := time.Since(start)
	rounds := 40
	if testing.Short() {
		rounds = 5
	}
	killed := 0
	for i := range rounds {
		if i%8 == 0 {
			os.RemoveAll(dir)
		}
		what, args := "pull", []string{dir, refs[i%3]}
		if i%5 == 4 {
			what, args = "gc", []string{dir}
			s := open(t, dir)
			s.Remove(refs[(i+1)%3])
			s.Close()
		}
		cmd := childCommand(what, args...)
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Duration(rand.Int64N(int64(whole))))
		cmd.Process.Kill()
		if cmd.Wait() != nil {
			killed++
		}
		check(t, dir)
	}
	t.Logf("%d of %d killed, a pull takes %v", killed, rounds, whole)
	for _, ref := range refs {
		if out, _, err := child(t, "pull", dir, ref); err != nil {
			t.Error(out)
		}
	}
	check(t, dir)
}

// TestPowerLoss: what was not flushed before the machine stopped is not believed.
func TestPowerLoss(t *testing.T) {
	reg := imagetest.NewRegistry(t, nil)
	ref := reg.Push(t, "a", bigImage(1))
	ref2 := reg.Push(t, "b", bigImage(2))
	dir := t.TempDir()
	s := open(t, dir)
	if _, err := s.Pull(context.Background(), ref, PullOptions{}, nil); err != nil {
		t.Fatal(err)
	}
	waitFor(t, func() bool {
		made, _ := filepath.Glob(dir + "/*/*/record")
		flushed, _ := filepath.Glob(dir + "/*/*/durable")
		return len(flushed) == len(made)
	})
	s.Close()
	s = open(t, dir)
	if _, err := s.Pull(context.Background(), ref2, PullOptions{}, nil); err != nil {
		t.Fatal(err)
	}
	s.Close()
	// As if the machine had stopped before the second pull's flush.
	img2, _ := bigImage(2).ConfigFile()
	for _, id := range img2.RootFS.DiffIDs {
		os.Remove(filepath.Join(dir, "layer", id.Hex, "durable"))
	}
	records, _ := filepath.Glob(dir + "/*/*/record")
	for _, r := range records {
		raw, _ := os.ReadFile(r)
		i := bytes.Index(raw, []byte(`"boot": "`)) + len(`"boot": "`)
		copy(raw[i:], "another-boot")
		os.WriteFile(r, raw, 0o600)
	}
	s = open(t, dir)
	if _, err := s.Find(ref); err != nil {
		t.Errorf("flushed image: %v", err)
	}
	if _, err := s.Find(ref2); !fault.Is(err, fault.NotFound) {
		t.Errorf("image that was not flushed: %v", err)
	}
	s.Close()
	check(t, dir)
}

func TestStoreIsPrivate(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "store")
	s := open(t, dir)
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	w.WriteHeader(&tar.Header{Name: "suid", Typeflag: tar.TypeReg, Mode: 0o4755})
	w.Close()
	if _, err := s.Import(context.Background(), &b, "x", nil); err != nil {
		t.Fatal(err)
	}
	os.Chmod(filepath.Dir(dir), 0o755)
	os.Chmod(filepath.Dir(filepath.Dir(dir)), 0o755)
	for name, open := range map[string]bool{filepath.Dir(dir): true, dir: false} { // what stands above it is the control
		cmd := exec.Command("ls", name)
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
		if out, err := cmd.CombinedOutput(); (err == nil) != open || strings.Contains(string(out), "Permission denied") == open {
			t.Errorf("%s: %v: %s", name, err, out)
		}
	}
	if _, err := Open(dir, Options{}); !fault.Is(err, fault.Busy) {
		t.Errorf("second Open: %v", err)
	}
}

func TestNamesAndRemoval(t *testing.T) {
	reg := imagetest.NewRegistry(t, nil)
	base := imagetest.Tar(imagetest.File("base", noise(1, 100_000)))
	a := reg.Push(t, "a:1", imagetest.Image(v1.Config{Cmd: []string{"a"}}, base, imagetest.Tar(imagetest.File("a", noise(2, 50_000)))))
	b := reg.Push(t, "b", imagetest.Image(v1.Config{Cmd: []string{"b"}}, base))
	ctx := context.Background()
	s := open(t, t.TempDir())
	for _, ref := range []string{a, b} {
		if _, err := s.Pull(ctx, ref, PullOptions{}, nil); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Tag(a, "app"); err != nil {
		t.Fatal(err)
	}
	img, err := s.Find("docker.io/library/app:latest")
	if err != nil || strings.Join(img.Names, " ") != a+" app" {
		t.Fatalf("%v %v", img, err)
	}
	if err := s.Use(img.Digest, "container/1"); err != nil {
		t.Fatal(err)
	}
	if n, err := s.Remove("app"); n != 0 || err != nil {
		t.Errorf("remove a name: %d %v", n, err)
	}
	if _, err := s.Remove(a); !fault.Is(err, fault.Busy) || !strings.Contains(err.Error(), "container/1") {
		t.Errorf("remove the last name of an image in use: %v", err)
	}
	if _, err := s.Remove(img.Digest[7:19]); !fault.Is(err, fault.Busy) {
		t.Errorf("remove by digest: %v", err)
	}
	s.Release("container/1")
	n, err := s.Remove(img.Digest)
	if err != nil || n < 50_000 || n > 60_000 {
		t.Errorf("freed %d, %v", n, err)
	}
	if _, err := s.Find(a); !fault.Is(err, fault.NotFound) {
		t.Errorf("%v", err)
	}
	if _, err := s.Remove(a); !fault.Is(err, fault.NotFound) {
		t.Errorf("%v", err)
	}
	if err := s.Use(img.Digest, "x"); !fault.Is(err, fault.NotFound) {
		t.Errorf("%v", err)
	}
	// A name that moves on leaves an image without a name: GC's.
	b2 := reg.Push(t, "b", imagetest.Image(v1.Config{}, imagetest.Tar(imagetest.File("new", ""))))
	if _, err := s.Pull(ctx, b2, PullOptions{}, nil); err != nil {
		t.Fatal(err)
	}
	c, err := s.GC(ctx)
	if err != nil || c.Images != 1 || c.Layers != 1 || c.Bytes < 100_000 || c.Bytes > 110_000 {
		t.Errorf("%+v %v", c, err)
	}
	if c, err := s.GC(ctx); err != nil || c != (Collected{}) {
		t.Errorf("once more: %+v %v", c, err)
	}
	for _, ref := range []string{Host, Builtin} {
		if _, err := s.Remove(ref); !fault.Is(err, fault.Fixed) {
			t.Errorf("%s: %v", ref, err)
		}
		if err := s.Tag(b, ref); !fault.Is(err, fault.Fixed) {
			t.Errorf("%s: %v", ref, err)
		}
	}
}

// TestGCRaces pulls, uses, releases, removes and collects at once: an image in use stays whole.
func TestGCRaces(t *testing.T) {
	reg := imagetest.NewRegistry(t, nil)
	base := imagetest.Tar(imagetest.File("base", noise(1, 200_000)))
	var refs []string
	for i := range 4 {
		refs = append(refs, reg.Push(t, fmt.Sprintf("a%d", i), imagetest.Image(v1.Config{}, base, imagetest.Tar(imagetest.File("f", fmt.Sprint(i))))))
	}
	dir := t.TempDir()
	s := open(t, dir)
	ctx, cancel := context.WithTimeout(context.Background(), 3*time.Second)
	defer cancel()
	var wg sync.WaitGroup
	used := 0
	for w := range 4 {
		wg.Go(func() {
			for i := 0; ctx.Err() == nil; i++ {
				ref, by := refs[(i+w)%4], fmt.Sprint("c", w)
				if _, err := s.Pull(context.Background(), ref, PullOptions{}, nil); err != nil {
					t.Error(err)
					return
				}
				img, err := s.Find(ref)
				if err != nil {
					continue // removed by another
				}
				if s.Use(img.Digest, by) != nil {
					continue
				}
				if got := read(t, img, "f"); got != fmt.Sprint((i+w)%4) {
					t.Errorf("%s: %s", ref, got)
				}
				if got := read(t, img, "base"); len(got) != 200_000 {
					t.Errorf("%s: %.50s", ref, got)
				}
				if w == 0 {
					used++
				}
				s.Release(by)
			}
		})
	}
	wg.Go(func() {
		for i := 0; ctx.Err() == nil; i++ {
			s.Remove(refs[i%4])
			if _, err := s.GC(context.Background()); err != nil {
				t.Error(err)
			}
		}
	})
	wg.Wait()
	if used == 0 {
		t.Error("nothing was used")
	}
	s.Close()
	check(t, dir)
}

func TestImport(t *testing.T) {
	raw := imagetest.Tar(imagetest.Dir("etc"), imagetest.File("etc/hostname", "x"), imagetest.File(".wh.etc", ""))
	ctx := context.Background()
	s := open(t, t.TempDir())
	var digest string
	for _, c := range []struct {
		name string
		raw  []byte
	}{{"plain", raw}, {"gz", imagetest.Gzip(raw)}, {"zst:v1", imagetest.Zstd(raw)}} {
		img, err := s.Import(ctx, bytes.NewReader(c.raw), c.name, nil)
		if err != nil {
			t.Fatal(err)
		}
		if digest != "" && img.Digest != digest {
			t.Errorf("%s: %s, want %s", c.name, img.Digest, digest)
		}
		digest = img.Digest
		if img.Config.Cmd[0] != "sh" || read(t, img, "etc/hostname") != "x" || img.Created.IsZero() {
			t.Errorf("%+v", img)
		}
	}
	for name, raw := range map[string][]byte{
		"bad name!":              raw,
		"host":                   raw,
		"a@sha256:" + digest[7:]: raw,
		"xz":                     []byte("\xfd7zXZ\x00...."),
		"junk":                   []byte("this is no tar at all, but long enough to be one if somebody filled it with zeros to the next block"),
		"cut":                    raw[:700],
		"gzip-cut":               imagetest.Gzip(raw)[:40],
		"hostile":                imagetest.Tar(imagetest.File("../../x", "")),
	} {
		if _, err := s.Import(ctx, bytes.NewReader(raw), name, nil); err == nil || fault.KindOf(err) == fault.Internal {
			t.Errorf("%s: %v (%v)", name, err, fault.KindOf(err))
		}
	}
	cancelled, cancel := context.WithCancel(ctx)
	cancel()
	if _, err := s.Import(cancelled, bytes.NewReader(raw), "c", nil); err == nil {
		t.Error("a cancelled import must fail")
	}
	if c, err := s.GC(ctx); err != nil || c.Bytes != 0 {
		t.Errorf("failed imports left %+v, %v", c, err)
	}
}

func TestLoad(t *testing.T) {
	ctx := context.Background()
	img := imagetest.Image(v1.Config{Cmd: []string{"x"}}, imagetest.Tar(imagetest.File("a", "1")), imagetest.Tar(imagetest.File("b", "2")))
	want, _ := img.Digest()
	tmp := t.TempDir()
	// An OCI layout with an index for two platforms, as a directory and as tars.
	oci := filepath.Join(tmp, "oci")
	other := imagetest.Image(v1.Config{}, imagetest.Tar(imagetest.File("other", "")))
	idx := mutate.AppendManifests(mutate.IndexMediaType(empty.Index, types.OCIImageIndex),
		mutate.IndexAddendum{Add: other, Descriptor: v1.Descriptor{Platform: &v1.Platform{OS: "linux", Architecture: "s390x"}}},
		mutate.IndexAddendum{Add: img, Descriptor: v1.Descriptor{Platform: &v1.Platform{OS: "linux", Architecture: hostPlatform().Architecture}}})
	p, err := layout.Write(oci, empty.Index)
	if err != nil {
		t.Fatal(err)
	}
	if err := p.AppendIndex(idx, layout.WithAnnotations(map[string]string{containerdName: "docker.io/library/multi:1"})); err != nil {
		t.Fatal(err)
	}
	sh := func(format string, args ...any) {
		t.Helper()
		if out, err := exec.Command("sh", "-c", fmt.Sprintf(format, args...)).CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
	}
	sh("tar -C %s -cf %s/oci.tar . && gzip -k %s/oci.tar && zstd -q %s/oci.tar", oci, tmp, tmp, tmp)
	// A docker archive.
	tag, _ := name.NewTag("team/app:7")
	if err := tarball.WriteToFile(filepath.Join(tmp, "docker.tar"), tag, img); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ file, find string }{
		{"oci", "multi:1"}, {"oci.tar", "multi:1"}, {"oci.tar.gz", "multi:1"}, {"oci.tar.zst", want.String()},
		{"docker.tar", "team/app:7"},
	} {
		s := open(t, t.TempDir())
		prog := &Progress{}
		list, err := s.Load(ctx, filepath.Join(tmp, c.file), prog)
		if err != nil || len(list) != 1 {
			t.Fatalf("%s: %v %v", c.file, list, err)
		}
		got, err := s.Find(c.find)
		if err != nil || got.Digest != list[0].Digest || read(t, got, "a")+read(t, got, "b") != "12" || got.Config.Cmd[0] != "x" {
			t.Errorf("%s: %+v %v", c.file, got, err)
		}
		if strings.HasPrefix(c.file, "oci") && got.Digest != want.String() {
			t.Errorf("%s: digest %s, want %s", c.file, got.Digest, want)
		}
		if j := prog.Job(); j.Kind != "load" || j.LayersDone != 2 || j.Bytes != j.Total {
			t.Errorf("%+v", j)
		}
	}
	two, tag2, prog := filepath.Join(tmp, "two.tar"), name.MustParseReference("other:1").(name.Tag), &Progress{}
	if err := tarball.MultiWriteToFile(two, map[name.Tag]v1.Image{tag: img, tag2: other}); err != nil {
		t.Fatal(err)
	}
	if list, err := open(t, t.TempDir()).Load(ctx, two, prog); err != nil || len(list) != 2 {
		t.Errorf("two images: %v %v", list, err)
	}
	if j := prog.Job(); j.LayersDone != j.Layers || j.Bytes != j.Total {
		t.Errorf("two images: %+v", j)
	}
	s := open(t, t.TempDir())
	sh("cd %s && cp -r oci bad && for f in bad/blobs/sha256/*; do if gzip -t $f 2>/dev/null; then truncate -s -1 $f; fi; done", tmp)
	sh("cd %s && mkdir links && ln -s /etc/passwd links/index.json && mkfifo fifo && mkdir none && cp -r oci traverse && sed -i 's/sha256:[0-9a-f]*/sha256:..\\/..\\/..\\/..\\/etc\\/passwd/' traverse/index.json", tmp)
	for _, f := range []string{"bad", "links", "fifo", "none", "nosuch", "traverse", "oci/oci-layout"} {
		if _, err := s.Load(ctx, filepath.Join(tmp, f), nil); err == nil {
			t.Errorf("%s: no error", f)
		} else {
			t.Logf("%s: %v", f, err)
		}
	}
}

func TestHostImage(t *testing.T) {
	if out, _, err := child(t, "host", t.TempDir(), ""); err != nil {
		t.Error(out)
	}
}

func FuzzReference(f *testing.F) {
	for _, s := range []string{"bb", "registry:5000/team/app:1", "a@sha256:" + strings.Repeat("0", 64), "../x", "docker.io/x", "UPPER", "a:b:c", "é", "a/../b", "builtin"} {
		f.Add(s)
	}
	s := &Store{refs: map[string]refRecord{}, images: map[string]*image{}}
	f.Fuzz(func(t *testing.T, given string) {
		r, err := parseRef(given, false)
		if err == nil {
			again, err := parseRef(r.canonical, false)
			if err != nil || again.canonical != r.canonical {
				t.Errorf("%q -> %q -> %q, %v", given, r.canonical, again.canonical, err)
			}
			if strings.Contains(r.canonical, "..") || strings.ContainsAny(r.canonical, " \n\x00") {
				t.Errorf("%q", r.canonical)
			}
		}
		if _, err := s.findLocked(given); err == nil {
			t.Errorf("found %q in an empty store", given)
		}
	})
}

// FuzzDocuments reads any bytes as each of a registry's documents.
func FuzzDocuments(f *testing.F) {
	img := imagetest.Image(v1.Config{Cmd: []string{"x"}}, imagetest.Tar(imagetest.File("a", "1")))
	raw, _ := img.RawManifest()
	f.Add(raw)
	raw, _ = img.RawConfigFile()
	f.Add(raw)
	f.Add([]byte(`{"schemaVersion":2,"manifests":[{"platform":null},{"platform":{"os":"linux"}}]}`))
	f.Add([]byte(`{"schemaVersion":2,"config":{"digest":"sha256:"},"layers":[null]}`))
	f.Fuzz(func(t *testing.T, raw []byte) {
		kindOf(raw, "")
		if d, err := choose(raw, hostPlatform()); err == nil {
			checkDescriptor(d)
		}
		m, err := parseManifest(raw)
		c, err2 := parseConfig(raw)
		if err == nil && err2 == nil {
			pair(m, c)
		}
		if err == nil {
			for _, l := range m.Layers {
				if strings.ContainsAny(l.Digest.Hex, "/.") || len(l.Digest.Hex) != 64 {
					t.Errorf("%q", l.Digest.Hex)
				}
			}
		}
	})
}
