package tests

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

const (
	crashRounds = 100
	crashLoops  = 4
	crashStay   = 30 // containers that stay over the rounds
)

// TestCrash kills ccd at random moments while four loops make, start, enter and delete containers. When may fall
// anywhere; what must hold afterwards does not depend on it: what was answered is there, what was not is there or not,
// a container's state is that of its process and stays what it was, exit codes and log bytes are those of the program. In
// the end nothing is left.
func TestCrash(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("needs root: it makes namespaces, mounts and cgroups")
	}
	h, err := newHost(binaries(t), t.TempDir())
	must(t, err)
	defer h.close(t)
	must(t, h.start([]string{"--warm", "0"}))
	s := &crash{t: t, h: h, root: h.root(), made: map[string]*made{}}
	s.open()
	must(t, h.kill())
	must(t, h.start([]string{"--warm", "0"})) // it holds what a daemon does that found a container
	before := h.rest(t)
	random := rand.New(rand.NewPCG(1, 2))
	begin := time.Now()
	for round := 0; round < crashRounds && !t.Failed(); round++ {
		must(t, h.kill())
		must(t, h.start(nil))
		s.settle()
		s.check(round)
		s.stop.Store(false)
		for loop := range crashLoops {
			s.loops.Go(func() { s.loop(round, loop) })
		}
		time.Sleep(time.Duration(random.IntN(250)) * time.Millisecond)
		s.stop.Store(true)
	}
	must(t, h.kill())
	must(t, h.start([]string{"--warm", "0"}))
	s.settle()
	s.check(crashRounds)
	t.Logf("%v; states after an unanswered start: %v; %v", s.done, s.cut, time.Since(begin).Round(time.Second))
	for _, what := range []string{"make", "set", "start", "exec", "delete"} {
		if s.done[what] == 0 {
			t.Errorf("no %s was answered: the rounds tested too little", what)
		}
	}
	s.clear()
	h.holds(t, before)
	s.close()
}

// counts prints numbers until it is asked to end, and then how many.
const counts = `trap "echo ends \$i; exit 7" TERM; i=0; while :; do i=$((i+1)); echo $i; [ $((i%20)) != 0 ] || usleep 5000; done`

type crash struct {
	t     *testing.T
	h     *host
	root  string // /cc, seen from outside of the host
	loops sync.WaitGroup
	stop  atomic.Bool

	mu   sync.Mutex
	made map[string]*made
	done map[string]int // answered steps
	cut  map[string]int // states after a start that was not answered
}

// made is what is known of a container: the last step that was begun, and whether it was answered.
type made struct {
	step     string // make, set, start, delete
	answered bool
	ends     int // the exit code of its program, which prints its name; 0: it does not end
	state    string
	pid      string
}

// open makes what all containers use, and one that uses it until close, so that it stays.
func (s *crash) open() {
	s.done, s.cut = map[string]int{}, map[string]int{}
	must(s.t, s.h.importBusybox())
	must(s.t, os.Mkdir(s.root+"/vpc/n", 0o755))
	must(s.t, s.write("vpc/n/cidr", "10.77.0.0/16"))
	must(s.t, s.write("container/ctl", "run name=counts image=bb vpc=n -- sh -c '"+counts+"'"))
}

// close is the end of open: nothing that the container printed may be missing.
func (s *crash) close() {
	s.checkCounts()
	if err := os.Remove(s.root + "/vpc/n"); err != nil {
		s.t.Error(err)
	}
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
	if m.answered = err == nil; m.answered {
		s.done[what]++
	}
	return m.answered
}

