package fusefs

import (
	"errors"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func TestUnmountEndsBlockedReaders(t *testing.T) {
	s := serve(t, "rows")
	readers := blocked(t, s, 3)
	held, err := os.Open(s.path("state"))
	if err != nil {
		t.Fatal(err)
	}
	defer held.Close()
	if err := s.stop(); err != nil {
		t.Error(err)
	}
	for _, r := range readers {
		if err := r.Wait(); err == nil {
			t.Error("a reader ended as if the stream had ended")
		}
	}
	if at, err := mountsAt(s.dir); err != nil || len(at) != 0 {
		t.Errorf("left mounted: %v, %v", at, err)
	}
}

func TestKilledServerIsReplaced(t *testing.T) {
	s := serve(t, "rows")
	readers := blocked(t, s, 20)
	s.kill()
	for _, r := range readers {
		if err := r.Wait(); err == nil {
			t.Error("a reader ended as if the stream had ended")
		}
	}
	if _, err := os.Stat(s.path("state")); !errors.Is(err, syscall.ENOTCONN) {
		t.Errorf("the dead mount answers %v", err)
	}
	serveAt(t, s.dir, "rows")
	if _, err := os.ReadFile(s.path("state")); err != nil {
		t.Error(err)
	}
	if at, err := mountsAt(s.dir); err != nil || len(at) != 1 {
		t.Errorf("mounts: %v, %v", at, err)
	}
}

// A killed server must end although it has a name to announce in a directory that an unanswered mkdir has locked.
func TestKilledServerEndsDuringMkdir(t *testing.T) {
	s := serve(t, "rows")
	maker := exec.Command("mkdir", s.path("slow/x"))
	if err := maker.Start(); err != nil {
		t.Fatal(err)
	}
	if line := s.run(t, `head -c 4 $M/stream`); line != "made" {
		t.Fatalf("mkdir is not on its way: %q", line)
	}
	time.Sleep(50 * time.Millisecond) // the announcement is made behind the row's back
	ended := make(chan error, 1)
	go func() { s.kill(); ended <- maker.Wait() }()
	select {
	case err := <-ended:
		if err == nil {
			t.Error("mkdir succeeded")
		}
	case <-time.After(10 * time.Second):
		t.Error("the killed server does not end")
	}
	if err := unix.Unmount(s.dir, unix.MNT_FORCE|unix.MNT_DETACH); err != nil {
		t.Error(err)
	}
}

func TestTwoServersDoNotShareADirectory(t *testing.T) {
	s := serve(t, "rows")
	cmd := exec.Command("/proc/self/exe")
	cmd.Env = append(os.Environ(), role+"=server", "CC_FUSEFS_DIR="+s.dir, "CC_FUSEFS_TREE=rows")
	out, err := cmd.CombinedOutput()
	if err == nil || !strings.Contains(string(out), "serves "+s.dir+" already") {
		t.Errorf("the second server: %v\n%s", err, out)
	}
	if _, err := os.ReadFile(s.path("state")); err != nil {
		t.Error("the first one:", err)
	}
}

func TestStolenMountComesBack(t *testing.T) {
	s := serve(t, "rows")
	held, err := os.Open(s.path("few/thing-00000/setting"))
	if err != nil {
		t.Fatal(err)
	}
	defer held.Close()
	for range 3 {
		if err := unix.Unmount(s.dir, unix.MNT_DETACH); err != nil {
			t.Fatal(err)
		}
		eventually(t, "the mount is back", func() bool { _, err := os.Stat(s.path("state")); return err == nil })
	}
	var b [10]byte
	if n, err := held.ReadAt(b[:], 0); err != nil && n == 0 {
		t.Error("the file that was open:", err)
	}
}

func TestAbortedConnectionComesBack(t *testing.T) {
	s := serve(t, "rows")
	reader := blocked(t, s, 1)[0]
	if err := unix.Unmount(s.dir, unix.MNT_FORCE|unix.MNT_DETACH); err != nil {
		t.Fatal(err)
	}
	if err := reader.Wait(); err == nil {
		t.Error("the reader ended as if the stream had ended")
	}
	eventually(t, "the mount is back", func() bool { _, err := os.ReadFile(s.path("state")); return err == nil })
}
