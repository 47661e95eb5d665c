package treetest

// blockScripts try what blocks (docs/TREE.md, rules 19 and 21).
var blockScripts = map[string]Script{
	"block/signals": {Text: `
echo start > ctl
for f in live/stdout live/status live/events wait/exited $M/live/events; do
	for sig in TERM KILL; do
		cat $f > /dev/null & p=$!
		soon grep -q cat /proc/$p/comm
		sleep 0.05; kill -$sig $p 2> /dev/null; wait $p 2> /dev/null; r=$?
		[ $r -gt 128 ] || fail $f $sig ended with $r
	done
	timeout -s INT 0.2 cat $f > /dev/null; eq "$f $?" "$f 124"
	timeout -s KILL 0.2 cat $f > /dev/null; eq "$f $?" "$f 137"
done
`},
	"block/stop-and-continue": {Text: `
echo start > ctl
cat wait/exited > $T/o & p=$!
soon grep -q cat /proc/$p/comm
kill -STOP $p; soon grep -q 'State:.T' /proc/$p/status; kill -CONT $p
sleep 0.05; echo stop > ctl; wait $p || fail ended with $?
holds $T/o exited
`},
	"block/many-readers": {Text: `
echo start > ctl
for i in $(seq 100); do cat wait/exited > $T/o$i & done
cat status > /dev/null; echo 1M > memory; echo stop > ctl
wait; eq "$(cat $T/o* | sort | uniq -c | tr -s ' ')" ' 100 exited'
`},
	"block/ends-with-its-object": {Text: `
mkdir $B-x; cat $B-x/live/stdout > $T/a & cat $B-x/live/status > $T/b & cat $B-x/wait/running > $T/c & cat $B-x/wait/gone > $T/d &
soon grep -q defined $T/b
sleep 0.05; rmdir $B-x || fail rmdir
wait; empty $T/a; empty $T/c
`},
	"block/deadline": {Text: `
errs 'Connection timed out' cat wait/running.100ms
has $M/self/error 'not within 100ms'
echo start > ctl; eq "$(cat wait/running.5s)" running
echo 'exit 7 after=100ms' > ctl; eq "$(cat wait/exited)" exited; has status 'exit 7'
echo 'start' > ctl; echo 'exit 8 after=50ms wait=5s' > ctl && has status 'exit 8'
echo 'start' > ctl; errs 'Connection timed out' bash -c "echo 'exit 9 after=10s wait=50ms' > ctl"
`},
	// A writer that waits must not lock the file for others.
	"block/wait-does-not-lock": {Text: `
echo 'exit 0 wait=60s after=60s' > ctl 2> /dev/null & true
echo start > ctl
( echo 'exit 3 after=60s wait=60s' > ctl ) & p=$!
sleep 0.1
timeout 10 bash -c 'echo say hello > ctl' || fail second writer
timeout 10 cat status > /dev/null || fail reader
echo stop > ctl; wait $p
holds stdout hello
`},
	"block/nonblock": {Needs: "python3", Text: `
python3 - << 'E' || fail python
import os, errno
for f in ["live/stdout", "live/events", "wait/running"]:
    fd = os.open(f, os.O_RDONLY | os.O_NONBLOCK)
    try:
        os.read(fd, 10)
        raise Exception("read something from " + f)
    except BlockingIOError: pass
    os.close(fd)
E
errs 'Resource temporarily unavailable' dd if=live/stdout iflag=nonblock
`},
	"block/byte-by-byte": {Text: `
exec 3< live/stdout
echo say one two > ctl; echo say three > ctl
read -u3 -r a; read -u3 -r b; eq "$a,$b" 'one two,three'
exec 3<&-
`},
	"clone/descriptor-3": {Text: `
exec 3<>exec/new; read -u3 n
has exec/$n/status 'state new'
echo 'run -- ls -l /' >&3 || fail run
eq "$(cat exec/$n/stdout)" 'ls -l /'; eq "$(cat exec/$n/wait)" 0
exec 3>&-
soon test ! -e exec/$n
`},
	"clone/two-at-once": {Text: `
exec 3<>exec/new 4<>exec/new
read -u3 a; read -u4 b; [ $a != $b ] || fail same
echo 'run -- second' >&4; echo 'run -- first' >&3
eq "$(cat exec/$a/stdout) $(cat exec/$b/stdout)" 'first second'
exec 3>&-; soon test ! -e exec/$a; has exec/$b/status 'state exited'
exec 4>&-; soon test ! -e exec/$b
n=$(cat exec/new); soon test ! -e exec/$n
`},
	"clone/reply": {Text: `
exec 3<>$M/box/ctl
echo "run name=$name-r memory=1M -- true" >&3 || fail run
read -u3 who id; eq "$who $id" "$name-r $(cat $M/box/$name-r/id)"
exec 3>&-; echo 'delete force' > $M/box/$name-r/ctl
`},
}
