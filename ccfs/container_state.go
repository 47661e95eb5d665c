package ccfs

import (
	"encoding/json"
	"fmt"
	"os/user"
	"strconv"
	"strings"

	"github.com/containercloud/cc/ccfs/tree"
	"github.com/containercloud/cc/fault"
	"github.com/containercloud/cc/runtime/container"
	"github.com/containercloud/cc/words"
)

// logLines is how many lines log.json shows: its size must be known to every stat, so it is short.
const logLines = 1000

// containerState are the files that show what a container is.
func containerState() []tree.File {
	state := func(name string, kind tree.Kind, syntax, doc string, read func(*tree.Request) ([]byte, error)) tree.File {
		return tree.File{Name: name, Kind: kind, Mode: 0o444, Volatile: true, Syntax: syntax, Doc: doc, Read: read}
	}
	return []tree.File{
		state("pid", tree.Scalar, "PID", "The first process, as the host numbers it. Empty when nothing runs.",
			func(r *tree.Request) ([]byte, error) {
				if pid := the(r).Status().PID; pid != 0 {
					return scalar(strconv.Itoa(pid)), nil
				}
				return nil, nil
			}),
		state("exit", tree.Table, "CODE SIGNAL OOM TIME RESTARTS", "How the last run ended. Empty before the first end.",
			func(r *tree.Request) ([]byte, error) {
				s := the(r).Status()
				return []byte(exitLine(s.Exit, s.Restarts)), nil
			}),
		state("procs", tree.Table, "PID PPID USER CPU MEMORY STATE ARGS", "Processes, numbered as the container sees them; cpu in seconds, memory in bytes.", procs),
		state("stat", tree.Table, "NAME VALUE", "Counters of this run in fixed width: microseconds, bytes, numbers.", stat),
		state("pressure", tree.Table, "RESOURCE some|full avg10=N avg60=N avg300=N total=N", "How long processes waited for a resource (the kernel's PSI). Empty where the kernel does not count it for groups.",
			func(r *tree.Request) ([]byte, error) {
				text, err := the(r).Pressure()
				if fault.Is(err, fault.Unsupported) {
					return nil, nil
				}
				return []byte(text), err
			}),
		state("log.json", tree.Document, "{stream,time,line}", fmt.Sprintf("The last %d lines of both streams with their times, one JSON object a line.", logLines), logJSON),
		{
			Name: "diff", Kind: tree.Table, Mode: 0o440, Volatile: true, Hidden: true, Syntax: "A|C|D PATH",
			Doc:  "What it added, changed and deleted of its image.",
			Read: diff,
		},
	}
}

func procs(r *tree.Request) ([]byte, error) {
	list, err := the(r).Procs()
	if err != nil {
		return nil, err
	}
	var b strings.Builder
	for _, p := range list {
		b.WriteString(row(strconv.Itoa(p.PID), strconv.Itoa(p.PPID), words.Printable(p.User), fmt.Sprintf("%.2f", p.CPU.Seconds()),
			strconv.FormatInt(p.Memory, 10), p.State, words.Printable(words.Join(p.Args))))
	}
	return []byte(b.String()), nil
}

func stat(r *tree.Request) ([]byte, error) {
	s, err := the(r).Stat()
	if err != nil {
		return nil, err
	}
	var b strings.Builder
	for _, l := range []struct {
		name  string
		value uint64
	}{
		{"cpu.usage", uint64(s.CPU.Microseconds())},
		{"cpu.user", uint64(s.CPUUser.Microseconds())},
		{"cpu.system", uint64(s.CPUSystem.Microseconds())},
		{"cpu.throttled", uint64(s.Throttled.Microseconds())},
		{"memory.current", uint64(s.Memory)},
		{"memory.peak", uint64(s.MemoryPeak)},
		{"memory.oom", s.OOMKills},
		{"pids.current", uint64(s.Pids)},
		{"net.rx.bytes", s.RxBytes},
		{"net.rx.packets", s.RxPackets},
		{"net.tx.bytes", s.TxBytes},
		{"net.tx.packets", s.TxPackets},
		{"io.read.bytes", s.ReadBytes},
		{"io.write.bytes", s.WriteBytes},
	} {
		fmt.Fprintf(&b, "%s %s\n", l.name, number(l.value, 20))
	}
	return []byte(b.String()), nil
}

