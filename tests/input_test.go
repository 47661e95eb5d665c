package tests

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/containercloud/cc/words"
)

// TestBadInput writes every kind of nonsense into every writable file that /cc/schema names. What is refused must say
// so by an errno and a sentence and change nothing; what is accepted must be readable, and neither writing it back nor a
// start may find fault with it that the write should have found.
func TestBadInput(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("needs root: it makes namespaces, mounts and cgroups")
	}
	h, err := newHost(binaries(t), t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer h.close(t)
	if err := h.start(nil); err != nil {
		t.Fatal(err)
	}
	runtime.LockOSThread() // self/error is each process's own; the daemon sees threads
	defer runtime.UnlockOSThread()
	s := &input{T: t, h: h, root: fmt.Sprintf("/proc/%d/root/cc", h.holder.Process.Pid), values: badValues(t)}
	s.makeObjects()
	schema, err := os.ReadFile(s.root + "/schema")
	must(t, err)
	written := 0
	for _, line := range strings.Split(strings.TrimSpace(string(schema)), "\n")[1:] {
		f, err := words.Split(line)
		if err != nil || len(f) != 7 {
			t.Fatalf("schema: %q: %v", line, err)
		}
		if mode, _ := strconv.ParseUint(f[5], 8, 32); mode&0o222 == 0 || f[1] == "clone" {
			continue
		}
		written++
		s.file(f[0], f[1])
	}
	if written < 50 {
		t.Errorf("only %d files of the schema could be written", written)
	}
	if ccd := s.h.ccd.Process.Pid; dead(strconv.Itoa(ccd)) {
		t.Error("the daemon is dead")
	}
	log, _ := os.ReadFile(h.log.Name())
	if bytes.Contains(log, []byte("panic")) {
		t.Errorf("a row panicked\n%s", h.logTail())
	}
	s.removeObjects()
}

type input struct {
	*testing.T
	h      *host
	root   string
	values map[string]string
	exec   [2]*os.File // hold exec session 1, and its standard input
}

// badValues are the values by the names that failures show.
func badValues(t *testing.T) map[string]string {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	bytes := func(n int, from string) string {
		b := make([]byte, n)
		for i := range b {
			if b[i] = byte(random.IntN(256)); from != "" {
				b[i] = from[random.IntN(len(from))]
			}
		}
		return string(b)
	}
	v := map[string]string{
		"NUL": "a\x00b", "not UTF-8": "a\xff\xfe", "1 MB": strings.Repeat("a", 1<<20), "1 MB of lines": strings.Repeat("a\n", 1<<19),
		"1 MB of tables": strings.Repeat("K v\n", 1<<18), "long line": strings.Repeat("x", 65<<10), "long word": strings.Repeat("x", 5000),
		"a huge table": numbered(20000), "newlines": "\n\n\n", "newline inside": "a\nb", "CRLF": "a\r\nb\r\n",
		"many quotes": strings.Repeat("'", 4097), "many spaces": strings.Repeat(" ", 4096), "many slashes": strings.Repeat("/", 4096),
		"random bytes": bytes(300, ""), "random text": bytes(60, "abcXYZ019 '\n\t=#:/.-+_%"), "random digits": bytes(25, "0123456789.eE+-x"),
	}
	for _, w := range []string{
		"", " ", "\t", "-", "--", ".", "..", "/", "//", "../..", "/..", "/../../etc", "a/../b", "./a", "~", "*", "%s%n", "$(id)", "`id`", ";", "|", "&",
		"-0", "-1", "+1", "0", "00", "01", "1", "0x10", "1e9", "1e999", "NaN", "Inf", "-Inf", "ten", "1.5", "1,5", "9223372036854775807",
		"9223372036854775808", "18446744073709551616", "99999999999999999999999999", "1K", "1Q", "-5s", "5 parsecs", "1h1", "max", "min", "default", "on", "off", "maybe",
		"'abc", "abc'", "'", "''", "'''", "'a b'", "a b", "a'b", "\"a\"", "a=b", "=", "=b", "a=", "#", "# comment", "a # comment", "-- a", "a -- b",
		"\x01", "\x1b[31mred\x1b[0m", "a\x1bb", "\x7f", "a\rb", "\u202eright to left", "\ufeffbom", "é", "日本", "\U0001f4a9",
		"a:b", ":", "a:", ":b", "0:0", "-1:-1", "4294967295", "2147483647", "a:b:c", "256.1.1.1", "10.0.0.0/33", "10.0.0.1/24", "0.0.0.0/0", "::1", "fe80::1%lo",
		"127.0.0.1", "10.9.0.0/31", "224.0.0.0/24", "80x", "x24", "0x0", "65536x1", "SIGKILL", "SIGNOPE", "0", "64", "65", "+NOPE", "-ALL", "all", "none", "root", "con", "a.b", "a..b",
		".a", "-a", "a-", "a_b", "UPPER", "tmpfs:1", "/x tmpfs:0", "/x tmpfs:-1", "/x bind:../y", "/x volume:a", "/proc tmpfs:1M", "/x tmpfs:1M\n/x tmpfs:1M", "/x tmpfs:1M ro ro",
	} {
		v[strconv.Quote(w)] = w
	}
	return v
}

