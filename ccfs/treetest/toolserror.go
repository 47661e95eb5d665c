package treetest

// errorScripts look at what failing commands print, and where the sentence stands (docs/TREE.md, rule 17).
var errorScripts = map[string]Script{
	"error/text": {Needs: "busybox python3 perl", Text: `
errs 'Invalid argument' bash -c 'echo lots > memory'
errs 'Invalid argument' busybox sh -c 'echo lots > memory'
errs 'Invalid argument' python3 -c 'f = open("memory", "w", 1); f.write("lots\n")'
errs 'Invalid argument' perl -e 'open F, ">memory"; print F "lots\n"; close F or die $!'
echo lots > $T/x
errs 'Invalid argument' cp $T/x memory
errs 'Invalid argument' dd if=$T/x of=memory
errs 'Invalid argument' tee memory < $T/x
errs 'Invalid argument' bash -c "cat $T/x > memory"
errs 'File exists' mkdir $B
errs 'No such file' cat $M/box/nobody/status
errs 'Device or resource busy' bash -c 'echo stop > ctl'
errs 'Numerical result out of range' bash -c "echo 1 > $N/mtu"
errs 'Operation not permitted' bash -c 'echo x > $M/schema'
errs 'Stale file handle' bash -c 'echo start if-version=99 > ctl'
for kind in not-found exists fixed denied busy not-empty address-in-use address-unusable range too-long no-space quota again timeout \
	host-down read-only stale unsupported; do
	echo "fail $kind" > $M/ctl 2> /dev/null && fail $kind
	has $M/self/error " $kind cannot do it: as asked; hint: ask for something else"
done
`},
	// A name that is not there is a failure too, unless its caller makes it then.
	"error/missing": {Text: `
self=$M/self/error
errs 'No such file' cat $M/box/nobody/status;          has $self 'not-found .*box/nobody'
errs 'No such file' rmdir $M/box/gone;                 has $self 'not-found .*box/gone'
errs 'No such file' cat nosuch;                        has $self "not-found .*nosuch"
errs 'No such file' cat wait/BADNAME;                  has $self 'BADNAME; hint: STATE'
echo one > memory 2> /dev/null
mkdir $M/box/$name-new && mv $M/box/$name-new $M/box/$name-other && rmdir $M/box/$name-other || fail new box
echo x > spec.new; mv spec.new spec.old; rm spec.old
[ -e .spec.swp ] || [ -e spec~ ] || has $self '"one"'
`},
	// The caller's last failure: its own, its child's, its subshell's.
	"error/self": {Needs: "busybox dash", Text: `
self=$M/self/error
echo one > memory 2> /dev/null || eq "$(grep -c '"one" is not a size' $self)" 1
echo two > $T/x; cp $T/x memory 2> /dev/null || has $self '"two"'
( echo three > memory ) 2> /dev/null || has $self '"three"'
bash -c 'echo four > memory' 2> /dev/null || has $self '"four"'
timeout 5 sh -c "cp $T/x memory" 2> /dev/null || has $self '"two"'
echo five > memory 2> /dev/null || e=$(cat $self | tail -n 1); case $e in *'"five"'*) ;; *) fail "$e" ;; esac
dash -c 'echo six > memory || cat $M/self/error' 2> /dev/null > $T/o; has $T/o '"six"'
busybox sh -c 'echo seven > memory || cat $M/self/error' 2> /dev/null > $T/o; has $T/o '"seven"'
eq "$(wc -l < $self)" 1
# Others' failures are not mine.
setsid bash -c 'echo eight > memory' 2> /dev/null; has $self '"seven"'
eq "$(setsid -w cat $self)" ''
`},
	// Two scripts in one session fail side by side, and each finds its own.
	"error/self-side-by-side": {Text: `
one() { for i in $(seq 20); do echo $1-$i > memory 2> /dev/null || grep -q "\"$1-$i\"" $M/self/error || { echo "$1-$i: $(cat $M/self/error)"; return 1; }; done; }
export -f one
bash -c 'one a' & a=$!; bash -c 'one b' & b=$!; bash -c 'one c' & c=$!
wait $a || fail a; wait $b || fail b; wait $c || fail c
`},
	"error/three-places": {Needs: "getfattr", Text: `
echo 300.1.2.0/24 > $N/cidr 2> $T/stderr || cat $M/self/error > $T/o
want='cannot set net/'$name'/cidr: "300.1.2.0/24" is not a network; hint: write it like 10.1.0.0/24'
has $T/o "$want"; has $N/error "$want"; has $T/stderr 'Invalid argument'
case $(getfattr --only-values -n user.cc.error $N/cidr) in *"$want") ;; *) fail xattr ;; esac
eq "$(getfattr -d $N/cidr)" ''
`},
	"error/nothing-on-success": {Text: `
echo 1M > memory; mkdir $N-x && rmdir $N-x; cat status > /dev/null
empty error; empty $M/self/error
`},
}
