package container

import (
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"syscall"
	"testing"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"golang.org/x/sys/unix"

	"github.com/containercloud/cc/object"
)

func TestBackoff(t *testing.T) {
	var b backoff
	var got []string
	for range 12 {
		got = append(got, b.next(time.Second).String())
	}
	want := "100ms 200ms 400ms 800ms 1.6s 3.2s 6.4s 12.8s 25.6s 51.2s 1m0s 1m0s"
	if s := strings.Join(got, " "); s != want {
		t.Errorf("%s", s)
	}
	if d := b.next(healthyRun); d != firstBackoff {
		t.Errorf("after a healthy run: %v", d)
	}
}

func TestRestartPolicy(t *testing.T) {
	bad, good := Exit{Code: 1}, Exit{}
	for _, c := range []struct {
		policy string
		exit   Exit
		inRow  int
		want   bool
	}{
		{"no", bad, 0, false}, {"always", good, 99, true}, {"always", bad, 0, true},
		{"on-failure", good, 0, false}, {"on-failure", bad, 99, true},
		{"on-failure:3", bad, 2, true}, {"on-failure:3", bad, 3, false}, {"on-failure", Exit{Code: -1}, 0, true},
	} {
		r, _ := ParseRestart(c.policy)
		if got := r.again(c.exit, c.inRow); got != c.want {
			t.Errorf("%s after %+v, %d in a row: %v", c.policy, c.exit, c.inRow, got)
		}
	}
}

func TestArrows(t *testing.T) {
	for from, list := range arrows {
		for _, to := range list {
			if arrows[to] == nil {
				t.Errorf("%s -> %s leads nowhere", from, to)
			}
		}
	}
	if len(arrows) != len(States) {
		t.Errorf("%d states have arrows, there are %d", len(arrows), len(States))
	}
	for _, bad := range [][2]State{{Defined, Running}, {Exited, Running}, {Stopping, Running}, {Failed, Running}, {Running, Creating}} {
		if bad[0].Can(bad[1]) {
			t.Errorf("%s -> %s", bad[0], bad[1])
		}
	}
	for _, v := range Verbs {
		if verbs[v] == nil {
			t.Errorf("verb %s has no rule", v)
		}
	}
}

func TestAutoName(t *testing.T) {
	at := time.Unix(1700000000, 0)
	a, b := autoName(at, []string{"sh"}, 0), autoName(at, []string{"sh"}, 1)
	if len(a) != 8 || a == b || object.CheckName(a) != nil {
		t.Errorf("%s %s", a, b)
	}
}

func TestCommand(t *testing.T) {
	img := v1.Config{Entrypoint: []string{"entry"}, Cmd: []string{"cmd", "x"}}
	for _, c := range []struct {
		entry, args []string
		want        string
	}{
		{nil, nil, "entry cmd x"},
		{nil, []string{"mine"}, "entry mine"},
		{[]string{"other"}, nil, "other"},
		{[]string{"other"}, []string{"mine"}, "other mine"},
		{[]string{""}, []string{"mine"}, "mine"},
	} {
		got, err := command(Spec{Entrypoint: c.entry, Args: c.args}, img)
		if err != nil || strings.Join(got, " ") != c.want {
			t.Errorf("%v %v: %v %v", c.entry, c.args, got, err)
		}
	}
	if _, err := command(Spec{}, v1.Config{}); err == nil {
		t.Error("no command accepted")
	}
}

func TestEnvironment(t *testing.T) {
	t.Setenv("CC_SECRET", "leak")
	img := v1.Config{Env: []string{"A=1", "PATH=/image"}}
	got, err := environment(Spec{Env: []string{"A=2", "B=x=y"}}, img, "web", "/root")
	if err != nil {
		t.Fatal(err)
	}
	want := []string{"PATH=/image", "HOSTNAME=web", "HOME=/root", "A=2", "B=x=y"}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("%q", got)
	}
	for _, bad := range []string{"CC_SECRET", "*", "=x"} {
		if _, err := environment(Spec{}, v1.Config{Env: []string{bad}}, "", ""); err == nil {
			t.Errorf("image environment %q accepted", bad)
		}
	}
}

