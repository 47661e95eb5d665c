package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// TestTrace holds what -x and --dry-run print: the shell lines that a user may paste.
func TestTrace(t *testing.T) {
	for _, c := range []struct {
		name string
		argv []string
		want string
	}{
		{"vpc create", []string{"-x", "vpc", "create", "--cidr", "10.1.0.0/24", "--name", "foo"}, `
echo 'create name=foo cidr=10.1.0.0/24' > /cc/vpc/ctl`},
		{"run", []string{"-x", "run", "--rm", "-e", "A=b c", "sh", "-c", "echo 'hi'"}, `
exec 3<>/cc/container/ctl
echo "run 'env=A=b c' stdin=off ttl=1m -- sh -c 'echo ''hi'''" >&3
read -r name id <&3
exec 3>&-
cat /cc/container/c0ffee00/live/stdout
cat /cc/container/c0ffee00/live/stderr
cat /cc/container/c0ffee00/exit
rmdir /cc/container/c0ffee00`},
		{"run, dry", []string{"--dry-run", "run", "--rm", "true"}, `
exec 3<>/cc/container/ctl
echo 'run stdin=off ttl=1m -- true' >&3
read -r name id <&3
exec 3>&-
cat /cc/container/$name/live/stdout
cat /cc/container/$name/live/stderr
cat /cc/container/$name/exit
rmdir /cc/container/$name`},
		{"run of lines", []string{"--dry-run", "run", "-d", "sh", "-c", "a\nb"}, `
exec 3<>/cc/container/ctl
cat >&3 <<'EOF'
run stdin=off -- sh -c 'a
b'
EOF
read -r name id <&3
exec 3>&-`},
		{"exec", []string{"-x", "exec", "web", "ls"}, `
exec 3<>/cc/container/web/exec/new
read -r n <&3
echo 'run stdin=off -- ls' >&3
cat /cc/container/web/exec/7/stdout
cat /cc/container/web/exec/7/stderr
cat /cc/container/web/exec/7/wait
exec 3>&-`},
		{"update", []string{"--dry-run", "update", "--memory", "1G", "--cpu.max", "1.5", "--env", "A=b c", "web"}, `
cat >> /cc/container/web/spec <<'EOF'
memory 1G
cpu.max 1.5
EOF
echo 'A b c' >> /cc/container/web/env`},
		{"vpc update", []string{"--dry-run", "vpc", "update", "--nat", "off", "--mtu", "1400", "-l", "a=b", "foo"}, `
cat >> /cc/vpc/foo/spec <<'EOF'
mtu 1400
nat off
EOF
echo 'a b' >> /cc/vpc/foo/labels`},
		{"run with docker's --cpus", []string{"--dry-run", "run", "-d", "--cpus", "0.5", "true"}, `
exec 3<>/cc/container/ctl
echo 'run cpu.max=0.5 stdin=off -- true' >&3
read -r name id <&3
exec 3>&-`},
		{"delete", []string{"-x", "rm", "old"}, `
cat /cc/container/old/status
cat /cc/container/old/usedby
rmdir /cc/container/old`},
		{"rename", []string{"-x", "rename", "old", "new"}, `
mv /cc/container/old /cc/container/new`},
		{"stop", []string{"-x", "stop", "-t", "5", "web"}, `
echo 'stop timeout=5s' > /cc/container/web/ctl
cat /cc/container/web/wait/exited`},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := newFake()
			f.container("web", "running")
			f.container("old", "exited")
			_, out, errs := f.cc(t, c.argv...)
			got := errs
			if c.argv[0] == "--dry-run" {
				got = out
				if len(f.log) > 0 {
					t.Errorf("a dry run did %v", f.log)
				}
			}
			var lines []string
			for l := range strings.SplitSeq(strings.TrimSpace(got), "\n") {
				if l != "oops" {
					lines = append(lines, l)
				}
			}
			if got := strings.Join(lines, "\n"); got != strings.TrimSpace(c.want) {
				t.Errorf("got\n%s\nwant\n%s", got, c.want)
			}
		})
	}
}

