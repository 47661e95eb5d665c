package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"time"
)

// runLine is a container as users start one, with limits, in a network.
const runLine = " image=bb vpc=bench memory=256M cpu=512 pids=100 -- /bin/echo hello"

// timed runs do and adds its time.
func (s *series) timed(do func() error) error {
	begin := time.Now()
	err := do()
	*s = append(*s, time.Since(begin))
	return err
}

// life is a ctl line and the wait for the end it leads to.
func life(ctl, line, name string) func() error {
	return func() error {
		if err := write(ctl, line); err != nil {
			return err
		}
		_, err := read(cc + "container/" + name + "/wait/exited")
		return err
	}
}

// armed makes a container and waits until only its execve is missing.
func (h *host) armed(name string) error {
	if err := write(cc+"container/ctl", "create name="+name+runLine); err != nil {
		return err
	}
	return until(2*time.Second, "a created container is armed", func() bool {
		text, _ := read(cc + "container/" + name + "/status")
		return strings.Contains(text, "armed on")
	})
}

func benchStart(h *host, r *report) error {
	crun, err := h.bundle("crun")
	if err != nil {
		return err
	}
	var start, warm, unshare, peer series
	for range *n {
		name := h.name()
		if err := h.armed(name); err != nil {
			return err
		}
		dir := cc + "container/" + name
		time.Sleep(20 * time.Millisecond) // the part that create took is made again meanwhile
		err := errors.Join(
			start.timed(life(dir+"/ctl", "start", name)),
			os.Remove(dir))
		time.Sleep(15 * time.Millisecond) // let the pools fill: bursts are what the rate section measures
		name = h.name()
		err = errors.Join(err,
			warm.timed(life(cc+"container/ctl", "run name="+name+runLine, name)),
			os.Remove(cc+"container/"+name),
			unshare.timed(exec.Command("unshare", "-fmpniuC", "--mount-proc", "/bin/true").Run),
			peer.timed(crun))
		if err != nil {
			return err
		}
	}
	var slow series
	runc, err := h.bundle("runc")
	if err != nil {
		return err
	}
	for range max(5, *n/10) {
		if err := slow.timed(runc); err != nil {
			return err
		}
	}
	r.times("start of a created container, to its exit", start.p50(), "unshare", unshare.p50(), 0.45)
	r.times("start of a created container, to its exit", start.p50(), "crun run", peer.p50(), 0.14)
	r.times("create and start in one write, warm", warm.p50(), "unshare", unshare.p50(), 0.70)
	r.times("create and start in one write, warm", warm.p50(), "crun run", peer.p50(), 0.21)
	r.times("create and start in one write, warm", warm.p50(), "runc run", slow.p50(), 0)
	r.times("create and start, warm, 99th percentile", warm.p99(), "unshare, 99th percentile", unshare.p99(), 1.0)
	return nil
}

func benchCold(h *host, r *report) error {
	crun, err := h.bundle("crun")
	if err != nil {
		return err
	}
	if err := h.start("0"); err != nil {
		return err
	}
	var cold, unshare, peer series
	for range *n {
		name := h.name()
		err := errors.Join(
			cold.timed(life(cc+"container/ctl", "run name="+name+runLine, name)),
			os.Remove(cc+"container/"+name),
			unshare.timed(exec.Command("unshare", "-fmpniuC", "--mount-proc", "/bin/true").Run),
			peer.timed(crun))
		if err != nil {
			return err
		}
	}
	r.times("create and start, cold (pools off)", cold.p50(), "unshare", unshare.p50(), 1.9)
	r.times("create and start, cold (pools off)", cold.p50(), "crun run", peer.p50(), 0.55)
	return h.start("4")
}

func benchExec(h *host, r *report) error {
	name := h.name()
	if err := write(cc+"container/ctl", "run name="+name+" image=bb vpc=bench -- /bin/sleep 1000"); err != nil {
		return err
	}
	stop, exec, err := h.crunExec()
	if err != nil {
		return err
	}
	defer stop()
	dir := cc + "container/" + name + "/"
	var ours, peer series
	for range *n {
		err := errors.Join(ours.timed(func() error {
			f, err := os.OpenFile(dir+"exec/new", os.O_RDWR, 0)
			if err != nil {
				return err
			}
			defer f.Close()
			buf := make([]byte, 32)
			k, err := f.Read(buf)
			if err != nil {
				return err
			}
			if _, err := f.WriteString("run -- /bin/echo hello\n"); err != nil {
				return err
			}
			_, err = read(dir + "exec/" + strings.TrimSpace(string(buf[:k])) + "/wait")
			return err
		}), peer.timed(exec))
		if err != nil {
			return err
		}
	}
	r.times("exec into a container, to its exit", ours.p50(), "crun exec", peer.p50(), 0.30)
	return write(dir+"ctl", "delete force")
}

