package cgroup

import (
	"bufio"
	"fmt"
	"strings"
	"testing"
)

func text(list []setting) string {
	var b strings.Builder
	for _, s := range list {
		fmt.Fprintf(&b, "%s=%s ", s.file, s.value)
	}
	return strings.TrimSpace(b.String())
}

func TestLimitsAsText(t *testing.T) {
	for _, c := range []struct {
		l        Limits
		one, two string
	}{
		{Limits{},
			"memory.limit_in_bytes=-1 memory.memsw.limit_in_bytes=-1 cpu.shares=1024 cpu.cfs_quota_us=-1 pids.max=max",
			"memory.max=max cpu.weight=100 cpu.max=max 100000 pids.max=max memory.swap.max=max"},
		{Limits{Memory: Max, CPUMax: Max, Pids: Max},
			"memory.limit_in_bytes=-1 memory.memsw.limit_in_bytes=-1 cpu.shares=1024 cpu.cfs_quota_us=-1 pids.max=max",
			"memory.max=max cpu.weight=100 cpu.max=max 100000 pids.max=max memory.swap.max=max"},
		{Limits{Memory: 512 << 20, CPUShares: 2048, CPUMax: 1500, Pids: 100},
			"memory.limit_in_bytes=536870912 memory.memsw.limit_in_bytes=536870912 cpu.shares=2048 cpu.cfs_quota_us=150000 pids.max=100",
			"memory.max=536870912 cpu.weight=174 cpu.max=150000 100000 pids.max=100 memory.swap.max=0"},
		{Limits{CPUShares: 1, CPUMax: 1},
			"memory.limit_in_bytes=-1 memory.memsw.limit_in_bytes=-1 cpu.shares=2 cpu.cfs_quota_us=1000 pids.max=max",
			"memory.max=max cpu.weight=1 cpu.max=1000 100000 pids.max=max memory.swap.max=max"},
	} {
		if got := text(c.l.v1(true, false)); got != c.one {
			t.Errorf("%+v\n got %s\nwant %s", c.l, got, c.one)
		}
		if got := text(c.l.v2(true)); got != c.two {
			t.Errorf("%+v\n got %s\nwant %s", c.l, got, c.two)
		}
	}
	l := Limits{Memory: 1 << 30}
	if got := text(l.v1(true, true)); !strings.HasPrefix(got, "memory.memsw.limit_in_bytes=1073741824 memory.limit_in_bytes=") {
		t.Errorf("a growing limit begins with memory+swap: %s", got)
	}
	if got := text(changed(Limits{}.v1(true, false), l.v1(true, true))); got != "memory.memsw.limit_in_bytes=1073741824 memory.limit_in_bytes=1073741824" {
		t.Errorf("only changes: %s", got)
	}
}

func TestWeight(t *testing.T) {
	last := uint64(0)
	for _, c := range []struct{ shares, weight uint64 }{{2, 1}, {1024, 100}, {262144, 10000}, {512, 59}, {2048, 174}} {
		if got := Weight(c.shares); got != c.weight {
			t.Errorf("Weight(%d) = %d, want %d", c.shares, got, c.weight)
		}
	}
	for s := uint64(2); s <= 262144; s += 7 {
		if w := Weight(s); w < last || w < 1 || w > 10000 {
			t.Fatalf("Weight(%d) = %d after %d", s, w, last)
		} else {
			last = w
		}
	}
}

func TestParseMounts(t *testing.T) {
	one, two := parseMounts(bufio.NewScanner(strings.NewReader(`24 1 0:22 / / rw - ext4 /dev/vda rw
31 24 0:27 / /sys/fs/cgroup/cpu,cpuacct rw,relatime shared:9 - cgroup cgroup rw,cpu,cpuacct
32 24 0:28 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory
33 24 0:29 / /sys/fs/cgroup/systemd rw - cgroup cgroup rw,name=systemd
34 24 0:30 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw
broken
`)))
	if one["cpu"] != "/sys/fs/cgroup/cpu,cpuacct" || one["cpuacct"] != one["cpu"] || one["memory"] != "/sys/fs/cgroup/memory" || len(one) != 3 {
		t.Error(one)
	}
	if len(two) != 1 || two[0] != "/sys/fs/cgroup/unified" {
		t.Error(two)
	}
}

func TestNames(t *testing.T) {
	for _, bad := range []string{"", ".", "..", "a/b", "a b", "a\n", "cgroup.procs", strings.Repeat("x", 201), "ä"} {
		if checkName(bad) == nil {
			t.Errorf("%q was accepted", bad)
		}
	}
	for _, good := range []string{"a", "slot-1", "0b9f6c1e-1111-4222-8333-444455556666", "cc_1.x"} {
		if err := checkName(good); err != nil {
			t.Error(err)
		}
	}
}

func TestCounters(t *testing.T) {
	if got := *parseIO("8:0 rbytes=1 wbytes=2 rios=3 wios=4 dbytes=5 dios=6\n8:16 rbytes=10 wbytes=20 rios=30 wios=40\n"); got != (IO{11, 22, 33, 44}) {
		t.Errorf("%+v", got)
	}
	for text, want := range map[string]int64{"max": Max, "9223372036854771712": Max, "18446744073709551615": Max, "4096": 4096, "": 0, "x": 0} {
		if got := number([]byte(text)); got != want {
			t.Errorf("%q is %d", text, got)
		}
	}
	var f files
	if b := f.read("/proc", "nothing-of-this-name"); b != nil || f.err != nil {
		t.Error(b, f.err)
	}
	if n := f.number("/proc/sys/kernel", "pid_max"); n < 1000 || f.err != nil {
		t.Error(n, f.err)
	}
}
