package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sort"
	"syscall"
	"time"
)

func median(v []float64) float64 {
	sort.Float64s(v)
	return v[len(v)/2]
}

// benchFiles compares one open, read and close with the same through the smallest FUSE server there is: C, one
// thread, one file.
func benchFiles(h *host, r *report) error {
	floor, stop, err := h.echoServer()
	if err != nil {
		return err
	}
	defer stop()
	name := h.name()
	if err := os.Mkdir(cc+"container/"+name, 0o755); err != nil {
		return err
	}
	defer os.Remove(cc + "container/" + name)
	file := cc + "container/" + name + "/status"
	var ours, peer series
	for range 20 {
		a, err := readLoop(file, 500)
		if err != nil {
			return err
		}
		b, err := readLoop(floor, 500)
		if err != nil {
			return err
		}
		ours, peer = append(ours, a), append(peer, b)
	}
	r.times("open, read, close of a state file", ours.p50(), "C echo FUSE server", peer.p50(), 2.0)
	return nil
}

// readLoop is the mean time of open, read and close by plain system calls.
func readLoop(file string, rounds int) (time.Duration, error) {
	buf := make([]byte, 4096)
	begin := time.Now()
	for range rounds {
		fd, err := syscall.Open(file, syscall.O_RDONLY, 0)
		if err != nil {
			return 0, fmt.Errorf("%s: %w", file, err)
		}
		if _, err := syscall.Read(fd, buf); err != nil {
			return 0, fmt.Errorf("%s: %w", file, err)
		}
		if err := syscall.Close(fd); err != nil {
			return 0, err
		}
	}
	return time.Since(begin) / time.Duration(rounds), nil
}

// echoServer builds and mounts the C server.
func (h *host) echoServer() (file string, stop func(), err error) {
	server, dir := filepath.Join(h.dir, "echofuse"), filepath.Join(h.dir, "echo")
	if err := run("gcc", "-O2", "-o", server, "ccfs/fusefs/testdata/echofuse.c"); err != nil {
		return "", nil, err
	}
	if err := os.Mkdir(dir, 0o755); err != nil {
		return "", nil, err
	}
	cmd := exec.Command(server, dir)
	if err := cmd.Start(); err != nil {
		return "", nil, err
	}
	stop = func() {
		_ = syscall.Unmount(dir, syscall.MNT_DETACH)
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	}
	err = until(5*time.Second, "the C server answers", func() bool {
		list, err := os.ReadDir(dir)
		if err != nil || len(list) == 0 {
			return false
		}
		file = filepath.Join(dir, list[0].Name())
		_, err = os.ReadFile(file)
		return err == nil
	})
	return file, stop, err
}
