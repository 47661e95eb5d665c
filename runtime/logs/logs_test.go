package logs_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/containercloud/cc/fault"
	"github.com/containercloud/cc/runtime/logs"
	"github.com/containercloud/cc/runtime/logs/drain"
)

// bed is a log directory and a pool that drains into it.
type bed struct {
	t    testing.TB
	dir  string
	fd   int
	pool *drain.Pool
	ctx  context.Context
}

func newBed(t testing.TB, dir string) *bed {
	t.Helper()
	fd, err := unix.Open(dir, unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	pool, err := drain.New(2)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 60*time.Second)
	t.Cleanup(func() { cancel(); unix.Close(fd) })
	return &bed{t, dir, fd, pool, ctx}
}

// mounted is a directory on a file system of its own, which is attached nowhere.
func mounted(t testing.TB, kind string, options ...string) string {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("needs root: makes a file system")
	}
	fs, err := unix.Fsopen(kind, unix.FSOPEN_CLOEXEC)
	if err != nil {
		t.Skipf("needs %s: %v", kind, err)
	}
	defer unix.Close(fs)
	for i := 0; i < len(options); i += 2 {
		if err := unix.FsconfigSetString(fs, options[i], options[i+1]); err != nil {
			t.Fatal(err)
		}
	}
	if err := unix.FsconfigCreate(fs); err != nil {
		t.Fatal(err)
	}
	m, err := unix.Fsmount(fs, unix.FSMOUNT_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(m) })
	dir := fmt.Sprintf("/proc/self/fd/%d/log", m)
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	return dir
}

// log starts a stream; closing w and Finish end it.
func (b *bed) log(p logs.Policy) (*drain.Stream, *os.File) {
	b.t.Helper()
	r, w, err := logs.Pipe(0, 0)
	if err != nil {
		b.t.Fatal(err)
	}
	fd, _ := unix.Dup(int(r.Fd()))
	unix.CloseOnExec(fd)
	r.Close()
	s, err := b.pool.Add(drain.Options{Pipe: fd, Dir: b.fd, Name: "stdout", Policy: p})
	if err != nil {
		b.t.Fatal(err)
	}
	return s, w
}

func (b *bed) open() *logs.View {
	b.t.Helper()
	v, err := logs.Open(b.dir, logs.Stdout)
	if err != nil {
		b.t.Fatal(err)
	}
	b.t.Cleanup(func() { v.Close() })
	return v
}

func all(t testing.TB, v *logs.View) string {
	t.Helper()
	n, _, err := v.Size()
	if err != nil {
		t.Fatal(err)
	}
	p := make([]byte, n)
	if got, err := v.ReadAt(p, 0); int64(got) != n {
		t.Fatalf("%d of %d bytes: %v", got, n, err)
	}
	return string(p)
}

// fill writes numbered lines of 64 bytes, n bytes in all.
func fill(w io.Writer, from, n int) int {
	var b bytes.Buffer
	for ; n > 0; n -= 64 {
		fmt.Fprintf(&b, "%-63d\n", from)
		from++
		if b.Len() > 100<<10 || n <= 64 {
			w.Write(b.Bytes())
			b.Reset()
		}
	}
	return from
}

func lastLine(s string) string {
	lines := strings.Split(strings.TrimSuffix(s, "\n"), "\n")
	return strings.TrimSpace(lines[len(lines)-1])
}

func TestEverythingArrives(t *testing.T) {
	for _, dir := range []string{t.TempDir(), mounted(t, "tmpfs"), mounted(t, "ramfs")} {
		b := newBed(t, dir)
		s, w := b.log(logs.Policy{})
		var want bytes.Buffer
		fill(io.MultiWriter(w, &want), 0, 3<<20)
		w.Close()
		drain.Finish(s)
		v := b.open()
		if got := all(t, v); got != want.String() {
			t.Errorf("%d bytes, want %d", len(got), want.Len())
		}
		if v.Backing() < 0 || v.Generation() != 0 {
			t.Error("a log that was never cut has a file of its own")
		}
		if received, dropped := s.Counts(); received != int64(want.Len()) || dropped != 0 {
			t.Error(received, dropped)
		}
	}
}

