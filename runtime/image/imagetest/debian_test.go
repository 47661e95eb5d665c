package imagetest_test

import (
	"context"
	"os"
	"os/exec"
	"testing"

	"github.com/containercloud/cc/runtime/image"
	"github.com/containercloud/cc/runtime/image/imagetest"
)

// TestDebian makes all images of Debian packages, pushes them and pulls them by tag and by digest. It takes long the first
// time, so it runs only where CC_TEST_DEBIAN names a cache directory or is "default".
func TestDebian(t *testing.T) {
	cache := os.Getenv("CC_TEST_DEBIAN")
	if cache == "" {
		t.Skip("CC_TEST_DEBIAN is not set: making the images needs Debian's mirrors and minutes")
	}
	if cache == "default" {
		cache = ""
	}
	if _, err := exec.LookPath("mmdebstrap"); err != nil {
		t.Skip("mmdebstrap is not installed")
	}
	reg := imagetest.NewDiskRegistry(t, t.TempDir())
	s, err := image.Open(t.TempDir(), image.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	for _, name := range imagetest.DebianNames() {
		img, err := imagetest.Debian(context.Background(), cache, name)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		ref := reg.Push(t, "debian/"+name+":test", img)
		got, err := s.Pull(context.Background(), ref, image.PullOptions{}, nil)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		d, _ := img.Digest()
		if got.Digest != d.String() {
			t.Errorf("%s: %s, want %s", name, got.Digest, d)
		}
		t.Logf("%s: %d layers, %d MB, skipped %+v", name, len(got.Layers), got.Size>>20, got.Skipped)
	}
}
