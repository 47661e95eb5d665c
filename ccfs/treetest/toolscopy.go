package treetest

// copyScripts copy and remove whole objects.
var copyScripts = map[string]Script{
	"copy/cp-r-into-existing": {Text: setup + `
mkdir $C && cp -r ./. $C/ || fail cp; same; rm -r $C || fail rm
mkdir $C && cp -a ./. $C/ || fail cp -a; same; rm -r $C
mkdir $C && cp -rT . $C || fail cp -T; same; rm -r $C
`},
	"copy/cp-r-new": {Text: setup + `
cp -r . $C || fail cp; same; rm -r $C || fail rm
cp -a . $C || fail cp -a; same; rm -r $C
cp -r $B $M/box/$name-c || fail named; same; rmdir $C
busybox cp -r . $C || fail busybox; same; busybox rm -r $C || fail busybox rm
`, Needs: "busybox"},
	"copy/tar": {Needs: "tar busybox", Text: setup + `
tar -C $M/box -cf $T/x.tar $name || fail create
tar -C $M/box --transform s/$name/$name-c/ -xf $T/x.tar || fail new; same
tar -C $M/box --transform s/$name/$name-c/ -xf $T/x.tar || fail again; same
rm -r $C; mkdir $C; tar -cf - . | tar -C $C -xf - || fail pipe; same; rm -r $C
mkdir $T/t && tar -C $T/t -xf $T/x.tar && [ -s $T/t/$name/spec ] || fail disk
`},
	"copy/rsync": {Needs: "rsync", Text: setup + `
rsync -a ./ $C/ || fail new; same
echo 1G > memory; rsync -a ./ $C/ || fail again; same; rm -r $C
rsync -a ./ $T/d/ && mkdir $C && rsync -r $T/d/ $C/ || fail disk; same; rm -r $C
`},
	"copy/python": {Needs: "python3", Text: setup + `
python3 -c 'import shutil, sys; shutil.copytree(".", sys.argv[1])' $C || fail copytree; same
python3 -c 'import shutil, sys; shutil.rmtree(sys.argv[1])' $C || fail rmtree; [ -e $C ] && fail there
python3 - $C << 'E' || fail program
import os, sys
c = sys.argv[1]
os.mkdir(c)
assert open(c + "/status").read().startswith("state defined")
open(c + "/memory", "w").write("1M\n")
assert open(c + "/memory").read() == "1048576\n"
open(c + "/ctl", "w").write("start\n")
assert open(c + "/status").read().startswith("state running")
assert os.path.exists(c + "/log/policy")
open(c + "/ctl", "w").write("stop\n")
os.rmdir(c)
E
python3 - $C << 'E' || fail program that looks first
import os, sys
c = sys.argv[1]
os.mkdir(c)
assert os.path.getsize(c + "/memory") == 4 and os.path.isdir(c + "/log") and os.access(c + "/args", os.W_OK)
assert os.open(c + "/env", os.O_WRONLY | os.O_TRUNC) > 2
assert open(c + "/memory").read() == "max\n"
os.rmdir(c)
E
python3 - $C << 'E' || fail program that writes first
import os, sys
c = sys.argv[1]
os.mkdir(c)
open(c + "/memory", "w").write("1M\n")
open(c + "/ctl", "w").write("start\n")
assert open(c + "/status").read().startswith("state running")
open(c + "/ctl", "w").write("stop\n")
os.rmdir(c)
E
`},
	"copy/spec-only": {Text: setup + `
mkdir $C && cp spec $C/spec && cmp spec $C/spec || fail cp
cat spec > $T/s; cat $C/spec > spec && cmp spec $T/s || fail back
mkdir $M/box/$name-d; cat spec > $M/box/$name-d/spec; cmp spec $M/box/$name-d/spec || fail cat; rm -r $C $M/box/$name-d
`},
	"copy/starts-nothing": {Text: setup + `
echo start > ctl; cp -r . $C || fail cp; has $C/status 'state defined'; same
errs 'Operation not permitted' cp args $B/id
echo stop > ctl; rm -r $C
`},
	"copy/rm-r": {Text: setup + `
echo start > ctl
errs 'Device or resource busy' rm -r $B
holds memory 67108864; holds args $'sh\n-c\necho hi'
errs 'Device or resource busy' rmdir $B
errs 'Device or resource busy' rm memory
echo stop > ctl
rm memory args; holds memory max; empty args
rm status id ctl; has status 'state exited'
rm -r $B || fail rm; [ -e $B ] && fail there
mkdir $B
`},
	"copy/host-directory": {Needs: "tar rsync diff find", Root: true, Text: `
mkdir $T/d; echo hello > $T/d/file; ln -s file $T/d/link; ln -s /etc/hostname $T/d/abs; mkdir $T/d/sub; head -c 3000000 /dev/urandom > $T/d/sub/big
cp -a $T/d root/ || fail cp
cmp $T/d/sub/big root/d/sub/big || fail big
eq "$(readlink root/d/link) $(readlink root/d/abs) $(cat root/d/link)" 'file ../etc/hostname hello'
eq "$(cat root/d/abs)" "$(cat root/etc/hostname)"
echo more >> root/d/file; eq "$(cat root/d/file)" $'hello\nmore'
sed -i s/hello/bye/ root/d/file; eq "$(cat root/d/file)" $'bye\nmore'
mv root/d/file root/d/sub/moved; eq "$(find root/d -type f | sort)" $'root/d/sub/big\nroot/d/sub/moved'
tar -C root -cf $T/r.tar d && mkdir $T/e && tar -C $T/e -xf $T/r.tar && cmp $T/d/sub/big $T/e/d/sub/big || fail tar
rsync -a root/d/ $T/f/ && cmp $T/d/sub/big $T/f/sub/big || fail rsync
ln root/d/sub/moved root/d/hard && eq "$(stat -c %h root/d/hard)" 2
mkfifo $T/fifo; cp -a $T/fifo root/d/ 2> /dev/null && fail fifo
chmod 600 root/d/sub/moved && eq "$(stat -c '%a %u' root/d/sub/moved)" '600 0'
rm -r root/d || fail rm
`},
}

// setup gives the box some settings, C the name of its copy, and same a comparison.
const setup = `
printf 'sh\n-c\necho hi\n' > args; echo 64M > memory; echo 'A b c' > env; echo block > log/policy; echo 'tier web' > labels
C=$M/box/$name-c
same() {
	cmp spec $C/spec || fail spec: "$(diff spec $C/spec)"
	cmp labels $C/labels || fail labels
	cmp id $C/id > /dev/null && fail same id
	has $C/status 'state defined'
}
`