func TestRun(t *testing.T) {
	f := newFake()
	code, out, errs := f.cc(t, "run", "--rm", "--name", "job", "echo", "-n", "hi")
	if code != 3 || out != "echo -n hi\n" || errs != "" {
		t.Errorf("code %d out %q err %q", code, out, errs)
	}
	if f.dirs["container/job"] {
		t.Error("--rm left the container")
	}
	if want := `container/ctl <> "run name=job stdin=off ttl=1m -- echo -n hi\n"`; f.log[0] != want {
		t.Errorf("sent %s\nwant %s", f.log[0], want)
	}
	if code, out, _ := f.cc(t, "run", "-d", "sleep", "1"); code != 0 || out != "c0ffee00\n" {
		t.Errorf("detached: code %d out %q", code, out)
	}
}

// closed is an output that nobody reads any more.
type closed struct{}

func (closed) Write([]byte) (int, error) { return 0, syscall.EPIPE }

// TestRunUnread: cc run ... | head ends the container as SIGPIPE would end a program of this host.
func TestRunUnread(t *testing.T) {
	f := newFake()
	var errs strings.Builder
	argv := []string{"run", "--rm", "--name", "job", "yes"}
	code := run(argv, strings.NewReader(""), closed{}, &errs, func(string) FS { return f })
	if code != exitUnread || errs.Len() > 0 || f.dirs["container/job"] {
		t.Errorf("code %d, %q, container there: %v", code, errs.String(), f.dirs["container/job"])
	}
	if want := `container/job/ctl > "stop timeout=1s\n"`; f.log[1] != want {
		t.Errorf("did %q, want %s", f.log, want)
	}
}

func TestRunFailures(t *testing.T) {
	for _, c := range []struct {
		argv []string
		code int
		errs string
	}{
		{[]string{"run", "--image", "missing", "x"}, 125, "cc: cannot run container: no image missing\nhint: cc image pull missing\n"},
		{[]string{"run", "nosuch"}, 127, "cc: cannot run container: execve nosuch: no such file or directory\n"},
		{[]string{"run", "--volume", "a:/b", "x"}, 125, "cc: cannot use --volume: volumes are not in this release of Container Cloud\n"},
		{[]string{"run", "--disk", "1G", "x"}, 125, "cc: cannot use --disk: disks of a fixed size are not in this release of Container Cloud\n"},
		{[]string{"run", "--publish", "80:80", "x"}, 125, "cc: cannot use --publish: published ports are not in this release of Container Cloud\n"},
		{[]string{"update", "--disk", "1G", "web"}, 1, "cc: cannot use --disk: "},
		{[]string{"run", "--label", "x", "x"}, 2, "cc: --label wants KEY=VALUE, not \"x\"\n"},
		{[]string{"update", "--set", "nat=off", "vpc/foo"}, 2, "cc: update is for containers\nhint: cc vpc update --nat off foo\n"},
		{[]string{"run", "--env", "HOME", "x"}, 2, "cc: --env wants KEY=VALUE, not \"HOME\"\n"},
		{[]string{"volume", "create", "x"}, 1, "cc: cannot use volumes: volumes are not in this release of Container Cloud\n"},
		{[]string{"vpc", "create", "--cidr", "300.1.2.0/24", "--name", "bad"}, 1, "cc: cannot create vpc bad: cidr: \"300.1.2.0/24\" is no network\nhint: an address and its bits\n"},
		{[]string{"vpc", "create", "--name", "bad"}, 2, "cc: vpc create needs --cidr\n"},
		{[]string{"exec", "nobody", "ls"}, 3, "cc: no container nobody\n"},
		{[]string{"stop", "../etc"}, 2, "cc: \"../etc\" is no name of a container\n"},
		{[]string{"--cc-endpoint-url", "https://x", "ps"}, 8, "cc: cannot use endpoint https://x: "},
		{[]string{"--cc-access-token", "t", "ps"}, 2, "cc: an access token needs a remote endpoint"},
	} {
		f := newFake()
		f.container("web", "running")
		code, _, errs := f.cc(t, c.argv...)
		if code != c.code || !strings.HasPrefix(errs, c.errs) {
			t.Errorf("cc %v: code %d, want %d; said %q", c.argv, code, c.code, errs)
		}
		if f.dirs["vpc/bad"] {
			t.Errorf("cc %v left half a vpc", c.argv)
		}
	}
}

