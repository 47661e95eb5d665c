package tests

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/mutate"

	"github.com/containercloud/cc/runtime/image/imagetest"
)

// realImages are what TestRealImages pulls and runs; all but the busybox of the scenarios share Debian's base layer.
var realImages = []string{"debian", "nginx", "postgres", "redis", "python", "java"}

const sumJava = `public class Sum {
    public static void main(String[] args) {
        System.out.println("java " + java.util.stream.IntStream.rangeClosed(1, 100).parallel().sum());
    }
}
`

const sumPython = `import json, sys
print("python", json.dumps(sum(range(101))), "of", sys.version_info.major)
`

// TestRealImages runs what people run: servers and programs as Debian builds them, pulled from a registry, in one
// network, used from each other. Everything goes through the files of /cc. The images are made once and kept in
// $XDG_CACHE_HOME/cc-images.
func TestRealImages(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("real images need root: they make namespaces, mounts and cgroups")
	}
	for _, tool := range []string{"mmdebstrap", "unshare", "nsenter", "nft", "ip", "javac"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Skipf("%s is not installed: scripts/test-packages installs what tests use, javac is in default-jdk-headless", tool)
		}
	}
	dir := t.TempDir()
	makeImages(t, dir)
	h, err := newHost(binaries(t), dir)
	if err != nil {
		t.Fatal(err)
	}
	defer h.close(t)
	images, stop := serveImages(t, h)
	defer stop()
	s := &session{t, h, images}
	if err := h.start(nil); err != nil {
		t.Fatal(err)
	}
	defer s.clear()
	s.pullAll()
	s.sh(`mkdir /cc/vpc/real; echo 10.8.0.0/24 > /cc/vpc/real/cidr`)
	t.Run("programs", s.programs)
	t.Run("web", s.web)
	t.Run("redis", s.redis)
	t.Run("postgres", s.postgres)
}

// makeImages fills the cache, which needs the machine's network; the registry's process takes the images from there.
func makeImages(t *testing.T, dir string) {
	begin := time.Now()
	if err := imagetest.MakeDebian(context.Background(), "", realImages...); err != nil {
		t.Fatal(err)
	}
	t.Logf("images made, or found made, in %v", time.Since(begin).Round(time.Second))
	source := filepath.Join(dir, "Sum.java")
	if err := os.WriteFile(source, []byte(sumJava), 0o644); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command("javac", "--release", "17", "-d", dir, source).CombinedOutput(); err != nil {
		t.Fatalf("javac: %v\n%s", err, out)
	}
}

const registryDir = "CC_TEST_REGISTRY" // a directory with Sum.class; set in the registry's process

// serveImages starts this test binary again inside the host's network, as a registry that holds the images, and
// returns the reference and the digest of each, and what ends it.
func serveImages(t *testing.T, h *host) (images map[string][2]string, stop func()) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	reg := exec.Command("nsenter", "-t", fmt.Sprint(h.holder.Process.Pid), "-n", self, "-test.run=^TestRegistryProcess$")
	reg.Env = append(os.Environ(), registryDir+"="+h.dir)
	reg.Stderr = os.Stderr
	stdin, err := reg.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := reg.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := reg.Start(); err != nil {
		t.Fatal(err)
	}
	images = map[string][2]string{}
	for in := bufio.NewScanner(stdout); len(images) < len(realImages); {
		if !in.Scan() {
			t.Fatalf("the registry's process ended with %d of %d images", len(images), len(realImages))
		}
		if f := strings.Fields(in.Text()); len(f) == 4 && f[0] == "image" {
			images[f[1]] = [2]string{f[2], f[3]}
		}
	}
	return images, func() { _ = stdin.Close(); _ = reg.Wait() }
}

// TestRegistryProcess is the registry's process: `image NAME REFERENCE DIGEST` lines, then it serves until stdin ends.
func TestRegistryProcess(t *testing.T) {
	dir := os.Getenv(registryDir)
	if dir == "" {
		t.Skip("not a test of its own: TestRealImages starts it inside its host's network")
	}
	reg := imagetest.NewDiskRegistry(t, t.TempDir())
	made, err := imagetest.Debian(context.Background(), "", realImages...)
	if err != nil {
		t.Fatal(err)
	}
	for i, name := range realImages {
		img, err := withProgram(made[i], name, dir)
		if err != nil {
			t.Fatal(err)
		}
		ref := reg.Push(t, "debian/"+name+":12", img)
		digest, err := img.Digest()
		if err != nil {
			t.Fatal(err)
		}
		fmt.Println("image", name, ref, digest)
	}
	_, _ = io.Copy(io.Discard, os.Stdin)
}