// numbered is a table of n different keys.
func numbered(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, "K%d v\n", i)
	}
	return b.String()
}

// makeObjects makes an object of each kind.
func (s *input) makeObjects() {
	must(s.T, os.Mkdir(s.root+"/vpc/v", 0o755))
	must(s.T, os.Mkdir(s.root+"/container/c", 0o755))
	must(s.T, os.Mkdir(s.root+"/container/e", 0o755))
	must(s.T, s.write("container/e/ctl", "start", 0))
	var err error
	s.exec[0], err = os.OpenFile(s.root+"/container/e/exec/new", os.O_RDWR, 0)
	must(s.T, err)
	_, err = s.exec[0].WriteString("run -- sh -c 'cat > /dev/null'\n")
	must(s.T, err)
	s.exec[1], err = os.OpenFile(s.root+"/container/e/exec/1/stdin", os.O_WRONLY, 0)
	must(s.T, err)
}

func (s *input) removeObjects() {
	must(s.T, errors.Join(s.exec[0].Close(), s.exec[1].Close()))
	for _, c := range []string{"c", "e"} {
		must(s.T, s.write("container/"+c+"/ctl", "delete force", 0))
	}
	must(s.T, os.Remove(s.root+"/vpc/v"))
}

// place is where the schema's file is: its object's directory, and the file's path below /cc.
func (s *input) place(path string) (object, file string) {
	hosts, _ := filepath.Glob(s.root + "/host/*")
	r := strings.NewReplacer("container/CONTAINER/exec/EXEC", "container/e/exec/1", "CONTAINER", "c", "VPC", "v", "HOST", filepath.Base(hosts[0]))
	file = r.Replace(path)
	if f := strings.SplitN(file, "/", 3); len(f) == 3 {
		object = f[0] + "/" + f[1]
	}
	if strings.HasPrefix(file, "container/e/") {
		object = "container/e/exec/1"
	}
	return object, file
}

// write is one write(2), as a shell's > or, with O_APPEND, >>.
func (s *input) write(file, text string, flags int) error {
	if flags == 0 {
		flags = os.O_TRUNC
	}
	f, err := os.OpenFile(filepath.Join(s.root, file), os.O_WRONLY|flags, 0)
	if err != nil {
		return err
	}
	_, err = syscall.Write(int(f.Fd()), []byte(text))
	return errors.Join(err, f.Close())
}

func (s *input) read(file string) string {
	text, err := os.ReadFile(filepath.Join(s.root, file))
	if err != nil && !errors.Is(err, os.ErrPermission) {
		s.Errorf("cannot read %s: %v", file, err)
	}
	return string(text)
}

// shows is everything that an object's files say of its configuration.
func (s *input) shows(object string) string {
	var b strings.Builder
	for _, f := range []string{"spec", "labels", "version"} {
		if text, err := os.ReadFile(filepath.Join(s.root, object, f)); err == nil {
			b.Write(text)
		}
	}
	return b.String()
}

func (s *input) file(path, kind string) {
	object, file := s.place(path)
	if _, err := os.Stat(filepath.Join(s.root, file)); err != nil {
		s.Errorf("%s of the schema is not there: %v", path, err)
		return
	}
	for name, value := range s.values {
		s.try(object, file, kind, name, value, 0)
		if kind == "list" || kind == "table" {
			s.try(object, file, kind, name+", added", value, os.O_APPEND)
		}
	}
}