// loop is one user, until the daemon is killed. Every fifth container stays, every third program ends by itself.
func (s *crash) loop(round, loop int) {
	for i := 0; !s.stop.Load(); i++ {
		name := fmt.Sprintf("c%d-%d-%d", round, loop, i)
		dir := "container/" + name
		args, ends := "sleep\n1000", 0
		if i%3 == 2 {
			ends = 1 + round%99
			args = fmt.Sprintf("sh\n-c\necho %s; exit %d", name, ends)
		}
		ok := s.step(name, "make", func() error { return os.Mkdir(filepath.Join(s.root, dir), 0o755) }) &&
			s.step(name, "set", func() error {
				s.ends(name, ends)
				if loop%2 == 0 {
					if err := s.write(dir+"/vpc", "n"); err != nil {
						return err
					}
				}
				if err := s.write(dir+"/image", "bb"); err != nil {
					return err
				}
				return s.write(dir+"/args", args)
			}) &&
			s.step(name, "start", func() error { return s.write(dir+"/ctl", "start") })
		if !ok {
			return
		}
		if ends == 0 {
			s.enter(name)
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
	}
}

func (s *crash) ends(name string, code int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.made[name].ends = code
}

// enter runs a command in a container. It may be cut off; what it prints and how it ends must be right if it is not.
func (s *crash) enter(name string) {
	in := exec.Command("nsenter", s.h.enter(s.h.bin+"/cc", "exec", name, "sh", "-c", "echo inside; exit 3")...)
	out, _ := in.Output()
	switch code := in.ProcessState.ExitCode(); {
	case code == 3 && string(out) == "inside\n":
		s.mu.Lock()
		s.done["exec"]++
		s.mu.Unlock()
	case code == 3, code == 0:
		s.t.Errorf("exec in %s printed %q and ended with %d", name, out, code)
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
		if e.IsDir() && e.Name() != "counts" {
			there[e.Name()] = true
			if s.made[e.Name()] == nil {
				s.t.Errorf("round %d: %s was deleted and is there again", round, e.Name())
			}
		}
	}
	for name, m := range s.made {
		switch {
		case there[name]:
			s.checkOne(round, name, m)
		case m.answered || m.step != "make" && m.step != "delete":
			s.t.Errorf("round %d: %s is lost, after: %s", round, name, m.step)
		}
		if !there[name] {
			delete(s.made, name)
		} else if len(s.made) > crashStay && s.step(name, "delete", func() error { return s.write("container/"+name+"/ctl", "delete force") }) {
			delete(s.made, name)
		}
	}
}

// checkOne is check for a container that is there.
func (s *crash) checkOne(round int, name string, m *made) {
	var status map[string]string
	for range 500 { // its program may just be ending
		status = s.status(name)
		if status["state"] != "running" || m.ends == 0 && m.step != "delete" || !dead(status["pid"]) {
			break
		}
		time.Sleep(10 * time.Millisecond)
	}
	state := status["state"]
	if may := m.may(); !slices.Contains(may, state) {
		s.t.Errorf("round %d: %s is %v, not %s, after: %s\n%s", round, name, status, may, m.step, s.h.logTail())
	}
	if m.step == "start" && !m.answered && m.state == "" {
		s.cut[state]++
	}
	const cut = "the daemon ended while it was being started"
	if state == "failed" && strings.Trim(status["reason"], "'") != cut {
		s.t.Errorf("round %d: %s failed: %s", round, name, status["reason"])
	}
	running, pid := state == "running", status["pid"]
	if lives := pid != "" && !dead(pid); lives != running && m.ends == 0 {
		s.t.Errorf("round %d: %s is %v, and that its process lives is %v", round, name, status, lives)
	}
	if m.pid != "" && running && m.pid != pid {
		s.t.Errorf("round %d: %s has process %s, and had %s", round, name, pid, m.pid)
	}
	if state == "exited" {
		s.checkExit(round, name, m, status)
	}
	m.state, m.pid = state, pid
}

// checkExit holds exit code and output against the program. One that is deleted by force is killed.
func (s *crash) checkExit(round int, name string, m *made, status map[string]string) {
	code := status["exit"]
	out, err := os.ReadFile(filepath.Join(s.root, "container", name, "stdout"))
	switch want := name + "\n"; {
	case err != nil:
		s.t.Errorf("round %d: %s: %v", round, name, err)
	case m.step == "delete" && code == "137":
	case m.ends == 0 || code != strconv.Itoa(m.ends) || string(out) != want:
		s.t.Errorf("round %d: %s is %v and printed %q; its program ends with %d, after: %s", round, name, status, out, m.ends, m.step)
	}
}

// may lists the states that a container may be in. Once it has been looked at it stays what it was, but for its program's end.
func (m *made) may() []string {
	switch {
	case m.step == "make" || m.step == "set":
		return []string{"defined"}
	case m.step == "delete":
		return []string{"running", "exited"}
	case m.ends != 0 && (m.answered || m.state == "running" || m.state == "exited"):
		return []string{"running", "exited"}
	case m.answered:
		return []string{"running"}
	case m.state != "":
		return []string{m.state}
	case m.ends != 0:
		return []string{"defined", "failed", "running", "exited"}
	}
	return []string{"defined", "failed", "running"}
}

func (s *crash) checkCounts() {
	must(s.t, s.write("container/counts/ctl", "stop wait=30s"))
	status := s.status("counts")
	text, err := os.ReadFile(s.root + "/container/counts/stdout")
	must(s.t, err)
	lines := strings.Split(strings.TrimSuffix(string(text), "\n"), "\n")
	for i, line := range lines[:len(lines)-1] {
		if line != strconv.Itoa(i+1) {
			s.t.Fatalf("line %d of the log is %q", i+1, line)
		}
	}
	last := fmt.Sprintf("ends %d", len(lines)-1)
	if n := lines[len(lines)-1]; n != last || status["exit"] != "7" {
		s.t.Errorf("the program that counts is %v and printed %q last, not %q", status, n, last)
	}
	must(s.t, s.write("container/counts/ctl", "delete"))
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

// clear deletes everything through the tree.
func (s *crash) clear() {
	for name := range s.made {
		if err := s.write("container/"+name+"/ctl", "delete force"); err != nil {
			s.t.Errorf("cannot delete %s: %v: %s", name, err, s.h.output("cat", "/cc/self/error"))
		}
	}
}

// dead says that a process has ended, reaped or not.
func dead(pid string) bool {
	stat, err := os.ReadFile("/proc/" + pid + "/stat")
	return err != nil || bytes.HasPrefix(stat[bytes.LastIndexByte(stat, ')')+1:], []byte(" Z"))
}
