package cgroup_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/containercloud/cc/fault"
	"github.com/containercloud/cc/runtime/cgroup"
)

// This suite is the same for cgroup v1 (as on this machine) and v2 (in the VM lane).

// TestMain lets the test binary be a process that does something once it has read a line.
func TestMain(m *testing.M) {
	what := os.Getenv("CC_CGROUP_TEST")
	if what == "" {
		os.Exit(m.Run())
	}
	bufio.NewReader(os.Stdin).ReadString('\n')
	switch what {
	case "eat":
		for i := 0; ; i++ {
			p := make([]byte, 1<<20)
			for j := range p {
				p[j] = byte(i + j)
			}
			keep = append(keep, p)
		}
	case "spin":
		for until := time.Now().Add(700 * time.Millisecond); time.Now().Before(until); {
		}
	case "fork":
		n := 0
		for n < 200 {
			if exec.Command("sleep", "60").Start() != nil {
				break
			}
			n++
		}
		fmt.Println(n)
		time.Sleep(time.Minute)
	case "device":
		for _, d := range []string{"/dev/null", "/dev/zero", "/dev/urandom", "/dev/kmsg", "/dev/mem"} {
			f, err := os.Open(d)
			if err == nil {
				f.Close()
			}
			fmt.Println(d, err == nil || !errors.Is(err, syscall.EPERM))
		}
	case "count":
		for i := 0; ; i++ {
			fmt.Println(i)
			time.Sleep(time.Millisecond)
		}
	}
	os.Exit(0)
}

var keep [][]byte

func openRoot(t testing.TB) *cgroup.Root {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("needs root: control groups")
	}
	r, err := cgroup.Open(fmt.Sprintf("cgtest-%d-%d", os.Getpid(), time.Now().UnixNano()%1e6))
	if err != nil {
		t.Skip(err)
	}
	t.Cleanup(func() {
		if err := r.Delete(); err != nil {
			t.Error(err)
		}
	})
	return r
}

func create(t testing.TB, r *cgroup.Root, name string) *cgroup.Group {
	t.Helper()
	g, err := r.Create(name)
	if err != nil {
		t.Fatal(err)
	}
	return g
}

type proc struct {
	*exec.Cmd
	in  io.WriteCloser
	out *bufio.Reader
}

// start starts the test binary in a group; it waits for go_.
func start(t testing.TB, g *cgroup.Group, what string) *proc {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(exe)
	cmd.Env = append(os.Environ(), "CC_CGROUP_TEST="+what, "GOMAXPROCS=2")
	in, _ := cmd.StdinPipe()
	out, _ := cmd.StdoutPipe()
	cmd.Stderr = os.Stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if err := g.Add(cmd.Process.Pid); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cmd.Process.Kill(); cmd.Wait() })
	return &proc{cmd, in, bufio.NewReader(out)}
}

func (p *proc) go_() { io.WriteString(p.in, "\n") }

func read(t testing.TB, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Error(err)
	}
	return strings.TrimSpace(string(b))
}

func TestCreateAndDelete(t *testing.T) {
	r := openRoot(t)
	g := create(t, r, "box")
	if _, err := r.Create("box"); err != nil {
		t.Errorf("again: %v", err)
	}
	if _, err := r.Create("../box"); !fault.Is(err, fault.Invalid) {
		t.Error(err)
	}
	if names, err := r.Names(); err != nil || fmt.Sprint(names) != "[box]" {
		t.Error(names, err)
	}
	// What a container may have made.
	if err := os.Mkdir(filepath.Join(g.Path("memory"), "inner"), 0o755); err != nil {
		t.Error(err)
	}
	if err := g.Delete(); err != nil {
		t.Error(err)
	}
	if err := g.Delete(); err != nil {
		t.Errorf("again: %v", err)
	}
	if _, err := r.Find("box"); !fault.Is(err, fault.NotFound) {
		t.Error(err)
	}
	if names, _ := r.Names(); len(names) != 0 {
		t.Error(names)
	}
}

