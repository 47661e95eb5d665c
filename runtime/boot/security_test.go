package boot

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// The attacks that other runtimes have fallen to, one test each.

// canary is a directory of the host that must stay as it is, on a path that an image can guess.
func canary(t *testing.T) (dir string, check func()) {
	t.Helper()
	dir = t.TempDir()
	must(t, os.WriteFile(dir+"/secret", []byte("host"), 0o600))
	var before unix.Stat_t
	must(t, unix.Stat(dir, &before))
	return dir, func() {
		t.Helper()
		var after unix.Stat_t
		must(t, unix.Stat(dir, &after))
		entries, err := os.ReadDir(dir)
		if err != nil || len(entries) != 1 || entries[0].Name() != "secret" || after.Mtim != before.Mtim || after.Uid != before.Uid || after.Mode != before.Mode {
			t.Errorf("the host's directory has changed: %v %v", entries, err)
		}
		mounts, _ := os.ReadFile("/proc/self/mountinfo")
		if strings.Contains(string(mounts), dir) {
			t.Error("something is mounted in the host's directory")
		}
	}
}

// CVE-2019-5736, CVE-2016-9962: a program in the container waits for those who join it, to overwrite their
// program, to take the descriptors and directories they hold, or to trace them.
func TestJoiningIsOutOfReach(t *testing.T) {
	both(t, func(t *testing.T, o SlotOptions) {
		for _, trace := range []bool{false, true} {
			o := o
			o.Capabilities = DefaultCapabilities()
			if trace {
				o.Capabilities = append(o.Capabilities, "SYS_PTRACE")
			}
			got := huntJoining(t, o)
			t.Logf("may trace: %v; %+v", trace, got)
			if got.Exe+got.Dirs+got.Stronger > 0 {
				t.Errorf("the container got hold of a joining process: %+v", got)
			}
			// Only SYS_PTRACE over the host's ids reaches it at all.
			if (!trace || o.IDs.Size != 0) && got.Links+got.Traced > 0 {
				t.Errorf("the container looked into a joining process: %+v", got)
			}
		}
	})
}

func huntJoining(t *testing.T, o SlotOptions) prey {
	lower, dir := image(t), t.TempDir()
	withProbe(t, lower)
	must(t, os.Chmod(dir, 0o777))
	r, w, err := os.Pipe()
	must(t, err)
	s := running(t, o, lower, func(c *Config) {
		c.Capabilities = o.Capabilities
		c.Mounts = []Mount{{Target: "/data", Source: cloned(t, dir, o.IDs)}}
		c.Process = Process{Args: []string{"/bin/probe", "hunt", "/data/stop"}, Env: []string{"BOOT_TEST_PART=probe"}}
		c.Stdio = [3]*os.File{nil, w, w}
	})
	w.Close()
	stem := newStem(t)
	for i := range 120 {
		args := []string{"true"}
		if i%10 == 0 {
			args = []string{"/proc/self/exe"}
		}
		c := enterConfig(t, args...)
		c.Capabilities = o.Capabilities
		tg := target(s)
		if i%2 == 0 {
			tg.Stem = stem
		}
		child, err := Enter(testContext(t), spawner(t), tg, c)
		must(t, err)
		waitExit(t, child)
		child.PidFD.Close()
	}
	must(t, os.WriteFile(dir+"/stop", nil, 0o644))
	out, err := io.ReadAll(r)
	must(t, err)
	var got prey
	if err := json.Unmarshal(out, &got); err != nil {
		t.Fatalf("%v: %q", err, out)
	}
	return got
}

