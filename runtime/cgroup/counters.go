package cgroup

import (
	"bytes"
	"errors"
	"os"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// files reads control files, and remembers the first failure. Counters are read for every container again and
// again, so this is three system calls a file: os.Open, which the library uses, registers each with epoll as well, and
// the library reads more files than are shown here (260 us a container against 110, same load).
type files struct {
	buf [16 << 10]byte
	err error
}

// read returns the content of a file, valid until the next call. One that is not there is empty: kernels and
// configurations differ, and the group as such was looked for by the caller.
func (f *files) read(dir, name string) []byte {
	if f.err != nil || dir == "" {
		return nil
	}
	path := dir + "/" + name
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err == unix.ENOENT {
		return nil
	}
	if err != nil {
		f.err = &os.PathError{Op: "open", Path: path, Err: err}
		return nil
	}
	defer unix.Close(fd)
	n := 0
	for n < len(f.buf) {
		m, err := unix.Read(fd, f.buf[n:])
		if err == unix.EINTR {
			continue
		}
		if errors.Is(err, unix.EOPNOTSUPP) { // PSI and some controllers, built in and switched off
			return nil
		}
		if err != nil {
			f.err = &os.PathError{Op: "read", Path: path, Err: err}
			return nil
		}
		n += m
		// The kernel fills a page before it returns less than was asked for: half a page is all there is.
		if m < 2048 {
			break
		}
	}
	return bytes.TrimSpace(f.buf[:n])
}

// number reads a file of one number; `max`, and what v1 writes for it, is Max.
func (f *files) number(dir, name string) int64 { return number(f.read(dir, name)) }

func number(b []byte) int64 {
	if string(b) == "max" {
		return Max
	}
	v, _ := strconv.ParseUint(string(b), 10, 64)
	if v >= 1<<62 { // v1 has no limit, but a largest number of pages
		return Max
	}
	return int64(v)
}

// table calls each with the lines of a file of `name value` lines.
func (f *files) table(dir, name string, each func(key string, v int64)) {
	for line := range bytes.Lines(f.read(dir, name)) {
		if key, value, ok := bytes.Cut(bytes.TrimSpace(line), []byte(" ")); ok {
			each(string(key), number(value))
		}
	}
}

func (f *files) v1(dir func(controller string) string, memsw bool) Stat {
	s := Stat{CPU: time.Duration(f.number(dir("cpuacct"), "cpuacct.usage"))}
	const tick = time.Second / 100 // USER_HZ, the same on all architectures of Linux we build for
	f.table(dir("cpuacct"), "cpuacct.stat", func(key string, v int64) {
		switch key {
		case "user":
			s.CPUUser = time.Duration(v) * tick
		case "system":
			s.CPUSystem = time.Duration(v) * tick
		}
	})
	f.table(dir("cpu"), "cpu.stat", func(key string, v int64) {
		switch key {
		case "nr_periods":
			s.Periods = uint64(v)
		case "nr_throttled":
			s.Throttled = uint64(v)
		case "throttled_time":
			s.ThrottledTime = time.Duration(v)
		}
	})
	mem := dir("memory")
	s.Memory = f.number(mem, "memory.usage_in_bytes")
	s.MemoryPeak = f.number(mem, "memory.max_usage_in_bytes")
	s.MemoryLimit = f.number(mem, "memory.limit_in_bytes")
	if memsw {
		s.Swap = max(0, f.number(mem, "memory.memsw.usage_in_bytes")-s.Memory)
	}
	f.table(mem, "memory.stat", func(key string, v int64) {
		switch key {
		case "total_cache":
			s.MemoryFile = v
		case "total_rss":
			s.MemoryAnon = v
		}
	})
	f.table(mem, "memory.oom_control", func(key string, v int64) {
		if key == "oom_kill" {
			s.OOMKills = uint64(v)
		}
	})
	s.Pids, s.PidsLimit = f.number(dir("pids"), "pids.current"), f.number(dir("pids"), "pids.max")
	return s
}

func (f *files) v2(dir string, io bool) Stat {
	var s Stat
	f.table(dir, "cpu.stat", func(key string, v int64) {
		us := time.Duration(v) * time.Microsecond
		switch key {
		case "usage_usec":
			s.CPU = us
		case "user_usec":
			s.CPUUser = us
		case "system_usec":
			s.CPUSystem = us
		case "nr_periods":
			s.Periods = uint64(v)
		case "nr_throttled":
			s.Throttled = uint64(v)
		case "throttled_usec":
			s.ThrottledTime = us
		}
	})
	s.Memory = f.number(dir, "memory.current")
	s.MemoryPeak = f.number(dir, "memory.peak")
	s.MemoryLimit = f.number(dir, "memory.max")
	s.Swap = f.number(dir, "memory.swap.current")
	f.table(dir, "memory.stat", func(key string, v int64) {
		switch key {
		case "file":
			s.MemoryFile = v
		case "anon":
			s.MemoryAnon = v
		}
	})
	f.table(dir, "memory.events", func(key string, v int64) {
		if key == "oom_kill" {
			s.OOMKills = uint64(v)
		}
	})
	s.Pids, s.PidsLimit = f.number(dir, "pids.current"), f.number(dir, "pids.max")
	if io {
		s.IO = parseIO(string(f.read(dir, "io.stat")))
	}
	return s
}

// parseIO adds up io.stat: `8:0 rbytes=1 wbytes=2 rios=3 wios=4 dbytes=0 dios=0`, a line per device.
func parseIO(text string) *IO {
	s := &IO{}
	for word := range strings.FieldsSeq(text) {
		key, value, _ := strings.Cut(word, "=")
		v, _ := strconv.ParseUint(value, 10, 64)
		switch key {
		case "rbytes":
			s.ReadBytes += v
		case "wbytes":
			s.WriteBytes += v
		case "rios":
			s.ReadOps += v
		case "wios":
			s.WriteOps += v
		}
	}
	return s
}
