package tests

import (
	"bytes"
	"errors"
	"fmt"
	"hash/crc32"
	"os"
	"os/exec"
	"path/filepath"
	"sort"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// host is one machine of a scenario: namespaces held by a sleeping process, and a daemon in them.
type host struct {
	bin, dir string
	instance string
	holder   *exec.Cmd
	ccd      *exec.Cmd
	log      *os.File
	before   string
}

// newHost makes the namespaces. The mount namespace gets a private /cc and private state and run
// directories below dir; the network namespace has lo and nothing else.
func newHost(bin, dir string) (*host, error) {
	h := &host{bin: bin, dir: dir, instance: fmt.Sprintf("t%06x", crc32.ChecksumIEEE([]byte(dir))&0xffffff)}
	setup := `set -e
mount --make-rprivate /
mkdir -p /cc "$1/state" "$1/run"
mount -t tmpfs -o mode=755 hostcc /cc
ip link set lo up
echo ready
exec sleep infinity`
	h.holder = exec.Command("sh", "-c", setup, "sh", dir)
	h.holder.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags: syscall.CLONE_NEWNS | syscall.CLONE_NEWNET,
		Pdeathsig:  syscall.SIGKILL,
	}
	out, err := h.holder.StdoutPipe()
	if err != nil {
		return nil, err
	}
	h.holder.Stderr = os.Stderr
	if err := h.holder.Start(); err != nil {
		return nil, err
	}
	ready := make([]byte, 6)
	if _, err := out.Read(ready); err != nil {
		return nil, fmt.Errorf("the scenario's namespaces were not made: %w", err)
	}
	if h.log, err = os.Create(filepath.Join(dir, "ccd.log")); err != nil {
		return nil, err
	}
	h.before, err = h.kernel()
	return h, err
}

// enter is nsenter's command line for a program on this host.
func (h *host) enter(argv ...string) []string {
	return append([]string{"-t", fmt.Sprint(h.holder.Process.Pid), "-m", "-n", "--wdns=" + h.dir}, argv...)
}

// start runs ccd and waits until /cc answers.
func (h *host) start(args []string) error {
	argv := append([]string{filepath.Join(h.bin, "ccd"),
		"--mount", "/cc", "--state", h.dir + "/state", "--run", h.dir + "/run", "--instance", h.instance}, args...)
	h.ccd = exec.Command("nsenter", h.enter(argv...)...)
	h.ccd.Stdout, h.ccd.Stderr = h.log, h.log
	h.ccd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := h.ccd.Start(); err != nil {
		return err
	}
	ended := make(chan error, 1)
	go func(c *exec.Cmd) { ended <- c.Wait() }(h.ccd)
	for deadline := time.Now().Add(30 * time.Second); time.Now().Before(deadline); {
		if h.output("cat", "/cc/version") != "" {
			return nil
		}
		select {
		case err := <-ended:
			return fmt.Errorf("ccd ended: %v\n%s", err, h.logTail())
		case <-time.After(20 * time.Millisecond):
		}
	}
	return fmt.Errorf("ccd does not answer at /cc\n%s", h.logTail())
}

// kill ends the daemon as a power cut would: nsenter execs ccd, so the pid is ccd's own. Of a ccd that was just telling
// the kernel of a name a thread may stay, until the next ccd aborts the connection: with SIGKILL pending it is dead enough.
func (h *host) kill() error {
	if h.ccd == nil {
		return nil
	}
	pid := h.ccd.Process.Pid
	h.ccd = nil
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		return err
	}
	for i := range 500 {
		if syscall.Kill(pid, 0) != nil || i > 50 && dying(pid) {
			return nil
		}
		time.Sleep(10 * time.Millisecond)
	}
	return fmt.Errorf("ccd (pid %d) survived SIGKILL", pid)
}

// close shuts the cloud down through its own tree, checks that the kernel is as before, and ends the host.
func (h *host) close(t *testing.T) {
	defer func() {
		_ = h.holder.Process.Kill()
		_ = h.holder.Wait()
		_ = h.log.Close()
	}()
	if h.ccd == nil {
		if err := h.start(nil); err != nil {
			t.Errorf("the last start, to clean up: %v", err)
			return
		}
	}
	pid := h.ccd.Process.Pid
	h.output("sh", "-c", "echo shutdown > /cc/ctl")
	for range 1000 {
		if syscall.Kill(pid, 0) != nil {
			break
		}
		time.Sleep(20 * time.Millisecond)
	}
	after, err := h.kernel()
	for range 100 { // namespaces die in the background
		if err != nil || after == h.before {
			break
		}
		time.Sleep(50 * time.Millisecond)
		after, err = h.kernel()
	}
	if err != nil {
		t.Errorf("cannot see whether the host is as it was: %v", err)
	} else if after != h.before {
		t.Errorf("the host is not as it was.\nbefore:\n%s\nafter:\n%s\n%s", h.before, after, h.logTail())
	}
	if t.Failed() && *keep {
		kept, _ := os.CreateTemp("", "ccd-*.log")
		text, _ := os.ReadFile(h.log.Name())
		_, _ = kept.Write(text)
		t.Logf("ccd's log is kept in %s", kept.Name())
	}
}

