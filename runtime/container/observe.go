package container

import (
	"bufio"
	"bytes"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/containercloud/cc/fault"
)

// Stat reads the counters of the living container; of one that does not run they are zero, but for the limits.
func (c *Container) Stat() (Stat, error) {
	r, err := c.living()
	if err != nil {
		return Stat{MemoryLimit: c.Spec().Memory, PidsLimit: c.Spec().Pids}, nil
	}
	s, err := r.stat()
	return s, fault.Wrap(err, "cannot read the counters of container %s", c.Meta().Name)
}

func (r *run) stat() (Stat, error) {
	g, err := r.group.Stat()
	if err != nil {
		return Stat{}, err
	}
	s := statOf(g)
	s.RxBytes, s.RxPackets, s.TxBytes, s.TxPackets = traffic(r.rec.PID)
	return s, nil
}

// traffic adds up the devices of a process's network namespace but its loopback. Zeros when it has ended.
func traffic(pid int) (rxBytes, rxPackets, txBytes, txPackets uint64) {
	b, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/net/dev")
	if err != nil {
		return
	}
	in := bufio.NewScanner(bytes.NewReader(b))
	for in.Scan() {
		dev, counters, ok := strings.Cut(in.Text(), ":")
		w := strings.Fields(counters)
		if !ok || strings.TrimSpace(dev) == "lo" || len(w) < 10 {
			continue
		}
		for at, sum := range map[int]*uint64{0: &rxBytes, 1: &rxPackets, 8: &txBytes, 9: &txPackets} {
			n, _ := strconv.ParseUint(w[at], 10, 64)
			*sum += n
		}
	}
	return
}

// Procs lists the processes, the first one first.
func (c *Container) Procs() ([]Proc, error) {
	r, err := c.living()
	if err != nil {
		return nil, nil // nothing runs: an empty list
	}
	pids, err := r.group.Procs()
	if err != nil {
		return nil, fault.Wrap(err, "cannot list the processes of container %s", c.Meta().Name)
	}
	base := c.m.base(r)
	inside := map[int]int{}
	var list []Proc
	for _, pid := range pids {
		p, ok := readProc(pid, base)
		if !ok {
			continue
		}
		inside[pid] = p.PID
		list = append(list, p)
	}
	names := c.userNames(r)
	for i := range list {
		list[i].PPID = inside[list[i].PPID] // 0 for a parent outside
		if name, ok := names[list[i].UID]; ok {
			list[i].User = name
		}
	}
	slices.SortFunc(list, func(a, b Proc) int { return a.PID - b.PID })
	return list, nil
}

// base is what the host's ids are above those of the run.
func (m *Manager) base(r *run) uint32 {
	if r.rec.UserNS {
		return m.host.ids.Base
	}
	return 0
}

// Pressure is the PSI of the container's cgroup as the kernel prints it, each line with cpu, memory or io in front.
func (c *Container) Pressure() (string, error) {
	r, err := c.living()
	if err != nil {
		return "", nil
	}
	p, err := r.group.Pressure()
	return p, fault.Wrap(err, "cannot read the pressure of container %s", c.Meta().Name)
}

// Samples are the container's metrics, the same names for every container. They are read from the cgroup once per
// sampleFor at most, however many ask.
func (c *Container) Samples() ([]Sample, error) {
	st := c.Status()
	meta := c.Meta()
	labels := [][2]string{{"name", meta.Name}, {"id", string(meta.ID)}}
	up := 0.0
	if st.State.Alive() {
		up = 1
	}
	out := []Sample{
		{"cc_container_up", "Whether the container has processes.", "gauge", labels, up},
		{"cc_container_restarts_total", "Restarts by the restart policy.", "counter", labels, float64(st.Restarts)},
	}
	if up == 0 {
		return out, nil
	}
	s, err := c.sample()
	if err != nil {
		return nil, err
	}
	for _, row := range metricRows {
		if v, ok := row.value(s); ok {
			out = append(out, Sample{row.name, row.help, row.kind, labels, v})
		}
	}
	return append(out, Sample{"cc_container_start_time_seconds", "When it was started, in seconds since 1970.", "gauge", labels,
		float64(st.Started.UnixMilli()) / 1000}), nil
}

// sampleFor is how old cached counters may be.
const sampleFor = time.Second

// metricRows name the metrics of a living container; this is the only place where they are named.
var metricRows = []struct {
	name, help, kind string
	value            func(Stat) (float64, bool)
}{
	{"cc_container_cpu_seconds_total", "Processor time used.", "counter", func(s Stat) (float64, bool) { return s.CPU.Seconds(), true }},
	{"cc_container_cpu_user_seconds_total", "Processor time used in user mode.", "counter", func(s Stat) (float64, bool) { return s.CPUUser.Seconds(), true }},
	{"cc_container_cpu_system_seconds_total", "Processor time used in the kernel.", "counter", func(s Stat) (float64, bool) { return s.CPUSystem.Seconds(), true }},
	{"cc_container_cpu_throttled_seconds_total", "Time it was held back by cpu.max.", "counter", func(s Stat) (float64, bool) { return s.Throttled.Seconds(), true }},
	{"cc_container_memory_bytes", "Memory in use, page cache included.", "gauge", func(s Stat) (float64, bool) { return float64(s.Memory), true }},
	{"cc_container_memory_peak_bytes", "The most memory it used.", "gauge", func(s Stat) (float64, bool) { return float64(s.MemoryPeak), true }},
	{"cc_container_memory_limit_bytes", "Its memory limit; absent without one.", "gauge", func(s Stat) (float64, bool) { return float64(s.MemoryLimit), s.MemoryLimit != Max }},
	{"cc_container_oom_kills_total", "Processes the kernel killed at the memory limit.", "counter", func(s Stat) (float64, bool) { return float64(s.OOMKills), true }},
	{"cc_container_pids", "Processes and threads.", "gauge", func(s Stat) (float64, bool) { return float64(s.Pids), true }},
	{"cc_container_pids_limit", "Its limit of processes; absent without one.", "gauge", func(s Stat) (float64, bool) { return float64(s.PidsLimit), s.PidsLimit != Max }},
	{"cc_container_network_receive_bytes_total", "Bytes received.", "counter", func(s Stat) (float64, bool) { return float64(s.RxBytes), true }},
	{"cc_container_network_transmit_bytes_total", "Bytes sent.", "counter", func(s Stat) (float64, bool) { return float64(s.TxBytes), true }},
	{"cc_container_network_receive_packets_total", "Packets received.", "counter", func(s Stat) (float64, bool) { return float64(s.RxPackets), true }},
	{"cc_container_network_transmit_packets_total", "Packets sent.", "counter", func(s Stat) (float64, bool) { return float64(s.TxPackets), true }},
}

// sample is Stat, at most sampleFor old.
func (c *Container) sample() (Stat, error) {
	c.mu.Lock()
	if time.Since(c.sampled) < sampleFor {
		s := c.sampleOf
		c.mu.Unlock()
		return s, nil
	}
	c.mu.Unlock()
	s, err := c.Stat()
	if err != nil {
		return s, err
	}
	c.mu.Lock()
	c.sampled, c.sampleOf = time.Now(), s
	c.mu.Unlock()
	return s, nil
}