// withProgram adds a small layer with a program that prints and ends.
func withProgram(img v1.Image, name, dir string) (v1.Image, error) {
	switch name {
	case "python":
		return mutate.AppendLayers(img, imagetest.Layer(imagetest.Tar(imagetest.File("srv/sum.py", sumPython))))
	case "java":
		class, err := os.ReadFile(filepath.Join(dir, "Sum.class"))
		if err != nil {
			return nil, err
		}
		return mutate.AppendLayers(img, imagetest.Layer(imagetest.Tar(imagetest.File("srv/Sum.class", string(class)))))
	}
	return img, nil
}

// session is a user's shell on the host.
type session struct {
	*testing.T
	h      *host
	images map[string][2]string // reference and digest
}

// prelude is what the shell lines share: talking to a container by its files.
const prelude = `set -eo pipefail
die() { cat /cc/self/error >&2; exit 1; }
# words WORD...: a line of them, quoted as /cc wants it
words() { local w q="'"; for w; do case $w in *[!A-Za-z0-9_./:=@%+,-]*) w=$q${w//$q/$q$q}$q;; esac; printf '%s ' "$w"; done; }
# run NAME OPTIONS... -- COMMAND...
run() { echo "run name=$(words "$@")" > /cc/container/ctl || die; }
ip() { sed -n 's/^ip //p' /cc/container/$1/status; }
# end NAME: wait for the end of a program, show what it printed and its code
end() { cat /cc/container/$1/wait/exited.60s > /dev/null; cat /cc/container/$1/{stdout,stderr}; cut -d' ' -f1 /cc/container/$1/exit; }
# inside NAME COMMAND...: exec, show what it printed and its code
inside() { local c=$1 n; shift; exec 3<>/cc/container/$c/exec/new; read -u3 n; echo "run -- $(words "$@")" >&3 || die
  cat /cc/container/$c/exec/$n/stdout /cc/container/$c/exec/$n/stderr; cut -d' ' -f1 /cc/container/$c/exec/$n/wait; exec 3>&-; }
# until_ NAME COMMAND...: inside, until it succeeds
until_() { local i; for i in {1..100}; do out=$(inside "$@") && [ "${out##*$'\n'}" = 0 ] && return 0; sleep 0.2; done; echo "gave up on: $*; last: $out"; grep -H ^state /cc/container/*/status; tail -n 20 /cc/container/*/{stdout,stderr} >&2; return 1; }
`

// sh runs lines with bash on the host.
func (s *session) sh(lines string) string {
	s.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, "nsenter", s.h.enter("bash", "-c", prelude+lines)...)
	cmd.Env = append(os.Environ(), "PATH="+s.h.bin+":"+os.Getenv("PATH"))
	for name, r := range s.images {
		cmd.Env = append(cmd.Env, name+"="+r[0], name+"_digest="+r[1])
	}
	out, err := cmd.CombinedOutput()
	if err != nil {
		s.Fatalf("%s\n%v\n%s", lines, err, out)
	}
	return string(out)
}

// want checks that the lines appear in the output, in order.
func (s *session) want(lines string, wants ...string) {
	s.Helper()
	out := s.sh(lines)
	rest := out
	for _, w := range wants {
		_, after, ok := strings.Cut(rest, w)
		if !ok {
			s.Fatalf("%s\nprinted\n%s\nwithout %q", lines, out, w)
		}
		rest = after
	}
}

func (s *session) with(t *testing.T) *session { return &session{t, s.h, s.images} }

// clear deletes all that the session made.
func (s *session) clear() {
	s.sh(`for c in /cc/container/*/; do [ -d $c ] || continue; echo "delete force" > $c/ctl; cat $c/wait/gone.20s || true; done; rmdir /cc/vpc/*/`)
}

// pullAll pulls every image twice: by its tag, and by its digest, which must find all there.
func (s *session) pullAll() {
	for _, name := range realImages {
		begin := time.Now()
		s.sh(`echo "pull $` + name + ` wait=5m" > /cc/image/ctl || die`)
		tag := time.Since(begin)
		s.want(`echo "pull ${`+name+`%:*}@$`+name+`_digest wait=5m" > /cc/image/ctl || die
			readlink /cc/image/ref/$`+name, strings.Replace(s.images[name][1], ":", "-", 1))
		s.Logf("%s: pulled in %v, by digest in %v", name, tag.Round(time.Millisecond), (time.Since(begin) - tag).Round(time.Millisecond))
	}
}

