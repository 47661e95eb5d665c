package cgroup

import (
	"math"
	"strconv"
)

// period is the interval of cpu.max in microseconds: the kernel's own default.
const period = 100_000

// setting is the content of one file of one controller. On v2 all controllers are one directory.
type setting struct{ controller, file, value string }

func orMax(v int64) int64 {
	if v <= 0 {
		return Max
	}
	return v
}

func (l Limits) shares() uint64 {
	if l.CPUShares == 0 {
		return 1024
	}
	return min(max(l.CPUShares, 2), 262144)
}

// Weight converts cpu.shares of v1 to cpu.weight of v2 so that both ends and the default meet: 2 is 1, 1024 is
// 100, 262144 is 10000. It is the OCI runtimes' formula since 2025 (opencontainers/cgroups, ConvertCPUSharesToCgroupV2Value;
// crun 1.23); the one before made 39 of 1024.
func Weight(shares uint64) uint64 {
	if shares <= 2 {
		return 1
	}
	if shares >= 262144 {
		return 10000
	}
	l := math.Log2(float64(shares))
	exponent := (l*l+125*l)/612.0 - 7.0/34.0
	return uint64(math.Ceil(math.Pow(10, exponent)))
}

// quota is microseconds of CPU time per period, at least the kernel's smallest, 1 ms; 0 for no limit.
func (l Limits) quota() int64 {
	if l.CPUMax <= 0 || l.CPUMax > math.MaxInt64/period {
		return 0
	}
	return max(l.CPUMax*period/1000, 1000)
}

// v2 is the limits as files of cgroup v2.
func (l Limits) v2(swap bool) []setting {
	limit := func(v int64) string {
		if orMax(v) == Max {
			return "max"
		}
		return strconv.FormatInt(v, 10)
	}
	quota := "max"
	if q := l.quota(); q > 0 {
		quota = strconv.FormatInt(q, 10)
	}
	list := []setting{
		{"memory", "memory.max", limit(l.Memory)},
		{"cpu", "cpu.weight", strconv.FormatUint(Weight(l.shares()), 10)},
		{"cpu", "cpu.max", quota + " " + strconv.Itoa(period)},
		{"pids", "pids.max", limit(l.Pids)},
	}
	if swap {
		// A memory limit counts swap too, as memsw does on v1: beyond it there is none.
		v := "max"
		if orMax(l.Memory) != Max {
			v = "0"
		}
		list = append(list, setting{"memory", "memory.swap.max", v})
	}
	return list
}

// v1 is the limits as files of cgroup v1. memory.memsw must never be below memory, so a growing limit begins with it
// and a shrinking one ends with it.
func (l Limits) v1(memsw, growing bool) []setting {
	mem := int64(-1)
	if orMax(l.Memory) != Max {
		mem = l.Memory
	}
	list := []setting{{"memory", "memory.limit_in_bytes", strconv.FormatInt(mem, 10)}}
	if memsw {
		s := setting{"memory", "memory.memsw.limit_in_bytes", strconv.FormatInt(mem, 10)}
		if growing {
			list = append([]setting{s}, list...)
		} else {
			list = append(list, s)
		}
	}
	quota := int64(-1)
	if q := l.quota(); q > 0 {
		quota = q
	}
	pids := "max"
	if orMax(l.Pids) != Max {
		pids = strconv.FormatInt(l.Pids, 10)
	}
	return append(list,
		setting{"cpu", "cpu.shares", strconv.FormatUint(l.shares(), 10)},
		setting{"cpu", "cpu.cfs_quota_us", strconv.FormatInt(quota, 10)},
		setting{"pids", "pids.max", pids},
	)
}

// changed returns the settings of next that differ from now; all of them when now is nil.
func changed(now, next []setting) []setting {
	var list []setting
	for _, s := range next {
		same := false
		for _, old := range now {
			same = same || old == s
		}
		if !same {
			list = append(list, s)
		}
	}
	return list
}