// The head goes at the end of a line, and stays away; views of before stay true.
func TestBounded(t *testing.T) {
	const limit = 256 << 10
	for name, dir := range map[string]string{"ext4": t.TempDir(), "tmpfs": mounted(t, "tmpfs"), "no holes": mounted(t, "ramfs")} {
		t.Run(name, func(t *testing.T) {
			b := newBed(t, dir)
			s, w := b.log(logs.Policy{Max: limit})
			next := fill(w, 0, 1<<10)
			v := b.open()
			if err := v.Wait(b.ctx, 1<<10-1); err != nil {
				t.Fatal(err)
			}
			before := all(t, v)
			next = fill(w, next, 4<<20)
			if err := v.Wait(b.ctx, 1<<10+4<<20-1); err != nil {
				t.Fatal(err)
			}
			if size, _, _ := v.Size(); size != 1<<10+4<<20 {
				t.Errorf("the old view has %d bytes", size)
			}
			if _, err := v.ReadAt(make([]byte, 64), 0); name != "no holes" && !fault.Is(err, fault.Stale) {
				t.Errorf("bytes that are gone: %v", err)
			}
			p := make([]byte, 64)
			if n, err := v.ReadAt(p, 1<<10+4<<20-64); n != 64 || strings.TrimSpace(string(p)) != fmt.Sprint(next-1) {
				t.Errorf("%q %v", p[:n], err)
			}
			if len(before) != 1<<10 {
				t.Error(len(before))
			}
			fresh := b.open()
			got := all(t, fresh)
			if len(got) > limit || len(got) < limit/3 || len(got)%64 != 0 || lastLine(got) != fmt.Sprint(next-1) {
				t.Errorf("%d bytes kept, last %q", len(got), lastLine(got))
			}
			if fresh.Generation() == 0 || name != "no holes" && fresh.Backing() >= 0 {
				t.Errorf("generation %d, backing %d", fresh.Generation(), fresh.Backing())
			}
			if head, err := v.Head(); err != nil || head != 1<<10+4<<20-int64(len(got)) {
				t.Errorf("head %d %v", head, err)
			}
			var st unix.Stat_t
			unix.Stat(filepath.Join(dir, "stdout"), &st)
			if name != "no holes" && st.Blocks*512 > limit+8192 {
				t.Errorf("%d bytes on disk", st.Blocks*512)
			}
			w.Close()
			drain.Finish(s)
		})
	}
}

func TestPolicyChangesWhileRunning(t *testing.T) {
	b := newBed(t, t.TempDir())
	s, w := b.log(logs.Policy{Max: 1 << 20})
	fill(w, 0, 512<<10)
	v := b.open()
	if err := v.Wait(b.ctx, 512<<10-1); err != nil {
		t.Fatal(err)
	}
	s.SetPolicy(logs.Policy{Max: 64 << 10})
	if got := all(t, b.open()); len(got) > 64<<10 || len(got) < 32<<10 {
		t.Errorf("%d bytes after the change", len(got))
	}
	fmt.Fprintln(w, "new")
	w.Close()
	drain.Finish(s)
	if got := all(t, b.open()); !strings.HasSuffix(got, "\nnew\n") || len(got) > 64<<10 {
		t.Errorf("%d bytes at the end", len(got))
	}
}

// A blocking log makes its writer wait, and loses nothing.
func TestBlock(t *testing.T) {
	b := newBed(t, t.TempDir())
	s, w := b.log(logs.Policy{Max: 128 << 10, Block: true})
	const total = 4 << 20
	done := make(chan int)
	go func() { done <- fill(w, 0, total) }()
	v := b.open()
	if err := v.Wait(b.ctx, 128<<10-1); err != nil {
		t.Fatal(err)
	}
	select {
	case <-done:
		t.Fatal("the writer did not wait")
	case <-time.After(100 * time.Millisecond):
	}
	if size, _, _ := v.Size(); size != 128<<10 {
		t.Errorf("%d bytes", size)
	}
	s.SetPolicy(logs.Policy{Max: 2 * total, Block: true})
	<-done
	w.Close()
	drain.Finish(s)
	if got := all(t, v); len(got) != total {
		t.Errorf("%d bytes", len(got))
	}
}

// A full disk costs bytes, counted; the writer never waits; when there is space again the log goes on.
func TestDiskFull(t *testing.T) {
	dir := mounted(t, "tmpfs", "size", "1m")
	b := newBed(t, dir)
	s, w := b.log(logs.Policy{})
	fmt.Fprintln(w, "first")
	v := b.open()
	if err := v.Wait(b.ctx, 0); err != nil {
		t.Fatal(err)
	}
	ballast := filepath.Join(dir, "ballast")
	os.WriteFile(ballast, make([]byte, 1<<20), 0o600) // as much as goes
	fill(w, 0, 8<<20)                                 // returns, or the test hangs
	for range 1000 {
		if received, _ := s.Counts(); received >= 8<<20 {
			break
		}
		time.Sleep(time.Millisecond)
	}
	received, dropped := s.Counts()
	if dropped == 0 || received < 8<<20 {
		t.Errorf("received %d, dropped %d", received, dropped)
	}
	if v.Dropped() != dropped {
		t.Errorf("the reader sees %d dropped", v.Dropped())
	}
	os.Remove(ballast)
	fmt.Fprintln(w, "last")
	w.Close()
	drain.Finish(s)
	if got := all(t, b.open()); !strings.HasPrefix(got, "first\n") || !strings.HasSuffix(got, "last\n") {
		t.Errorf("%d bytes, last line %q", len(got), lastLine(got))
	}
}

