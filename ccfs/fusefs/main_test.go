package fusefs

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"os/signal"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/containercloud/cc/ccfs/tree"
)

// The tests mount, so they run in a mount namespace of their own: the test binary starts itself in one. The tree is served
// by a third process, the test binary again, because a process must not use a file system that it serves.
//
//	go test -> outer: clone(CLONE_NEWNS) -> inner: the tests -> server: one per mount
const role = "CC_FUSEFS_ROLE"

func TestMain(m *testing.M) {
	switch os.Getenv(role) {
	case "inner":
		if err := syscall.Mount("", "/", "", syscall.MS_REC|syscall.MS_PRIVATE, ""); err != nil {
			fmt.Fprintln(os.Stderr, "cannot make mounts private:", err)
			os.Exit(1)
		}
		os.Unsetenv(role)
		os.Exit(m.Run())
	case "server":
		os.Exit(serverMain())
	}
	os.Exit(outer())
}

func outer() int {
	cmd := exec.Command("/proc/self/exe", os.Args[1:]...)
	cmd.Env = append(os.Environ(), role+"=inner")
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNS, Pdeathsig: syscall.SIGKILL}
	err := cmd.Run()
	var exit *exec.ExitError
	switch {
	case err == nil:
		return 0
	case errors.As(err, &exit):
		return exit.ExitCode()
	case errors.Is(err, syscall.EPERM):
		fmt.Println("SKIP: ccfs/fusefs mounts, which needs root")
		return 0
	}
	fmt.Fprintln(os.Stderr, err)
	return 1
}

// serverMain serves until its standard input ends, or a signal comes.
func serverMain() int {
	signal.Ignore(syscall.SIGTERM)
	t, err := treeNamed(os.Getenv("CC_FUSEFS_TREE"))
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	o := Options{
		Dir: os.Getenv("CC_FUSEFS_DIR"), Source: "cc-test", Debug: os.Getenv("CC_FUSEFS_DEBUG") != "",
		Log:           slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelDebug})),
		NoPassthrough: os.Getenv("CC_FUSEFS_NOPASSTHROUGH") != "",
	}
	o.Deadline, _ = time.ParseDuration(os.Getenv("CC_FUSEFS_DEADLINE"))
	s, err := Mount(context.Background(), t, o)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	fmt.Println("ready")
	io.Copy(io.Discard, os.Stdin)
	if err := s.Unmount(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	s.Wait()
	t.Close()
	return 0
}

// served is a tree on a mount.
type served struct {
	dir   string
	cmd   *exec.Cmd
	stdin io.WriteCloser
	log   *lockedBuffer
	once  sync.Once
	ended error
}

type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// serve starts a server for a tree at a new directory. It ends with the test, which fails if the server complained.
func serve(t testing.TB, treeName string, env ...string) *served {
	t.Helper()
	return serveAt(t, t.TempDir(), treeName, env...)
}

func serveAt(t testing.TB, dir, treeName string, env ...string) *served {
	t.Helper()
	s := &served{dir: dir, log: &lockedBuffer{}}
	s.cmd = exec.Command("/proc/self/exe")
	s.cmd.Env = append(os.Environ(), role+"=server", "CC_FUSEFS_DIR="+dir, "CC_FUSEFS_TREE="+treeName)
	s.cmd.Env = append(s.cmd.Env, env...)
	s.cmd.Stderr = s.log
	// It ends with its standard input, should the tests die. Not by Pdeathsig: that counts the thread that started it, and
	// tests that are other users end threads.
	out, err := s.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if s.stdin, err = s.cmd.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	if err := s.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if line, err := bufio.NewReader(out).ReadString('\n'); err != nil {
		s.cmd.Wait()
		t.Fatalf("the server did not start: %q, %v\n%s", line, err, s.log)
	}
	t.Cleanup(func() {
		if err := s.stop(); err != nil {
			t.Errorf("the server ended with %v", err)
		}
		if t.Failed() {
			t.Logf("server:\n%s", s.log)
		}
	})
	return s
}

// stop ends the server as SIGTERM ends ccd: it unmounts.
func (s *served) stop() error {
	s.once.Do(func() {
		s.stdin.Close()
		s.ended = s.cmd.Wait()
	})
	return s.ended
}

// kill is kill -9 of the daemon.
func (s *served) kill() {
	s.once.Do(func() {
		s.cmd.Process.Kill()
		s.cmd.Wait()
	})
}

func (s *served) path(name string) string { return s.dir + "/" + name }

// run runs a shell script with M set to the mount point and returns what it printed.
func (s *served) run(t testing.TB, script string) string {
	t.Helper()
	out, err := s.shell("bash", script)
	if err != nil {
		t.Fatalf("%s\n%v\n%s", script, err, out)
	}
	return out
}

func (s *served) shell(shell, script string) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	words := append(strings.Fields(shell), "-c", script)
	cmd := exec.CommandContext(ctx, words[0], words[1:]...)
	cmd.Env = append(os.Environ(), "M="+s.dir, "LC_ALL=C")
	cmd.WaitDelay = time.Second
	out, err := cmd.CombinedOutput()
	return strings.TrimSuffix(string(out), "\n"), err
}

// eventually waits for something that happens by itself.
func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for range 1000 {
		if ok() {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Fatalf("not within 10 s: %s", what)
}

// need skips a test whose tool this machine lacks.
func need(t testing.TB, tools ...string) {
	t.Helper()
	for _, tool := range tools {
		if _, err := exec.LookPath(tool); err != nil {
			t.Skipf("%s is not installed", tool)
		}
	}
}

func treeNamed(name string) (*tree.Tree, error) {
	switch name {
	case "rows":
		return rowsTree()
	case "sample":
		return sampleTree()
	}
	return nil, fmt.Errorf("no tree %q", name)
}
