package imagetest

import (
	"context"
	"crypto/sha256"
	_ "embed"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"golang.org/x/sync/errgroup"
)

// debianImage says how an image is made of Debian packages.
type debianImage struct {
	packages string // installed by apt over the base layer; empty: the base alone
	script   string // run in the root after that
	files    map[string][]byte
	config   v1.Config
}

//go:embed java/Hello.class
var helloClass []byte

const helloPython = `import http.server
class Hello(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        body = b"hello from python\n"
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
print("listening", flush=True)
http.server.ThreadingHTTPServer(("", 8000), Hello).serve_forever()
`

var debianPath = []string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"}

func ports(list ...string) map[string]struct{} {
	m := map[string]struct{}{}
	for _, p := range list {
		m[p] = struct{}{}
	}
	return m
}

var debianImages = map[string]debianImage{
	"debian": {config: v1.Config{Env: debianPath, Cmd: []string{"bash"}}},
	"nginx": {
		packages: "nginx-light",
		script:   "ln -sf /dev/stdout /var/log/nginx/access.log; ln -sf /dev/stderr /var/log/nginx/error.log; echo 'hello from nginx' > /var/www/html/index.html",
		config:   v1.Config{Env: debianPath, Cmd: []string{"nginx", "-g", "daemon off;"}, ExposedPorts: ports("80/tcp"), StopSignal: "SIGQUIT"},
	},
	"postgres": {
		packages: "postgresql-15",
		script: "echo 'host all all all trust' >> /etc/postgresql/15/main/pg_hba.conf; sed -i -E 's/(peer|scram-sha-256)$/trust/' /etc/postgresql/15/main/pg_hba.conf; " +
			"mkdir -p /run/postgresql; chown postgres: /run/postgresql",
		config: v1.Config{
			Env:  append([]string{"PGDATA=/var/lib/postgresql/15/main"}, "PATH=/usr/lib/postgresql/15/bin:/usr/sbin:/usr/bin:/sbin:/bin"),
			User: "postgres", ExposedPorts: ports("5432/tcp"), StopSignal: "SIGINT",
			Cmd: []string{"postgres", "-c", "config_file=/etc/postgresql/15/main/postgresql.conf", "-c", "listen_addresses=*"},
		},
	},
	"redis": {
		packages: "redis-server",
		config: v1.Config{Env: debianPath, User: "redis", WorkingDir: "/var/lib/redis", ExposedPorts: ports("6379/tcp"),
			Cmd: []string{"redis-server", "--bind", "0.0.0.0", "--protected-mode", "no"}},
	},
	"python": {
		packages: "python3-minimal libpython3-stdlib",
		files:    map[string][]byte{"/srv/hello.py": []byte(helloPython)},
		config:   v1.Config{Env: debianPath, WorkingDir: "/srv", ExposedPorts: ports("8000/tcp"), Cmd: []string{"python3", "hello.py"}},
	},
	"java": {
		packages: "openjdk-17-jre-headless",
		files:    map[string][]byte{"/srv/Hello.class": helloClass},
		config:   v1.Config{Env: debianPath, WorkingDir: "/srv", ExposedPorts: ports("8080/tcp"), Cmd: []string{"java", "-Xshare:auto", "-Xmx64m", "Hello"}},
	},
	"busybox": {config: v1.Config{Env: []string{"PATH=/bin"}, Cmd: []string{"sh"}}},
}

// DebianNames are the images that Debian makes.
func DebianNames() (names []string) {
	for n := range debianImages {
		names = append(names, n)
	}
	slices.Sort(names)
	return names
}

// MakeDebian makes images of Debian packages, as this machine's apt gets them, and keeps their layers in the cache directory
// ("": ~/.cache/cc-images). It makes two at a time: while one waits for the mirror or the disk, the other unpacks. It needs root,
// mmdebstrap, and the network the first time, which takes a minute or two.
func MakeDebian(ctx context.Context, cache string, names ...string) error {
	_, err := makeDebian(ctx, cache, names)
	return err
}

// makeDebian returns the files of the images' layers.
func makeDebian(ctx context.Context, cache string, names []string) ([][]string, error) {
	b, err := newBuilder(cache)
	if err != nil {
		return nil, err
	}
	files := make([][]string, len(names))
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(2)
	for i, n := range names {
		g.Go(func() error {
			img, ok := debianImages[n]
			if !ok {
				return fmt.Errorf("no image %q, only %s", n, strings.Join(DebianNames(), " "))
			}
			list, err := b.layers(ctx, n, img)
			if err != nil {
				return fmt.Errorf("cannot make image %s: %w", n, err)
			}
			files[i] = list
			return nil
		})
	}
	return files, g.Wait()
}