func TestDeleteIsIdempotentAndAllOrNothing(t *testing.T) {
	f := newFake()
	f.container("a", "exited")
	f.container("b", "running")
	code, _, errs := f.cc(t, "rm", "a", "b", "ghost")
	if code != exitConflict || !f.dirs["container/a"] {
		t.Errorf("code %d, a is there: %v", code, f.dirs["container/a"])
	}
	if want := "cc: no container \"ghost\"\ncc: cannot delete container/b: it is running; nothing was deleted\nhint: cc stop b, or cc rm --force b\n"; errs != want {
		t.Errorf("said %q", errs)
	}
	if code, _, errs := f.cc(t, "rm", "a", "a", "ghost"); code != 0 || f.dirs["container/a"] {
		t.Errorf("code %d %s", code, errs)
	}
	if code, _, errs := f.cc(t, "rm", "a", "ghost"); code != 0 {
		t.Errorf("again: code %d %s", code, errs)
	}
	if code, _, errs := f.cc(t, "rm", "-f", "b"); code != 0 || f.dirs["container/b"] {
		t.Errorf("force: code %d %s", code, errs)
	}
	f.put("vpc/used/usedby", "container/a\n")
	f.put("vpc/free/usedby", "")
	code, _, errs = f.cc(t, "vpc", "delete", "free", "used")
	if code != exitConflict || !f.dirs["vpc/free"] || !strings.Contains(errs, "it is used by container/a") {
		t.Errorf("vpc: code %d %s", code, errs)
	}
	code, out, errs := f.cc(t, "vpc", "delete", "--json", "none")
	if want := "{\n  \"deleted\": [],\n  \"missing\": [\n    \"none\"\n  ],\n  \"v\": 1\n}\n"; code != 0 || out != want || errs != "" {
		t.Errorf("vpc: code %d %q %q", code, out, errs)
	}
	if code, _, _ := f.cc(t, "vpc", "delete", "free", "none"); code != 0 || f.dirs["vpc/free"] {
		t.Errorf("vpc: code %d", code)
	}
}

// TestStartOfWhatRuns succeeds, as in docker.
func TestStartOfWhatRuns(t *testing.T) {
	f := newFake()
	f.container("web", "running")
	f.container("cold", "paused")
	f.fail["container/web/ctl"], f.fail["container/cold/ctl"] = syscall.EBUSY, syscall.EBUSY
	if code, _, errs := f.cc(t, "start", "web"); code != 0 || errs != "" {
		t.Errorf("code %d %s", code, errs)
	}
	if code, _, _ := f.cc(t, "start", "cold"); code != exitConflict {
		t.Errorf("paused: code %d", code)
	}
}

// TestInspectHost: every object can be inspected; links to others are names.
func TestInspectHost(t *testing.T) {
	f := newFake()
	f.put("host/vm/address", "10.0.0.1\n")
	f.put("host/vm/containers/web/id", "1\n")
	_, out, errs := f.cc(t, "inspect", "host/vm")
	var got struct{ Objects []map[string]any }
	if err := json.Unmarshal([]byte(out), &got); err != nil || len(got.Objects) != 1 {
		t.Fatalf("%v %q %q", err, out, errs)
	}
	if o := got.Objects[0]; o["address"] != "10.0.0.1" || fmt.Sprint(o["containers"]) != "[web]" {
		t.Errorf("%v", o)
	}
	if code, _, errs := f.cc(t, "inspect", "host/nosuch"); code != exitNotFound || !strings.HasPrefix(errs, "cc: no host nosuch\nhint: ls /cc/host") {
		t.Errorf("%d %q", code, errs)
	}
}

func TestStopOfWhatDoesNotRun(t *testing.T) {
	f := newFake()
	f.container("old", "exited")
	if code, _, errs := f.cc(t, "stop", "old"); code != 0 {
		t.Errorf("code %d %s", code, errs)
	}
}

