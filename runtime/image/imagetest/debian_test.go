package imagetest_test

import (
	"context"
	"fmt"
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
	images, err := imagetest.Debian(context.Background(), cache, imagetest.DebianNames()...)
	if err != nil {
		t.Fatal(err)
	}
	for i, name := range imagetest.DebianNames() {
		img := images[i]
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
		if out, err := serve(t, s, got, checks[name]); err != nil {
			t.Errorf("%s: %v: %s", name, err, out)
		}
		t.Logf("%s: %d layers, %d MB, skipped %+v", name, len(got.Layers), got.Size>>20, got.Skipped)
	}
}

// checks are asked, with the root as $R, until they succeed: what a second container would ask.
var checks = map[string]string{
	"debian":   `[ "$(chroot $R dpkg -l | grep -c ^ii)" -gt 50 ]`,
	"busybox":  `[ "$(chroot $R sh -c 'echo $((6*7))')" = 42 ]`,
	"nginx":    `curl -sf http://127.0.0.1/ | grep -q 'hello from nginx'`,
	"python":   `curl -sf http://127.0.0.1:8000/ | grep -q 'hello from python'`,
	"java":     `curl -sf http://127.0.0.1:8080/ | grep -q 'hello from java'`,
	"redis":    `[ "$(chroot $R redis-cli -h 127.0.0.1 ping)" = PONG ]`,
	"postgres": `chroot $R pgbench -h 127.0.0.1 -U postgres -i -q postgres && chroot $R pgbench -h 127.0.0.1 -U postgres -t 50 -c 2 postgres`,
}

// serve runs an image's command in an overlay over its root, in namespaces of its own, and asks it.
func serve(t *testing.T, s *image.Store, img *image.Image, check string) (string, error) {
	root, err := img.Root()
	if err != nil {
		return "", err
	}
	defer root.Close()
	u, err := s.Users(root, img.Config.User)
	if err != nil {
		return "", err
	}
	const script = `set -e; L=$1; shift; mount -t tmpfs tmpfs "$1"; mkdir "$1/u" "$1/w" "$1/r"
mount -t overlay overlay -o "lowerdir=$L,upperdir=$1/u,workdir=$1/w" "$1/r"; export R="$1/r"
mount -t proc proc $R/proc 2>/dev/null || { mkdir -p $R/proc $R/dev; mount -t proc proc $R/proc; }
mount -t tmpfs tmpfs $R/dev; for d in null zero random urandom; do touch $R/dev/$d; mount --bind /dev/$d $R/dev/$d; done
mkdir $R/dev/shm; chmod 1777 $R/dev/shm; ln -s /proc/self/fd $R/dev/fd; ln -s fd/1 $R/dev/stdout; ln -s fd/2 $R/dev/stderr
ip link set lo up; user=$2 dir=$3 check=$4; shift 4
chroot --userspec=$user $R sh -c 'cd "$0" && exec "$@"' "$dir" "$@" >/dev/null </dev/null &
for i in $(seq 100); do if sh -c "$check"; then exit 0; fi; sleep 0.2; done; exit 1`
	// By name: a descriptor would be of a mount in another namespace, which overlayfs does not take.
	lower, err := os.Readlink(fmt.Sprintf("/proc/self/fd/%d", root.Fd()))
	if err != nil {
		return "", err
	}
	dir := img.Config.WorkingDir
	if dir == "" {
		dir = "/"
	}
	args := append([]string{"-mnpf", "--mount-proc", "--kill-child", "sh", "-c", script, "sh", lower, t.TempDir(), fmt.Sprintf("%d:%d", u.UID, u.GID), dir, check}, img.Config.Cmd...)
	cmd := exec.Command("unshare", args...)
	cmd.Env = append(img.Config.Env, "PATH=/usr/lib/postgresql/15/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin")
	out, err := cmd.CombinedOutput()
	if len(out) > 2000 {
		out = out[len(out)-2000:]
	}
	return string(out), err
}