// CVE-2024-21626: nothing but stdio is open, and the working directory is inside.
func TestNothingLeaks(t *testing.T) {
	f, err := os.Open("/") // a descriptor that ccd has by mistake, without close-on-exec
	must(t, err)
	defer f.Close()
	_, err = unix.FcntlInt(f.Fd(), unix.F_SETFD, 0)
	must(t, err)
	both(t, func(t *testing.T, o SlotOptions) {
		lower := image(t)
		withProbe(t, lower)
		must(t, os.Symlink("/tmp", lower+"/here"))
		check := func(got fdList, dir string) {
			t.Helper()
			if len(got.Fds) != 3 || got.Fds["0"] == "" || got.Fds["1"] != "pipe" || got.Fds["2"] != "pipe" {
				t.Errorf("descriptors: %v", got.Fds)
			}
			if got.Cwd != dir || !got.Up {
				t.Errorf("working directory %q, want %q; the way up ends at the root: %v", got.Cwd, dir, got.Up)
			}
		}
		for dir, want := range map[string]string{"": "/", "/tmp": "/tmp", "/here/deep": "/tmp/deep", "../../..": "/", "/proc/self": "/proc/1"} {
			got := probeIn[fdList](t, o, lower, func(c *Config) { c.Process.Dir = dir }, "fds")
			check(got, want)
		}
		s := running(t, o, lower, nil)
		forked := target(s)
		forked.Stem = newStem(t)
		for _, tg := range []Target{target(s), forked} {
			got := enterRun(t, tg, func(c *EnterConfig) {
				c.Process.Env, c.Process.Dir = []string{"BOOT_TEST_PART=probe"}, "/here/deep"
			}, "/bin/probe", "fds")
			var list fdList
			must(t, json.Unmarshal([]byte(got.out), &list))
			check(list, "/tmp/deep")
		}
		for fd := range 12 {
			s := newSlot(t, o)
			c := config(t, rootOf(t, lower, o.IDs), "true")
			c.Process.Dir = fmt.Sprintf("/proc/self/fd/%d", fd)
			if err := launch(testContext(t), s, c); err == nil {
				t.Errorf("working directory %s was taken", c.Process.Dir)
			}
		}
	})
}

// CVE-2019-19921, CVE-2026-41579, CVE-2026-47766: an image whose /dev, /proc, /sys, /etc are symlinks to a place of the host.
func TestSymlinksInImage(t *testing.T) {
	both(t, func(t *testing.T, o SlotOptions) {
		for _, link := range []string{"dev", "proc", "sys"} {
			dir, check := canary(t)
			lower := image(t)
			must(t, os.Remove(lower+"/"+link))
			must(t, os.Symlink(dir, lower+"/"+link))
			s := newSlot(t, o)
			if err := s.Arm(testContext(t), config(t, rootOf(t, lower, o.IDs), "true")); !errors.Is(err, unix.ELOOP) {
				t.Errorf("/%s as a symlink: %v", link, err)
			}
			check()
		}
		dir, check := canary(t)
		lower := image(t)
		must(t, os.RemoveAll(lower+"/etc"))
		must(t, os.Symlink(dir, lower+"/etc"))
		file := filepath.Join(t.TempDir(), "hosts")
		must(t, os.WriteFile(file, nil, 0o644))
		s := newSlot(t, o)
		c := config(t, rootOf(t, lower, o.IDs), "true")
		c.Mounts = []Mount{{Target: "/etc/hosts", Source: cloned(t, file, o.IDs), File: true}}
		if err := launch(testContext(t), s, c); !errors.Is(err, unix.ELOOP) {
			t.Errorf("/etc as a symlink: %v", err)
		}
		check()
	})
}

// CVE-2026-55686: a working directory below a symlink to a place of the host.
func TestWorkDirBelowSymlink(t *testing.T) {
	both(t, func(t *testing.T, o SlotOptions) {
		dir, check := canary(t)
		lower := image(t)
		must(t, os.Symlink(dir, lower+"/out"))
		must(t, os.Symlink("../../../../../../"+dir, lower+"/up"))
		must(t, os.Symlink("/proc/self/cwd", lower+"/magic"))
		for _, d := range []string{"/out/new", "/up/new", "/magic/new", "/out/../../new"} {
			s := newSlot(t, o)
			c := config(t, rootOf(t, lower, o.IDs), "sh", "-c", "touch here")
			c.Process.Dir = d
			if err := launch(testContext(t), s, c); err == nil {
				waitExit(t, s.child)
			}
			check()
		}
	})
}