func TestLimits(t *testing.T) {
	r := openRoot(t)
	g := create(t, r, "box")
	check := func(l cgroup.Limits) {
		t.Helper()
		if err := g.Set(l); err != nil {
			t.Fatalf("%+v: %v", l, err)
		}
		s, err := g.Stat()
		if err != nil {
			t.Fatal(err)
		}
		orMax := func(v int64) int64 {
			if v == 0 {
				return cgroup.Max
			}
			return v
		}
		if s.MemoryLimit != orMax(l.Memory) || s.PidsLimit != orMax(l.Pids) {
			t.Errorf("%+v gave %+v", l, s)
		}
	}
	for _, l := range []cgroup.Limits{
		{Memory: 64 << 20, Pids: 10, CPUMax: 500, CPUShares: 512},
		{Memory: 256 << 20, Pids: 20}, // up
		{Memory: 32 << 20},            // down
		{},                            // off
		{Memory: 64 << 20},
		{Memory: cgroup.Max, Pids: cgroup.Max, CPUMax: cgroup.Max},
	} {
		check(l)
	}
	again, err := r.Find("box") // after a restart of ccd nothing is known
	if err != nil {
		t.Fatal(err)
	}
	g = again
	check(cgroup.Limits{Memory: 48 << 20, CPUMax: 250, CPUShares: 2048})
	if r.Version() == 1 {
		if v := read(t, g.Path("cpu")+"/cpu.cfs_quota_us"); v != "25000" {
			t.Error(v)
		}
		if v := read(t, g.Path("cpu")+"/cpu.shares"); v != "2048" {
			t.Error(v)
		}
	} else {
		if v := read(t, g.Path("cpu")+"/cpu.max"); v != "25000 100000" {
			t.Error(v)
		}
		if v := read(t, g.Path("cpu")+"/cpu.weight"); v != "174" {
			t.Error(v)
		}
	}
	again, _ = r.Find("box")
	g = again
	check(cgroup.Limits{Memory: 512 << 20})
}

func TestOOM(t *testing.T) {
	r := openRoot(t)
	g := create(t, r, "box")
	if err := g.Set(cgroup.Limits{Memory: 48 << 20}); err != nil {
		t.Fatal(err)
	}
	p := start(t, g, "eat")
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	type result struct {
		n   uint64
		err error
	}
	woken := make(chan result, 1)
	go func() {
		n, err := g.WaitOOM(ctx, 0)
		woken <- result{n, err}
	}()
	p.go_()
	err := p.Wait()
	var ee *exec.ExitError
	if !errors.As(err, &ee) || ee.Sys().(syscall.WaitStatus).Signal() != syscall.SIGKILL {
		t.Errorf("it ended with %v", err)
	}
	if got := <-woken; got.err != nil || got.n == 0 {
		t.Errorf("%+v", got)
	}
	if n, err := g.OOMKills(); n == 0 || err != nil {
		t.Error(n, err)
	}
	s, err := g.Stat()
	if err != nil || s.OOMKills == 0 {
		t.Errorf("%+v %v", s, err)
	}
	if s.MemoryPeak == 0 {
		if r.Version() == 2 {
			t.Log("memory.peak needs Linux 5.19")
		} else {
			t.Error("no peak")
		}
	}
	short, stop := context.WithTimeout(ctx, 20*time.Millisecond)
	defer stop()
	if _, err := g.WaitOOM(short, s.OOMKills); !errors.Is(err, context.DeadlineExceeded) {
		t.Error(err)
	}
}

