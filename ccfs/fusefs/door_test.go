package fusefs

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func TestSizesAreExactAtOnce(t *testing.T) {
	s := serve(t, "rows")
	dir := s.path("few/thing-00000/")
	for i := range 200 {
		if err := os.WriteFile(dir+"setting", []byte(fmt.Sprint(i)), 0); err != nil {
			t.Fatal(err)
		}
		for _, name := range []string{"version", "setting"} { // both cached; version is another file of the object
			st, err := os.Stat(dir + name)
			if err != nil {
				t.Fatal(err)
			}
			content, err := os.ReadFile(dir + name)
			if err != nil || int64(len(content)) != st.Size() {
				t.Fatalf("write %d: %s has size %d but %d bytes (%v)", i, name, st.Size(), len(content), err)
			}
		}
	}
}

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

func TestPanicIsEIO(t *testing.T) {
	s := serve(t, "rows")
	if _, err := os.ReadFile(s.path("panic")); !errors.Is(err, syscall.EIO) {
		t.Errorf("got %v", err)
	}
	if _, err := os.ReadFile(s.path("state")); err != nil {
		t.Error(err)
	}
}

func TestHangingRowIsAnswered(t *testing.T) {
	s := serve(t, "rows", "CC_FUSEFS_DEADLINE=400ms")
	_, err := os.ReadFile(s.path("hang"))
	if !errors.Is(err, syscall.ETIMEDOUT) {
		t.Errorf("got %v", err)
	}
	if _, err := os.ReadFile(s.path("state")); err != nil {
		t.Error(err)
	}
}