// CVE-2021-30465, CVE-2024-45310: mount targets that are symlinks, and a volume in which somebody swaps a directory with a symlink while the
// container starts.
func TestMountTargets(t *testing.T) {
	both(t, func(t *testing.T, o SlotOptions) {
		dir, check := canary(t)
		lower := image(t)
		must(t, os.Symlink(dir, lower+"/out"))
		for _, target := range []string{"/out", "/out/sub", "/out/secret"} {
			s := newSlot(t, o)
			c := config(t, rootOf(t, lower, o.IDs), "true")
			c.Mounts = []Mount{{Target: target, Tmpfs: 1 << 16}}
			if err := launch(testContext(t), s, c); err == nil {
				waitExit(t, s.child)
			}
			check()
		}
		shared := t.TempDir()
		must(t, os.Chmod(shared, 0o777))
		must(t, os.Mkdir(shared+"/a", 0o777))
		must(t, os.Symlink("/", shared+"/b"))
		stop := make(chan struct{})
		swapped := make(chan int)
		go func() {
			n := 0
			for {
				select {
				case <-stop:
					swapped <- n
					return
				default:
					unix.Renameat2(unix.AT_FDCWD, shared+"/a", unix.AT_FDCWD, shared+"/b", unix.RENAME_EXCHANGE)
					n++
				}
			}
		}()
		refused := 0
		for range 40 {
			s := newSlot(t, o)
			c := config(t, rootOf(t, lower, o.IDs), "sh", "-c", "test ! -e "+dir+" && test -e /bin/busybox && grep -c tmpfs.cc.*size=64k,nr_inodes /proc/self/mountinfo; exit 0")
			c.Mounts = []Mount{{Target: "/vol", Source: cloned(t, shared, o.IDs)}, {Target: "/vol/a/etc", Tmpfs: 1 << 16}}
			if err := launch(testContext(t), s, c); err != nil {
				refused++
				continue
			}
			if st := waitExit(t, s.child); st.ExitStatus() != 0 {
				t.Errorf("status %#x", st)
			}
		}
		close(stop)
		t.Logf("%d swaps, %d of 40 starts refused", <-swapped, refused)
		check()
	})
}

// CVE-2022-0492: no cgroup file can be written, no cgroup file system mounted.
func TestReleaseAgent(t *testing.T) {
	both(t, func(t *testing.T, o SlotOptions) {
		o.Cgroup = testGroup(t)
		if got := probeIn[[]string](t, o, image(t), nil, "tunes", "/sys/fs/cgroup"); len(got) > 0 {
			t.Errorf("writable: %v", got)
		}
	})
}

// Calls that no container may make, as root in it with the default filter.
func TestForbiddenCalls(t *testing.T) {
	both(t, func(t *testing.T, o SlotOptions) {
		allowed := map[string][]syscall.Errno{"clone3": {unix.ENOSYS}, "x32 getpid": {unix.ENOSYS}, "i386 getpid": {unix.ENOSYS}}
		got := probeIn[map[string]int](t, o, image(t), nil, "calls")
		if len(got) < 35 {
			t.Errorf("only %d calls were tried", len(got))
		}
		for name, e := range got {
			want := allowed[name]
			if want == nil {
				want = []syscall.Errno{unix.EPERM}
			}
			if !slices.Contains(want, syscall.Errno(e)) {
				t.Errorf("%s: %v", name, syscall.Errno(e))
			}
		}
		// Without the filter, what the kernel itself gives must still not let go of the host.
		got = probeIn[map[string]int](t, o, image(t), func(c *Config) { c.Seccomp = nil }, "calls")
		for _, name := range []string{"mount", "umount2", "pivot_root", "setns", "unshare mnt", "init_module", "kexec_load", "clock_settime", "reboot", "swapon", "syslog", "acct"} {
			if got[name] == 0 {
				t.Errorf("without a filter: %s works", name)
			}
		}
	})
}

// A container of host ids would share the keyrings of root.
func TestKeyring(t *testing.T) {
	needRoot(t)
	id, err := unix.AddKey("user", "cc-boot-secret", []byte("x"), unix.KEY_SPEC_USER_KEYRING)
	if err != nil {
		t.Skip("needs keyrings: ", err)
	}
	defer unix.KeyctlInt(unix.KEYCTL_UNLINK, id, unix.KEY_SPEC_USER_KEYRING, 0, 0)
	session, err := unix.AddKey("user", "cc-boot-secret", []byte("x"), unix.KEY_SPEC_SESSION_KEYRING)
	must(t, err)
	defer unix.KeyctlInt(unix.KEYCTL_UNLINK, session, unix.KEY_SPEC_SESSION_KEYRING, 0, 0)
	both(t, func(t *testing.T, o SlotOptions) {
		if got := probeIn[map[string]int](t, o, image(t), nil, "keys"); len(got) > 0 {
			t.Errorf("the container found a key of the host: %v", got)
		}
	})
	o := SlotOptions{IDs: mapped}
	if got := probeIn[map[string]int](t, o, image(t), func(c *Config) { c.Seccomp = nil }, "keys"); len(got) > 0 {
		t.Errorf("without a filter, in a user namespace, the container found a key of the host: %v", got)
	}
}