func TestJSON(t *testing.T) {
	f := newFake()
	f.put("container/index", "web 1-2 running 2026-01-02T03:04:05Z builtin foo 10.1.0.2 - 0 2026-01-02T03:04:05Z 'sh -c ''a b'''\n"+
		"old 3-4 exited 2026-01-02T03:04:05Z builtin - - 137 2 2026-01-02T03:04:05Z true\n")
	_, out, _ := f.cc(t, "ps", "-a", "--json")
	var got struct {
		V          int
		Containers []map[string]any
	}
	if err := json.Unmarshal([]byte(out), &got); err != nil || got.V != 1 || len(got.Containers) != 2 {
		t.Fatalf("%v %s", err, out)
	}
	if c := got.Containers[1]; c["exit"] != 137.0 || c["vpc"] != nil || got.Containers[0]["command"] != "sh -c 'a b'" {
		t.Errorf("%v", got.Containers)
	}
	code, _, errs := f.cc(t, "--json", "exec", "nobody", "ls")
	var e struct {
		V     int
		Error struct {
			Message, Hint string
			Exit          int
		}
	}
	if err := json.Unmarshal([]byte(errs), &e); err != nil || e.Error.Exit != 3 || code != 3 {
		t.Errorf("%v %s", err, errs)
	}
	_, out, _ = f.cc(t, "ps")
	if out != "web\tbuiltin\tsh -c 'a b'\trunning\t2026-01-02T03:04:05Z\tfoo\t10.1.0.2\n" {
		t.Errorf("in a pipe: %q", out)
	}
	if _, out, _ = f.cc(t, "ps", "-a", "--columns", "name,vpc,exit"); out != "web\tfoo\t-\nold\t-\t137\n" {
		t.Errorf("columns: %q", out)
	}
	if _, out, _ = f.cc(t, "ps", "-a"); !strings.HasSuffix(out, "\t-\t-\t137\n") {
		t.Errorf("all: %q", out)
	}
	if _, out, _ = f.cc(t, "ps", "-aq"); out != "web\nold\n" {
		t.Errorf("quiet: %q", out)
	}
	if code, _, errs = f.cc(t, "ps", "--columns", "nme"); code != 2 {
		t.Errorf("columns: %d %q", code, errs)
	}
}

// TestFit: a table is as wide as the terminal, at the cost of one column.
func TestFit(t *testing.T) {
	lines := [][]string{{"NAME", "COMMAND", "STATE"}, {"web", strings.Repeat("x", 50), "running"}}
	fit(lines, 1, 40)
	if got := []rune(lines[1][1]); len(got) != 25 || got[24] != '…' || lines[0][1] != "COMMAND" {
		t.Errorf("%q", lines)
	}
	lines[1][1] = strings.Repeat("x", 50)
	if fit(lines, 1, 200); lines[1][1] != strings.Repeat("x", 50) {
		t.Errorf("%q", lines)
	}
}

func TestWaitForAState(t *testing.T) {
	f := newFake()
	f.container("web", "exited")
	f.put("container/web/wait/exited", "exited\n")
	if code, _, errs := f.cc(t, "wait", "--for", "runing", "web"); code != exitUsage || !strings.HasPrefix(errs, "cc: no state \"runing\"\nhint: did you mean running? there is: ") {
		t.Errorf("%d %q", code, errs)
	}
	var got struct{ Containers []map[string]any }
	_, out, errs := f.cc(t, "wait", "--json", "web")
	if err := json.Unmarshal([]byte(out), &got); err != nil || len(got.Containers) != 1 || got.Containers[0]["exit"] != 3.0 {
		t.Errorf("%v %q %q", err, out, errs)
	}
}

// TestImageJobs: what they made, what they freed, and of a failure its one reason. A registry that does not answer is
// not a daemon that does not.
func TestImageJobs(t *testing.T) {
	for _, c := range []struct {
		argv      string
		code      int
		out, errs string
	}{
		{"image load x.tar", 0, "app:1\nsha256:22\n", ""},
		{"image gc", 0, "deleted 2 images, 4.0K bytes\n", ""},
		{"rmi app:1 nosuch", 0, "", "cc: no image \"nosuch\"\n"},
		{"rmi --json app:1 nosuch", 0, "{\n  \"deleted\": [\n    \"app:1\"\n  ],\n  \"missing\": [\n    \"nosuch\"\n  ],\n  \"v\": 1\n}\n", ""},
		{"pull bad", exitFailed, "", "cc: cannot pull bad: nobody there\n"},
		{"run --pull --image missing x", exitEngine, "", "cc: cannot pull missing: nobody there\n"},
	} {
		f := newFake()
		if code, out, errs := f.cc(t, strings.Fields(c.argv)...); code != c.code || out != c.out || errs != c.errs {
			t.Errorf("cc %s: %d %q %q", c.argv, code, out, errs)
		}
	}
}

