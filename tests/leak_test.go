package tests

import (
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

const manyContainers = 500

// TestManyContainers runs 500 containers at once, deletes them, and looks for what is left while the daemon goes on.
func TestManyContainers(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("needs root: it makes namespaces, mounts and cgroups")
	}
	h, err := newHost(binaries(t), t.TempDir())
	must(t, err)
	defer h.close(t)
	must(t, h.start([]string{"--warm", "0"})) // warm parts come and go by themselves
	c := &crash{t: t, h: h, root: h.root()}
	c.open()
	before := h.rest(t)

	name := func(i int) string { return fmt.Sprintf("m%03d", i) }
	c.each(manyContainers, func(i int) error {
		vpc := " vpc=n"
		if i%4 == 0 {
			vpc = ""
		}
		return c.write("container/ctl", "run name="+name(i)+" image=bb"+vpc+" -- sleep 1000")
	})
	pids := map[string]bool{}
	for i := range manyContainers {
		status := c.status(name(i))
		if pids[status["pid"]] = true; status["state"] != "running" || dead(status["pid"]) {
			t.Errorf("%s is %v", name(i), status)
		}
	}
	if len(pids) != manyContainers {
		t.Errorf("%d containers have %d processes", manyContainers, len(pids))
	}
	c.each(manyContainers, func(i int) error { return c.write("container/"+name(i)+"/ctl", "delete force") })
	h.holds(t, before)
	for pid := range pids {
		if !dead(pid) {
			t.Errorf("process %s lives", pid)
		}
	}
	c.close()
}

// each does something n times, eight at once.
func (s *crash) each(n int, do func(i int) error) {
	s.t.Helper()
	next := make(chan int)
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			for i := range next {
				if err := do(i); err != nil {
					s.t.Errorf("%d: %v: %s", i, err, s.h.output("tail", "-n1", "/cc/container/error"))
				}
			}
		})
	}
	for i := range n {
		next <- i
	}
	close(next)
	all.Wait()
	if s.t.Failed() {
		s.t.FailNow()
	}
}

// root is the host's /cc, seen from outside.
func (h *host) root() string { return fmt.Sprintf("/proc/%d/root/cc", h.holder.Process.Pid) }

// rest is what the host holds when nothing is on its way.
func (h *host) rest(t *testing.T) string {
	t.Helper()
	before := ""
	for range 20 {
		now := h.holdings(t)
		if now == before {
			return now
		}
		before = now
		time.Sleep(time.Second) // the keeper lets go of a dead mount twice a second
	}
	t.Fatal("the host does not come to rest")
	return ""
}

// holds waits until the host holds what it held before.
func (h *host) holds(t *testing.T, before string) {
	t.Helper()
	after := ""
	for range 300 { // the rest of a deletion is done behind its answer
		if after = h.holdings(t); after == before {
			return
		}
		time.Sleep(50 * time.Millisecond)
	}
	t.Errorf("something is left:\n%s\n%s", difference(before, after), h.logTail())
}

// holdings lists what a running cloud has, a thing a line: what kernel lists, and the keeper's children, cgroups, what daemon and
// keeper have open, and files.
func (h *host) holdings(t *testing.T) string {
	var list []string
	add := func(format string, a ...any) { list = append(list, fmt.Sprintf(format, a...)) }
	kernel, err := h.kernel()
	if err != nil {
		t.Error(err)
	}
	for line := range strings.Lines(kernel) {
		add("%s", strings.TrimSpace(line))
	}
	for _, dir := range []string{h.dir + "/state", h.dir + "/run"} {
		_ = filepath.WalkDir(dir, func(path string, _ fs.DirEntry, _ error) error { add("file %s", path); return nil })
	}
	groups, _ := filepath.Glob("/sys/fs/cgroup/*/cc-" + h.instance + "*")
	unified, _ := filepath.Glob("/sys/fs/cgroup/cc-" + h.instance + "*")
	for _, top := range append(groups, unified...) {
		_ = filepath.WalkDir(top, func(path string, d fs.DirEntry, _ error) error {
			if d != nil && d.IsDir() {
				add("cgroup %s", path)
			}
			return nil
		})
	}
	keeper := h.keeper(t)
	for _, pid := range children(keeper) {
		comm, _ := os.ReadFile(fmt.Sprintf("/proc/%s/comm", pid))
		add("child %s", strings.TrimSpace(string(comm)))
	}
	for who, pid := range map[string]int{"ccd": h.ccd.Process.Pid, "keeper": keeper} {
		for kind, n := range descriptors(pid) {
			if kind == "socket:" {
				n = max(n, 32) // a few stay open for the next use
			}
			add("open in %s: %d %s", who, n, kind)
		}
	}
	slices.Sort(list)
	return strings.Join(list, "\n")
}

var number = regexp.MustCompile(`\[[0-9]+\]|^/proc/[0-9]+`)

// descriptors counts what a process has open, by kind.
func descriptors(pid int) map[string]int {
	kinds := map[string]int{}
	links, _ := filepath.Glob(fmt.Sprintf("/proc/%d/fd/*", pid))
	for _, l := range links {
		if to, err := os.Readlink(l); err == nil {
			kinds[number.ReplaceAllString(to, "")]++
		}
	}
	return kinds
}

// children are the pids of a process's children.
func children(pid int) (list []string) {
	tasks, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", pid))
	for _, name := range tasks {
		text, _ := os.ReadFile(name)
		list = append(list, strings.Fields(string(text))...)
	}
	return list
}

// difference lists the lines that are in one text only.
func difference(before, after string) string {
	count := map[string]int{}
	for line := range strings.Lines(before) {
		count["- "+strings.TrimSpace(line)]++
	}
	for line := range strings.Lines(after) {
		if k := "- " + strings.TrimSpace(line); count[k] > 0 {
			count[k]--
		} else {
			count["+ "+k[2:]]++
		}
	}
	maps.DeleteFunc(count, func(_ string, n int) bool { return n == 0 })
	return strings.Join(slices.Sorted(maps.Keys(count)), "\n")
}