func logJSON(r *tree.Request) ([]byte, error) {
	lines, err := the(r).LogLines(logLines)
	if err != nil {
		return nil, err
	}
	var b strings.Builder
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	for _, l := range lines {
		if err := enc.Encode(l); err != nil {
			return nil, err
		}
	}
	return []byte(b.String()), nil
}

func diff(r *tree.Request) ([]byte, error) {
	list, err := the(r).Diff()
	if err != nil {
		return nil, err
	}
	var b strings.Builder
	for _, ch := range list {
		b.WriteString(string(ch.Kind) + " " + words.Quote(ch.Path) + "\n")
	}
	return []byte(b.String()), nil
}

// rootFS serves root/. The engine asks at every request, so the container keeps what it opened.
func (c *Cloud) rootFS(r *tree.Request) (tree.HostDir, error) {
	root, err := the(r).Root()
	if err != nil {
		return tree.HostDir{}, err
	}
	return tree.HostDir{Root: root.Root, UIDBase: root.Base, UIDs: root.IDs, ReadOnly: root.ReadOnly}, nil
}

// prometheus prints samples in the text format, version 0.0.4: families together, HELP and TYPE once each.
func prometheus(samples []container.Sample) []byte {
	var order []string
	families := map[string][]container.Sample{}
	for _, s := range samples {
		if families[s.Name] == nil {
			order = append(order, s.Name)
		}
		families[s.Name] = append(families[s.Name], s)
	}
	var b strings.Builder
	for _, name := range order {
		f := families[name]
		fmt.Fprintf(&b, "# HELP %s %s\n# TYPE %s %s\n", name, f[0].Help, name, f[0].Type)
		for _, s := range f {
			b.WriteString(name)
			for i, l := range s.Labels {
				b.WriteString([]string{"{", ","}[min(i, 1)])
				fmt.Fprintf(&b, "%s=%q", l[0], l[1])
			}
			if len(s.Labels) > 0 {
				b.WriteString("}")
			}
			b.WriteString(" " + strconv.FormatFloat(s.Value, 'g', -1, 64) + "\n")
		}
	}
	return []byte(b.String())
}

func (c *Cloud) allMetrics(*tree.Request) ([]byte, error) {
	list := c.Containers.List()
	states := map[container.State]int{}
	var samples []container.Sample
	for _, x := range list {
		states[x.State()]++
		s, err := x.Samples()
		if err != nil {
			continue // it ended while we looked
		}
		samples = append(samples, s...)
	}
	head := []container.Sample{
		{Name: "cc_vpcs", Help: "Networks.", Type: "gauge", Value: float64(len(c.Networks.List()))},
		{Name: "cc_images", Help: "Images in the store.", Type: "gauge", Value: float64(len(c.Images.List()))},
		{Name: "cc_events_total", Help: "The number of the last event.", Type: "counter", Value: float64(c.Events.Rev())},
	}
	head = append(head, c.hostSamples()...)
	for _, s := range container.States {
		head = append(head, container.Sample{
			Name: "cc_containers", Help: "Containers by state.", Type: "gauge",
			Labels: [][2]string{{"state", string(s)}}, Value: float64(states[s]),
		})
	}
	return prometheus(append(head, samples...)), nil
}

// homeOf finds a caller's home directory in the host's user database.
func homeOf(uid uint32) string {
	u, err := user.LookupId(strconv.FormatUint(uint64(uid), 10))
	if err != nil {
		return ""
	}
	return u.HomeDir
}
