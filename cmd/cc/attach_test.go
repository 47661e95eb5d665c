package main

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/creack/pty"
)

// These tests use a mount, so they run in a mount namespace of their own: the test binary starts itself in one,
// and once more as the daemon.
const role = "CC_TEST_ROLE"

func TestMain(m *testing.M) {
	switch os.Getenv(role) {
	case "inner":
		if err := syscall.Mount("", "/", "", syscall.MS_REC|syscall.MS_PRIVATE, ""); err != nil {
			fmt.Fprintln(os.Stderr, "cannot make mounts private:", err)
			os.Exit(1)
		}
		_ = os.Unsetenv(role)
		mounts = true
		os.Exit(m.Run())
	case "server":
		if err := serve(os.Getenv("CC_TEST_DIR")); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	cmd := exec.Command("/proc/self/exe", os.Args[1:]...)
	cmd.Env = append(os.Environ(), role+"=inner")
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNS, Pdeathsig: syscall.SIGKILL}
	err := cmd.Run()
	var exit *exec.ExitError
	switch {
	case err == nil:
		os.Exit(0)
	case errors.As(err, &exit):
		os.Exit(exit.ExitCode())
	case errors.Is(err, syscall.EPERM):
		os.Exit(m.Run())
	}
	fmt.Fprintln(os.Stderr, err)
	os.Exit(1)
}

var mounts bool // this process may mount

// mounted is cc, built, and a double to talk to.
type mounted struct {
	t    *testing.T
	cc   string
	root string
	env  []string
}

func mountDouble(t *testing.T) *mounted {
	t.Helper()
	if !mounts {
		t.Skip("needs root: it mounts a tree in a mount namespace")
	}
	dir, env := program(t)
	m := &mounted{t: t, cc: filepath.Join(dir, "cc"), root: dir + "/mnt", env: append(env, "CC_ENDPOINT_URL=file://"+dir+"/mnt")}
	cmd := exec.Command("/proc/self/exe")
	cmd.Env = append(os.Environ(), role+"=server", "CC_TEST_DIR="+m.root)
	cmd.Stderr = os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	in, _ := cmd.StdinPipe()
	out, _ := cmd.StdoutPipe()
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = in.Close(); _ = cmd.Wait() })
	if l, err := bufio.NewReader(out).ReadString('\n'); l != "ready\n" {
		t.Fatalf("no tree: %q %v", l, err)
	}
	return m
}

func (m *mounted) command(argv ...string) *exec.Cmd {
	cmd := exec.Command(m.cc, argv...)
	cmd.Env = m.env
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	return cmd
}

// run runs cc to its end.
func (m *mounted) run(in string, argv ...string) (code int, out, errs string) {
	m.t.Helper()
	cmd := m.command(argv...)
	var o, e bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr = strings.NewReader(in), &o, &e
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		m.t.Fatal(err)
	}
	return cmd.ProcessState.ExitCode(), o.String(), e.String()
}

func (m *mounted) empty() {
	m.t.Helper()
	if names, _ := filepath.Glob(m.root + "/container/*/id"); len(names) > 0 {
		m.t.Errorf("left behind: %v", names)
	}
}

func TestForeground(t *testing.T) {
	m := mountDouble(t)
	for _, c := range []struct {
		in, out, errs string
		code          int
		argv          []string
	}{
		{"", "hi\n", "", 0, []string{"run", "--rm", "echo", "hi"}},
		{"", "out\n", "err\n", 7, []string{"run", "--rm", "sh", "-c", "echo out; echo err >&2; exit 7"}},
		{"", "a\nb\n", "", 0, []string{"run", "--rm", "sh", "-c", "echo a\necho b"}},
		{"", "it's 'q'\n", "", 0, []string{"run", "--rm", "echo", "it's 'q'"}},
		{"", "x=1 -- y\n", "", 0, []string{"run", "--rm", "echo", "x=1", "--", "y"}},
		{"", "v w\n", "", 0, []string{"run", "--rm", "-e", "A=v w", "sh", "-c", "echo $A"}},
		{"", "", "", 0, []string{"run", "--rm", "cat"}},
		{"one\ntwo", "one\ntwo", "", 0, []string{"run", "-i", "--rm", "cat"}},
		{"", "", "", 137, []string{"run", "--rm", "sh", "-c", "kill -9 $$"}},
		{"", "", "cc: cannot run container: execve nosuch: no such file or directory\n", 127, []string{"run", "--rm", "nosuch"}},
		{strings.Repeat("0123456789", 1<<17), strings.Repeat("0123456789", 1<<17), "", 0, []string{"run", "-i", "--rm", "cat"}},
	} {
		code, out, errs := m.run(c.in, c.argv...)
		if code != c.code || out != c.out || errs != c.errs {
			t.Errorf("cc %q: %d %.80q %.80q, want %d %.80q %.80q", c.argv, code, out, errs, c.code, c.out, c.errs)
		}
	}
	m.empty()
}

