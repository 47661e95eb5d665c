package image

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/static"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"golang.org/x/sys/unix"

	"github.com/containercloud/cc/fault"
	"github.com/containercloud/cc/runtime/image/builtin"
	"github.com/containercloud/cc/runtime/image/imagetest"
)

// TestBuiltin: the userland is there after Open, survives GC, is taken over by a newer one, and runs.
func TestBuiltin(t *testing.T) {
	raw, err := builtin.Tar()
	if err != nil {
		t.Skipf("%v: make builtin", err)
	}
	dir := t.TempDir()
	ctx := context.Background()
	s, err := Open(dir, Options{Builtin: raw})
	if err != nil {
		t.Fatal(err)
	}
	img, err := s.Find(Builtin)
	if err != nil || len(img.Names) != 1 || img.Names[0] != Builtin {
		t.Fatalf("%+v %v", img, err)
	}
	if _, err := s.GC(ctx); err != nil {
		t.Fatal(err)
	}
	root, err := img.Root()
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ script, want string }{
		{"echo $0 $1", "name arg\n"},
		{"x=$(seq 3 | tail -1); echo $((x + 1))", "4\n"},
		{"cut -d: -f1 /etc/passwd | head -1 && id -un", "root\nroot\n"},
		{"set -e; false; echo no", ""},
		{"(exec echo inner); exec echo outer; echo no", "inner\nouter\n"},
		{"for i in a b; do echo -n $i; done | wc -c", "2\n"},
	} {
		cmd := exec.Command("/bin/sh", "-c", c.script, "name", "arg")
		cmd.SysProcAttr = &syscall.SysProcAttr{Chroot: fdPath(int(root.Fd()))}
		cmd.Env, cmd.Dir = img.Config.Env, "/"
		if out, _ := cmd.Output(); string(out) != c.want {
			t.Errorf("%s: %q, want %q", c.script, out, c.want)
		}
	}
	root.Close()
	s.Close()
	// A newer daemon brings another userland; the old one is a container's until it is released.
	other := imagetest.Tar(imagetest.File("etc/version", "2"))
	if s, err = Open(dir, Options{Builtin: io.NewSectionReader(bytes.NewReader(other), 0, int64(len(other)))}); err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if err := s.Use(img.Digest, "old"); err != nil {
		t.Fatal(err)
	}
	if now, err := s.Find(Builtin); err != nil || read(t, now, "etc/version") != "2" {
		t.Errorf("%v", err)
	}
	if c, _ := s.GC(ctx); c.Images != 0 {
		t.Errorf("%+v", c)
	}
	s.Release("old")
	if c, _ := s.GC(ctx); c.Images != 1 || c.Bytes < 1<<20 {
		t.Errorf("%+v", c)
	}
}

// TestPlatforms pulls from an index: this host's entry, or the one asked for; attestations are no platform.
func TestPlatforms(t *testing.T) {
	make := func(arch, variant string) mutate.IndexAddendum {
		img := imagetest.Image(v1.Config{}, imagetest.Tar(imagetest.File("arch", arch+variant)))
		c, _ := img.ConfigFile()
		c = c.DeepCopy()
		c.Architecture, c.Variant = arch, variant
		img, _ = mutate.ConfigFile(img, c)
		return mutate.IndexAddendum{Add: img, Descriptor: v1.Descriptor{Platform: &v1.Platform{OS: "linux", Architecture: arch, Variant: variant}}}
	}
	attestation := make("none", "")
	attestation.Descriptor.Platform = &v1.Platform{OS: "unknown", Architecture: "unknown"}
	idx := mutate.AppendManifests(mutate.IndexMediaType(empty.Index, types.OCIImageIndex),
		attestation, make("arm", "v6"), make("arm", "v7"), make("arm64", "v8"), make("amd64", ""))
	reg := imagetest.NewRegistry(t, nil)
	ref := reg.Push(t, "multi", idx)
	ctx := context.Background()
	s := open(t, t.TempDir())
	for platform, want := range map[string]string{
		"":            hostPlatform().Architecture + strings.Repeat("v8", map[string]int{"arm64": 1}[runtime.GOARCH]),
		"linux/arm64": "arm64v8", "linux/arm/v7": "armv7", "linux/amd64": "amd64", "linux/arm": "armv6",
	} {
		img, err := s.Pull(ctx, ref, PullOptions{Platform: platform}, nil)
		if err != nil || read(t, img, "arch") != want {
			t.Errorf("%q: %v", platform, err)
		}
	}
	for platform, kind := range map[string]fault.Kind{"linux/s390x": fault.NotFound, "windows/amd64": fault.Invalid, "linux": fault.Invalid} {
		if _, err := s.Pull(ctx, ref, PullOptions{Platform: platform}, nil); !fault.Is(err, kind) {
			t.Errorf("%q: %v", platform, err)
		}
	}
	d, _ := idx.Digest()
	if _, err := s.Pull(ctx, reg.Host+"/multi@"+d.String(), PullOptions{}, nil); err != nil {
		t.Error(err)
	}
	if img, err := s.Find(d.String()); err != nil || read(t, img, "arch")[:3] != runtime.GOARCH[:3] {
		t.Errorf("by the index's digest: %v", err)
	}
}