// Debian is MakeDebian, and returns the images. nginx, postgres, redis, python (8000) and java (8080) are servers that answer on
// their exposed port.
func Debian(ctx context.Context, cache string, names ...string) ([]v1.Image, error) {
	files, err := makeDebian(ctx, cache, names)
	if err != nil {
		return nil, err
	}
	known := map[string]v1.Layer{} // the base is in nearly all, and reading it for its digests takes seconds
	images := make([]v1.Image, len(names))
	for i, list := range files {
		var layers []v1.Layer
		for _, f := range list {
			if known[f] == nil {
				if known[f], err = tarball.LayerFromFile(f, tarball.WithMediaType(types.OCILayer)); err != nil {
					return nil, err
				}
			}
			layers = append(layers, known[f])
		}
		images[i] = ImageOf(debianImages[names[i]].config, layers...)
	}
	return images, nil
}

// key changes with what the image is made of.
func (i debianImage) key() string {
	sum := sha256.New()
	fmt.Fprintln(sum, i.packages, i.script)
	for _, n := range slices.Sorted(maps.Keys(i.files)) {
		fmt.Fprintf(sum, "%s %q\n", n, i.files[n])
	}
	return hex.EncodeToString(sum.Sum(nil))[:12]
}

// builder keeps layers as compressed tars in a directory.
type builder struct{ dir string }

// recipe changes when cached layers must be made anew.
const recipe = "3"

func newBuilder(cache string) (*builder, error) {
	if cache == "" {
		home, err := os.UserCacheDir()
		if err != nil {
			return nil, err
		}
		cache = filepath.Join(home, "cc-images")
	}
	dir := filepath.Join(cache, "v"+recipe)
	return &builder{dir}, os.MkdirAll(dir, 0o755)
}

func (b *builder) layers(ctx context.Context, name string, img debianImage) ([]string, error) {
	if name == "busybox" {
		l, err := b.cached("busybox", func(out string) error { return b.busybox(ctx, out) })
		return []string{l}, err
	}
	base, err := b.cached("base", func(out string) error { return b.base(ctx, out) })
	if err != nil || img.packages == "" {
		return []string{base}, err
	}
	l, err := b.cached(name+"-"+img.key(), func(out string) error { return b.install(ctx, base, img, out) })
	return []string{base, l}, err
}

// cached makes a layer file unless it is there, or another process or goroutine is just making it: that one's is taken.
func (b *builder) cached(name string, make func(out string) error) (string, error) {
	out := filepath.Join(b.dir, name+".tar.gz")
	lock, err := os.Create(filepath.Join(b.dir, name+".lock"))
	if err != nil {
		return "", err
	}
	defer lock.Close()
	if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX); err != nil {
		return "", err
	}
	if _, err := os.Stat(out); !errors.Is(err, fs.ErrNotExist) {
		return out, err
	}
	defer os.Remove(out + ".new")
	if err := make(out + ".new"); err != nil {
		return "", err
	}
	return out, os.Rename(out+".new", out)
}

// run runs a shell script in a mount namespace of its own.
func (b *builder) run(ctx context.Context, script string, args ...string) error {
	cmd := exec.CommandContext(ctx, "unshare", append([]string{"-m", "sh", "-euc", script, "sh"}, args...)...)
	cmd.Env = []string{"PATH=/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL=C.UTF-8", "DEBIAN_FRONTEND=noninteractive", "HOME=/root"}
	for _, v := range []string{"http_proxy", "https_proxy", "no_proxy"} {
		if s := os.Getenv(v); s != "" {
			cmd.Env = append(cmd.Env, v+"="+s)
		}
	}
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%w: %s", err, last(out, 2000))
	}
	return nil
}

func last(out []byte, n int) string {
	if len(out) > n {
		out = out[len(out)-n:]
	}
	return string(out)
}

// base is Debian's minbase, with the package lists in it, so that the layers above come from the same moment.
func (b *builder) base(ctx context.Context, out string) error {
	return b.run(ctx, `. /etc/os-release
mmdebstrap --variant=minbase --skip=cleanup/apt/lists --customize-hook='rm -f "$1"/var/cache/apt/*.bin' --format=tar "$VERSION_CODENAME" - > "$1.tar"
gzip -1 < "$1.tar" > "$1"; rm "$1.tar"`, out)
}

// busybox is one static program and its links.
func (b *builder) busybox(ctx context.Context, out string) error {
	work, err := os.MkdirTemp(b.dir, "busybox-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(work)
	return b.run(ctx, `cd "$2"; chmod 755 .; apt-get -q download busybox-static; dpkg -x busybox-static*.deb x; mkdir -p r/bin r/etc r/tmp r/root r/www
cp x/bin/busybox r/bin/; for c in $(r/bin/busybox --list); do [ "$c" = busybox ] || ln -s busybox "r/bin/$c"; done
echo 'root:x:0:0:root:/root:/bin/sh' > r/etc/passwd; echo 'root:x:0:' > r/etc/group; echo 'hello from busybox' > r/www/index.html
chmod 1777 r/tmp; tar --numeric-owner --owner=0 --group=0 --sort=name -C r -cf - . | gzip -1 > "$1"`, out, work)
}
