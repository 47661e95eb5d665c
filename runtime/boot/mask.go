package boot

import (
	"os"
	"path/filepath"
	"strings"
	"sync"
)

// What a container must not see: Docker's list, and dynamic_debug, which root of the host's ids could write. A file is covered by /dev/null, a directory by an empty
// read-only tmpfs. The second list is only made read-only.
var (
	maskedPaths = []string{
		"/proc/acpi", "/proc/asound", "/proc/dynamic_debug", "/proc/interrupts", "/proc/kcore", "/proc/keys", "/proc/latency_stats",
		"/proc/sched_debug", "/proc/scsi", "/proc/timer_list", "/proc/timer_stats",
		"/sys/firmware", "/sys/devices/virtual/powercap", "/sys/devices/system/cpu/cpu*/thermal_throttle",
	}
	readOnlyPaths = []string{"/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"}
)

// host is what the scripts depend on of the kernel they run on.
type host struct {
	hidden  hidden
	groups  []hierarchy // cgroup v1; empty means v2
	lastCap int
}

var thisHost = sync.OnceValue(func() *host {
	return &host{hidden: present(), groups: hierarchies(), lastCap: int(lastCap())}
})

// hidden is which of the lists this kernel has. The files of /proc and /sys come from the kernel, not from
// an image, so that the host's are the container's.
type hidden struct{ files, dirs, readOnly []string }

func present() hidden {
	var h hidden
	for _, pattern := range maskedPaths {
		paths, _ := filepath.Glob(pattern) // the patterns are constants; only a bad one is an error
		for _, p := range paths {
			if st, err := os.Stat(p); err == nil && st.IsDir() {
				h.dirs = append(h.dirs, p)
			} else if err == nil {
				h.files = append(h.files, p)
			}
		}
	}
	for _, p := range readOnlyPaths {
		if _, err := os.Stat(p); err == nil {
			h.readOnly = append(h.readOnly, p)
		}
	}
	return h
}

// hierarchy is one mounted cgroup hierarchy of the host, by the controllers a container may look at.
type hierarchy struct {
	dir  string   // directory name below /sys/fs/cgroup, and mount options
	also []string // its controllers, when there are several: names of links
}

// shown are the v1 controllers that programs read their limits from, and that ccd uses.
var shown = map[string]bool{"cpu": true, "cpuacct": true, "memory": true, "pids": true, "devices": true, "freezer": true}

// hierarchies reads from /proc/self/cgroup what there is. Nothing means cgroup v2 alone.
func hierarchies() []hierarchy {
	b, err := os.ReadFile("/proc/self/cgroup")
	if err != nil {
		return nil
	}
	return parseHierarchies(string(b))
}

func parseHierarchies(table string) []hierarchy {
	var list []hierarchy
	for _, line := range strings.Split(table, "\n") {
		f := strings.SplitN(line, ":", 3)
		if len(f) < 3 || f[1] == "" || strings.Contains(f[1], "=") {
			continue
		}
		controllers := strings.Split(f[1], ",")
		if !shown[controllers[0]] {
			continue
		}
		h := hierarchy{dir: f[1]}
		if len(controllers) > 1 {
			h.also = controllers
		}
		list = append(list, h)
	}
	return list
}
