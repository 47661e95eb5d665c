package boot

import (
	"bufio"
	"encoding/json"
	"io"
	"os"
	"testing"
)

func TestTerminal(t *testing.T) {
	both(t, func(t *testing.T, o SlotOptions) {
		lower := image(t)
		withProbe(t, lower)
		for _, init := range []bool{false, true} {
			got := terminal(t, o, lower, init)
			for k, want := range map[string]string{"0": "/dev/pts/0", "2": "/dev/pts/0", "console": "same", "tty": "open", "size": "80x24", "leader": "true"} {
				if got[k] != want {
					t.Errorf("init %v: %s: %q, want %q", init, k, got[k], want)
				}
			}
		}
	})
}

func terminal(t *testing.T, o SlotOptions, lower string, init bool) (got map[string]string) {
	t.Helper()
	s := newSlot(t, o)
	must(t, s.Ready(testContext(t)))
	master, slave, err := OpenTerminal(s.Devpts(), o.IDs, 1000, 24, 80)
	must(t, err)
	defer master.Close()
	c := config(t, rootOf(t, lower, o.IDs), "/bin/probe", "tty")
	c.Process.Env = append(c.Process.Env, "BOOT_TEST_PART=probe")
	c.Process.UID = 1000
	c.TTY, c.Stdio, c.Init = true, [3]*os.File{slave, slave, slave}, init
	must(t, launch(testContext(t), s, c))
	slave.Close()
	line, err := bufio.NewReader(master).ReadString('\n')
	must(t, err)
	must(t, json.Unmarshal([]byte(line), &got))
	waitExit(t, s.child)
	return got
}

// A terminal of the host's own devpts works too; only its name is not known inside.
func TestHostTerminal(t *testing.T) {
	needRoot(t)
	pts, err := os.Open("/dev/pts")
	must(t, err)
	defer pts.Close()
	master, slave, err := OpenTerminal(pts, mapped, 0, 0, 0)
	must(t, err)
	defer master.Close()
	s := newSlot(t, SlotOptions{IDs: mapped})
	c := config(t, rootOf(t, image(t), mapped), "sh", "-c", "test -t 0 && echo terminal; test -e /dev/console || echo none")
	c.TTY, c.Stdio = true, [3]*os.File{slave, slave, slave}
	must(t, launch(testContext(t), s, c))
	slave.Close()
	b, _ := io.ReadAll(master) // ends with EIO
	if string(b) != "terminal\r\nnone\r\n" {
		t.Errorf("got %q", b)
	}
}