// programs print and end.
func (s *session) programs(t *testing.T) {
	s = s.with(t)
	s.want(`run sh image=$debian vpc=real -- bash -c 'cat /etc/debian_version; id -u'; end sh`, "12.", "\n0\n0\n")
	s.want(`run py image=$python vpc=real -- python3 sum.py; end py`, "python 5050 of 3\n0\n")
	s.want(`run jv image=$java vpc=real -- java -Xshare:auto -Xmx64m Sum; end jv`, "java 5050\n0\n")
	s.want(`run bad image=$python -- python3 -c 'raise SystemExit(3)'; end bad`, "3\n")
	s.want(`cc run --rm --image "${debian%:*}@$debian_digest" -- dpkg-query -W -f '${Package}\n' base-files`, "base-files\n")
}

// web: nginx and the two HTTP programs, each as its image says, fetched from another container of the network.
func (s *session) web(t *testing.T) {
	s = s.with(t)
	s.sh(`for c in nginx python java; do run $c image=${!c} vpc=real; cat /cc/container/$c/wait/running.20s > /dev/null; done`)
	s.sh(`run client image=$python vpc=real -- sleep 1000`)
	for _, c := range []struct{ name, port, page string }{
		{"nginx", "80", "hello from nginx"}, {"python", "8000", "hello from python"}, {"java", "8080", "hello from java"},
	} {
		s.want(`until_ client python3 -c 'import sys, urllib.request as u; sys.stdout.write(u.urlopen(sys.argv[1], timeout=5).read().decode())' http://$(ip `+
			c.name+`):`+c.port+`/; echo "$out"`, c.page+"\n0\n")
	}
	s.want(`cat /cc/container/nginx/stdout`, `"GET / HTTP/1.1" 200`)
	// nginx ends by SIGQUIT, its image's stop signal, and with code 0.
	s.want(`echo "stop wait=20s" > /cc/container/nginx/ctl || die; cut -d' ' -f1 /cc/container/nginx/exit`, "0\n")
}

// redis: SET and GET from another container of the same image.
func (s *session) redis(t *testing.T) {
	s = s.with(t)
	s.sh(`run redis image=$redis vpc=real; run rediscli image=$redis vpc=real -- sleep 1000
		until_ rediscli redis-cli -h $(ip redis) PING`)
	s.want(`inside rediscli redis-cli -h $(ip redis) SET greeting 'hello from redis'; inside rediscli redis-cli -h $(ip redis) GET greeting`,
		"OK\n0\n", "hello from redis\n0\n")
	s.want(`echo "stop wait=20s" > /cc/container/redis/ctl || die; cat /cc/container/redis/stdout; cut -d' ' -f1 /cc/container/redis/exit`, "bye bye", "0\n")
}

// postgres: a cluster made in /app, which outlives a stop, and pgbench from another container of the same image.
func (s *session) postgres(t *testing.T) {
	s = s.with(t)
	s.sh(`run db image=$postgres vpc=real memory=512M env=PGDATA=/app/data -- sh -c 'set -e; [ -d $PGDATA ] || { initdb --auth=trust --no-sync; echo host all all all trust >> $PGDATA/pg_hba.conf; }; exec postgres -c listen_addresses=* -c unix_socket_directories=/tmp'
		run bench image=$postgres vpc=real -- sleep 1000
		until_ bench env PGCONNECT_TIMEOUT=2 psql -h $(ip db) -c 'select 1'`)
	s.want(`inside bench pgbench -h $(ip db) -i -q postgres`, "done in", "\n0\n")
	s.want(`inside bench pgbench -h $(ip db) -c 2 -t 50 postgres`, "transactions actually processed: 100/100", "\n0\n")
	s.want(`echo "stop wait=30s" > /cc/container/db/ctl || die; cut -d' ' -f1 /cc/container/db/exit
		echo start > /cc/container/db/ctl || die; until_ bench env PGCONNECT_TIMEOUT=2 psql -h $(ip db) -c 'select 1'
		inside bench psql -h $(ip db) -Atc 'select count(*) from pgbench_history'`, "0\n", "100\n0\n")
}
