package tests

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

const (
	crashRounds = 30
	crashLoops  = 4
	crashTime   = 60 * time.Second // no further round after that
)

// TestCrash kills ccd at random moments while four loops make, start, enter and delete containers. When may fall
// anywhere; what must hold afterwards does not depend on it: what was answered is there, what was not is there or not,
// and a container's state is that of its process. In the end nothing is left.
func TestCrash(t *testing.T) {
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
	s := &crash{t: t, h: h, root: fmt.Sprintf("/proc/%d/root/cc", h.holder.Process.Pid), made: map[string]*made{}}
	must(t, os.Mkdir(s.root+"/vpc/n", 0o755))
	must(t, s.write("vpc/n/cidr", "10.77.0.0/16"))
	random := rand.New(rand.NewPCG(1, 2))
	begin := time.Now()
	for round := 0; round < crashRounds && time.Since(begin) < crashTime && !t.Failed(); round++ {
		s.stop.Store(false)
		for loop := range crashLoops {
			s.loops.Go(func() { s.loop(round, loop) })
		}
		time.Sleep(time.Duration(random.IntN(300)) * time.Millisecond)
		s.stop.Store(true)
		must(t, h.kill())
		must(t, h.start(nil))
		s.settle()
		s.check(round)
	}
	t.Logf("%d containers lived and were deleted in %v", s.done.Load(), time.Since(begin).Round(time.Second))
	if s.done.Load() == 0 {
		t.Error("no container came to its end: the rounds tested nothing")
	}
	s.clear()
}

type crash struct {
	t     *testing.T
	h     *host
	root  string // /cc, seen from outside of the host
	loops sync.WaitGroup
	stop  atomic.Bool
	done  atomic.Int32

	mu   sync.Mutex
	made map[string]*made
}

// made is what is known of a container: the last step that was begun, and whether it was answered.
type made struct {
	step     string // make, set, start, delete
	answered bool
	pid      string
}

// must is for what no round may fail at.
func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func (s *crash) write(file, text string) error {
	return os.WriteFile(filepath.Join(s.root, file), []byte(text+"\n"), 0o644)
}

// step does one step, and reports whether the daemon answered it with success.
func (s *crash) step(name, what string, do func() error) bool {
	s.mu.Lock()
	m := s.made[name]
	if m == nil {
		m = &made{}
		s.made[name] = m
	}
	m.step, m.answered = what, false
	s.mu.Unlock()
	err := do()
	s.mu.Lock()
	defer s.mu.Unlock()
	m.answered = err == nil
	return m.answered
}

// loop is one user, until the daemon is killed. Every fifth container stays.
func (s *crash) loop(round, loop int) {
	for i := 0; !s.stop.Load(); i++ {
		name := fmt.Sprintf("c%d-%d-%d", round, loop, i)
		dir := "container/" + name
		ok := s.step(name, "make", func() error { return os.Mkdir(filepath.Join(s.root, dir), 0o755) }) &&
			s.step(name, "set", func() error {
				if loop%2 == 0 {
					if err := s.write(dir+"/vpc", "n"); err != nil {
						return err
					}
				}
				return s.write(dir+"/args", "sleep\n1000")
			}) &&
			s.step(name, "start", func() error { return s.write(dir+"/ctl", "start") })
		if !ok {
			return
		}
		in := exec.Command("nsenter", s.h.enter(s.h.bin+"/cc", "exec", name, "echo", "inside")...)
		if out, err := in.CombinedOutput(); err == nil && string(out) != "inside\n" {
			s.t.Errorf("exec in %s printed %q", name, out)
		}
		if i%5 == 4 {
			continue
		}
		if !s.step(name, "delete", func() error { return s.write(dir+"/ctl", "delete force") }) {
			return
		}
		s.mu.Lock()
		delete(s.made, name)
		s.mu.Unlock()
		s.done.Add(1)
	}
}

// settle waits for the loops: whatever they had begun must come back with the next daemon, if not before.
func (s *crash) settle() {
	ended := make(chan struct{})
	go func() { s.loops.Wait(); close(ended) }()
	select {
	case <-ended:
	case <-time.After(30 * time.Second):
		s.t.Fatalf("operations hang after the daemon was killed and started again\n%s", s.h.logTail())
	}
}

// check compares what is known with what the daemon says, and that with the kernel.
func (s *crash) check(round int) {
	there := map[string]bool{}
	entries, err := os.ReadDir(s.root + "/container")
	must(s.t, err)
	for _, e := range entries {
		if e.IsDir() {
			there[e.Name()] = true
			if s.made[e.Name()] == nil {
				s.t.Errorf("round %d: %s was deleted and is there again", round, e.Name())
			}
		}
	}
	for name, m := range s.made {
		if !there[name] {
			if m.answered || m.step != "make" && m.step != "delete" {
				s.t.Errorf("round %d: %s is lost, after: %s", round, name, m.step)
			}
			delete(s.made, name)
			continue
		}
		status := s.status(name)
		if may := m.may(); !strings.Contains(may, status["state"]) {
			s.t.Errorf("round %d: %s is %v, not %s, after: %s", round, name, status, may, m.step)
		}
		running, pid := status["state"] == "running", status["pid"]
		if lives := pid != "" && !dead(pid); lives != running {
			s.t.Errorf("round %d: %s is %v, and that its process lives is %v", round, name, status, lives)
		}
		if m.pid != "" && running && m.pid != pid {
			s.t.Errorf("round %d: %s has process %s, and had %s", round, name, pid, m.pid)
		}
		m.pid = pid
	}
}

// may lists the states that a container may be in.
func (m *made) may() string {
	switch {
	case m.step == "make" || m.step == "set":
		return "defined"
	case m.step == "start" && m.answered:
		return "running"
	case m.step == "start":
		return "defined failed running exited" // failed says that the daemon ended over it; ccinit may have ended with it
	}
	return "running exited"
}

func (s *crash) status(name string) map[string]string {
	text, err := os.ReadFile(filepath.Join(s.root, "container", name, "status"))
	must(s.t, err)
	status := map[string]string{}
	for line := range strings.Lines(string(text)) {
		key, value, _ := strings.Cut(strings.TrimSpace(line), " ")
		status[key] = value
	}
	return status
}

// clear deletes everything through the tree. host.close looks for what is left in the kernel.
func (s *crash) clear() {
	for name := range s.made {
		if err := s.write("container/"+name+"/ctl", "delete force"); err != nil {
			s.t.Errorf("cannot delete %s: %v: %s", name, err, s.h.output("cat", "/cc/self/error"))
		}
	}
	var left []os.DirEntry
	for range 200 { // the rest of a deletion is done behind its answer
		if left, _ = os.ReadDir(s.h.dir + "/state/container"); len(left) == 0 {
			break
		}
		time.Sleep(50 * time.Millisecond)
	}
	if len(left) > 0 {
		s.t.Errorf("the state directory still has %v", left)
	}
	if err := os.Remove(s.root + "/vpc/n"); err != nil {
		s.t.Error(err)
	}
}

// dead says that a process has ended, reaped or not.
func dead(pid string) bool {
	stat, err := os.ReadFile("/proc/" + pid + "/stat")
	return err != nil || bytes.HasPrefix(stat[bytes.LastIndexByte(stat, ')')+1:], []byte(" Z"))
}
