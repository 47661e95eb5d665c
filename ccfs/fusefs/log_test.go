package fusefs

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"
)

// logServer serves a log file below a directory of this test.
func logServer(t testing.TB, content []byte, env ...string) (s *served, log string) {
	t.Helper()
	log = filepath.Join(t.TempDir(), "log")
	if err := os.WriteFile(log, content, 0o644); err != nil {
		t.Fatal(err)
	}
	return serve(t, "rows", append(env, "CC_FUSEFS_LOG="+log)...), log
}

func TestLog(t *testing.T) {
	for _, c := range []struct {
		name string
		env  []string
	}{
		{"passthrough", nil},
		{"reads", []string{"CC_FUSEFS_NOPASSTHROUGH=1"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			content := bytes.Repeat([]byte("0123456789abcde\n"), 100000)
			s, log := logServer(t, content, c.env...)
			f, err := os.Open(s.path("log"))
			if err != nil {
				t.Fatal(err)
			}
			defer f.Close()
			if got, err := os.ReadFile(s.path("log")); err != nil || !bytes.Equal(got, content) {
				t.Fatalf("read %d bytes of %d, %v", len(got), len(content), err)
			}
			app, err := os.OpenFile(log, os.O_WRONLY|os.O_APPEND, 0)
			if err != nil {
				t.Fatal(err)
			}
			defer app.Close()
			app.WriteString("more\n")
			var b [100]byte
			if n, _ := f.ReadAt(b[:], int64(len(content))); string(b[:n]) != "more\n" {
				t.Errorf("a file that was open does not grow: %q", b[:n])
			}
			if st, err := f.Stat(); err != nil || st.Size() != int64(len(content))+5 {
				t.Errorf("size %v, %v", st.Size(), err)
			}
			if got := s.run(t, `tail -n1 $M/log; stat -c %s $M/log`); got != "more\n1600005" {
				t.Errorf("tail and stat: %q", got)
			}
			out := s.run(t, `(sleep 0.3; echo last >> `+log+`) & timeout 20 sh -c 'tail -n0 -f $M/log | head -n1'; wait`)
			if out != "last" {
				t.Errorf("tail -f: %q", out)
			}
			s.run(t, `echo x > $M/log && exit 1; exit 0`)
		})
	}
}

func TestPassthroughLogCanBeMapped(t *testing.T) {
	s, _ := logServer(t, []byte("mapped\n"))
	f, err := os.Open(s.path("log"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	m, err := unix.Mmap(int(f.Fd()), 0, 7, unix.PROT_READ, unix.MAP_SHARED)
	if err == unix.ENODEV {
		t.Skip("this kernel has no FUSE passthrough")
	}
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Munmap(m)
	if string(m) != "mapped\n" {
		t.Errorf("mapped %q", m)
	}
}
