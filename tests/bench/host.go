package main

import (
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// host is the private machine of a run: a daemon at /cc, an image and bundles of one busybox.
type host struct {
	bin, dir string
	rootfs   string // busybox, unpacked
	ccd      *exec.Cmd
	seq      int
}

const cc = "/cc/"

func newHost(bin string) (*host, error) {
	if err := syscall.Mount("", "/", "", syscall.MS_REC|syscall.MS_PRIVATE, ""); err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("", "cc-bench-")
	if err != nil {
		return nil, err
	}
	h := &host{bin: bin, dir: dir}
	if err := h.open(); err != nil {
		h.close()
		return nil, err
	}
	return h, nil
}

// open starts the daemon and gives it an image and a network.
func (h *host) open() error {
	_ = syscall.Unmount("/sys/fs/cgroup/unified", syscall.MNT_DETACH)
	if err := run("ip", "link", "set", "lo", "up"); err != nil {
		return err
	}
	if err := os.MkdirAll(cc, 0o755); err != nil {
		return err
	}
	if err := h.makeRootfs(); err != nil {
		return err
	}
	if err := h.start("4"); err != nil {
		return err
	}
	tar := filepath.Join(h.dir, "bb.tar")
	if err := run("tar", "-C", h.rootfs, "-cf", tar, "."); err != nil {
		return err
	}
	if err := write(cc+"image/ctl", "import "+tar+" bb wait=1m"); err != nil {
		return err
	}
	if err := os.Mkdir(cc+"vpc/bench", 0o755); err != nil {
		return err
	}
	return write(cc+"vpc/bench/cidr", "10.77.0.0/16")
}

// start runs ccd with so many warm parts, after ending the one that runs.
func (h *host) start(warm string) error {
	if h.ccd != nil {
		if err := h.stop(); err != nil {
			return err
		}
	}
	log, err := os.OpenFile(filepath.Join(h.dir, "ccd.log"), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	h.ccd = exec.Command(filepath.Join(h.bin, "ccd"), "--mount", "/cc", "--state", h.dir+"/state", "--run", h.dir+"/run",
		"--instance", "bench", "--warm", warm)
	h.ccd.Stdout, h.ccd.Stderr = log, log
	if err := h.ccd.Start(); err != nil {
		return err
	}
	return until(30*time.Second, "ccd answers", func() bool { _, err := os.ReadFile(cc + "version"); return err == nil })
}

func (h *host) stop() error {
	if err := h.ccd.Process.Signal(syscall.SIGTERM); err != nil {
		return err
	}
	return h.ccd.Wait()
}

func (h *host) close() {
	defer os.RemoveAll(h.dir)
	if h.ccd == nil || h.ccd.Process == nil {
		return
	}
	_ = write(cc+"ctl", "shutdown")
	done := make(chan struct{})
	go func() { _ = h.ccd.Wait(); close(done) }()
	select {
	case <-done:
	case <-time.After(time.Minute):
		_ = h.ccd.Process.Kill()
	}
}

// makeRootfs lays out busybox with the names that the benchmarks call.
func (h *host) makeRootfs() error {
	h.rootfs = filepath.Join(h.dir, "rootfs")
	for _, d := range []string{"bin", "proc", "sys", "dev", "etc", "tmp", "app"} {
		if err := os.MkdirAll(filepath.Join(h.rootfs, d), 0o755); err != nil {
			return err
		}
	}
	busybox, err := exec.LookPath("busybox")
	if err != nil {
		return fmt.Errorf("busybox-static is missing: run scripts/test-packages")
	}
	if err := run("cp", busybox, h.rootfs+"/bin/busybox"); err != nil {
		return err
	}
	for _, name := range []string{"sh", "echo", "true", "sleep", "cat", "dd"} {
		if err := os.Symlink("busybox", filepath.Join(h.rootfs, "bin", name)); err != nil {
			return err
		}
	}
	return nil
}

// name makes a fresh name for a container.
func (h *host) name() string {
	h.seq++
	return fmt.Sprintf("b%d", h.seq)
}

// write is what `echo LINE > FILE` does, without the shell.
func write(file, line string) error {
	f, err := os.OpenFile(file, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o644)
	if err != nil {
		return err
	}
	_, err = f.WriteString(line + "\n")
	if err2 := f.Close(); err == nil {
		err = err2
	}
	if err != nil {
		text, _ := os.ReadFile(cc + "self/error")
		return fmt.Errorf("%s: %w: %s", line, err, strings.TrimSpace(string(text)))
	}
	return nil
}

// read blocks until a wait file answers.
func read(file string) (string, error) {
	f, err := os.Open(file)
	if err != nil {
		return "", err
	}
	defer f.Close()
	text, err := io.ReadAll(f)
	return strings.TrimSpace(string(text)), err
}

func run(name string, args ...string) error {
	text, err := exec.Command(name, args...).CombinedOutput()
	if err != nil {
		return fmt.Errorf("%s %s: %w: %s", name, strings.Join(args, " "), err, text)
	}
	return nil
}

func until(limit time.Duration, what string, ok func() bool) error {
	for end := time.Now().Add(limit); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		if ok() {
			return nil
		}
	}
	return fmt.Errorf("after %s it is not so that %s", limit, what)
}
