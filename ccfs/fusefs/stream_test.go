package fusefs

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// blocked starts n processes that read the stream and waits until all of them are in the read.
func blocked(t *testing.T, s *served, n int) []*exec.Cmd {
	t.Helper()
	var list []*exec.Cmd
	for range n {
		cmd := exec.Command("cat", s.path("stream"))
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		list = append(list, cmd)
	}
	for _, cmd := range list {
		eventually(t, "a reader blocks", func() bool {
			call, _ := os.ReadFile(fmt.Sprintf("/proc/%d/wchan", cmd.Process.Pid))
			return bytes.Contains(call, []byte("request_wait_answer"))
		})
	}
	return list
}

func TestBlockedReadersAreInterrupted(t *testing.T) {
	s := serve(t, "rows")
	for _, sig := range []syscall.Signal{syscall.SIGINT, syscall.SIGKILL} {
		readers := blocked(t, s, 100)
		if _, err := os.ReadFile(s.path("state")); err != nil {
			t.Error("beside 100 blocked readers:", err)
		}
		for _, r := range readers {
			r.Process.Signal(sig)
		}
		for _, r := range readers {
			if err := r.Wait(); !killedBy(err, sig) {
				t.Errorf("a reader ended with %v", err)
			}
		}
	}
}

func killedBy(err error, sig syscall.Signal) bool {
	var exit *exec.ExitError
	if !errors.As(err, &exit) {
		return false
	}
	ws := exit.Sys().(syscall.WaitStatus)
	return ws.Signaled() && ws.Signal() == sig
}

func TestStopAndContinueABlockedReader(t *testing.T) {
	s := serve(t, "rows")
	var out bytes.Buffer
	cmd := exec.Command("head", "-n1", s.path("stream"))
	cmd.Stdout = &out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	cmd.Process.Signal(syscall.SIGSTOP)
	cmd.Process.Signal(syscall.SIGCONT)
	s.run(t, `echo hello > $M/stream`)
	if err := cmd.Wait(); err != nil || out.String() != "hello\n" {
		t.Errorf("read %q, %v", out.String(), err)
	}
}

func TestNonblock(t *testing.T) {
	s := serve(t, "rows")
	fd, err := unix.Open(s.path("stream"), unix.O_RDONLY|unix.O_NONBLOCK, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	var b [10]byte
	if n, err := unix.Read(fd, b[:]); err != unix.EAGAIN {
		t.Errorf("read %d, %v", n, err)
	}
	// The flag counts at the time of the read, not of the open.
	if err := unix.SetNonblock(fd, false); err != nil {
		t.Fatal(err)
	}
	s.run(t, `echo x > $M/stream`)
	if n, err := unix.Read(fd, b[:]); err != nil || string(b[:n]) != "x\n" {
		t.Errorf("read %q, %v", b[:max(n, 0)], err)
	}
}

// One descriptor carries a conversation: a reader that waits must not lock out the writer it waits for.
func TestReadAndWriteOnOneDescriptor(t *testing.T) {
	s := serve(t, "rows")
	f, err := os.OpenFile(s.path("stream"), os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	got := make(chan string)
	go func() {
		var b [100]byte
		n, _ := f.Read(b[:])
		got <- string(b[:n])
	}()
	eventually(t, "the reader blocks", func() bool {
		list, _ := os.ReadDir("/proc/self/task")
		for _, task := range list {
			w, _ := os.ReadFile("/proc/self/task/" + task.Name() + "/wchan")
			if bytes.Contains(w, []byte("request_wait_answer")) {
				return true
			}
		}
		return false
	})
	if _, err := f.WriteString("hello\n"); err != nil {
		t.Fatal(err)
	}
	if line := <-got; line != "hello\n" {
		t.Errorf("read %q", line)
	}
}

func TestShellReadsStreamLineByLine(t *testing.T) {
	s := serve(t, "rows")
	out := s.run(t, `
		exec 3<> $M/stream
		printf 'one\ntwo\n' >&3
		read -u3 a; read -u3 b; echo "$a-$b"`)
	if out != "one-two" {
		t.Errorf("got %q", out)
	}
}

// A write that waits holds the kernel's lock of its inode. Others must neither wait for it nor be beyond signals.
func TestWaitingWriteLocksNobodyOut(t *testing.T) {
	s := serve(t, "rows")
	waiter := exec.Command("sh", "-c", "echo wait > "+s.path("ctl"))
	if err := waiter.Start(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the writer waits", func() bool {
		w, _ := os.ReadFile(fmt.Sprintf("/proc/%d/wchan", waiter.Process.Pid))
		return bytes.Contains(w, []byte("request_wait_answer"))
	})
	for range 3 {
		s.run(t, `timeout -s KILL 20 sh -c "echo nothing > $M/ctl; echo nothing >> $M/ctl; cat $M/ctl >/dev/null"`)
	}
	waiter.Process.Signal(syscall.SIGTERM)
	if err := waiter.Wait(); !killedBy(err, syscall.SIGTERM) {
		t.Errorf("the waiting writer ended with %v", err)
	}
}

// The Go runtime preempts goroutines by signal, which FUSE reports as an interrupt. Only streams may obey it.
func TestSignalsDoNotFailOperations(t *testing.T) {
	s := serve(t, "rows")
	dir := s.path("few/thing-00001/")
	worker := make(chan int)
	stop := make(chan struct{})
	var wg sync.WaitGroup
	wg.Add(1)
	go func() {
		defer wg.Done()
		tid := <-worker
		for {
			select {
			case <-stop:
				return
			default:
				unix.Tgkill(os.Getpid(), tid, unix.SIGURG)
				time.Sleep(20 * time.Microsecond)
			}
		}
	}()
	worker <- unix.Gettid() // about this thread; if we move, some signals hit others, which is as good
	var b [100]byte
	for range 3000 {
		for _, err := range []error{
			func() error { var st unix.Stat_t; return unix.Lstat(s.path("state"), &st) }(),
			func() error {
				fd, err := unix.Open(dir+"setting", unix.O_WRONLY|unix.O_TRUNC, 0)
				if err != nil {
					return err
				}
				defer unix.Close(fd)
				_, err = unix.Write(fd, []byte("v\n"))
				return err
			}(),
			func() error {
				fd, err := unix.Open(s.path("state"), unix.O_RDONLY, 0)
				if err != nil {
					return err
				}
				defer unix.Close(fd)
				_, err = unix.Read(fd, b[:])
				return err
			}(),
		} {
			if err != nil {
				t.Fatal(err)
			}
		}
	}
	close(stop)
	wg.Wait()
}