func TestPids(t *testing.T) {
	r := openRoot(t)
	g := create(t, r, "box")
	if err := g.Set(cgroup.Limits{Pids: 30}); err != nil {
		t.Fatal(err)
	}
	p := start(t, g, "fork")
	p.go_()
	line, err := p.out.ReadString('\n')
	n, _ := strconv.Atoi(strings.TrimSpace(line))
	if err != nil || n == 0 || n >= 30 {
		t.Errorf("%d processes started: %v", n, err)
	}
	list, err := g.Procs()
	if err != nil || len(list) != n+1 {
		t.Errorf("%d listed, %d started: %v", len(list), n, err)
	}
	s, _ := g.Stat()
	if s.Pids < int64(n) || s.PidsLimit != 30 {
		t.Errorf("%+v", s)
	}
	if err := g.Kill(); err != nil {
		t.Error(err)
	}
	p.Wait()
	if err := g.Delete(); err != nil {
		t.Error(err)
	}
}

func TestCPU(t *testing.T) {
	r := openRoot(t)
	g := create(t, r, "box")
	if err := g.Set(cgroup.Limits{CPUMax: 100}); err != nil {
		t.Fatal(err)
	}
	p := start(t, g, "spin")
	p.go_()
	p.Wait()
	s, err := g.Stat()
	if err != nil || s.CPU < 10*time.Millisecond || s.Throttled == 0 || s.ThrottledTime == 0 || s.Periods == 0 {
		t.Errorf("%+v %v", s, err)
	}
}

func TestFreeze(t *testing.T) {
	r := openRoot(t)
	g := create(t, r, "box")
	p := start(t, g, "count")
	p.go_()
	lines := make(chan string, 100000)
	go func() {
		for {
			l, err := p.out.ReadString('\n')
			if err != nil {
				close(lines)
				return
			}
			lines <- l
		}
	}()
	<-lines
	for range 3 {
		if err := g.Freeze(); err != nil {
			t.Fatal(err)
		}
		time.Sleep(20 * time.Millisecond) // what was in the pipe
		before := len(lines)
		time.Sleep(50 * time.Millisecond)
		if n := len(lines); n != before {
			t.Errorf("%d lines while frozen", n-before)
		}
		if err := g.Freeze(); err != nil {
			t.Errorf("twice: %v", err)
		}
		if err := g.Thaw(); err != nil {
			t.Fatal(err)
		}
		for len(lines) > 0 {
			<-lines
		}
		<-lines // goes on, or the test hangs
	}
	if err := g.Freeze(); err != nil {
		t.Fatal(err)
	}
	if err := g.Kill(); err != nil { // the frozen die too
		t.Fatal(err)
	}
	p.Wait()
}

func TestKillsAForkBomb(t *testing.T) {
	r := openRoot(t)
	g := create(t, r, "box")
	if err := g.Set(cgroup.Limits{Pids: 300}); err != nil {
		t.Fatal(err)
	}
	gate, w, _ := os.Pipe()
	cmd := exec.Command("sh", "-c", `read x; f() { f & f & }; f; sleep 60`)
	cmd.Stdin = gate
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if err := g.Add(cmd.Process.Pid); err != nil {
		t.Fatal(err)
	}
	w.Write([]byte("go\n"))
	w.Close()
	gate.Close()
	time.Sleep(200 * time.Millisecond)
	if err := g.Kill(); err != nil {
		t.Fatal(err)
	}
	cmd.Wait()
	if err := g.Delete(); err != nil {
		t.Error(err)
	}
}

func TestDevices(t *testing.T) {
	r := openRoot(t)
	g := create(t, r, "box")
	p := start(t, g, "device")
	p.go_()
	out, _ := io.ReadAll(p.out)
	p.Wait()
	want := "/dev/null true\n/dev/zero true\n/dev/urandom true\n/dev/kmsg false\n/dev/mem false\n"
	for _, d := range []string{"/dev/kmsg", "/dev/mem"} {
		if _, err := os.Stat(d); err != nil { // what is not there is not forbidden
			want = strings.Replace(want, d+" false", d+" true", 1)
		}
	}
	if string(out) != want {
		t.Errorf("got\n%swant\n%s", out, want)
	}
}

