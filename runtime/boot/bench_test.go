package boot

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// BenchmarkStart measures `/bin/echo` in a container to its end against the peers, all in one loop, and reports
// medians and ratios:
//
//	go test ./runtime/boot -run - -bench Start -benchtime 100x
//
// armed: Start of a container that was armed before. warm: Arm and Start in a prepared slot. fresh: the root file system too.
// cold: everything. No network and no log pipe here; those belong to other packages.
func BenchmarkStart(b *testing.B) {
	spawner(b)
	lower := image(b)
	null, err := os.OpenFile("/dev/null", os.O_RDWR, 0)
	must(b, err)
	defer null.Close()
	o := SlotOptions{IDs: mapped}
	withGroups(b, &o)
	_, err = userNS(mapped)
	must(b, err)
	cr := newCrun(b, lower, func(s *specs.Spec) { s.Linux.Seccomp = nil }, "true")
	times := map[string][]time.Duration{}
	measure := func(what string, f func()) {
		begin := time.Now()
		f()
		times[what] = append(times[what], time.Since(begin))
	}
	conf := func() Config {
		c := config(b, rootOf(b, lower, o.IDs), "/bin/echo", "hello")
		c.Stdio = [3]*os.File{null, null, null}
		return c
	}
	template := config(b, nil, "/bin/echo", "hello")
	template.Stdio = [3]*os.File{null, null, null}
	for b.Loop() {
		armed, warm, fresh := newSlot(b, o), newSlot(b, o), newSlot(b, o)
		must(b, armed.Arm(testContext(b), conf()))
		must(b, warm.Ready(testContext(b)))
		must(b, fresh.Ready(testContext(b)))
		freshUp, coldUp := uppers(b, lower), uppers(b, lower)
		warmConf := conf()
		measure("unshare", func() {
			fork(b, "/usr/bin/unshare", []string{"unshare", "-fmpniuC", "--mount-proc", "/bin/true"}, null.Fd(), "")
		})
		measure("crun", func() {
			fork(b, "/usr/bin/crun", []string{"crun", "--root", cr.bundle + "/run", "--cgroup-manager", "cgroupfs", "run", cr.id}, null.Fd(), cr.bundle)
		})
		measure("fork", func() { fork(b, lower+"/bin/busybox", []string{"echo", "hello"}, null.Fd(), "") })
		measure("armed", func() {
			must(b, armed.Start(b.Context()))
			pollExit(b, armed.PidFD())
		})
		measure("warm", func() {
			must(b, launch(b.Context(), warm, warmConf))
			pollExit(b, warm.PidFD())
		})
		measure("fresh", func() {
			c := template
			c.Root = freshUp(o.IDs)
			must(b, launch(b.Context(), fresh, c))
			pollExit(b, fresh.PidFD())
			c.Root.Close()
		})
		measure("cold", func() {
			s, err := NewSlot(b.Context(), spawner(b), o)
			must(b, err)
			c := template
			c.Root = coldUp(o.IDs)
			must(b, launch(b.Context(), s, c))
			pollExit(b, s.PidFD())
			s.Close()
			c.Root.Close()
		})
		armed.Close()
		warm.Close()
		fresh.Close()
	}
	for _, what := range []string{"armed", "warm", "fresh", "cold"} {
		report(b, times, what, "unshare", "crun")
	}
}

// report gives medians, 99th percentiles, and the ratios of what to its peers.
func report(b *testing.B, times map[string][]time.Duration, what string, peers ...string) {
	median := map[string]float64{}
	for key, list := range times {
		slices.Sort(list)
		median[key] = float64(list[len(list)/2].Microseconds())
		b.ReportMetric(median[key], key+"-us")
		b.ReportMetric(float64(list[len(list)*99/100].Microseconds()), key+"-p99-us")
	}
	for _, peer := range peers {
		b.ReportMetric(median[what]/median[peer], what+"/"+peer)
	}
	b.ReportMetric(0, "ns/op")
}

// uppers opens what an overlay needs before the clock runs.
func uppers(b testing.TB, lower string) func(ids IDMap) *os.File {
	dir := b.TempDir()
	var f [3]*os.File
	for i, p := range []string{lower, dir + "/upper", dir + "/work"} {
		if i > 0 {
			must(b, os.Mkdir(p, 0o755))
		}
		var err error
		f[i], err = os.OpenFile(p, unix.O_PATH|unix.O_DIRECTORY, 0)
		must(b, err)
	}
	return func(ids IDMap) *os.File {
		m, err := Overlay([]*os.File{f[0]}, f[1], f[2], OverlayOptions{Volatile: true, IDs: ids})
		must(b, err)
		for _, f := range f {
			f.Close()
		}
		return m
	}
}

func pollExit(b testing.TB, pidfd *os.File) {
	fd, err := rawFd(pidfd)
	must(b, err)
	for {
		p := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
		n, err := unix.Poll(p, 10000)
		if err == unix.EINTR {
			continue
		}
		if n == 0 || err != nil {
			b.Fatal("no exit: ", err)
		}
		return
	}
}

// BenchmarkMemory reports the user memory of one armed container.
func BenchmarkMemory(b *testing.B) {
	lower := image(b)
	for b.Loop() {
		s := newSlot(b, SlotOptions{IDs: mapped})
		must(b, s.Arm(testContext(b), config(b, rootOf(b, lower, mapped), "true")))
		file, err := os.ReadFile("/proc/" + itoa(s.PID()) + "/smaps_rollup")
		must(b, err)
		var kb int
		for _, line := range strings.Split(string(file), "\n") {
			if n, _ := fmt.Sscanf(line, "Pss: %d kB", &kb); n == 1 {
				b.ReportMetric(float64(kb), "PSS-KB")
			}
		}
		s.Close()
	}
	b.ReportMetric(0, "ns/op")
}
