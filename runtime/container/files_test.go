package container

import (
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/containercloud/cc/fault"
	"github.com/containercloud/cc/runtime/boot"
)

func TestRootOfTheLiving(t *testing.T) {
	c := newCloud(t)
	x := c.run(t, "x", func(s *Spec) { s.Mounts = []Mount{{Target: "/t", Source: "tmpfs:1M"}} },
		"sh", "-c", "echo in > /file; echo app > /app/a; echo tmp > /t/x; chown 1000:1000 /file; echo up; while [ ! -e /made ]; do sleep 0.01; done; stat -c %u /made; cat /made")
	waitFor(t, "output", func() bool { return output(t, x, "stdout") == "up\n" })
	r, err := x.Root()
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{"file": "in\n", "app/a": "app\n", "t/x": "tmp\n"} {
		if b, err := r.ReadFile(name); err != nil || string(b) != want {
			t.Errorf("%s: %q %v", name, b, err)
		}
	}
	info, err := r.Stat("file")
	if err != nil {
		t.Fatal(err)
	}
	if uid := info.Sys().(*unixStat).Uid - r.Base; uid != 1000 {
		t.Errorf("uid %d", uid)
	}
	if err := r.As(func() error { return r.WriteFile("made", []byte("from outside\n"), 0o644) }); err != nil {
		t.Fatal(err)
	}
	exit(t, x)
	if got := output(t, x, "stdout"); got != "up\n0\nfrom outside\n" {
		t.Errorf("%q", got)
	}
}

func TestRootOfTheStopped(t *testing.T) {
	c := newCloud(t)
	x, err := c.Create(ctxFor(t), "x", 0, 0, func(s *Spec) error {
		s.Image, s.Args = "bb", []string{"sh", "-c", "cat /in /app/in; stat -c %u /in /app/in; echo b > /in"}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	r, err := x.Root()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range []string{"in", "app/in"} {
		if err := r.As(func() error { return r.WriteFile(f, []byte(f+"\n"), 0o644) }); err != nil {
			t.Fatal(err)
		}
	}
	if err := x.Start(ctxFor(t)); err != nil {
		t.Fatal(err)
	}
	exit(t, x)
	if got := output(t, x, "stdout"); got != "in\napp/in\n0\n0\n" {
		t.Errorf("%q", got)
	}
	if r, err = x.Root(); err != nil {
		t.Fatal(err)
	}
	if b, err := r.ReadFile("in"); err != nil || string(b) != "b\n" {
		t.Errorf("%q %v", b, err)
	}
	list, err := x.Diff()
	if err != nil {
		t.Fatal(err)
	}
	if len(list) != 1 || list[0] != (Change{'A', "/in"}) {
		t.Errorf("%v", list)
	}
}

func TestRootLeadsNowhere(t *testing.T) {
	c := newCloud(t)
	x := c.run(t, "x", nil, "sh", "-c", "ln -s /etc/passwd /abs; ln -s ../../../../../../etc/passwd /rel; mkfifo /fifo; echo up; sleep 1000")
	waitFor(t, "output", func() bool { return output(t, x, "stdout") == "up\n" })
	r, err := x.Root()
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"abs", "rel", "proc/1/root/etc/passwd", "../../etc/passwd"} {
		b, err := r.ReadFile(name)
		if err == nil && strings.Contains(string(b), "daemon") {
			t.Errorf("%s shows a file of the host", name)
		}
	}
	f, err := r.OpenFile("fifo", os.O_RDONLY|unix.O_NONBLOCK, 0)
	if err != nil {
		t.Fatal(err)
	}
	f.Close()
}

func TestDiffOfChanges(t *testing.T) {
	c := newCloud(t)
	x := c.run(t, "x", nil, "sh", "-c", "rm /etc/group; echo x >> /etc/passwd; mkdir /new; echo y > /new/f; rm -r /tmp; mkdir /tmp")
	exit(t, x)
	list, err := x.Diff()
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, d := range list {
		got = append(got, string(d.Kind)+" "+d.Path)
	}
	want := "C /etc,D /etc/group,C /etc/passwd,A /new,A /new/f,C /tmp"
	if s := strings.Join(got, ","); s != want {
		t.Errorf("%s", s)
	}
}

func TestWhatTheProgramSees(t *testing.T) {
	c := newCloud(t)
	out, e := c.sh(t, func(s *Spec) { s.Hostname = "h"; s.ReadOnly = true },
		"hostname; cat /etc/hostname; grep -cw h /etc/hosts; id -u; touch /x 2>/dev/null || echo ro; touch /app/x && echo app; cat /proc/self/uid_map | tr -s ' '; ls /proc/self/fd | wc -l; pwd; echo $PATH; grep NoNewPrivs /proc/self/status; grep Seccomp: /proc/self/status")
	want := "h\nh\n1\n0\nro\napp\n 0 1879048192 16777216\n4\n/\n" + defaultPath + "\nNoNewPrivs:\t1\nSeccomp:\t2\n"
	if out != want || e.Code != 0 {
		t.Errorf("%q %+v", out, e)
	}
}

func TestImageHost(t *testing.T) {
	c := newCloud(t)
	out, e := c.sh(t, func(s *Spec) { s.Image = "host" }, "head -c 5 /etc/os-release; echo; ls "+c.place.State+" "+c.place.Run+"/etc 2>/dev/null | grep -v :; echo x > /made; cat /made; id -u")
	if e.Code != 0 || strings.Count(out, "\n") != 3 || !strings.HasSuffix(out, "\nx\n0\n") {
		t.Errorf("%q %+v", out, e)
	}
	if _, err := os.Stat("/made"); err == nil {
		os.Remove("/made")
		t.Error("a container of image host wrote into the host")
	}
}

func TestBindMount(t *testing.T) {
	c := newCloud(t)
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "f"), []byte("host\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	out, _ := c.sh(t, func(s *Spec) {
		s.Mounts = []Mount{{Target: "/d", Source: "bind:" + dir, ReadOnly: true}, {Target: "/one", Source: "bind:" + dir + "/f"}}
	}, "cat /d/f /one; touch /d/x 2>/dev/null || echo ro")
	if out != "host\nhost\nro\n" {
		t.Errorf("%q", out)
	}
}

