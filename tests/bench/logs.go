package main

import (
	"fmt"
	"io"
	"os"
	"os/exec"
	"time"
)

const logBytes = 2 << 30

// benchLogs lets a container print 4-KB blocks, and reads a log that is there.
func benchLogs(h *host, r *report) error {
	var ours, plain []float64
	var file string
	for range 3 {
		name := h.name()
		dir := cc + "container/" + name
		begin := time.Now()
		err := life(cc+"container/ctl", fmt.Sprintf("run name=%s image=bb log/max=4G -- /bin/dd if=/dev/zero bs=4096 count=%d", name, logBytes/4096), name)()
		if err != nil {
			return err
		}
		ours = append(ours, logBytes/1e9/time.Since(begin).Seconds())
		if file != "" {
			if err := os.RemoveAll(file); err != nil {
				return err
			}
		}
		file = dir
		begin = time.Now()
		dd := exec.Command("dd", "if=/dev/zero", "bs=4096", fmt.Sprint("count=", logBytes/4096))
		out, err := os.Create(h.dir + "/plain")
		if err != nil {
			return err
		}
		dd.Stdout = out
		if err := dd.Run(); err != nil {
			return err
		}
		plain = append(plain, logBytes/1e9/time.Since(begin).Seconds())
		_ = out.Close()
	}
	r.more("log, 4-KB writes", "%.2f GB/s", median(ours), "the same into a file", median(plain), 0)
	r.add(line{What: "log, 4-KB writes, in GB/s", Ours: fmt.Sprintf("%.2f", median(ours)), Peer: "target", Value: "1.5", Ratio: median(ours) / 1.5, Must: 1, More: true})

	var a, b []float64
	for range 5 {
		x, err := throughput(file + "/stdout")
		if err != nil {
			return err
		}
		y, err := throughput(h.dir + "/plain")
		if err != nil {
			return err
		}
		a, b = append(a, x), append(b, y)
	}
	r.more("read of stdout", "%.2f GB/s", median(a), "the same from a file", median(b), 0.8)
	_ = os.Remove(h.dir + "/plain")
	return os.Remove(file)
}

func throughput(file string) (float64, error) {
	f, err := os.Open(file)
	if err != nil {
		return 0, err
	}
	defer f.Close()
	buf := make([]byte, 1<<20)
	begin, total := time.Now(), 0
	for {
		k, err := f.Read(buf)
		total += k
		if err == io.EOF {
			return float64(total) / 1e9 / time.Since(begin).Seconds(), nil
		}
		if err != nil {
			return 0, err
		}
	}
}