// may lists what a refusal can be; EIO is none.
var may = map[syscall.Errno]bool{
	syscall.EINVAL: true, syscall.ERANGE: true, syscall.EMSGSIZE: true, syscall.EPERM: true, syscall.EACCES: true, syscall.EBUSY: true,
	syscall.ENOENT: true, syscall.EEXIST: true, syscall.EADDRINUSE: true, syscall.EADDRNOTAVAIL: true, syscall.EOPNOTSUPP: true,
}

func (s *input) try(object, file, kind, name, value string, flags int) {
	before := s.shows(object)
	begin := time.Now()
	err := s.write(file, value, flags)
	if err == nil {
		if setting(kind) && s.shows(object) != before {
			s.accepted(object, file, name)
		}
		return
	}
	var errno syscall.Errno
	if !errors.As(err, &errno) || !may[errno] {
		s.Errorf("%s of %s: %v", name, file, err)
	}
	if after := s.shows(object); object != "" && after != before {
		s.Errorf("%s of %s was refused (%v) and has changed the object from %q to %q", name, file, err, before, after)
	}
	for _, f := range []string{"self/error", object + "/error"} {
		if !strings.HasSuffix(f, "1/error") && f != "/error" {
			s.sentence(f, name, file, begin)
		}
	}
}

func setting(kind string) bool { return kind != "ctl" && kind != "stream" }

// sentence checks the last line of an error file: of now, about the file, printable, and no EIO.
func (s *input) sentence(f, name, file string, begin time.Time) {
	lines := strings.Split(strings.TrimSpace(s.read(f)), "\n")
	last := lines[len(lines)-1]
	w := strings.SplitN(last, " ", 3)
	at, err := time.Parse(time.RFC3339, w[0])
	if err != nil || begin.Sub(at) > 2*time.Second || len(w) < 3 || w[1] == "internal" || !strings.HasPrefix(w[2], "cannot ") && !strings.HasPrefix(w[2], "line ") {
		s.Errorf("%s of %s: %s says %q", name, file, f, last)
		return
	}
	if strings.Contains(w[2], ": cannot set ") || strings.ContainsFunc(last, func(r rune) bool { return r < ' ' || r == 0x7f }) {
		s.Errorf("%s of %s: %s says %q", name, file, f, last)
	}
}

// accepted checks a value that was taken: it reads back as something that can be written, and a start is not refused for
// it. Then the object is made anew.
func (s *input) accepted(object, file, name string) {
	shown := s.read(file)
	if err := s.write(file, shown, 0); err != nil {
		s.Errorf("%s of %s was accepted and shows %.100q, which is refused: %v", name, file, shown, err)
	} else if again := s.read(file); again != shown {
		s.Errorf("%s of %s was accepted and shows %.100q, then %.100q", name, file, shown, again)
	}
	spec := s.read(object + "/spec")
	if err := s.write(object+"/spec", spec, 0); err != nil {
		s.Errorf("%s of %s was accepted, and then the spec is refused: %v", name, file, err)
	}
	switch {
	case strings.HasPrefix(object, "container/"):
		s.starts(object, file, name, shown)
		must(s.T, s.write(object+"/ctl", "delete force", 0))
		must(s.T, os.Mkdir(filepath.Join(s.root, object), 0o755))
	case strings.HasPrefix(object, "vpc/"):
		must(s.T, os.Remove(filepath.Join(s.root, object)))
		must(s.T, os.Mkdir(filepath.Join(s.root, object), 0o755))
	default:
		must(s.T, s.write(file, "", 0))
	}
}

// starts checks that a container with an accepted value starts, or fails because something is not there or no program.
func (s *input) starts(object, file, name, shown string) {
	switch filepath.Base(file) {
	case "args", "entrypoint", "labels": // whatever they say is a program's name, or means nothing
		return
	}
	err := s.write(object+"/ctl", "start wait=5s", 0)
	if err != nil && !errors.Is(err, syscall.ENOENT) {
		s.Errorf("%s of %s was accepted as %.60q, and then the start fails: %v: %.300s", name, file, shown, err, s.read("self/error"))
	}
}