func benchProcess(h *host, r *report) error {
	crun, err := h.bundle("crun")
	if err != nil {
		return err
	}
	var ours, peer series
	for range *n {
		err := errors.Join(
			ours.timed(exec.Command(filepath.Join(h.bin, "cc"), "run", "--rm", "--image", "bb", "--vpc", "bench", "/bin/echo", "hello").Run),
			peer.timed(crun))
		if err != nil {
			return err
		}
		time.Sleep(15 * time.Millisecond)
	}
	r.times("`cc run --rm` as a process", ours.p50(), "`crun run` as a process", peer.p50(), 0.6)
	return nil
}

func benchRate(h *host, r *report) error {
	crun, err := h.bundle("crun")
	if err != nil {
		return err
	}
	for _, c := range []struct {
		workers int
		must    float64
	}{{1, 2.5}, {8, 1.5}} {
		var ours, peer []float64
		for range 5 {
			a, err := rate(c.workers, time.Second, func() error {
				name := h.unique()
				if err := life(cc+"container/ctl", "run name="+name+runLine, name)(); err != nil {
					return err
				}
				return os.Remove(cc + "container/" + name)
			})
			if err != nil {
				return err
			}
			b, err := rate(c.workers, time.Second, crun)
			if err != nil {
				return err
			}
			ours, peer = append(ours, a), append(peer, b)
		}
		r.more(fmt.Sprintf("whole life cycles per second, %d at once", c.workers), "%.0f/s", median(ours), "crun run", median(peer), c.must)
	}
	return nil
}

var names sync.Mutex

func (h *host) unique() string {
	names.Lock()
	defer names.Unlock()
	return h.name()
}

// rate counts how often do succeeds in a time with so many workers.
func rate(workers int, d time.Duration, do func() error) (float64, error) {
	var wg sync.WaitGroup
	counts, errs := make([]int, workers), make([]error, workers)
	begin := time.Now()
	for w := range workers {
		wg.Go(func() {
			for time.Since(begin) < d && errs[w] == nil {
				errs[w] = do()
				counts[w]++
			}
		})
	}
	wg.Wait()
	total := 0
	for _, c := range counts {
		total += c
	}
	return float64(total) / time.Since(begin).Seconds(), errors.Join(errs...)
}

// bundle is a peer's `run` of the same echo: limits, but no network, overlay, seccomp or log.
func (h *host) bundle(runtime string) (func() error, error) {
	dir, err := h.spec(runtime, "/bin/echo", "hello")
	if err != nil {
		return nil, err
	}
	return func() error {
		return run(runtime, "--root", h.dir+"/"+runtime, "run", "--bundle", dir, h.unique())
	}, nil
}

// crunExec starts a container under crun and returns how to exec in it.
func (h *host) crunExec() (stop func(), do func() error, err error) {
	dir, err := h.spec("crun", "/bin/sleep", "1000")
	if err != nil {
		return nil, nil, err
	}
	id, root := h.name(), h.dir+"/crun"
	cmd := exec.Command("crun", "--root", root, "run", "--bundle", dir, id)
	if err := cmd.Start(); err != nil {
		return nil, nil, err
	}
	do = func() error { return run("crun", "--root", root, "exec", id, "/bin/echo", "hello") }
	err = until(5*time.Second, "crun's container runs", func() bool { return do() == nil })
	return func() { _ = run("crun", "--root", root, "delete", "--force", id); _ = cmd.Wait() }, do, err
}

// spec makes an OCI bundle. This machine cannot raise rlimits, so the bundle has none.
func (h *host) spec(runtime string, args ...string) (string, error) {
	dir, err := os.MkdirTemp(h.dir, runtime+"-")
	if err != nil {
		return "", err
	}
	gen := exec.Command(runtime, "spec")
	gen.Dir = dir
	if text, err := gen.CombinedOutput(); err != nil {
		return "", fmt.Errorf("%s spec: %w: %s", runtime, err, text)
	}
	text, err := os.ReadFile(dir + "/config.json")
	if err != nil {
		return "", err
	}
	var spec map[string]any
	if err := json.Unmarshal(text, &spec); err != nil {
		return "", err
	}
	process := spec["process"].(map[string]any)
	process["terminal"], process["args"] = false, args
	delete(process, "rlimits")
	spec["root"] = map[string]any{"path": h.rootfs, "readonly": true}
	linux := spec["linux"].(map[string]any)
	linux["resources"] = map[string]any{
		"memory": map[string]any{"limit": 256 << 20}, "cpu": map[string]any{"shares": 512}, "pids": map[string]any{"limit": 100},
	}
	if text, err = json.Marshal(spec); err != nil {
		return "", err
	}
	return dir, os.WriteFile(dir+"/config.json", text, 0o644)
}