// kernel shows everything that a cloud makes in the kernel, as text.
func (h *host) kernel() (string, error) {
	var b strings.Builder
	var errs []error
	section := func(name, text string) { fmt.Fprintf(&b, "## %s\n%s\n", name, strings.TrimSpace(text)) }
	for _, look := range []struct{ name, script string }{
		{"links", "ip -o link | sed 's/^[0-9]*: //; s/ .*//'"},
		{"nft", "nft list ruleset"},
		{"mounts", "awk '/" + h.instance + "| \\/cc/ || index($0, \"" + h.dir + "\") {print $5}' /proc/self/mountinfo | sort"},
	} {
		cmd := exec.Command("nsenter", h.enter("bash", "-c", "set -e -o pipefail; "+look.script)...)
		var stderr strings.Builder
		cmd.Stderr = &stderr
		text, err := cmd.Output()
		if err != nil {
			errs = append(errs, fmt.Errorf("%s: %w: %s", look.script, err, &stderr))
		}
		section(look.name, string(text))
	}
	groups, _ := filepath.Glob("/sys/fs/cgroup/*/cc-" + h.instance + "*")
	unified, _ := filepath.Glob("/sys/fs/cgroup/cc-" + h.instance + "*")
	section("cgroups", strings.Join(append(groups, unified...), "\n"))
	section("processes", strings.Join(h.processes(), "\n"))
	return b.String(), errors.Join(errs...)
}

// processes lists what runs for this host: with the instance on its command line or in the name of its control group, or in
// one of the host's namespaces.
func (h *host) processes() []string {
	holder := fmt.Sprintf("/proc/%d", h.holder.Process.Pid)
	namespace := func(proc, kind string) string {
		name, _ := os.Readlink(proc + "/ns/" + kind)
		return name
	}
	mnt, net := namespace(holder, "mnt"), namespace(holder, "net")
	var found []string
	procs, _ := filepath.Glob("/proc/[0-9]*")
	for _, proc := range procs {
		text, _ := os.ReadFile(proc + "/cmdline")
		line := string(bytes.ReplaceAll(bytes.TrimRight(text, "\x00"), []byte{0}, []byte{' '}))
		groups, _ := os.ReadFile(proc + "/cgroup")
		named := strings.Contains(line, h.instance) && strings.Contains(line, "cc") && !strings.HasPrefix(line, "sh -c")
		member := bytes.Contains(groups, []byte("cc-"+h.instance))
		inside := proc != holder && (namespace(proc, "mnt") == mnt || namespace(proc, "net") == net)
		if named || member || inside {
			found = append(found, line)
		}
	}
	sort.Strings(found)
	return found
}

// output is what a program prints on this host, "" when it fails.
func (h *host) output(argv ...string) string {
	out, _ := exec.Command("nsenter", h.enter(argv...)...).Output()
	return string(out)
}

func (h *host) logTail() string {
	text, _ := os.ReadFile(h.log.Name())
	if n := len(text) - 4000; n > 0 {
		text = text[n:]
	}
	return "ccd's log:\n" + string(text)
}

// importBusybox makes the image bb from the machine's static busybox.
func (h *host) importBusybox() error {
	const script = `set -e
r=$1/bb; mkdir -p $r/bin $r/etc $r/tmp $r/root $r/proc $r/sys $r/dev $r/run $r/var
chmod 1777 $r/tmp
cp "$(command -v busybox)" $r/bin/busybox
for a in $(busybox --list); do [ $a = busybox ] || ln -s busybox $r/bin/$a; done
echo root:x:0:0:root:/root:/bin/sh > $r/etc/passwd; echo user:x:1000:1000::/tmp:/bin/sh >> $r/etc/passwd
echo root:x:0: > $r/etc/group; echo user:x:1000: >> $r/etc/group
tar -C $r -cf $1/bb.tar .
echo "import $1/bb.tar bb wait=60s" > /cc/image/ctl || { cat /cc/self/error >&2; exit 1; }`
	text, err := exec.Command("nsenter", h.enter("bash", "-c", script, "bash", h.dir)...).CombinedOutput()
	if err != nil {
		return fmt.Errorf("%w: %s", err, text)
	}
	return nil
}

// dying says that a process has got SIGKILL and has only to leave the kernel.
func dying(pid int) bool {
	text, _ := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	for line := range strings.Lines(string(text)) {
		f := strings.Fields(line)
		if len(f) < 2 {
			continue
		}
		if f[0] == "State:" && f[1] == "Z" {
			return true
		}
		if set, _ := strconv.ParseUint(f[1], 16, 64); f[0] == "ShdPnd:" && set&(1<<(syscall.SIGKILL-1)) != 0 {
			return true
		}
	}
	return false
}
