package boot

import (
	"io"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/containercloud/cc/fault"
)

func cloned(t testing.TB, path string, ids IDMap) *os.File {
	t.Helper()
	f, err := os.OpenFile(path, unix.O_PATH, 0)
	must(t, err)
	defer f.Close()
	m, err := CloneMount(f, false, ids)
	must(t, err)
	t.Cleanup(func() { m.Close() })
	return m
}

func TestMounts(t *testing.T) {
	both(t, func(t *testing.T, o SlotOptions) {
		lower := image(t)
		must(t, os.Mkdir(lower+"/run", 0o755))
		must(t, os.Mkdir(lower+"/var", 0o755))
		must(t, os.Symlink("/run", lower+"/var/run"))
		dir, file := t.TempDir(), filepath.Join(t.TempDir(), "hosts")
		must(t, os.WriteFile(dir+"/content", []byte("volume\n"), 0o644))
		must(t, os.WriteFile(file, []byte("127.0.0.1 box\n"), 0o644))
		got := runIn(t, o, lower, func(c *Config) {
			c.ReadOnly = true
			c.Mounts = []Mount{
				{Target: "/data/a/b", Source: cloned(t, dir, o.IDs)},
				{Target: "/data/ro", Source: cloned(t, dir, o.IDs), ReadOnly: true},
				{Target: "/etc/hosts", Source: cloned(t, file, o.IDs), File: true},
				{Target: "/scratch", Tmpfs: 1 << 20, NoExec: true},
				{Target: "/var/run/sock", Source: cloned(t, file, o.IDs), File: true},
				{Target: "/data/a/b/inner", Tmpfs: 1 << 20},
				{Target: "/dev/shm", Tmpfs: 2 << 20},
			}
		}, "sh", "-c", `cat /data/a/b/content /etc/hosts /run/sock
touch /data/a/b/new && echo rw; touch /data/ro/new || echo ro; touch /new || echo root ro; echo x > /scratch/x && echo scratch
grep -E ' /(scratch|data/ro|data/a/b|data/a/b/inner|dev/shm) ' /proc/self/mountinfo | sed 's/.* \(\/[a-z/]*\) \([a-z,]*\) - .*/\1 \2/; s/,idmapped//' | sort; stat -c %u:%g /data/a/b/content`)
		want := `volume
127.0.0.1 box
127.0.0.1 box
rw
touch: /data/ro/new: Read-only file system
ro
touch: /new: Read-only file system
root ro
scratch
/data/a/b rw,nodev,relatime
/data/a/b/inner rw,nosuid,nodev,relatime
/data/ro ro,nodev,relatime
/dev/shm rw,nosuid,nodev,noexec,relatime
/dev/shm rw,nosuid,nodev,relatime
/scratch rw,nosuid,nodev,noexec,relatime
0:0
`
		if got.out != want {
			t.Errorf("got:\n%s\nwant:\n%s", got.out, want)
		}
	})
}

// Files of the lowers are the container's; what it writes has the mapped ids on disk; a volatile upper can be used again.
func TestOverlay(t *testing.T) {
	both(t, func(t *testing.T, o SlotOptions) {
		spawner(t)
		lower, dir := image(t), t.TempDir()
		top := t.TempDir()
		must(t, os.WriteFile(top+"/both", []byte("top\n"), 0o644))
		must(t, os.WriteFile(lower+"/both", []byte("bottom\n"), 0o644))
		must(t, os.Chown(lower+"/both", 1000, 1000))
		must(t, os.Mkdir(dir+"/upper", 0o755))
		must(t, os.Mkdir(dir+"/work", 0o700))
		open := func(p string) *os.File {
			f, err := os.OpenFile(p, unix.O_PATH|unix.O_DIRECTORY, 0)
			must(t, err)
			t.Cleanup(func() { f.Close() })
			return f
		}
		once := func(lowers []*os.File, opts OverlayOptions, script string) string {
			t.Helper()
			root, err := Overlay(lowers, open(dir+"/upper"), open(dir+"/work"), opts)
			must(t, err)
			s := newSlot(t, o)
			r, w, err := os.Pipe()
			must(t, err)
			c := config(t, root, "sh", "-c", script)
			c.Stdio[1], c.Stdio[2] = w, w
			must(t, launch(testContext(t), s, c))
			w.Close()
			root.Close()
			b, err := io.ReadAll(r)
			must(t, err)
			waitExit(t, s.child)
			must(t, s.Close())
			return string(b)
		}
		opts := OverlayOptions{Volatile: true, IDs: o.IDs}
		if got := once([]*os.File{open(top), open(lower)}, opts, "cat /both; stat -c %u /bin/busybox /both; echo x > /new; echo y >> /etc/passwd; mkdir /d"); got != "top\n0\n0\n" {
			t.Errorf("got %q", got)
		}
		for _, p := range []string{"/new", "/etc/passwd", "/d"} {
			var st unix.Stat_t
			must(t, unix.Stat(dir+"/upper"+p, &st))
			if st.Uid != o.IDs.Base {
				t.Errorf("%s in the upper directory belongs to %d", p, st.Uid)
			}
		}
		if _, err := Overlay([]*os.File{open(lower)}, open(dir+"/upper"), open(dir+"/work"), opts); !fault.Is(err, fault.Invalid) {
			t.Errorf("a volatile upper was taken again without being told to: %v", err)
		}
		opts.Reuse = true
		if o.IDs.Size != 0 { // with a lower that was mapped before, as a pool does
			low := open(lower)
			m, err := CloneTop(low, o.IDs)
			must(t, err)
			defer m.Close()
			opts.Mapped = true
			if probe, err := Overlay([]*os.File{m}, open(dir+"/upper"), open(dir+"/work"), opts); fault.Is(err, fault.Unsupported) {
				t.Skip("the rest needs Linux 6.15: ", err)
			} else if err == nil {
				probe.Close()
			}
			if got := once([]*os.File{m}, opts, "cat /both /new; stat -c %u /both"); got != "bottom\nx\n1000\n" {
				t.Errorf("got %q", got)
			}
			return
		}
		if got := once([]*os.File{open(lower)}, opts, "cat /both /new; stat -c %u /both"); got != "bottom\nx\n1000\n" {
			t.Errorf("got %q", got)
		}
	})
}

// Whatever is mounted for a moment goes again, and what cannot be mapped says so.
func TestCloneMount(t *testing.T) {
	needRoot(t)
	before, err := os.ReadFile("/proc/self/mountinfo")
	must(t, err)
	m := rootOf(t, image(t), mapped)
	m.Close()
	after, err := os.ReadFile("/proc/self/mountinfo")
	must(t, err)
	if string(before) != string(after) {
		t.Errorf("mounts before:\n%s\nafter:\n%s", before, after)
	}
	proc, err := os.Open("/proc")
	must(t, err)
	defer proc.Close()
	if _, err := CloneMount(proc, false, mapped); !fault.Is(err, fault.Unsupported) {
		t.Errorf("a mapped /proc: %v", err)
	}
}
