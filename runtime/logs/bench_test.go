package logs_test

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/containercloud/cc/runtime/logs"
	"github.com/containercloud/cc/runtime/logs/drain"
)

// A writer is another process, as a container is. It is this test binary with CC_LOGS_WRITE=SIZE,COUNT.
func TestMain(m *testing.M) {
	if v := os.Getenv("CC_LOGS_WRITE"); v != "" {
		var size, count int
		fmt.Sscanf(v, "%d,%d", &size, &count)
		p := make([]byte, size)
		for i := range p {
			p[i] = 'x'
		}
		p[size-1] = '\n'
		for range count {
			unix.Write(1, p)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

func startWriter(b *testing.B, f *os.File, size int, total int64) *exec.Cmd {
	b.Helper()
	exe, err := os.Executable()
	if err != nil {
		b.Fatal(err)
	}
	cmd := exec.Command(exe)
	cmd.Env = []string{"CC_LOGS_WRITE=" + strconv.Itoa(size) + "," + strconv.FormatInt(total/int64(size), 10)}
	cmd.Stdout = f
	if err := cmd.Start(); err != nil {
		b.Fatal(err)
	}
	return cmd
}

// BenchmarkWrite is one process that writes its log as fast as it can: GB/s, and the CPU time of the draining
// side per GB. direct is the file itself, json what json-file logging does.
func BenchmarkWrite(b *testing.B) {
	for _, size := range []int{100, 4 << 10, 64 << 10} {
		for _, how := range []string{"direct", "pipe", "pipe-keeping-1G", "json"} {
			b.Run(fmt.Sprintf("%s/%d", how, size), func(b *testing.B) {
				total := int64(1 << 30)
				if size == 100 || how == "json" {
					total = 256 << 20
				}
				b.SetBytes(total)
				var cpu time.Duration
				for b.Loop() {
					cpu += writeOnce(b, how, size, total)
				}
				b.ReportMetric(cpu.Seconds()/float64(b.N)/(float64(total)/(1<<30)), "cpu-s/GB")
			})
		}
	}
}

func writeOnce(b *testing.B, how string, size int, total int64) time.Duration {
	dir, err := os.MkdirTemp("", "logs")
	if err != nil {
		b.Fatal(err)
	}
	defer os.RemoveAll(dir)
	if how == "direct" {
		f, err := os.OpenFile(filepath.Join(dir, "log"), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
		if err != nil {
			b.Fatal(err)
		}
		defer f.Close()
		startWriter(b, f, size, total).Wait()
		return 0
	}
	before := cpuTime()
	if how == "json" {
		jsonLines(b, dir, size, total)
		return cpuTime() - before
	}
	policy := logs.Policy{}
	if how == "pipe-keeping-1G" {
		policy.Max = 1 << 30
	}
	bed := newBed(b, dir)
	s, w := bed.log(policy)
	cmd := startWriter(b, w, size, total)
	w.Close()
	cmd.Wait()
	drain.Finish(s)
	if received, dropped := s.Counts(); dropped != 0 || received < total-int64(size) {
		b.Errorf("received %d, dropped %d", received, dropped)
	}
	return cpuTime() - before
}

// jsonLines is what json-file does: a line, a time, JSON, a write.
func jsonLines(b *testing.B, dir string, size int, total int64) {
	f, err := os.Create(filepath.Join(dir, "log"))
	if err != nil {
		b.Fatal(err)
	}
	defer f.Close()
	r, w, _ := os.Pipe()
	cmd := startWriter(b, w, size, total)
	w.Close()
	in := bufio.NewReaderSize(r, 64<<10)
	for {
		line, err := in.ReadString('\n')
		if err != nil {
			break
		}
		out, _ := json.Marshal(struct {
			Log    string    `json:"log"`
			Stream string    `json:"stream"`
			Time   time.Time `json:"time"`
		}{line, "stdout", time.Now()})
		f.Write(append(out, '\n'))
	}
	cmd.Wait()
}

func cpuTime() time.Duration {
	var u unix.Rusage
	unix.Getrusage(unix.RUSAGE_SELF, &u)
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// BenchmarkRead reads a whole log of 256 MiB in pieces of 128 KiB, against reading the plain file.
func BenchmarkRead(b *testing.B) {
	bed := newBed(b, b.TempDir())
	s, w := bed.log(logs.Policy{Max: 1 << 30})
	const total = 256 << 20
	startWriter(b, w, 64<<10, total).Wait()
	w.Close()
	drain.Finish(s)
	p := make([]byte, 128<<10)
	b.Run("view", func(b *testing.B) {
		v := bed.open()
		b.SetBytes(total)
		for b.Loop() {
			readAll(b, v, p, total)
		}
	})
	b.Run("file", func(b *testing.B) {
		f, _ := os.Open(filepath.Join(bed.dir, "stdout"))
		defer f.Close()
		b.SetBytes(total)
		for b.Loop() {
			readAll(b, f, p, total)
		}
	})
	b.Run("lines", func(b *testing.B) {
		b.SetBytes(total)
		for b.Loop() {
			for _, err := range logs.Lines(bed.ctx, bed.dir, logs.LinesOptions{}) {
				if err != nil {
					b.Fatal(err)
				}
			}
		}
	})
}

func readAll(b *testing.B, r io.ReaderAt, p []byte, want int64) {
	var off int64
	for {
		n, err := r.ReadAt(p, off)
		off += int64(n)
		if err == io.EOF {
			break
		}
		if err != nil {
			b.Fatal(err)
		}
	}
	if off != want {
		b.Fatal(off)
	}
}
