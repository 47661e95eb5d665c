package fusefs

import (
	"fmt"
	"strings"
	"testing"

	"github.com/containercloud/cc/fault"
)

// Every class of failure reaches the user of every shell by its number or text, and its sentence is in self/error.
func TestFailuresInShells(t *testing.T) {
	s := sample(t)
	type failure struct {
		shell, script string
		want          func(k fault.Kind) string
	}
	text := func(k fault.Kind) string { return k.Errno().Error() }
	for _, f := range []failure{
		{"bash", `echo "fail %s" > $M/ctl`, text},
		{"busybox sh", `echo "fail %s" > $M/ctl`, text},
		{"dash", `echo "fail %s" > $M/ctl || cat $M/self/error`, func(k fault.Kind) string { return k.String() + " cannot do it" }}, // it says "I/O error", always
		{"bash", `echo "fail %s" | tee $M/ctl`, text},
		{"bash", `printf "fail %s" | dd of=$M/ctl status=none`, text},
		{"bash", `printf "fail %s" > /tmp/cc-fail.$$; cp /tmp/cc-fail.$$ $M/ctl; r=$?; rm /tmp/cc-fail.$$; exit $r`, text},
		{"bash", `python3 -c "import os; os.write(os.open('$M/ctl', os.O_WRONLY), b'fail %s')"`,
			func(k fault.Kind) string { return fmt.Sprintf("[Errno %d]", int(k.Errno())) }},
		{"bash", `perl -e 'open F,">","'$M'/ctl"; syswrite(F,"fail %s") or die "$!\n"'`, text},
	} {
		need(t, strings.Fields(f.shell)[0])
		for k := fault.Invalid; k <= fault.Unsupported; k++ {
			if k == fault.Interrupted {
				continue
			}
			out, _ := s.shell(f.shell, fmt.Sprintf(f.script, k))
			if want := f.want(k); !strings.Contains(strings.ToLower(out), strings.ToLower(want)) {
				t.Errorf("%s: "+f.script+"\ngot %q, want %q in it", f.shell, k, out, want)
			}
		}
	}
}

func TestParallelConversations(t *testing.T) {
	s := sample(t)
	out := s.run(t, `
		mkdir $M/box/b
		talk() {
			exec 3<> $M/box/b/exec/new
			read -u3 n
			echo "run -- hello $1" >&3
			echo "$1 $(cat $M/box/b/exec/$n/stdout) $(cat $M/box/b/exec/$n/wait)"
		}
		for i in 1 2 3 4 5 6 7 8; do talk $i & done | sort
		wait
		rmdir $M/box/b 2>&1 || { sleep 0.2; rmdir $M/box/b; }`)
	var want []string
	for i := range 8 {
		want = append(want, fmt.Sprintf("%d hello %d 0", i+1, i+1))
	}
	if out != strings.Join(want, "\n") {
		t.Errorf("got\n%s", out)
	}
}

// find, grep -r, tar and du never meet what blocks.
func TestRecursionEnds(t *testing.T) {
	s := sample(t)
	s.run(t, `
		mkdir $M/box/b $M/net/n
		find $M -type f -exec cat {} + > /dev/null
		grep -r nothing $M > /dev/null || true
		tar -C $M -cf /dev/null .
		du -s $M > /dev/null
		ls -lR $M > /dev/null`)
}

// What a shell user does to wait, and to stop waiting.
func TestWaiting(t *testing.T) {
	s := sample(t)
	out := s.run(t, `
		mkdir $M/box/b; echo start > $M/box/b/ctl
		echo 'exit 3 after=1h wait=100ms' > $M/box/b/ctl; echo $?
		timeout -s INT 1 bash -c "cat $M/live/events" >/dev/null; echo $?
		timeout -s TERM 1 bash -c "echo 'exit 3 after=1h wait=1h' > $M/box/b/ctl"; echo $?
		timeout -s KILL 1 sh -c "echo 'exit 3 after=1h wait=1h' > $M/box/b/ctl"; echo $?
		echo stop > $M/box/b/ctl; rmdir $M/box/b`)
	lines := strings.Split(out, "\n")
	if got := lines[len(lines)-1]; got != "137" {
		t.Errorf("got\n%s", out)
	}
	if !strings.Contains(out, "timed out") {
		t.Errorf("the deadline of wait= is not reported:\n%s", out)
	}
}
