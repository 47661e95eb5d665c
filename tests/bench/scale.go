package main

import (
	"fmt"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
)

// many is how many containers run at once.
const many = 1000

// benchScale runs many containers and looks at memory, listings, and the restart of the daemon.
func benchScale(h *host, r *report) error {
	empty, err := rss(h.ccd.Process.Pid)
	if err != nil {
		return err
	}
	begin := time.Now()
	if err := h.populate(); err != nil {
		return err
	}
	r.add(line{What: fmt.Sprintf("%d containers started, 4 at once", many), Ours: fmt.Sprintf("%.1f s", time.Since(begin).Seconds())})
	full, err := rss(h.ccd.Process.Pid)
	if err != nil {
		return err
	}
	r.limit(fmt.Sprintf("ccd's memory with %d containers (%d MB without)", many, empty>>20), "%.0f MB", float64(full)/(1<<20), 60)
	keeper, err := rssOf("cc-keeper", h.dir)
	if err != nil {
		return err
	}
	r.limit(fmt.Sprintf("the keeper's memory with %d containers", many), "%.1f MB", float64(keeper)/(1<<20), 8)
	slot, err := slotPSS()
	if err != nil {
		return err
	}
	if slot > 0 {
		r.limit("memory of a warm slot (PSS)", "%.0f KB", slot/1024, 32)
	}

	ls, err := best(5, func() error { return run("ls", "-l", cc+"container") })
	if err != nil {
		return err
	}
	r.limit(fmt.Sprintf("`ls -l` of %d containers, warm", many), "%.1f ms", ls, 5)
	if err := h.restart(r); err != nil {
		return err
	}
	begin = time.Now()
	if err := h.clear(); err != nil {
		return err
	}
	r.add(line{What: fmt.Sprintf("%d containers deleted, 4 at once", many), Ours: fmt.Sprintf("%.1f s", time.Since(begin).Seconds())})
	return h.listing(r)
}

// each calls do for 0..total-1 from four workers and returns the first error.
func each(total int, do func(k int) error) error {
	var wg sync.WaitGroup
	var once sync.Once
	var first error
	next := make(chan int)
	for range 4 {
		wg.Go(func() {
			for k := range next {
				if err := do(k); err != nil {
					once.Do(func() { first = err })
				}
			}
		})
	}
	for k := range total {
		next <- k
	}
	close(next)
	wg.Wait()
	return first
}

func (h *host) populate() error {
	return each(many, func(k int) error {
		return write(cc+"container/ctl", fmt.Sprintf("run name=many%d image=bb vpc=bench -- /bin/sleep 100000", k))
	})
}

func (h *host) clear() error {
	return each(many, func(k int) error {
		return write(fmt.Sprintf("%scontainer/many%d/ctl", cc, k), "delete force")
	})
}

// restart kills the daemon and measures until /cc answers again.
func (h *host) restart(r *report) error {
	if err := h.ccd.Process.Signal(syscall.SIGKILL); err != nil {
		return err
	}
	_ = h.ccd.Wait()
	h.ccd = nil
	begin := time.Now()
	if err := h.start("4"); err != nil {
		return err
	}
	r.limit(fmt.Sprintf("restart of a killed ccd with %d containers, until /cc answers", many), "%.2f s", time.Since(begin).Seconds(), 1)
	list, err := os.ReadDir(cc + "container")
	if err != nil {
		return err
	}
	alive := 0
	for _, e := range list {
		if text, err := read(cc + "container/" + e.Name() + "/status"); err == nil && strings.HasPrefix(text, "state running") {
			alive++
		}
	}
	if alive != many {
		return fmt.Errorf("%d of %d containers run after the restart", alive, many)
	}
	return nil
}

// listing makes 10,000 containers that do not run and lists them.
func (h *host) listing(r *report) error {
	const total = 10000
	err := each(total, func(k int) error { return os.Mkdir(fmt.Sprintf("%scontainer/list%d", cc, k), 0o755) })
	if err != nil {
		return err
	}
	list, err := best(5, func() error {
		d, err := os.Open(cc + "container")
		if err != nil {
			return err
		}
		defer d.Close()
		names, err := d.Readdirnames(-1)
		if err == nil && len(names) < total {
			err = fmt.Errorf("%d names", len(names))
		}
		return err
	})
	if err != nil {
		return err
	}
	r.limit("list of 10,000 containers", "%.1f ms", list, 15)
	return each(total, func(k int) error { return os.Remove(fmt.Sprintf("%scontainer/list%d", cc, k)) })
}

// best is the shortest of some runs in milliseconds.
func best(rounds int, do func() error) (float64, error) {
	least := math.Inf(1)
	for range rounds {
		begin := time.Now()
		if err := do(); err != nil {
			return 0, err
		}
		least = min(least, float64(time.Since(begin))/1e6)
	}
	return least, nil
}

// rss is a process's resident memory in bytes.
func rss(pid int) (int64, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0, err
	}
	return field(string(text), "VmRSS:")
}

func field(text, key string) (int64, error) {
	_, rest, ok := strings.Cut(text, key)
	if !ok {
		return 0, fmt.Errorf("no %s", key)
	}
	kb, err := strconv.ParseInt(strings.Fields(rest)[0], 10, 64)
	return kb << 10, err
}

// rssOf finds the process of that name which was given the directory.
func rssOf(name, dir string) (int64, error) {
	text, err := exec.Command("pgrep", "-f", name+".*"+dir).Output()
	if err != nil {
		return 0, fmt.Errorf("no %s runs", name)
	}
	pid, err := strconv.Atoi(strings.Fields(string(text))[0])
	if err != nil {
		return 0, err
	}
	return rss(pid)
}

// slotPSS is the mean proportional memory of parked ccinit processes, 0 when none is parked.
func slotPSS() (float64, error) {
	names, err := filepath.Glob("/proc/[0-9]*/comm")
	if err != nil {
		return 0, err
	}
	sum, count := 0.0, 0
	for _, f := range names {
		text, err := os.ReadFile(f)
		if err != nil || strings.TrimSpace(string(text)) != "ccinit" {
			continue
		}
		maps, err := os.ReadFile(filepath.Dir(f) + "/smaps_rollup")
		if err != nil {
			continue
		}
		if pss, err := field(string(maps), "Pss:"); err == nil {
			sum += float64(pss)
			count++
		}
	}
	if count == 0 {
		return 0, nil
	}
	return sum / float64(count), nil
}
