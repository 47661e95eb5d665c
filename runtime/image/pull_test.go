package image

import (
	"context"
	"os"
	"strings"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/containercloud/cc/fault"
	"github.com/containercloud/cc/runtime/image/imagetest"
)

func open(t testing.TB, dir string) *Store {
	t.Helper()
	s, err := Open(dir, Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

func read(t testing.TB, i *Image, name string) string {
	t.Helper()
	root, err := i.Root()
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	raw, err := os.ReadFile(fdPath(int(root.Fd())) + "/" + name)
	if err != nil {
		return "ERROR " + err.Error()[strings.LastIndex(err.Error(), ": ")+2:]
	}
	return string(raw)
}

func TestPull(t *testing.T) {
	reg := imagetest.NewRegistry(t, nil)
	ref := reg.Push(t, "team/app:1", imagetest.Image(v1.Config{Cmd: []string{"app"}, Env: []string{"A=b"}},
		imagetest.Tar(imagetest.Dir("etc"), imagetest.File("etc/a", "one"), imagetest.File("etc/b", "two")),
		imagetest.Tar(imagetest.File("etc/.wh.b", ""), imagetest.File("etc/a", "three"))))
	s := open(t, t.TempDir())
	p := &Progress{}
	img, err := s.Pull(context.Background(), ref, PullOptions{}, p)
	if err != nil {
		t.Fatal(err)
	}
	if got := read(t, img, "etc/a") + " " + read(t, img, "etc/b"); got != "three ERROR no such file or directory" {
		t.Errorf("content: %s", got)
	}
	if j := p.Job(); j.Phase != Done || j.LayersDone != 2 || j.Bytes != j.Total || j.Total == 0 {
		t.Errorf("progress: %+v", j)
	}
	if img.Config.Cmd[0] != "app" || img.Names[0] != ref || len(img.Layers) != 2 {
		t.Errorf("image: %+v", img)
	}
	for _, name := range []string{ref, img.Digest, img.Digest[7:15], reg.Host + "/team/app@" + img.Digest} {
		if got, err := s.Find(name); err != nil || got.Digest != img.Digest {
			t.Errorf("Find(%s) = %v, %v", name, got, err)
		}
	}
	if _, err := s.Find("nginx"); !fault.Is(err, fault.NotFound) || fault.HintOf(err) != "cc image pull nginx" {
		t.Errorf("Find(nginx): %v, hint %q", err, fault.HintOf(err))
	}
}
