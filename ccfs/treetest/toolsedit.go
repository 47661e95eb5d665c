package treetest

// editScripts change files with programs that make others beside them.
var editScripts = map[string]Script{
	"edit/sed": {Needs: "busybox", Text: `
echo 64M > memory
sed -i 's/^memory .*/memory 1G/' spec;                 holds memory 1073741824
sed -i s/1073741824/2G/ memory;                        holds memory 2147483648
printf 'a\nb\nc\n' > args; sed -i /b/d args;           holds args $'a\nc'
busybox sed -i s/a/x/ args;                            holds args $'x\nc'
sed -i.bak 's/^memory .*/memory 3G/' spec;             holds memory 3221225472
has spec.bak 'memory 2147483648'; rm spec.bak
errs 'Invalid argument' sed -i 's/^memory .*/memory lots/' spec
holds memory 3221225472; has error lots
ls -a | grep -q '^sed' && rm -f sed*
echo allow in tcp 80 > $N/firewall/rules; sed -i s/80/443/ $N/firewall/rules; holds $N/firewall/rules 'allow in tcp 443'
`},
	"edit/perl": {Needs: "perl", Text: `
echo 64M > memory
perl -pi -e 's/^memory .*/memory 1G/' spec;            holds memory 1073741824
perl -pi.orig -e 's/^memory .*/memory 2G/' spec;       holds memory 2147483648
has spec.orig 'memory 1073741824'
`},
	"edit/vim": {Needs: "vim", Text: `
edit() { vim -es -u NONE -N "$@" < /dev/null; }
for copy in auto yes no; do
	echo 64M > memory
	edit -c "set backupcopy=$copy" -c '%s/^memory .*/memory 1G/' -c wq spec || fail vim $copy
	holds memory 1073741824
	edit -c "set backup backupcopy=$copy" -c '%s/^memory .*/memory 2G/' -c wq spec || fail vim backup $copy
	holds memory 2147483648; rm -f spec~
	printf 'deny any\n' > $N/firewall/rules
	edit -c "set backupcopy=$copy" -c 'normal Oallow in tcp 443' -c wq $N/firewall/rules || fail vim rules $copy
	holds $N/firewall/rules $'allow in tcp 443\ndeny any'
	edit -c "set backupcopy=$copy directory=." -c '%s/.*/3G/' -c wq memory || fail vim swap $copy
	holds memory 3221225472
done
`},
	"edit/vim-refused": {Needs: "vim", Text: `
echo 64M > memory
for copy in auto yes no; do
	vim -es -u NONE -N -c "set backupcopy=$copy" -c '%s/^memory .*/memory lots/' -c 'w' -c 'qa!' spec < /dev/null && fail no error
	holds memory 67108864
	has $M/self/error '"lots" is not a size'
done
# vim puts a file back in pieces of 256 bytes, which are no documents in themselves.
for i in $(seq 10 50); do echo "allow in tcp $i from x"; done > $T/before # 23 bytes each: a piece ends in "all"
cp $T/before $N/firewall/rules
for copy in auto yes no; do
	vim -es -u NONE -N -c "set backupcopy=$copy backupskip=" -c 's/allow/permit/' -c 'w' -c 'qa!' $N/firewall/rules < /dev/null && fail no error
	cmp $N/firewall/rules $T/before || fail vim $copy changed it
	has $M/self/error permit
done
eq "$(grep -v permit $N/error)" ""
`},
	"edit/rename-by-hand": {Text: `
printf 'image busybox\nmemory 1M\n' > spec.new && mv spec.new spec; holds image busybox; holds memory 1048576
printf 'image alpine\n' > $T/spec && mv $T/spec spec; holds image alpine; holds memory max
echo 5M > $T/m && mv -f $T/m memory; holds memory 5242880
[ -e $T/m ] && fail moved
echo 6M > $T/m && install -m 664 $T/m memory; holds memory 6291456
echo 7M > $T/m && cp --remove-destination $T/m memory; holds memory 7340032
echo 8M > $T/m && cp -p $T/m memory; holds memory 8388608
echo lots > $T/m && errs 'Invalid argument' mv $T/m memory
`},
	"edit/rsync": {Needs: "rsync", Text: `
echo 5M > $T/memory; rsync $T/memory memory || fail rsync; holds memory 5242880
echo 6M > $T/memory; rsync -a --inplace $T/memory memory || fail inplace; holds memory 6291456
`},
	"edit/python": {Needs: "python3", Text: `
python3 - << 'E' || fail python
import os, tempfile
fd, name = tempfile.mkstemp(dir=".")
os.write(fd, b"memory 1G\nimage busybox\n"); os.fsync(fd); os.close(fd)
os.replace(name, "spec")
assert open("memory").read() == "1073741824\n"
with open("args", "w") as f: print("a", file=f); print("b", file=f)
assert open("args").read() == "a\nb\n"
with open("memory", "r+") as f: f.write("2G\n"); f.truncate()
assert open("memory").read() == "2147483648\n"
E
`},
	"edit/slips": {Text: `
errs 'No such file' bash -c 'echo 1G > memroy'
has $M/self/error 'did you mean memory?'
errs 'Operation not permitted' bash -c "echo x > $M/box/x"
`},
	"edit/rights": {Root: true, Needs: "setfattr getfattr setpriv", Text: `
chmod 640 memory && eq "$(stat -c %a memory)" 640
chown 1000:1000 . && eq "$(stat -c %u:%g . memory ctl)" $'1000:1000\n1000:1000\n1000:1000'
touch -d 2001-01-01 memory && touch . || fail touch
errs 'Operation not supported' setfattr -n user.x -v y memory
errs 'No such attribute' getfattr -n user.x memory
as() { setpriv --reuid $1 --regid $1 --clear-groups bash -c "$2"; }
as 1000 'echo 1M > memory && cat memory && chmod 600 memory && chmod 700 .' > $T/o || fail owner
errs 'Permission denied' as 1001 'cat memory'
errs 'Permission denied' as 1001 'echo 2M > memory'
errs 'Permission denied' as 1001 'ls .'
chmod 755 .; errs 'Permission denied' as 1001 'echo start > ctl'
as 1001 'cat status' > $T/o && has $T/o 'state defined'
chmod 666 ctl; as 1001 'echo say hello > ctl' || fail operate
errs 'Permission denied' as 1001 'rmdir $B'
errs 'Operation not permitted' as 1001 'chmod 777 memory'
`},
}