func TestPressure(t *testing.T) {
	r := openRoot(t)
	g := create(t, r, "box")
	text, err := g.Pressure()
	if fault.Is(err, fault.Unsupported) {
		t.Skip(err, fault.HintOf(err))
	}
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"cpu some avg10=", "memory full avg10=", "io some avg10="} {
		if !strings.Contains(text, want) {
			t.Errorf("no %q in\n%s", want, text)
		}
	}
}

// A process that is born in the group and moves itself is where Add would have put it.
func TestBirth(t *testing.T) {
	r := openRoot(t)
	g := create(t, r, "box")
	b, err := g.Birth()
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	script := "read x; "
	cmd := exec.Command("sh", "-c", "")
	for i, f := range b.Tasks {
		cmd.ExtraFiles = append(cmd.ExtraFiles, f)
		script += fmt.Sprintf("echo 0 >&%d; ", 3+i)
	}
	cmd.Args[2] = script + "cat /proc/self/cgroup"
	if b.Dir != nil {
		cmd.SysProcAttr = &syscall.SysProcAttr{UseCgroupFD: true, CgroupFD: b.FD()}
	}
	cmd.Stdin = strings.NewReader("\n")
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	want := len(b.Tasks)
	if b.Dir != nil {
		want++
	}
	if n := strings.Count(string(out), "/box\n"); n != want {
		t.Errorf("in %d of %d hierarchies:\n%s", n, want, out)
	}
}

func TestSweep(t *testing.T) {
	r := openRoot(t)
	a, b := create(t, r, "a"), create(t, r, "b")
	pa, pb := start(t, a, "count"), start(t, b, "count")
	if err := r.Sweep(func(name string) bool { return name == "a" }); err != nil {
		t.Fatal(err)
	}
	if names, _ := r.Names(); fmt.Sprint(names) != "[a]" {
		t.Error(names)
	}
	pb.Wait()
	if err := unix.Kill(pa.Process.Pid, 0); err != nil {
		t.Error("the kept one died")
	}
}

func TestBusy(t *testing.T) {
	r := openRoot(t)
	g := create(t, r, "box")
	p := start(t, g, "count")
	done := make(chan struct{})
	go func() {
		defer close(done)
		time.Sleep(100 * time.Millisecond)
		g.Kill()
		p.Wait()
	}()
	if err := g.Delete(); err != nil { // waits for it
		t.Error(err)
	}
	<-done
}

func BenchmarkLife(b *testing.B) {
	r := openRoot(b)
	b.Run("create", func(b *testing.B) {
		var list []*cgroup.Group
		for i := range b.N {
			list = append(list, create(b, r, "g"+strconv.Itoa(i)))
		}
		b.StopTimer()
		for _, g := range list {
			g.Delete()
		}
	})
	g := create(b, r, "box")
	b.Run("set", func(b *testing.B) {
		for i := range b.N {
			g.Set(cgroup.Limits{Memory: int64(64+i%2) << 20, Pids: int64(100 + i%2), CPUMax: int64(500 + i%2)})
		}
	})
	b.Run("stat", func(b *testing.B) {
		for b.Loop() {
			if _, err := g.Stat(); err != nil {
				b.Fatal(err)
			}
		}
	})
	cmd := exec.Command("sleep", "60")
	cmd.Start()
	defer func() { cmd.Process.Kill(); cmd.Wait() }()
	b.Run("birth", func(b *testing.B) {
		for b.Loop() {
			ways, err := g.Birth()
			if err != nil {
				b.Fatal(err)
			}
			ways.Close()
		}
	})
	h := create(b, r, "box2")
	b.Run("add", func(b *testing.B) {
		for i := range b.N {
			if err := []*cgroup.Group{g, h}[i%2].Add(cmd.Process.Pid); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("create+delete", func(b *testing.B) {
		for b.Loop() {
			if err := create(b, r, "x").Delete(); err != nil {
				b.Fatal(err)
			}
		}
	})
}