func TestExitCodes(t *testing.T) {
	for _, c := range []struct {
		no   syscall.Errno
		word string
		want int
	}{
		{syscall.ENOENT, "", 3}, {syscall.EACCES, "denied", 5}, {syscall.EPERM, "", 5}, {syscall.EPERM, "fixed", 6},
		{syscall.EBUSY, "busy", 6}, {syscall.EEXIST, "", 6}, {syscall.ESTALE, "", 6}, {syscall.ENOTEMPTY, "", 6},
		{syscall.ETIMEDOUT, "timeout", 7}, {syscall.ENOTCONN, "", 8}, {syscall.EHOSTDOWN, "", 8},
		{syscall.ENOKEY, "", 4}, {syscall.EINVAL, "invalid", 1}, {syscall.EIO, "", 1},
	} {
		if got := exitOf(c.no, c.word); got != c.want {
			t.Errorf("exitOf(%v, %q) = %d, want %d", c.no, c.word, got, c.want)
		}
	}
}

// TestSelfErrorOfOthers: an old sentence, or one of another errno, is not this failure's.
func TestSelfErrorOfOthers(t *testing.T) {
	for _, line := range []string{
		"2020-01-01T00:00:00Z not-found cannot do what happened long ago\n",
		"2999-01-01T00:00:00Z busy cannot do something else\n",
		"rubbish\n", "\n",
	} {
		f := newFake()
		f.put("self/error", line)
		f.put("image/index", "")
		f.fail["image/index"] = syscall.ENOENT
		_, _, errs := f.cc(t, "images")
		if errs != "cc: cannot read image/index: no such file or directory\n" {
			t.Errorf("%q: said %q", line, errs)
		}
	}
}

func TestParseExit(t *testing.T) {
	for line, want := range map[string]exit{
		"0 - 0 2026-01-02T03:04:05Z 0\n":         {0, false},
		"137 SIGKILL 1 2026-01-02T03:04:05Z 0\n": {137, true},
	} {
		if got, ok := parseExit(line); !ok || got != want {
			t.Errorf("%q: %v %v", line, got, ok)
		}
	}
	for _, line := range []string{"", "\n", "-1 - 0 x 0", "what"} {
		if _, ok := parseExit(line); ok {
			t.Errorf("%q was taken", line)
		}
	}
}

func TestEscape(t *testing.T) {
	for in, want := range map[string]string{
		"plain ünïcode 日本\n\ttab": "plain ünïcode 日本\n\ttab",
		"a\x1b[2Jb":               `a\x1b[2Jb`,
		"\x1b]0;title\x07":        `\x1b]0;title\x07`,
		"spoof\rX":                `spoof\x0dX`,
		"dos\r\n":                 "dos\r\n",
		"\x9b31m":                 `\x9b31m`,
		"\u009b31m":               `\u009b31m`,
		"\u202egnp.exe":           `\u202egnp.exe`,
	} {
		if got := escape(in); got != want {
			t.Errorf("escape(%q) = %q, want %q", in, got, want)
		}
		var b strings.Builder
		s := &safeWriter{w: &b}
		for i := range len(in) { // however it is cut
			if _, err := s.Write([]byte{in[i]}); err != nil {
				t.Fatal(err)
			}
		}
		if err := s.flush(); err != nil || b.String() != want {
			t.Errorf("in pieces %q gave %q, want %q", in, b.String(), want)
		}
	}
}

func TestMountLine(t *testing.T) {
	for in, want := range map[string]string{
		"/srv:/data":                             "/data bind:/srv",
		"/srv:/data:ro":                          "/data bind:/srv ro",
		"/s r v:/data":                           "",
		"tmpfs:64M:/scratch":                     "/scratch tmpfs:64M",
		"/data bind:/srv ro":                     "/data bind:/srv ro",
		"type=bind,source=/a,target=/b,readonly": "/b bind:/a ro",
		"type=tmpfs,dst=/b,tmpfs-size=1M":        "/b tmpfs:1M",
		"srv:/data":                              "",
		"/srv":                                   "",
		"type=nfs,target=/x":                     "",
	} {
		got, err := mountLine(in)
		if strings.Contains(in, "s r v") {
			continue // a line of the mounts file as it is: the tree's to judge
		}
		if got != want || (err != nil) != (want == "") {
			t.Errorf("%q: %q %v, want %q", in, got, err, want)
		}
	}
	for in, want := range map[string]string{
		"8080:80": "tcp 0.0.0.0:8080 80", "127.0.0.1:53:53/udp": "udp 127.0.0.1:53 53", "80": "", "80:": "",
	} {
		if got, err := publishLine(in); got != want || (err != nil) != (want == "") {
			t.Errorf("%q: %q %v, want %q", in, got, err, want)
		}
	}
}