// TestLayerTypes pulls layers plain, by gzip and by zstd, whatever their media type says.
func TestLayerTypes(t *testing.T) {
	raw := func(n string) []byte { return imagetest.Tar(imagetest.File(n, n)) }
	img := empty.Image
	var err error
	for _, l := range []struct {
		name string
		blob []byte
		mt   types.MediaType
	}{
		{"plain", raw("plain"), types.OCIUncompressedLayer},
		{"gzip", imagetest.Gzip(raw("gzip")), types.DockerLayer},
		{"zstd", imagetest.Zstd(raw("zstd")), types.OCILayerZStd},
		{"zstd-as-gzip", imagetest.Zstd(raw("zstd-as-gzip")), types.OCILayer},
		{"two-gzips", append(imagetest.Gzip(raw("two-gzips")[:512]), imagetest.Gzip(raw("two-gzips")[512:])...), types.OCILayer},
	} {
		img, err = mutate.Append(img, mutate.Addendum{Layer: &staticLayer{static.NewLayer(l.blob, l.mt), hashOf(raw(l.name))}})
		if err != nil {
			t.Fatal(err)
		}
	}
	reg := imagetest.NewRegistry(t, nil)
	s := open(t, t.TempDir())
	got, err := s.Pull(context.Background(), reg.Push(t, "a", img), PullOptions{}, nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range []string{"plain", "gzip", "zstd", "zstd-as-gzip", "two-gzips"} {
		if read(t, got, n) != n {
			t.Errorf("%s: %s", n, read(t, got, n))
		}
	}
}

// staticLayer knows the diffID of its blob.
type staticLayer struct {
	v1.Layer
	id v1.Hash
}

func (l *staticLayer) DiffID() (v1.Hash, error) { return l.id, nil }

// TestNothingLeaks counts descriptors, goroutines and files after many pulls that succeed, fail and are cancelled.
func TestNothingLeaks(t *testing.T) {
	reg := imagetest.NewRegistry(t, nil)
	good := reg.Push(t, "good", bigImage(1))
	l := newLiar()
	l.image([][]byte{imagetest.Tar(imagetest.File("f", noise(1, 1<<20)), imagetest.File("../x", ""))}, func(*v1.Manifest, *v1.ConfigFile) {})
	bad := imagetest.Serve(t, l, nil).Host + "/x:t"
	dir := t.TempDir()
	s := open(t, dir)
	round := func() {
		ctx, cancel := context.WithCancel(context.Background())
		go cancel()
		s.Pull(ctx, good, PullOptions{}, nil)
		if _, err := s.Pull(context.Background(), good, PullOptions{}, nil); err != nil {
			t.Fatal(err)
		}
		if _, err := s.Pull(context.Background(), bad, PullOptions{}, nil); err == nil {
			t.Fatal("no error")
		}
		s.Import(context.Background(), bytes.NewReader([]byte("junk")), "x", nil)
		s.Remove(good)
	}
	count := func() (fds, routines int) {
		list, _ := os.ReadDir("/proc/self/fd")
		return len(list), runtime.NumGoroutine()
	}
	for range 3 {
		round()
	}
	fds, routines := count()
	for range 15 {
		round()
	}
	waitFor(t, func() bool {
		f, r := count()
		return f <= fds+5 && r <= routines+10
	})
	if left := leftovers(t, dir); left != "" {
		t.Errorf("left: %s", left)
	}
}

// TestFullDisk fills stores with little room: a sentence that says so first, nothing left, and success when there is room.
func TestFullDisk(t *testing.T) {
	reg := imagetest.NewRegistry(t, nil)
	dir := t.TempDir()
	layer := imagetest.Tar(imagetest.File("e", ""), imagetest.File("f", noise(1, 20<<20))) // the first is looked at the disk for
	img := imagetest.Image(v1.Config{}, layer)
	ref := reg.Push(t, "a", img)
	tag, _ := name.NewTag("b")
	if err := errors.Join(tarball.WriteToFile(dir+"/docker.tar", tag, img), os.WriteFile(dir+"/root.tar", layer, 0o600)); err != nil {
		t.Fatal(err)
	}
	if out, _, err := child(t, "full", t.TempDir(), ref, dir); err != nil {
		t.Errorf("%v: %s", err, out)
	}
}

func fullChild(dir, ref, archives string) error {
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, "size=16m"); err != nil {
		return err
	}
	rootfs, err := os.Open(archives + "/root.tar")
	if err != nil {
		return err
	}
	st, err := rootfs.Stat()
	if err != nil {
		return err
	}
	ctx := context.Background()
	jobs := map[string]func(s *Store) error{
		"pull": func(s *Store) error { _, err := s.Pull(ctx, ref, PullOptions{}, nil); return err },
		"load": func(s *Store) error { _, err := s.Load(ctx, archives+"/docker.tar", nil); return err },
		"import": func(s *Store) error {
			f, err := os.Open(rootfs.Name()) // an import that fails closes it
			if err == nil {
				_, err = s.Import(ctx, f, "c", nil)
			}
			return err
		},
		"builtin": func(s *Store) error { _, err := s.Find(Builtin); return err },
	}
	for _, c := range []struct {
		free int64
		want string
	}{
		{1, "no space left on device"},
		{1 << 30, "MiB free on the disk, 1024 MiB needed: 1024 MiB must stay free"},
	} {
		s, err := Open(dir+"/s", Options{Limits: Limits{Layer: unpackLimits(c.free)}, Builtin: io.NewSectionReader(rootfs, 0, st.Size())})
		if err != nil {
			return err
		}
		for what, do := range jobs {
			err := do(s)
			if !fault.Is(err, fault.NoSpace) || !strings.HasSuffix(err.Error(), c.want) || strings.Contains(err.Error(), "cancel") {
				return fmt.Errorf("%s with %d to stay free: %w (%v)", what, c.free, err, fault.KindOf(err))
			}
		}
		if _, err := s.GC(ctx); err != nil {
			return err
		}
		for _, d := range subdirs {
			if list, _ := os.ReadDir(filepath.Join(dir, "s", d)); len(list) > 0 {
				return fmt.Errorf("left %v in %s", list, d)
			}
		}
		s.Close()
	}
	s, err := Open(dir+"/s", Options{Limits: Limits{Layer: unpackLimits(1)}, Builtin: io.NewSectionReader(rootfs, 0, st.Size())})
	if err != nil {
		return err
	}
	if err := unix.Mount("tmpfs", dir, "tmpfs", unix.MS_REMOUNT, "size=200m"); err != nil {
		return err
	}
	for what, do := range jobs {
		if err := do(s); err != nil {
			return fmt.Errorf("%s with room: %w", what, err)
		}
	}
	return s.Close()
}