// A log that is as large as the disk gives up its own oldest half before it loses what is new.
func TestDiskFullOfTheLogItself(t *testing.T) {
	b := newBed(t, mounted(t, "tmpfs", "size", "1m"))
	s, w := b.log(logs.Policy{})
	next := fill(w, 0, 8<<20)
	w.Close()
	drain.Finish(s)
	if _, dropped := s.Counts(); dropped != 0 {
		t.Errorf("%d bytes dropped", dropped)
	}
	got := all(t, b.open())
	if lastLine(got) != fmt.Sprint(next-1) || len(got) < 200<<10 {
		t.Errorf("%d bytes, last line %q", len(got), lastLine(got))
	}
}

// The log goes on in the same files when the process or the keeper is started again.
func TestGoesOn(t *testing.T) {
	b := newBed(t, t.TempDir())
	v := b.open() // before there is anything
	if size, _, err := v.Size(); size != 0 || err != nil {
		t.Error(size, err)
	}
	for i := range 3 {
		s, w := b.log(logs.Policy{})
		fmt.Fprintln(w, i)
		if err := v.Wait(b.ctx, int64(2*i)); err != nil {
			t.Fatal(err)
		}
		w.Close()
		drain.Finish(s)
		if err := v.Wait(b.ctx, int64(2*i+2)); err != io.EOF {
			t.Errorf("after the end: %v", err)
		}
	}
	if got := all(t, v); got != "0\n1\n2\n" {
		t.Errorf("%q", got)
	}
	os.WriteFile(filepath.Join(b.dir, "stdout.idx"), []byte("rubbish"), 0o600)
	s, w := b.log(logs.Policy{})
	fmt.Fprintln(w, 3)
	w.Close()
	drain.Finish(s)
	if got := all(t, b.open()); got != "0\n1\n2\n3\n" {
		t.Errorf("%q", got)
	}
}

func TestNoLinkIsFollowed(t *testing.T) {
	dir := t.TempDir()
	secret := filepath.Join(t.TempDir(), "secret")
	os.WriteFile(secret, []byte("secret"), 0o600)
	for _, name := range []string{"stdout", "stdout.idx"} {
		os.Remove(filepath.Join(dir, "stdout"))
		os.Symlink(secret, filepath.Join(dir, name))
		b := newBed(t, dir)
		var p [2]int
		unix.Pipe2(p[:], unix.O_CLOEXEC)
		if _, err := b.pool.Add(drain.Options{Pipe: p[0], Dir: b.fd, Name: "stdout"}); err == nil {
			t.Errorf("%s: written through a link", name)
		}
		unix.Close(p[1])
		if name == "stdout" {
			if _, err := logs.Open(dir, logs.Stdout); err == nil {
				t.Error("read through a link")
			}
		}
		os.Remove(filepath.Join(dir, name))
	}
	unix.Mkfifo(filepath.Join(dir, "stderr"), 0o600)
	if _, err := logs.Open(dir, logs.Stderr); err == nil {
		t.Error("a FIFO was opened as a log")
	}
	if got, _ := os.ReadFile(secret); string(got) != "secret" {
		t.Errorf("%q", got)
	}
}

func TestPipeIsTheContainers(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root: chown")
	}
	r, w, err := logs.Pipe(1234, 1235)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	defer w.Close()
	var st unix.Stat_t
	unix.Fstat(int(w.Fd()), &st)
	size, _ := unix.FcntlInt(w.Fd(), unix.F_GETPIPE_SZ, 0)
	if st.Uid != 1234 || st.Gid != 1235 || size != 1<<20 {
		t.Errorf("uid %d gid %d size %d", st.Uid, st.Gid, size)
	}
}

func TestWaitIsWoken(t *testing.T) {
	b := newBed(t, t.TempDir())
	s, w := b.log(logs.Policy{})
	v := b.open()
	for i := range 20 {
		got := make(chan error, 1)
		go func() { got <- v.Wait(b.ctx, int64(2*i)) }()
		w.Write([]byte("x\n"))
		if err := <-got; err != nil {
			t.Fatal(err)
		}
	}
	ctx, cancel := context.WithCancel(b.ctx)
	cancel()
	if err := v.Wait(ctx, 1000); err != context.Canceled {
		t.Error(err)
	}
	w.Close()
	drain.Finish(s)
}

