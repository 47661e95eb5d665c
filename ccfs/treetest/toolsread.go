package treetest

// readScripts read every file with every program that trusts something else.
var readScripts = map[string]Script{
	"read/every-reader-agrees": {Needs: "tar rsync git busybox python3 jq awk sort curl", Text: `
printf 'a\nb c\n' > args; echo 'K v' > env; echo 64M > memory; echo say hello > ctl
echo nonsense > memory 2> /dev/null
git init -q $T/git
find . $N $M/doc $M/schema $M/image/digest -type f -printf '%s %p\n' | grep -v ' ./error$' > $T/list
[ $(wc -l < $T/list) -gt 40 ] || fail list
tar -cf $T/all.tar . && mkdir $T/tar && tar -C $T/tar -xf $T/all.tar || fail tar
rsync -a ./ $T/rsync/ || fail rsync
while read size f; do
	cat $f > $T/x
	eq "$(stat -c %s $T/x) $f" "$size $f"
	eq "$(wc -c < $f)" $size
	cp $f $T/y; cmp $T/x $T/y || fail cp $f
	cmp $T/x $f || fail cmp $f
	eq "$(sha256sum < $f)" "$(sha256sum < $T/x)"
	eq "$(git -C $T/git hash-object $(realpath $f))" "$(git hash-object $T/x)"
	eq "$(< $f)" "$(< $T/x)"
	eq "$(dd if=$f bs=1 status=none | md5sum)" "$(md5sum < $T/x)"
	eq "$(tail -c 5 $f)" "$(tail -c 5 $T/x)"
	eq "$(tail -n 2 $f; head -n 2 $f; sed '' $f; awk 1 $f; sort $f)" "$(tail -n 2 $T/x; head -n 2 $T/x; sed '' $T/x; awk 1 $T/x; sort $T/x)"
	eq "$(busybox cat $f)" "$(< $T/x)"
	[ -s $f ] && { [ $size -gt 0 ] || fail test -s $f; }
	case $f in ./*)
		cmp $T/x $T/tar/$f || fail tar $f
		cmp $T/x $T/rsync/$f || fail rsync $f ;;
	esac
done < $T/list
curl -s file://$B/spec | cmp - spec || fail curl
python3 - << E || fail python
import shutil, os
for line in open("$T/list"):
    size, f = line.split()
    assert len(open(f, "rb").read()) == int(size), f
    shutil.copyfile(f, "$T/z")
    assert os.stat("$T/z").st_size == int(size), f
E
`},
	// busybox cat asks for no size, and its sendfile believes the one that the kernel heard last.
	"read/sendfile": {Needs: "busybox", Text: `
eq "$(busybox cat status | head -n 1)" 'state defined'
stat status > /dev/null; echo start > ctl; for i in $(seq 100); do echo lots$i > memory 2> /dev/null; done
eq "$(busybox cat error | wc -l)" 16
echo say hello > ctl; eq "$(busybox cat stdout)" hello
stat stdout > /dev/null; echo say hello > ctl; eq "$(busybox cat stdout)" $'hello\nhello'
`},
	"read/sendfile-after-growth": {Needs: "busybox", Text: `
same() { eq "$(busybox cat $1)" "$(cat $1)"; }
echo 1G > memory; eq "$(busybox cat memory)" 1073741824
busybox cat spec > /dev/null; printf 'a\nb\nccccccccc\n' > args; busybox cat spec > $T/spec; cmp spec $T/spec || fail spec
busybox cat ctl > /dev/null; echo start > ctl; busybox cat ctl > $T/ctl; cmp ctl $T/ctl || fail ctl
busybox cat version > /dev/null; for i in 1 2 3 4 5 6 7 8 9; do echo $i > memory; done; busybox cat version > $T/v; cmp version $T/v || fail version
echo > args; eq "$(busybox cat spec | wc -c)" "$(wc -c < spec)"
echo a > memory 2> /dev/null; cat error > /dev/null; stat error > /dev/null
echo b > memory 2> /dev/null; echo c > memory 2> /dev/null
eq "$(busybox cat error | wc -l)" 3
for i in 1 2 3 4 5; do echo ${i}00000$(($i * 7)) > memory; same memory; echo 1$i > memory; same memory; done
`},
	// sendfile to a pipe goes through the page cache even of a stream.
	"read/sendfile-stream": {Needs: "busybox", Text: `
eq "$(busybox cat wait/defined.5s)" defined
mkfifo $T/f; busybox cat live/status > $T/f & p=$!; cat $T/f > $T/s &
soon grep -q defined $T/s; echo start > ctl; soon grep -q running $T/s; echo stop > ctl; soon grep -q exited $T/s
kill $p
`},
	// A value that changes at every look is still as long as stat said.
	"read/volatile-files": {Needs: "tar rsync git", Text: `
for i in 1 2 3; do
	tar -C $M -cf $T/a.tar counter && tar -C $T -xf $T/a.tar && eq "$(wc -c < $T/counter)" 27
	rsync $M/counter $T/r && eq "$(wc -c < $T/r)" 27
	git hash-object $M/counter > /dev/null || fail git
done
`},
	// Rule 18 of docs/TREE.md: nothing that is listed blocks.
	"read/nothing-blocks": {Needs: "tar rsync grep", Text: `
echo start > ctl
timeout 30 find . $N $M/doc $M/image $M/self -type f -exec cat {} + > /dev/null || fail find
timeout 30 grep -r 'state running' . > /dev/null || fail grep
timeout 30 tar -cf $T/x.tar . || fail tar
timeout 30 cp -r . $T/copy || fail cp
timeout 30 du -s . > /dev/null || fail du
timeout 30 ls -lR . $N > /dev/null || fail ls
`},
	"read/list": {Text: `
eq "$(ls -d live wait exec root)" $'exec\nlive\nroot\nwait'
ls | grep -qE '^(live|wait|exec|root|stdin)$' && fail listed
has more 'live/'; has more 'root/'
ls -l $M > /dev/null && ls -la . > /dev/null || fail ls
eq "$(stat -c %F ctl)" 'regular file'
df . > /dev/null || fail df
`},
	"read/log-is-a-file": {Needs: "less busybox", Text: `
echo say one > ctl
tail -f stdout > $T/f & f=$!; tail -F stdout > $T/F 2> /dev/null & F=$!; busybox tail -f stdout > $T/b & b=$!
soon grep -q one $T/f; soon grep -q one $T/F; soon grep -q one $T/b
echo say two > ctl
soon grep -q two $T/f; soon grep -q two $T/F; soon grep -q two $T/b
echo rotate > ctl; echo say three > ctl
soon grep -q three $T/f; soon grep -q three $T/F; soon grep -q three $T/b
kill $f $F $b; wait 2> /dev/null
eq "$(cat $T/f)" $'one\ntwo\nthree'
eq "$(cat $T/b)" $'one\ntwo\nthree'
eq "$(sort -u $T/F)" $'one\nthree\ntwo'
holds stdout three
eq "$(grep -c . stdout) $(wc -l < stdout) $(less stdout)" '1 1 three'
`},
	"read/caches-dropped": {Root: true, Text: `
echo start > ctl; cat wait/exited > $T/w & w=$!
exec 3< spec; cat status > /dev/null; ls -lR . > /dev/null
echo 2 > /proc/sys/vm/drop_caches
cat <&3 | cmp - spec || fail spec; has status 'state running'
echo 2 > /proc/sys/vm/drop_caches
echo stop > ctl; wait $w; holds $T/w exited
`},
}