func TestExecForReal(t *testing.T) {
	m := mountDouble(t)
	if code, out, errs := m.run("", "run", "-d", "--name", "web", "sleep", "1000"); code != 0 || out != "web\n" {
		t.Fatal(code, out, errs)
	}
	if code, out, errs := m.run("", "exec", "web", "sh", "-c", "echo out; echo err >&2; exit 9"); code != 9 || out != "out\n" || errs != "err\n" {
		t.Errorf("%d %q %q", code, out, errs)
	}
	if code, out, errs := m.run("some\ninput", "exec", "-i", "web", "cat"); code != 0 || out != "some\ninput" {
		t.Errorf("%d %q %q", code, out, errs)
	}
	if code, _, errs := m.run("", "exec", "web", "nosuch"); code != 127 {
		t.Errorf("%d %q", code, errs)
	}
	if code, out, errs := m.run("", "stop", "web"); code != 0 {
		t.Errorf("%d %q %q", code, out, errs)
	}
	if code, out, _ := m.run("", "wait", "web"); code != 0 || out != "143\n" {
		t.Errorf("%d %q", code, out)
	}
	if code, _, errs := m.run("", "rm", "web", "ghost"); code != 0 {
		t.Errorf("%d %q", code, errs)
	}
	m.empty()
}

// TestSignals: what cc gets its program gets, and Ctrl-C twice ends a program that does not listen.
func TestSignals(t *testing.T) {
	m := mountDouble(t)
	for _, c := range []struct {
		script string
		send   []os.Signal
		code   int
	}{
		{"trap 'exit 3' TERM; echo up; while :; do sleep 0.1; done", []os.Signal{syscall.SIGTERM}, 3},
		{"trap 'exit 4' USR1; echo up; while :; do sleep 0.1; done", []os.Signal{syscall.SIGUSR1}, 4},
		{"trap 'exit 5' INT; echo up; while :; do sleep 0.1; done", []os.Signal{syscall.SIGINT}, 5},
		{"trap '' INT; echo up; while :; do sleep 0.1; done", []os.Signal{syscall.SIGINT, syscall.SIGINT}, 137},
	} {
		cmd := m.command("run", "--rm", "sh", "-c", c.script)
		out, _ := cmd.StdoutPipe()
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		if l, _ := bufio.NewReader(out).ReadString('\n'); l != "up\n" {
			t.Fatalf("%q", l)
		}
		for _, s := range c.send {
			_ = cmd.Process.Signal(s)
			time.Sleep(50 * time.Millisecond)
		}
		_ = cmd.Wait()
		if got := cmd.ProcessState.ExitCode(); got != c.code {
			t.Errorf("%s: %d, want %d", c.script, got, c.code)
		}
	}
	m.empty()
}

// TestUnread: a program that prints nothing ends too when nobody reads its output any more.
func TestUnread(t *testing.T) {
	m := mountDouble(t)
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd := m.command("run", "--rm", "sh", "-c", "echo up; exec sleep 1000")
	cmd.Stdout = w
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	_ = w.Close()
	if l, _ := bufio.NewReader(r).ReadString('\n'); l != "up\n" {
		t.Errorf("%q", l)
	}
	_ = r.Close()
	_ = cmd.Wait()
	if got := cmd.ProcessState.ExitCode(); got != exitUnread {
		t.Errorf("exit %d", got)
	}
	m.empty()
}

// TestTerminal gives cc a terminal and looks at it as a user does.
func TestTerminal(t *testing.T) {
	m := mountDouble(t)
	cmd := m.command("run", "-it", "--rm", "sh", "-c", "stty size; read x; echo got $x; trap 'stty size; exit 6' WINCH; echo ready; while :; do sleep 0.05; done")
	cmd.SysProcAttr = nil
	tty, err := pty.StartWithSize(cmd, &pty.Winsize{Rows: 33, Cols: 101})
	if err != nil {
		t.Fatal(err)
	}
	defer tty.Close()
	r := bufio.NewReader(tty)
	expect := func(want string) {
		t.Helper()
		_ = tty.SetReadDeadline(time.Now().Add(10 * time.Second))
		for {
			l, err := r.ReadString('\n')
			if strings.TrimRight(l, "\r\n") == want {
				return
			}
			if err != nil {
				t.Fatalf("waiting for %q: %q %v", want, l, err)
			}
		}
	}
	expect("33 101")
	if _, err := io.WriteString(tty, "hello\r"); err != nil {
		t.Fatal(err)
	}
	expect("got hello")
	expect("ready")
	if err := pty.Setsize(tty, &pty.Winsize{Rows: 20, Cols: 60}); err != nil {
		t.Fatal(err)
	}
	expect("20 60")
	_ = cmd.Wait()
	if got := cmd.ProcessState.ExitCode(); got != 6 {
		t.Errorf("exit %d", got)
	}
	m.empty()
}

// TestTerminalIsRestored: after -t the terminal is as before, also when a key was Ctrl-C.
func TestTerminalIsRestored(t *testing.T) {
	m := mountDouble(t)
	cmd := exec.Command("sh", "-c", "before=$(stty -g); "+m.cc+" run -it --rm sh -c 'trap \"exit 8\" INT; echo up; while :; do sleep 0.05; done'; echo code $?; [ \"$before\" = \"$(stty -g)\" ] && echo same")
	cmd.Env = m.env
	tty, err := pty.Start(cmd)
	if err != nil {
		t.Fatal(err)
	}
	defer tty.Close()
	_ = tty.SetReadDeadline(time.Now().Add(15 * time.Second))
	r := bufio.NewReader(tty)
	var all strings.Builder
	for {
		l, err := r.ReadString('\n')
		all.WriteString(l)
		if strings.HasPrefix(l, "up") {
			_, _ = io.WriteString(tty, "\x03")
		}
		if err != nil {
			break
		}
	}
	_ = cmd.Wait()
	if got := all.String(); !strings.Contains(got, "code 8") || !strings.Contains(got, "same") {
		t.Errorf("%q", got)
	}
}
