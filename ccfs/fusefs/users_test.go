package fusefs

import (
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func TestOtherUsers(t *testing.T) {
	need(t, "setpriv")
	s := serve(t, "rows")
	os.Chmod(s.dir+"/..", 0o755)
	os.Chmod(s.dir+"/../..", 0o755)
	as := func(who, script string) (string, error) {
		return s.shell("setpriv --inh-caps=-all "+who+" bash", script)
	}
	const owner, member, stranger = "--reuid=1000 --regid=1000 --clear-groups", "--reuid=1001 --regid=1001 --groups=7,2000", "--reuid=1001 --regid=1001 --clear-groups"
	file := "$M/few/thing-00000/owned"
	for _, c := range []struct {
		who, script string
		ok          bool
	}{
		{owner, "cat " + file, true},
		{member, "cat " + file, true},
		{stranger, "cat " + file, false},
		{stranger, "cat $M/few/thing-00000/setting", true},
		{stranger, "echo x > $M/few/thing-00000/setting", false},
		{member, "echo x > $M/few/thing-00000/setting", true},
		{owner, "chmod 700 $M/few/thing-00000", true},
		{member, "cat $M/few/thing-00000/setting", false}, // although the kernel knew the name
		{owner, "cat $M/few/thing-00000/setting", true},
		{member, "cat $M/few/thing-00000/setting", false}, // although the owner just looked it up
		{member, "ls $M/few/thing-00000", false},
		{owner, "chmod 755 $M/few/thing-00000", true},
		{stranger, "cat $M/few/thing-00000/setting", true},
	} {
		out, err := as(c.who, c.script)
		if (err == nil) != c.ok {
			t.Errorf("%s as %s: %v\n%s", c.script, c.who, err, out)
		}
		if err != nil && !c.ok && !strings.Contains(out, "Permission denied") {
			t.Errorf("%s as %s: %s", c.script, c.who, out)
		}
	}
}

// watchFor reports which inotify events of a set happen while f runs.
func watchFor(t *testing.T, paths []string, f func()) (mask uint32) {
	t.Helper()
	fd, err := unix.InotifyInit1(unix.IN_NONBLOCK | unix.IN_CLOEXEC)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	for _, p := range paths {
		if _, err := unix.InotifyAddWatch(fd, p, unix.IN_ALL_EVENTS); err != nil {
			t.Fatal(err)
		}
	}
	f()
	time.Sleep(200 * time.Millisecond) // announcements are sent by themselves
	b := make([]byte, 1<<16)
	for {
		n, err := unix.Read(fd, b)
		if err != nil || n <= 0 {
			return mask
		}
		for off := 0; off < n; {
			mask |= le.Uint32(b[off+4:])
			off += 16 + int(le.Uint32(b[off+12:]))
		}
	}
}

func TestInotifySeesNoDeletion(t *testing.T) {
	s := serve(t, "rows")
	thing := s.path("few/thing-00002")
	paths := []string{s.dir, s.path("few"), thing, thing + "/setting", thing + "/version", s.path("state")}
	mask := watchFor(t, paths, func() {
		for i := range 20 {
			s.run(t, "echo "+strconv.Itoa(i)+" > $M/few/thing-00002/setting; cat $M/state; chmod 700 $M/few/thing-00002; chmod 755 $M/few/thing-00002; ls -lR $M/few")
		}
	})
	if gone := mask & (unix.IN_DELETE | unix.IN_DELETE_SELF | unix.IN_MOVE | unix.IN_MOVE_SELF | unix.IN_IGNORED | unix.IN_UNMOUNT); gone != 0 {
		t.Errorf("inotify reports %#x", gone)
	}
	if mask&unix.IN_MODIFY == 0 {
		t.Error("inotify does not report writes of other processes")
	}
}
