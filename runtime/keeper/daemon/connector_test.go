package daemon

import (
	"os"
	"os/exec"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// The status of a child, heard although somebody else has reaped it.
func TestConnector(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root: CAP_NET_ADMIN")
	}
	fd, err := openConnector()
	if err != nil {
		t.Skipf("needs CONFIG_PROC_EVENTS: %v", err)
	}
	defer unix.Close(fd)
	k := &keeper{exits: connector{fd: fd}}
	begin := time.Now()
	heard := 0
	for _, c := range []struct {
		script string
		status uint32
	}{{"exit 33", 33 << 8}, {"kill -9 $$", 9}, {"exit 0", 0}} {
		cmd := exec.Command("sh", "-c", c.script)
		cmd.Run()
		for range 100 {
			g, ok := k.heardLocked(cmd.Process.Pid, begin)
			if ok {
				heard++
				if g.status != c.status || !g.known {
					t.Errorf("%q: status %#x", c.script, g.status)
				}
				break
			}
			time.Sleep(time.Millisecond)
		}
	}
	if heard == 0 {
		t.Skip("needs CONFIG_PROC_EVENTS (which needs CONFIG_CONNECTOR=y): nothing was heard")
	}
	if heard != 3 {
		t.Errorf("%d of 3 heard", heard)
	}
	if _, ok := k.heardLocked(os.Getpid(), begin); ok {
		t.Error("the living was heard to die")
	}
}