// Work that takes long makes room for others, however much of it there is.
func TestSlowWorkBlocksNobody(t *testing.T) {
	s := serve(t, "rows")
	var slow []*exec.Cmd
	for range 20 {
		cmd := exec.Command("cat", s.path("hang"))
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		slow = append(slow, cmd)
	}
	for range 100 {
		if _, err := os.ReadFile(s.path("state")); err != nil {
			t.Fatal(err)
		}
		s.run(t, "echo nothing > $M/ctl; mkdir $M/few/x 2>/dev/null; ls -l $M/few >/dev/null")
	}
	for _, cmd := range slow {
		if p, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", cmd.Process.Pid)); err != nil || bytes.Contains(p, []byte(" Z ")) {
			t.Error("a reader of the slow file has ended already")
		}
	}
	s.stop()
	for _, cmd := range slow {
		cmd.Wait()
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

// Dropping the kernel's caches makes it forget nodes by thousands while others look them up.
func TestForgetStorm(t *testing.T) {
	s := serve(t, "rows")
	stop := make(chan struct{})
	var wg sync.WaitGroup
	for range 2 {
		wg.Add(1)
		go func() {
			defer wg.Done()
			for {
				select {
				case <-stop:
					return
				default:
				}
				if err := unix.Mount("", s.dir, "", unix.MS_REMOUNT|unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, ""); err != nil {
					t.Error("remount, which drops the caches of one file system:", err)
					return
				}
			}
		}()
	}
	held, err := os.Open(s.path("thousand/thing-00005/setting"))
	if err != nil {
		t.Fatal(err)
	}
	defer held.Close()
	s.run(t, `cd $M/thousand/thing-00007
		for i in 1 2 3; do
			ls -lR $M/few >/dev/null && ls -l $M/thousand >/dev/null && cat $M/thousand/*/version >/dev/null && cat setting >/dev/null || exit
		done`)
	close(stop)
	wg.Wait()
	if _, err := held.ReadAt(make([]byte, 10), 0); err != nil && err.Error() != "EOF" {
		t.Error("a file held open meanwhile:", err)
	}
}

func TestListing(t *testing.T) {
	s := serve(t, "rows")
	list, err := os.ReadDir(s.path("tenthousand"))
	if err != nil || len(list) != 10000 {
		t.Fatalf("%d names, %v", len(list), err)
	}
	seen := map[string]bool{}
	for _, e := range list {
		seen[e.Name()] = true
	}
	if len(seen) != 10000 {
		t.Errorf("%d different names", len(seen))
	}
	out := s.run(t, `cd $M/few; ls -a1f | sort | tr '\n' ' '; ls -1 | wc -l; stat -c '%h %F' . thing-00000/setting`)
	if want := ". .. thing-00000 thing-00001 thing-00002 3\n2 directory\n1 regular file"; out != want {
		t.Errorf("got  %q\nwant %q", out, want)
	}
	d, err := os.Open(s.path("few"))
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	for range 2 { // rewinddir
		if names, err := d.Readdirnames(-1); err != nil || len(names) != 3 {
			t.Errorf("%v, %v", names, err)
		}
		d.Seek(0, 0)
	}
}

func TestAttributes(t *testing.T) {
	s := serve(t, "rows")
	for _, c := range []struct{ script, want string }{
		{`df --output=target $M | tail -1`, s.dir},
		{`findmnt -n -o FSTYPE,SOURCE $M`, "fuse.cc cc-test"},
		{`stat -c %W $M/few/thing-00000 | grep -c '^[1-9]'`, "1"}, // birth
		{`touch $M/few && chmod 755 $M/few/thing-00000 && echo ok`, "ok"},
		{`test -w $M/few/thing-00000/setting && ! test -x $M/few/thing-00000/setting && cd $M/few && echo ok`, "ok"},
		{`python3 -c "import os,sys; print(os.statvfs(sys.argv[1]).f_namemax)" $M`, "255"},
		{`python3 -c "import os,sys; f=os.open(sys.argv[1],0); print(os.lseek(f,0,os.SEEK_DATA), os.lseek(f,0,os.SEEK_HOLE)>0)" $M/state`, "0 True"},
	} {
		if got := s.run(t, c.script); got != c.want {
			t.Errorf("%s\ngot  %q\nwant %q", c.script, got, c.want)
		}
	}
}

func TestErrnos(t *testing.T) {
	need(t, "python3", "busybox", "perl", "setfattr")
	s := serve(t, "rows")
	for _, c := range []struct{ shell, script, want string }{
		{"bash", `echo bad > $M/few/thing-00000/setting`, "Invalid argument"},
		{"busybox sh", `echo bad > $M/few/thing-00000/setting`, "Invalid argument"},
		{"bash", `python3 -c "open('$M/few/thing-00000/setting','w',1).write('bad\n')"`, "[Errno 22]"},
		{"bash", `echo x > $M/state`, "Operation not permitted"},
		{"bash", `cat $M/none`, "No such file or directory"},
		{"bash", `mkdir $M/few/new`, "Operation not permitted"},
		{"bash", `mknod $M/few/n c 1 3`, "Operation not permitted"},
		{"bash", `ln $M/state $M/few/thing-00000/l`, ""},
		{"bash", `setfattr -n user.x -v 1 $M/state`, "Operation not supported"},
		{"bash", `getfattr --only-values -n user.x $M/state`, "No such attribute"},
		{"bash", `getfattr -n security.capability $M/state`, "Operation not supported"},
		{"bash", `cat < $M`, "Is a directory"},
		{"bash", `cat $M/panic`, "Input/output error"},
		{"bash", `python3 -c "import mmap; f=open('$M/state'); mmap.mmap(f.fileno(), 5, prot=mmap.PROT_READ)"`, "[Errno 19]"},
		{"bash", `perl -e 'require "syscall.ph"' 2>/dev/null; perl -e 'syscall(316,-100,$ARGV[0]."/state",-100,$ARGV[0]."/ctl",2)<0 and print "$!\n"' $M; false`, "Invalid argument"},
	} {
		out, err := s.shell(c.shell, c.script)
		if err == nil || !strings.Contains(out, c.want) {
			t.Errorf("%s: %s\ngot %q, %v; want %q", c.shell, c.script, out, err, c.want)
		}
	}
}

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