func TestDirect(t *testing.T) {
	b := newBed(t, t.TempDir())
	f, err := logs.Direct(b.dir, logs.Stdout, 0, 0)
	if err != nil {
		t.Fatal(err)
	}
	s, err := b.pool.Add(drain.Options{Pipe: -1, Dir: b.fd, Name: "stdout", Policy: drain.Policy{Direct: true, Max: 64 << 10}})
	if err != nil {
		t.Fatal(err)
	}
	next := fill(f, 0, 1<<20)
	v := b.open()
	for v.Generation() == 0 && b.ctx.Err() == nil {
		time.Sleep(time.Millisecond)
	}
	next = fill(f, next, 1<<10)
	drain.Finish(s)
	if got := all(t, b.open()); len(got) > 64<<10 || lastLine(got) != fmt.Sprint(next-1) {
		t.Errorf("%d bytes, last line %q", len(got), lastLine(got))
	}
	f.Close()
}

func collect(t testing.TB, b *bed, o logs.LinesOptions) (list []string) {
	t.Helper()
	for l, err := range logs.Lines(b.ctx, b.dir, o) {
		if err != nil {
			t.Fatal(err)
		}
		s := string(l.Stream[3:]) + " " + string(l.Text)
		if l.Partial {
			s += "..."
		}
		if l.Time.IsZero() || time.Since(l.Time) > time.Minute {
			t.Errorf("time %v", l.Time)
		}
		list = append(list, s)
	}
	return list
}

func TestLines(t *testing.T) {
	b := newBed(t, t.TempDir())
	s, w := b.log(logs.Policy{})
	r2, w2, _ := logs.Pipe(0, 0)
	fd, _ := unix.Dup(int(r2.Fd()))
	r2.Close()
	s2, err := b.pool.Add(drain.Options{Pipe: fd, Dir: b.fd, Name: "stderr"})
	if err != nil {
		t.Fatal(err)
	}
	say := func(f *os.File, text string) {
		f.WriteString(text)
		time.Sleep(30 * time.Millisecond)
	}
	say(w, "a\nb\n")
	say(w2, "c\n")
	say(w, "d\nhalf ")
	mark := time.Now()
	time.Sleep(5 * time.Millisecond)
	say(w, "line\n")
	say(w2, "e\n")
	say(w, "no end")
	w.Close()
	w2.Close()
	drain.Finish(s)
	drain.Finish(s2)
	want := []string{"out a", "out b", "err c", "out d", "out half line", "err e", "out no end..."}
	if got := collect(t, b, logs.LinesOptions{}); strings.Join(got, "|") != strings.Join(want, "|") {
		t.Errorf("%q", got)
	}
	if got := collect(t, b, logs.LinesOptions{Since: mark}); strings.Join(got, "|") != "err e|out no end..." {
		t.Errorf("since: %q", got)
	}
	if got := collect(t, b, logs.LinesOptions{Until: mark, Streams: []logs.Stream{logs.Stdout}}); strings.Join(got, "|") != "out a|out b|out d|out half line" {
		t.Errorf("until: %q", got)
	}
	if got := collect(t, b, logs.LinesOptions{Since: time.Now()}); len(got) != 0 {
		t.Errorf("since now: %q", got)
	}
}

func TestFollowLines(t *testing.T) {
	b := newBed(t, t.TempDir())
	r, err := logs.NewReader(b.dir, logs.LinesOptions{Follow: true, Streams: []logs.Stream{logs.Stdout}})
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	s, w := b.log(logs.Policy{})
	go func() {
		for i := range 100 {
			fmt.Fprintf(w, "line %d\n", i)
			if i%10 == 0 {
				time.Sleep(2 * time.Millisecond)
			}
		}
		w.WriteString("rest")
		w.Close()
		drain.Finish(s)
	}()
	for i := range 100 {
		l, err := r.Next(b.ctx)
		if err != nil || string(l.Text) != fmt.Sprintf("line %d", i) || l.Partial {
			t.Fatalf("%d: %q %v", i, l.Text, err)
		}
	}
	if l, err := r.Next(b.ctx); err != nil || string(l.Text) != "rest" || !l.Partial {
		t.Errorf("%q %v", l.Text, err)
	}
	if _, err := r.Next(b.ctx); err != io.EOF {
		t.Error(err)
	}
}

func TestLongLine(t *testing.T) {
	b := newBed(t, t.TempDir())
	s, w := b.log(logs.Policy{})
	w.Write(bytes.Repeat([]byte("x"), 3*logs.MaxLine+10))
	w.WriteString("\nshort\n")
	w.Close()
	drain.Finish(s)
	var sizes []int
	for l, err := range logs.Lines(b.ctx, b.dir, logs.LinesOptions{}) {
		if err != nil {
			t.Fatal(err)
		}
		sizes = append(sizes, len(l.Text))
	}
	if fmt.Sprint(sizes) != fmt.Sprint([]int{logs.MaxLine, logs.MaxLine, logs.MaxLine, 10, 5}) {
		t.Error(sizes)
	}
}