func TestExplain(t *testing.T) {
	const schema = "container/NAME/memory scalar BYTES|max\ncontainer/NAME/log/max scalar BYTES\nvpc/NAME/cidr scalar CIDR\n"
	for arg, want := range map[string]int{
		"/cc/container/web/memory": 1, "container/NAME/memory": 1, "/cc/container/web": 1, "container/web/log": 1, "vpc/x/nothing": 0,
	} {
		if got := explainPath(schema, "/cc", arg); len(got) != want {
			t.Errorf("%s: %q", arg, got)
		}
	}
}

func TestBrockerFile(t *testing.T) {
	dir := t.TempDir()
	write := func(text string) string {
		name := filepath.Join(dir, "c.json")
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return name
	}
	for text, want := range map[string]string{
		`{"command":"/bin/true -x  y"}`:              `container/ctl <> "run image=host stdin=off -- /bin/true -x y\n"`,
		`{"command":["sh","-c","a b"],"name":"one"}`: `container/ctl <> "run name=one image=host stdin=off -- sh -c 'a b'\n"`,
		`{"command":"x","service-name":"s"}`:         `container/ctl <> "run image=host vpc=s label=service=s stdin=off -- x\n"`,
	} {
		f := newFake()
		code, out, errs := f.cc(t, "container", "run", write(text))
		if code != 0 || len(f.log) != 1 || f.log[0] != want || out == "" {
			t.Errorf("%s: code %d %s\nsent %v\nwant %s", text, code, errs, f.log, want)
		}
	}
	f := newFake()
	if code, _, errs := f.cc(t, "container", "run", write(`{"command":"x","service-name":"s","bridge-ip":"10.0.1.1"}`)); code != 0 ||
		f.log[0] != `vpc/ctl > "create name=s gateway=10.0.1.1 cidr=10.0.1.0/24\n"` {
		t.Errorf("code %d %s: %v", code, errs, f.log)
	}
	for text, want := range map[string]string{
		`{"command":"x","memory":"1G"}`:    `unknown field "memory"`,
		`{}`:                               "it has no command",
		`{"command":"x","copy-file":true}`: "file names nothing",
		`{"command":"x"} {}`:               "behind the object",
		`nonsense`:                         "invalid character",
	} {
		f := newFake()
		if code, _, errs := f.cc(t, "container", "run", write(text)); code != 1 || !strings.Contains(errs, want) || len(f.log) > 0 {
			t.Errorf("%s: code %d %q %v", text, code, errs, f.log)
		}
	}
}

// TestEveryVerbExplainsItself also keeps the table free of doubles.
func TestEveryVerbExplainsItself(t *testing.T) {
	seen := map[string]bool{}
	for _, v := range verbs() {
		for _, name := range append([]string{v.full()}, v.also...) {
			if seen[name] {
				t.Errorf("two verbs are called %s", name)
			}
			seen[name] = true
		}
		if v.run == nil || v.short == "" || strings.HasSuffix(v.short, ".") {
			t.Errorf("verb %s is not complete", v.full())
		}
		letters := map[string]bool{"x": true, "h": true}
		for _, f := range v.flags {
			if f.doc == "" || f.short != "" && letters[f.short] {
				t.Errorf("option --%s of %s: no text, or -%s means two things", f.long, v.full(), f.short)
			}
			letters[f.short] = true
		}
		f := newFake()
		if code, out, errs := f.cc(t, append(strings.Fields(v.full()), "--help")...); code != 0 || !strings.HasPrefix(out, "cc "+v.full()) {
			t.Errorf("cc %s --help: %d %q %q", v.full(), code, out, errs)
		}
	}
}

// TestExplainSaysWhatItIsFor: the schema's last column is a sentence.
func TestExplainSaysWhatItIsFor(t *testing.T) {
	f := newFake()
	f.put("schema", "# path kind syntax default when mode doc\ncontainer/CONTAINER/memory scalar BYTES|max max live 0664 'The limit.'\n")
	want := "container/CONTAINER/memory\tscalar\tBYTES|max\tmax\tlive\t0664\tThe limit.\n"
	if _, out, errs := f.cc(t, "explain", "/cc/container/web/memory"); out != want {
		t.Errorf("%q %q", out, errs)
	}
}
