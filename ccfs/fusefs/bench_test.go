package fusefs

import (
	"bufio"
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// Benchmarks compare with a peer in the same loop and print both sides and the ratio:
//
//	go test -run '^$' -bench . -benchtime 20x ./ccfs/fusefs
//
// On a virtual machine a wake-up across processors costs more than the whole operation and comes and goes by
// the scheduler's mood, so a side counts with its best round's median.

// peer builds and mounts the C server.
func peer(b *testing.B) string {
	b.Helper()
	need(b, "gcc")
	dir, bin := b.TempDir(), filepath.Join(b.TempDir(), "echofuse")
	if out, err := exec.Command("gcc", "-O2", "-o", bin, "testdata/echofuse.c").CombinedOutput(); err != nil {
		b.Fatalf("%v\n%s", err, out)
	}
	cmd := exec.Command(bin, dir)
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	out, err := cmd.StdoutPipe()
	if err != nil {
		b.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		b.Fatal(err)
	}
	if _, err := bufio.NewReader(out).ReadString('\n'); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		unix.Unmount(dir, unix.MNT_DETACH)
		cmd.Process.Kill()
		cmd.Wait()
	})
	return filepath.Join(dir, "f")
}

// side is one contestant: the medians of its rounds.
type side []time.Duration

func (s *side) round(n int, f func()) {
	times := make([]time.Duration, n)
	for i := range times {
		begin := time.Now()
		f()
		times[i] = time.Since(begin)
	}
	slices.Sort(times)
	*s = append(*s, times[n/2])
}

func (s side) best() time.Duration { return slices.Min(s) }

func report(b *testing.B, unit string, ours, peer float64) {
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(ours, "ours-"+unit)
	if peer > 0 {
		b.ReportMetric(peer, "peer-"+unit)
		b.ReportMetric(ours/peer, "ratio")
	}
}

func micros(d time.Duration) float64 { return float64(d.Nanoseconds()) / 1e3 }

// readOnce is open, read, close without Go's scheduler in between.
func readOnce(b *testing.B, file string) func() {
	path, err := unix.BytePtrFromString(file)
	if err != nil {
		b.Fatal(err)
	}
	buf := make([]byte, 4096)
	return func() {
		if n := rawRead(path, buf); n <= 0 {
			b.Fatalf("%s: read %d bytes", file, n)
		}
	}
}

func BenchmarkStateFile(b *testing.B) {
	s, floor := serve(b, "rows"), peer(b)
	ours, theirs := readOnce(b, s.path("state")), readOnce(b, floor)
	var o, p side
	for b.Loop() {
		o.round(300, ours)
		p.round(300, theirs)
	}
	report(b, "us", micros(o.best()), micros(p.best()))
}

func BenchmarkStateFileOneProcessor(b *testing.B) {
	s, floor := serve(b, "rows", "GOMAXPROCS=1"), peer(b)
	ours, theirs := readOnce(b, s.path("state")), readOnce(b, floor)
	var o, p side
	for b.Loop() {
		o.round(300, ours)
		p.round(300, theirs)
	}
	report(b, "us", micros(o.best()), micros(p.best()))
}

// BenchmarkStatCached is stat of a setting, which the kernel answers; the peer is the same in a tmpfs-like directory of /proc.
func BenchmarkStatCached(b *testing.B) {
	s := serve(b, "rows")
	var st unix.Stat_t
	stat := func(path string) func() {
		return func() {
			if err := unix.Lstat(path, &st); err != nil {
				b.Fatal(err)
			}
		}
	}
	var o, p side
	for b.Loop() {
		o.round(1000, stat(s.path("few/thing-00000/setting")))
		p.round(1000, stat("/proc/self/limits"))
	}
	report(b, "us", micros(o.best()), micros(p.best()))
}

// BenchmarkWriteSetting is open with O_TRUNC, write, close, and the version read back.
func BenchmarkWriteSetting(b *testing.B) {
	s := serve(b, "rows")
	var o side
	for b.Loop() {
		o.round(300, func() {
			fd, err := unix.Open(s.path("few/thing-00000/setting"), unix.O_WRONLY|unix.O_TRUNC, 0)
			if err != nil {
				b.Fatal(err)
			}
			if _, err := unix.Write(fd, []byte("value\n")); err != nil {
				b.Fatal(err)
			}
			unix.Close(fd)
		})
	}
	report(b, "us", micros(o.best()), 0)
}

func BenchmarkList10000(b *testing.B) {
	s := serve(b, "rows")
	plain := b.TempDir()
	for i := range 10000 {
		if err := os.Mkdir(filepath.Join(plain, "thing-"+string(rune('a'+i%26))+time.Duration(i).String()), 0o755); err != nil {
			b.Fatal(err)
		}
	}
	list := func(dir string) func() {
		return func() {
			d, err := os.Open(dir)
			if err != nil {
				b.Fatal(err)
			}
			defer d.Close()
			if names, err := d.Readdirnames(-1); err != nil || len(names) != 10000 {
				b.Fatal(len(names), err)
			}
		}
	}
	var o, p side
	for b.Loop() {
		o.round(3, list(s.path("tenthousand")))
		p.round(3, list(plain))
	}
	report(b, "ms", micros(o.best())/1e3, micros(p.best())/1e3)
}

// BenchmarkLsL1000 is the real ls -l on 1,000 objects, process start included, against the same on ext4.
func BenchmarkLsL1000(b *testing.B) {
	s := serve(b, "rows")
	plain := b.TempDir()
	for i := range 1000 {
		if err := os.Mkdir(filepath.Join(plain, "thing-"+time.Duration(i).String()), 0o755); err != nil {
			b.Fatal(err)
		}
	}
	ls := func(dir string) func() {
		return func() {
			out, err := exec.Command("ls", "-l", "--", dir).Output()
			if err != nil || bytes.Count(out, []byte("\n")) != 1001 {
				b.Fatal(err)
			}
		}
	}
	var o, p side
	for b.Loop() {
		o.round(3, ls(s.path("thousand")))
		p.round(3, ls(plain))
	}
	report(b, "ms", micros(o.best())/1e3, micros(p.best())/1e3)
}

func benchmarkLog(b *testing.B, env ...string) {
	const size = 64 << 20
	s, plain := logServer(b, bytes.Repeat([]byte("0123456789abcde\n"), size/16), env...)
	buf := make([]byte, 128<<10)
	read := func(file string) func() {
		return func() {
			fd, err := unix.Open(file, unix.O_RDONLY, 0)
			if err != nil {
				b.Fatal(err)
			}
			defer unix.Close(fd)
			total := 0
			for {
				n, err := unix.Read(fd, buf)
				if err != nil {
					b.Fatal(err)
				}
				if n == 0 {
					break
				}
				total += n
			}
			if total != size {
				b.Fatal(total)
			}
		}
	}
	var o, p side
	for b.Loop() {
		o.round(3, read(s.path("log")))
		p.round(3, read(plain))
	}
	rate := func(s side) float64 { return size / s.best().Seconds() / 1e9 }
	report(b, "GB/s", rate(o), rate(p))
}

func BenchmarkLogPassthrough(b *testing.B) { benchmarkLog(b) }
func BenchmarkLogReads(b *testing.B)       { benchmarkLog(b, "CC_FUSEFS_NOPASSTHROUGH=1") }
