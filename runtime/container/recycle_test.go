package container

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func inode(t *testing.T, name string) uint64 {
	t.Helper()
	var st unix.Stat_t
	if err := unix.Lstat(name, &st); err != nil {
		t.Fatal(err)
	}
	return st.Ino
}

// homeWith is the home on a shelf whose layer is the inode, nil when there is none.
func (c *cloud) homeWith(t *testing.T, layer uint64) *home {
	t.Helper()
	c.warm.mu.Lock()
	defer c.warm.mu.Unlock()
	for _, s := range c.warm.homes {
		for _, h := range s.ready {
			if inode(t, layerDir(h.dir)) == layer {
				return h
			}
		}
	}
	return nil
}

func TestRecycle(t *testing.T) {
	c := newCloud(t)
	exit(t, c.run(t, "first", nil, "true"))
	for name, x := range map[string]struct {
		script string
		again  bool
	}{
		"nothing":           {"true", true},
		"output":            {"echo out; echo err >&2", true},
		"reading":           {"cat /bin/busybox /etc/hostname >/dev/null; ls -R /bin >/dev/null", true},
		"files outside it":  {"echo x >/dev/shm/x; echo x >/etc/hostname", true},
		"a file in root":    {"echo x >/x", false},
		"a file gone again": {"echo x >/x; rm /x", false},
		"a deep file":       {"echo x >/bin/x", false},
		"beside its files":  {"echo x >/etc/x", false},
		"a mode":            {"chmod 711 /", false},
		"a time":            {"touch -d '2001-01-01' /", false},
		"a file in app":     {"echo x >/app/x; rm /app/x", false},
		"a mode of app":     {"chmod 777 /app; chmod 755 /app", false},
	} {
		t.Run(name, func(t *testing.T) {
			c.settle(t)
			if !c.host.fineTimes {
				time.Sleep(2 * settling)
			}
			x1 := c.run(t, "x", nil, "sh", "-c", x.script)
			exit(t, x1)
			layer := inode(t, layerDir(x1.dir))
			if err := c.Delete(ctxFor(t), x1, false); err != nil {
				t.Fatal(err)
			}
			c.janitor.flush()
			h := c.homeWith(t, layer)
			if (h != nil) != x.again {
				t.Fatalf("used again: %v", h != nil)
			}
			if h == nil {
				return
			}
			for _, f := range homeFiles {
				if info, err := os.Stat(filepath.Join(h.dir, f)); err != nil || info.Size() != 0 {
					t.Errorf("%s: %v, %v", f, info, err)
				}
			}
			got, _ := c.sh(t, nil, "ls -A /app; cat /etc/hostname")
			if len(got) == 0 || got[0] == '\n' {
				t.Errorf("the next one sees %q", got)
			}
		})
	}
}

// A home that was made for a container that did not wait comes back too, unless its times are too coarse to tell.
func TestRecycleCold(t *testing.T) {
	c := newCloud(t)
	x := c.run(t, "x", nil, "true")
	exit(t, x)
	layer := inode(t, layerDir(x.dir))
	if err := c.Delete(ctxFor(t), x, false); err != nil {
		t.Fatal(err)
	}
	c.janitor.flush()
	if again := c.homeWith(t, layer) != nil; again != c.host.fineTimes {
		t.Errorf("used again: %v, fine times: %v", again, c.host.fineTimes)
	}
}

// What somebody may still have open, or what the keeper may still write to, is not used again.
func TestRecycleNot(t *testing.T) {
	c := newCloud(t)
	exit(t, c.run(t, "first", nil, "true"))
	for name, do := range map[string]func(*testing.T) *Container{
		"looked into": func(t *testing.T) *Container {
			x := c.run(t, "x", nil, "sleep", "100")
			if _, err := x.Root(); err != nil {
				t.Fatal(err)
			}
			if err := x.Kill(ctxFor(t), unix.SIGKILL); err != nil {
				t.Fatal(err)
			}
			exit(t, x)
			return x
		},
		"its log being read": func(t *testing.T) *Container {
			x := c.run(t, "x", nil, "echo", "secret")
			v, err := x.Log("stdout")
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { v.Close() })
			exit(t, x)
			return x
		},
		"with a bind mount": func(t *testing.T) *Container {
			dir := t.TempDir()
			x := c.run(t, "x", func(s *Spec) { s.Mounts = []Mount{{Target: "/tmp", Source: "bind:" + dir}} }, "true")
			exit(t, x)
			return x
		},
		"never started": func(t *testing.T) *Container {
			x, err := c.Create(ctxFor(t), "x", 0, 0, func(s *Spec) error {
				s.Image, s.Args = "bb", []string{"true"}
				return nil
			})
			if err != nil {
				t.Fatal(err)
			}
			return x
		},
		"its log given away": func(t *testing.T) *Container {
			x := c.run(t, "x", func(s *Spec) { s.LogPolicy = LogDirect }, "true")
			exit(t, x)
			return x
		},
	} {
		t.Run(name, func(t *testing.T) {
			c.settle(t)
			if !c.host.fineTimes {
				time.Sleep(2 * settling)
			}
			x := do(t)
			layer := inode(t, layerDir(x.dir))
			if err := c.Delete(ctxFor(t), x, true); err != nil {
				t.Fatal(err)
			}
			c.janitor.flush()
			if c.homeWith(t, layer) != nil {
				t.Error("it was used again")
			}
		})
	}
}

// A warm slot that somebody has killed is passed over.
func TestKilledSlots(t *testing.T) {
	c := newCloud(t)
	exit(t, c.run(t, "first", nil, "true"))
	c.settle(t)
	c.warm.mu.Lock()
	var pids []int
	for _, s := range c.warm.slots {
		for _, p := range s.ready {
			pids = append(pids, p.slot.PID())
		}
	}
	c.warm.mu.Unlock()
	if len(pids) == 0 {
		t.Fatal("there is no warm slot")
	}
	for _, pid := range pids {
		if err := unix.Kill(pid, unix.SIGKILL); err != nil {
			t.Fatal(err)
		}
		waitFor(t, "its end", func() bool { return unix.Kill(pid, 0) != nil })
	}
	if e := exit(t, c.run(t, "x", nil, "sh", "-c", "exit 3")); e.Code != 3 {
		t.Errorf("%+v", e)
	}
}

// Thousands of containers that nobody starts must not hold descriptors.
func TestWaitingHoldsNothing(t *testing.T) {
	c := newCloud(t, func(p *place) { p.Warm = 1 })
	exit(t, c.run(t, "first", nil, "true"))
	c.settle(t)
	before := len(openFiles(t))
	for range 100 {
		_, err := c.Create(ctxFor(t), "", 0, 0, func(s *Spec) error { s.Image = "bb"; return nil })
		if err != nil {
			t.Fatal(err)
		}
		c.settle(t)
	}
	if n := len(openFiles(t)); n > before+150 { // those of 4 armed ones, and warm parts
		t.Errorf("%d descriptors for 100 containers that wait", n-before)
	}
}
