package fusefs

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"

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

// Work that takes long makes room for others, however much of it there is. (Lookups must not be part of it: the kernel
// holds the directory's lock over them, which every open with O_CREAT wants.)
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
		{`flock $M/state flock -n $M/state echo both || echo locked`, "locked"},
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