func TestWorkdir(t *testing.T) {
	for _, c := range [][3]string{{"", "", "/"}, {"/x", "/y", "/x"}, {"", "app", "/app"}, {"", "/a/../../b", "/b"}} {
		if got, err := workdir(Spec{Dir: c[0]}, v1.Config{WorkingDir: c[1]}); err != nil || got != c[2] {
			t.Errorf("%v: %q %v", c, got, err)
		}
	}
}

func TestHosts(t *testing.T) {
	got := string(hostsFile("h", "web", netip.MustParseAddr("10.1.0.5")))
	if !strings.Contains(got, "10.1.0.5\th web\n") || !strings.HasPrefix(got, "127.0.0.1\tlocalhost\n") {
		t.Error(got)
	}
}

func TestReachableResolvers(t *testing.T) {
	out, n := reachable([]byte("# c\nnameserver 127.0.0.53\nnameserver ::1\nnameserver 192.0.2.1\nsearch  example.org x\noptions edns0\n"))
	if n != 1 || string(out) != "nameserver 192.0.2.1\nsearch example.org x\noptions edns0\n" {
		t.Errorf("%d %q", n, out)
	}
}

func TestIgnores(t *testing.T) {
	status := func(cgt, ign string) string { return "SigIgn:\t" + ign + "\nSigCgt:\t" + cgt + "\n" }
	term := syscall.SIGTERM // bit 14
	for _, c := range []struct {
		status string
		first  bool
		want   bool
	}{
		{status("0000000000000000", "0000000000000000"), true, true},
		{status("0000000000000000", "0000000000000000"), false, false},
		{status("0000000000004000", "0000000000000000"), true, false},
		{status("0000000000000000", "0000000000004000"), false, true},
		{"", true, false},
	} {
		if got := ignores(c.status, term, c.first); got != c.want {
			t.Errorf("%q first=%v: %v", c.status, c.first, got)
		}
	}
}

func TestParseProc(t *testing.T) {
	p := parseStatus("Name:\tsh\nState:\tS (sleeping)\nPPid:\t77\nUid:\t1000\t1005\t1000\t1000\nNSpid:\t812\t7\nVmRSS:\t    1024 kB\n", 1000)
	if p.PID != 7 || p.PPID != 77 || p.UID != 5 || p.Memory != 1<<20 || p.State != "S" {
		t.Errorf("%+v", p)
	}
	if d := parseStatTimes("12 (a) b) S 1 2 3 4 5 6 7 8 9 10 150 50 0 0"); d != 2*time.Second {
		t.Errorf("%v", d)
	}
}

func TestRecords(t *testing.T) {
	dir := filepath.Join(t.TempDir(), string(object.NewID()))
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	id := object.ID(filepath.Base(dir))
	meta := object.Meta{ID: id, Name: "web", Version: 3}
	if err := writeRecord(dir, specFile, specRecord{meta, Default()}); err != nil {
		t.Fatal(err)
	}
	spec, status, broken := loadRecords(dir)
	if broken != nil || spec.Meta.Name != "web" || status.State != Defined {
		t.Fatalf("%+v %+v %v", spec, status, broken)
	}
	f, err := openRecord(dir, statusFile, statusRecord{Status: Status{State: Creating}, Run: &runRecord{PID: 7}})
	if err != nil {
		t.Fatal(err)
	}
	if _, status, _ = loadRecords(dir); status.Run.Begun {
		t.Error("begun before the mark")
	}
	if err := mark(f); err != nil {
		t.Fatal(err)
	}
	f.Close()
	if _, status, broken = loadRecords(dir); broken != nil || !status.Run.Begun {
		t.Errorf("not begun after the mark: %v", broken)
	}
}