func TestOpenAs(t *testing.T) {
	dir := t.TempDir()
	for p := dir; p != "/"; p = filepath.Dir(p) {
		if st, err := os.Stat(p); err == nil && st.Mode().Perm()&0o005 != 0o005 {
			os.Chmod(p, st.Mode().Perm()|0o055)
		}
	}
	write := func(name string, mode os.FileMode, uid, gid int) string {
		p := filepath.Join(dir, name)
		if err := errors.Join(os.WriteFile(p, []byte(name), 0o600), os.Chown(p, uid, gid), os.Chmod(p, mode)); err != nil {
			t.Fatal(err)
		}
		return p
	}
	for _, c := range []struct {
		path   string
		groups []uint32
		ok     bool
	}{
		{write("root", 0o600, 0, 0), nil, false},
		{write("all", 0o644, 0, 0), nil, true},
		{write("own", 0o600, 4711, 0), nil, true},
		{write("group", 0o640, 0, 4712), nil, true},
		{write("more", 0o640, 0, 4713), nil, false},
		{write("more2", 0o640, 0, 4713), []uint32{4713}, true},
		{"/etc/shadow", nil, false},
	} {
		f, err := OpenAs(c.path, 4711, 4712, c.groups)
		if (err == nil) != c.ok {
			t.Errorf("%s: %v", c.path, err)
		}
		if err == nil {
			f.Close()
		}
	}
	if f, err := OpenAs("/etc/shadow", 0, 0, nil); err != nil { // and this thread is still root
		t.Error(err)
	} else {
		f.Close()
	}
}

// TestPodmanArchives loads what podman save writes, where podman is installed.
func TestPodmanArchives(t *testing.T) {
	podman, err := exec.LookPath("podman")
	if err != nil {
		t.Skip("podman is not installed")
	}
	dir := t.TempDir()
	reg := imagetest.NewRegistry(t, nil)
	ref := reg.Push(t, "team/app:1", imagetest.Image(v1.Config{Cmd: []string{"x"}},
		imagetest.Tar(imagetest.File("a", "1"), imagetest.File("b", "2")), imagetest.Tar(imagetest.File(".wh.a", ""))))
	run := func(args ...string) {
		t.Helper()
		cmd := exec.Command(podman, append([]string{"--root", dir + "/root", "--runroot", dir + "/run"}, args...)...)
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("podman %v: %v: %s", args, err, out)
		}
	}
	defer exec.Command("umount", dir+"/root/overlay").Run()
	run("pull", "-q", "--tls-verify=false", ref)
	for _, format := range []string{"oci-archive", "docker-archive", "oci-dir"} {
		out := filepath.Join(dir, format)
		run("save", "-q", "--format", format, "-o", out, ref)
		s := open(t, t.TempDir())
		list, err := s.Load(context.Background(), out, nil)
		if err != nil {
			t.Errorf("%s: %v", format, err)
			continue
		}
		if got := read(t, list[0], "a") + read(t, list[0], "b"); got != "ERROR no such file or directory2" || list[0].Config.Cmd[0] != "x" {
			t.Errorf("%s: %s", format, got)
		}
		if _, err := s.Find(ref); err != nil && format != "oci-dir" {
			t.Errorf("%s: names %v: %v", format, list[0].Names, err)
		}
	}
}