func TestUserNSHost(t *testing.T) {
	c := newCloud(t)
	out, e := c.sh(t, func(s *Spec) { s.UserNS = UserNSHost }, "cat /proc/self/uid_map | tr -s ' '; echo x > /f; id -u")
	if out != " 0 0 4294967295\n0\n" || e.Code != 0 {
		t.Errorf("%q %+v", out, e)
	}
}

// left is what the test's daemon has on disk and in the kernel.
func (c *cloud) left() []string {
	var list []string
	filepath.WalkDir(c.place.State, func(p string, d fs.DirEntry, err error) error {
		rel, _ := filepath.Rel(c.place.State, p)
		if strings.HasPrefix(rel, "image") {
			return filepath.SkipDir
		}
		list = append(list, rel)
		return nil
	})
	return list
}

func TestNothingIsLeft(t *testing.T) {
	c := newCloud(t, func(p *place) { p.Warm = 2 })
	digest := ""
	warm := func() {
		for range 10 {
			x := c.run(t, "", nil, "true")
			exit(t, x)
			digest = x.Status().Digest
			if err := c.Delete(ctxFor(t), x, false); err != nil {
				t.Fatal(err)
			}
		}
	}
	// how many warm parts there are is a matter of time: without them the rest is exact
	rest := func() {
		c.settle(t)
		c.DrainVPC("")
		c.DrainImage("")
		c.DrainImage(digest)
	}
	warm()
	rest()
	fds, dirs := len(openFiles(t)), len(c.left())
	for range 5 {
		warm()
	}
	rest()
	if n := openFiles(t); len(n) > fds+4 {
		t.Errorf("%d descriptors, before %d: %v", len(n), fds, n[len(n)-20:])
	}
	if n := c.left(); len(n) > dirs+4 {
		t.Errorf("%d files, before %d", len(n), dirs)
	}
}

// settle waits until janitor and refiller have nothing to do.
func (c *cloud) settle(t testing.TB) {
	t.Helper()
	waitFor(t, "quiet", func() bool {
		w := c.Manager.warm
		w.mu.Lock()
		defer w.mu.Unlock()
		return !c.janitor.busy() && w.missingLocked() == nil
	})
}

func openFiles(t testing.TB) []string {
	t.Helper()
	names, err := readNames("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	var list []string
	for _, n := range names {
		if l, err := os.Readlink("/proc/self/fd/" + n); err == nil {
			list = append(list, l)
		}
	}
	return list
}

// Where the host gives no user namespace, more capabilities than the default would be those of the host.
func TestCapabilitiesOfTheHost(t *testing.T) {
	c := newCloud(t)
	run := func(name string, words ...string) error {
		_, err := c.Run(ctxFor(t), name, 1000, 1000, func(s *Spec) error {
			s.Image, s.Args, s.Capability = "bb", []string{"true"}, words
			return nil
		})
		return err
	}
	if err := run("mapped", "all"); err != nil {
		t.Errorf("in a user namespace: %v", err)
	}
	c.settle(t)
	ids := c.host.ids
	c.host.ids = boot.IDMap{}
	defer func() { c.host.ids = ids }()
	if err := run("host", "+SYS_ADMIN"); !fault.Is(err, fault.Denied) {
		t.Errorf("without one: %v", err)
	}
}