// CVE-2025-31133, -52565, -52881: masks are what they say, nothing of /proc and /sys can be written, masks stay.
func TestMasks(t *testing.T) {
	both(t, func(t *testing.T, o SlotOptions) {
		lower := image(t)
		got := probeIn[[]string](t, o, lower, nil, "tunes", "/proc", "/sys")
		for _, p := range got {
			own := strings.HasPrefix(p, "/proc/self/") || strings.HasPrefix(p, "/proc/thread-self/") || strings.HasPrefix(p, "/proc/1/")
			if !own && !slices.Contains(thisHost().hidden.files, p) {
				t.Errorf("%s can be opened for writing", p)
			}
		}
		var script strings.Builder
		for _, p := range append(slices.Clone(thisHost().hidden.files), "/dev/null") {
			fmt.Fprintf(&script, "stat -c %%t:%%T %s\n", p)
		}
		for _, p := range thisHost().hidden.dirs {
			fmt.Fprintf(&script, "ls -A %s; umount %s 2>/dev/null && echo off\n", p, p)
		}
		res := runIn(t, o, lower, nil, "sh", "-c", script.String())
		if want := strings.Repeat("1:3\n", len(thisHost().hidden.files)+1); res.out != want {
			t.Errorf("got %q", res.out)
		}
	})
}

// Device nodes of an image or a volume open nothing.
func TestDevices(t *testing.T) {
	both(t, func(t *testing.T, o SlotOptions) {
		lower, vol := image(t), t.TempDir()
		for _, p := range []string{lower + "/node", vol + "/node"} {
			must(t, unix.Mknod(p, unix.S_IFCHR|0o666, int(unix.Mkdev(1, 5))))
			must(t, os.Chmod(p, 0o666))
		}
		got := runIn(t, o, lower, func(c *Config) {
			c.Mounts = []Mount{{Target: "/vol", Source: cloned(t, vol, o.IDs)}}
		}, "sh", "-c", "head -c1 /node || echo no; head -c1 /vol/node || echo no; head -c1 /dev/zero | tr '\\0' z")
		if strings.Count(got.out, "no\n") != 2 || !strings.HasSuffix(got.out, "z") {
			t.Errorf("got %q", got.out)
		}
	})
}

func TestChrootEscape(t *testing.T) {
	both(t, func(t *testing.T, o SlotOptions) {
		if got := probeIn[[2]uint64](t, o, image(t), nil, "escape"); got[0] != got[1] {
			t.Errorf("the root was inode %d and is %d", got[0], got[1])
		}
	})
}

// Nothing of the daemon's environment, processes or host name is inside.
func TestOnlyOwn(t *testing.T) {
	t.Setenv("SECRET_OF_THE_DAEMON", "x")
	both(t, func(t *testing.T, o SlotOptions) {
		got := run(t, o, nil, "sh", "-c", "env | sed 's/=.*//'; echo /proc/[0-9]*")
		if got.out != "PATH\nHOME\nPWD\nSHLVL\n/proc/1\n" && got.out != "HOME\nPATH\nPWD\nSHLVL\n/proc/1\n" && len(strings.Fields(got.out)) != 5 || strings.Contains(got.out, "SECRET") {
			t.Errorf("got %q", got.out)
		}
	})
}

// Starting containers changes no node of the host, whoever the stdio belongs to.
func TestHostNodes(t *testing.T) {
	var before, after unix.Stat_t
	must(t, unix.Stat("/dev/null", &before))
	null, err := os.OpenFile("/dev/null", os.O_RDWR, 0)
	must(t, err)
	defer null.Close()
	both(t, func(t *testing.T, o SlotOptions) {
		run(t, o, func(c *Config) { c.Stdio[0], c.Process.UID = null, 1000 }, "true")
	})
	must(t, unix.Stat("/dev/null", &after))
	if before.Uid != after.Uid || before.Gid != after.Gid || before.Mode != after.Mode {
		t.Error("/dev/null of the host has another owner or mode")
	}
	b, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil || strings.Contains(string(b), " /sys ro") {
		t.Error("/sys of the host has become read-only")
	}
}

// A directory of the image is renamed by copying it, whatever the kernel's default: a note of the rename in the layer would lead around
// what the next start mounts over it.
func TestNoRedirects(t *testing.T) {
	both(t, func(t *testing.T, o SlotOptions) {
		lower := image(t)
		got := runIn(t, o, lower, nil, "sh", "-c", "grep -c ' / / .*redirect_dir=nofollow' /proc/self/mountinfo")
		if got.out != "1\n" {
			t.Errorf("got %q", got.out)
		}
	})
}
