// Package linktest gives tests network namespaces of their own: the machine's links and rules are never touched.
package linktest

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
)

const inside = "CC_TEST_NETNS"

// Main runs a package's tests in a child that has a network and a mount namespace of its own. Call it from TestMain.
func Main(m *testing.M) {
	if os.Getenv(inside) != "" {
		if err := Prepare(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(m.Run())
	}
	err := Command(os.Args[1:]...).Run()
	var exit *exec.ExitError
	switch {
	case errors.Is(err, unix.EPERM):
		fmt.Println("SKIP: these tests make network namespaces, which needs root")
	case errors.As(err, &exit):
		os.Exit(exit.ExitCode())
	case err != nil:
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// Command is the test binary again, in new namespaces.
func Command(args ...string) *exec.Cmd {
	cmd := exec.Command("/proc/self/exe", args...)
	cmd.Args[0] = os.Args[0]
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.Env = append(os.Environ(), inside+"=1")
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: unix.CLONE_NEWNET | unix.CLONE_NEWNS, Pdeathsig: unix.SIGKILL}
	return cmd
}

// Prepare makes a new mount namespace private, shows the new network namespace in /sys, and sets up loopback.
func Prepare() error {
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("cannot make mounts private: %w", err)
	}
	if err := unix.Mount("sysfs", "/sys", "sysfs", 0, ""); err != nil {
		return fmt.Errorf("cannot mount sysfs: %w", err)
	}
	return furnish()
}

// furnish makes this thread's network namespace what a container's is: loopback is up, and Ping may ping.
func furnish() error {
	if err := os.WriteFile("/proc/sys/net/ipv4/ping_group_range", []byte("0 2147483647"), 0); err != nil {
		return err
	}
	return exec.Command("ip", "link", "set", "lo", "up").Run()
}

// NS is a network namespace: a container's, or a host's outside.
type NS struct{ File *os.File }

// New makes a namespace that lasts until Close or the test's end.
func New(t testing.TB) *NS {
	t.Helper()
	f, err := Make()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return &NS{f}
}

// Make makes a namespace that lasts as long as the file is open or a link is referred to by it.
func Make() (*os.File, error) {
	var f *os.File
	err := onOwnThread(func() error {
		ns, err := netns.New()
		if err != nil {
			return err
		}
		f = os.NewFile(uintptr(ns), "netns")
		return furnish()
	})
	return f, err
}

// onOwnThread runs fn on a thread that is used for nothing else and ends with it. The main thread would not
// end, and show its namespace as the process's.
func onOwnThread(fn func() error) error {
	done := make(chan error)
	go func() {
		runtime.LockOSThread()
		if unix.Gettid() == unix.Getpid() {
			err := onOwnThread(fn)
			runtime.UnlockOSThread()
			done <- err
			return
		}
		done <- fn()
	}()
	return <-done
}

// Close lets the namespace die.
func (n *NS) Close() { n.File.Close() }

// Do runs fn on a thread that is in the namespace.
func (n *NS) Do(fn func() error) error {
	return onOwnThread(func() error {
		if err := netns.Set(netns.NsHandle(n.File.Fd())); err != nil {
			return err
		}
		return fn()
	})
}

// Run runs a command in the namespace and returns what it printed.
func (n *NS) Run(t testing.TB, args ...string) string {
	t.Helper()
	out, err := n.Try(args...)
	if err != nil {
		t.Fatalf("%s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return out
}

// Try is Run for commands that may fail.
func (n *NS) Try(args ...string) (out string, err error) {
	err = n.Do(func() error {
		b, err := exec.Command(args[0], args[1:]...).CombinedOutput()
		out = string(b)
		return err
	})
	return out, err
}

// Keep starts a process in the namespace, for tools that want a pid, and returns its id.
func (n *NS) Keep(t testing.TB) string {
	t.Helper()
	cmd := exec.Command("sleep", "1000000")
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := n.Do(cmd.Start); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cmd.Process.Kill(); cmd.Wait() })
	return strconv.Itoa(cmd.Process.Pid)
}

// Host runs a command in the tests' own host namespace.
func Host(t testing.TB, args ...string) string {
	t.Helper()
	b, err := exec.Command(args[0], args[1:]...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s: %v\n%s", strings.Join(args, " "), err, b)
	}
	return string(b)
}

// Dial connects from the namespace to a TCP address.
func (n *NS) Dial(addr string, wait time.Duration) (conn net.Conn, err error) {
	err = n.Do(func() error {
		conn, err = net.DialTimeout("tcp", addr, wait)
		return err
	})
	return conn, err
}

// Ping sends one echo request by a datagram socket, which needs no capability (ping_group_range), and waits
// for the answer.
func (n *NS) Ping(addr string, wait time.Duration) error {
	return n.Do(func() error { return Ping(addr, wait) })
}

// Ping pings from the calling thread's namespace.
func Ping(addr string, wait time.Duration) error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, unix.IPPROTO_ICMP)
	if err != nil {
		return fmt.Errorf("ping socket: %w", err)
	}
	defer unix.Close(fd)
	tv := unix.NsecToTimeval(wait.Nanoseconds())
	if err := unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &tv); err != nil {
		return err
	}
	a := netip.MustParseAddr(addr)
	if err := unix.Sendto(fd, []byte{8, 0, 0, 0, 0, 0, 0, 1}, 0, &unix.SockaddrInet4{Addr: a.As4()}); err != nil {
		return fmt.Errorf("ping %s: %w", addr, err)
	}
	if _, _, err := unix.Recvfrom(fd, make([]byte, 100), 0); err != nil {
		return fmt.Errorf("ping %s: no answer: %w", addr, err)
	}
	return nil
}

// Serve listens in the namespace, greets everybody with its address and says who called.
func (n *NS) Serve(t testing.TB, addr string) (callers <-chan string) {
	t.Helper()
	var l net.Listener
	err := n.Do(func() (err error) { l, err = net.Listen("tcp", addr); return err })
	if err != nil {
		t.Fatal(err)
	}
	return greet(t, l)
}

func greet(t testing.TB, l net.Listener) <-chan string {
	ch := make(chan string, 64)
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			host, _, _ := net.SplitHostPort(c.RemoteAddr().String())
			ch <- host
			fmt.Fprintln(c, "hello from", l.Addr())
			c.Close()
		}
	}()
	return ch
}

// ServeHost is Serve in the host namespace.
func ServeHost(t testing.TB, addr string) <-chan string {
	t.Helper()
	l, err := net.Listen("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	return greet(t, l)
}