func TestDamagedRecordsAreShown(t *testing.T) {
	for name, damage := range map[string]func(dir string){
		"no spec":     func(string) {},
		"spec torn":   func(d string) { os.WriteFile(filepath.Join(d, specFile), []byte(`{"meta":`), 0o600) },
		"spec a link": func(d string) { os.Symlink("/etc/passwd", filepath.Join(d, specFile)) },
		"spec a dir":  func(d string) { os.Mkdir(filepath.Join(d, specFile), 0o700) },
		"another's":   func(d string) { writeRecord(d, specFile, specRecord{object.Meta{ID: "x", Name: "a"}, Default()}) },
		"name is bad": func(d string) {
			writeRecord(d, specFile, specRecord{object.Meta{ID: object.ID(filepath.Base(d)), Name: "../x"}, Default()})
		},
		"status torn": func(d string) { good(d); os.WriteFile(filepath.Join(d, statusFile), []byte("{"), 0o600) },
		"unknown state": func(d string) {
			good(d)
			os.WriteFile(filepath.Join(d, statusFile), []byte(`{"state":"flying"}`), 0o600)
		},
	} {
		dir := filepath.Join(t.TempDir(), string(object.NewID()))
		os.Mkdir(dir, 0o700)
		damage(dir)
		spec, status, broken := loadRecords(dir)
		if broken == nil || object.CheckName(spec.Meta.Name) != nil || arrows[status.State] == nil {
			t.Errorf("%s: %+v %+v %v", name, spec.Meta, status.Status, broken)
		}
	}
}

func good(dir string) {
	writeRecord(dir, specFile, specRecord{object.Meta{ID: object.ID(filepath.Base(dir)), Name: "web"}, Default()})
}

func TestShelf(t *testing.T) {
	var s shelf[int]
	now := time.Now()
	if _, ok := s.take(8, now); ok || s.want != 2 {
		t.Errorf("want %d", s.want)
	}
	for range 5 {
		s.take(8, now)
	}
	if s.want != 8 {
		t.Errorf("want %d", s.want)
	}
	s.ready = []int{1, 2, 3, 4, 5, 6, 7, 8}
	if n, ok := s.take(8, now); !ok || n != 1 || s.want != 8 {
		t.Error(n, ok)
	}
	if over := s.cool(now.Add(time.Second)); over != nil {
		t.Error("cooled while used", over)
	}
	if over := s.cool(now.Add(time.Minute)); s.want != 4 || len(over) != 3 || len(s.ready) != 4 {
		t.Error(s.want, over, s.ready)
	}
	for range 5 { // one stays for somebody who types
		s.cool(now.Add(2 * time.Minute))
	}
	if s.want != 1 || len(s.ready) != 1 {
		t.Error(s.want, s.ready)
	}
	if over := s.cool(now.Add(time.Hour)); s.want != 0 || len(over) != 1 {
		t.Error(s.want, over)
	}
}

func TestDiff(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root: whiteouts are device nodes")
	}
	dir := t.TempDir()
	up, low := filepath.Join(dir, "up"), filepath.Join(dir, "low")
	for _, d := range []string{"low/etc/sub", "low/gone", "low/opaque/x", "low/same", "up/etc", "up/opaque", "up/app", "up/new/deep", "up/same"} {
		if err := os.MkdirAll(filepath.Join(dir, d), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for _, f := range []string{"low/etc/passwd", "low/etc/old", "low/opaque/y", "up/etc/passwd", "up/etc/hosts", "up/new/deep/f", "up/opaque/z"} {
		if err := os.WriteFile(filepath.Join(dir, f), nil, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	for _, w := range []string{"up/etc/old", "up/gone", "up/never"} {
		if err := unix.Mknod(filepath.Join(dir, w), unix.S_IFCHR, 0); err != nil {
			t.Fatal(err)
		}
	}
	if err := unix.Setxattr(filepath.Join(up, "opaque"), "trusted.overlay.opaque", []byte("y"), 0); err != nil {
		t.Fatal(err)
	}
	upper, _ := os.OpenRoot(up)
	lower, _ := os.OpenRoot(low)
	list, err := diff(upper, lower, 0, []string{"/app", "/etc/hosts"})
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, c := range list {
		got = append(got, string(c.Kind)+" "+c.Path)
	}
	want := "C /etc,D /etc/old,C /etc/passwd,D /gone,A /new,A /new/deep,A /new/deep/f,C /opaque,D /opaque/x,D /opaque/y,A /opaque/z"
	if s := strings.Join(got, ","); s != want {
		t.Errorf("%s", s)
	}
}
