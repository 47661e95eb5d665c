package treetest

// shellScripts write with every program that writes differently.
var shellScripts = map[string]Script{
	"shell/scalar": {Needs: "dash busybox python3 perl", Text: `
echo 1M > memory;                                      holds memory 1048576
printf '2M\n' > memory;                                holds memory 2097152
printf 3M > memory;                                    holds memory 3145728
echo 4M | tee memory > /dev/null;                      holds memory 4194304
echo 5M | dd of=memory status=none;                    holds memory 5242880
echo 6M | dd of=memory bs=1 status=none;               holds memory 6291456
cat > memory <<< 7M;                                   holds memory 7340032
echo 8M > $T/x; cp $T/x memory;                        holds memory 8388608
cat $T/x | cat > memory;                               holds memory 8388608
dash -c 'echo 9M > memory';                            holds memory 9437184
busybox sh -c 'echo 10M > memory';                     holds memory 10485760
busybox cp $T/x memory;                                holds memory 8388608
python3 -c 'open("memory", "w").write("11M\n")';       holds memory 11534336
perl -e 'open F, ">memory"; print F "12M\n"; close F'; holds memory 12582912
echo 13M >> memory;                                    holds memory 13631488
echo 14M 1<> memory;                                   holds memory 14680064
echo default > memory;                                 holds memory max
`},
	"shell/list": {Needs: "dash busybox python3", Text: `
echo -e 'a\nb' > args;                                 holds args $'a\nb'
printf 'c\nd\n' > args;                                holds args $'c\nd'
printf '%s\n' e f g > args;                            holds args $'e\nf\ng'
{ echo h; echo i; } > args;                            holds args $'h\ni'
cat > args << E
j
k
E
holds args $'j\nk'
echo l >> args;                                        holds args $'j\nk\nl'
printf 'm\nn\n' >> args;                               holds args $'j\nk\nl\nm\nn'
{ echo o; echo p; } >> args;                           holds args $'j\nk\nl\nm\nn\no\np'
seq 3 | tee args > /dev/null;                          holds args $'1\n2\n3'
echo 4 | tee -a args > /dev/null;                      holds args $'1\n2\n3\n4'
dash -c 'echo a; echo b' > args;                       holds args $'a\nb'
dash -c 'echo c >> args; echo d >> args';              holds args $'a\nb\nc\nd'
busybox sh -c 'echo e > args; echo f >> args';         holds args $'e\nf'
python3 -c 'print("g\nh", file=open("args", "a"))';    holds args $'e\nf\ng\nh'
printf 'x\n\n# no item\ny\n' > args;                   holds args $'x\ny'
echo > args;                                           empty args
`},
	"shell/ctl": {Needs: "dash busybox python3", Text: `
echo say a > ctl; echo say b >> ctl; printf 'say c\nsay d\n' > ctl
dash -c 'echo say e > ctl'; busybox sh -c 'echo say f > ctl'
python3 -c 'f = open("ctl", "w"); f.write("say g\nsay h\n"); f.flush(); f.write("say i\n"); f.close()'
printf 'say j' > ctl
cat > ctl << E
say k
# not this
say l
E
exec 3> ctl; echo say m >&3; echo say n >&3; exec 3>&-
eq "$(tr -d '\n' < stdout)" abcdefghijklmn
`},
	// Rule 12 of docs/TREE.md: truncation and touch change nothing.
	"shell/no-write": {Text: `
echo 64M > memory; printf 'a\nb\n' > args
cat spec > $T/before; v=$(cat version)
: > memory; : > args; : > spec; truncate -s 0 memory args spec; touch memory args spec ctl .; true > ctl
cmp spec $T/before || fail changed; eq "$(cat version)" $v
`},
	"shell/long-document": {Needs: "python3", Text: `
for i in $(seq 9000); do echo "allow in tcp $i from 10.$((i % 256)).0.0/16"; done > $T/rules
[ $(stat -c %s $T/rules) -gt 300000 ] || fail short
r=$N/firewall/rules
cp $T/rules $r && cmp $T/rules $r || fail cp
echo deny any > $r; cat $T/rules > $r && cmp $T/rules $r || fail cat
echo deny any > $r; cat $T/rules | cat > $r && cmp $T/rules $r || fail pipe
echo deny any > $r; dd if=$T/rules of=$r bs=4k status=none && cmp $T/rules $r || fail dd 4k
echo deny any > $r; dd if=$T/rules of=$r bs=1M status=none && cmp $T/rules $r || fail dd 1M
echo deny any > $r; python3 -c "open('$r', 'w').write(open('$T/rules').read())" && cmp $T/rules $r || fail python
echo deny any > $r; cat $T/rules >> $r && { echo deny any; cat $T/rules; } | cmp - $r || fail append
for i in 1 2 3 4 5 6 7 8 9; do cat $T/rules; done > $T/big
cp $T/big $r && cmp $T/big $r || fail big cp
echo deny any > $r; python3 -c "open('$r', 'wb', 0).write(open('$T/big', 'rb').read())" && cmp $T/big $r || fail big python
echo permit > $T/bad; errs 'Invalid argument' cp $T/bad $r; cmp $T/big $r || fail kept
`},
	"shell/not-text": {Text: `
cd $N
errs 'Invalid argument' bash -c 'printf "a\0b\n" > note'
errs 'Invalid argument' bash -c 'printf "\377\n" > note'
printf 'dos\r\n' > note; holds note dos
head -c 65537 /dev/zero | tr '\0' x > $T/long; errs 'Message too long' cp $T/long note
`},
	"shell/quotes": {Text: `
printf "%s\n" sh -c "'echo a" "echo b'" "''" > args
holds args $'sh\n-c\n\'echo a\necho b\'\n\'\''
cat args > $T/a; cat $T/a > args; cmp args $T/a || fail args
cat spec > $T/s; cat $T/s > spec; cmp spec $T/s || fail spec
cat spec | while read -r line; do echo "$line"; done > spec; cmp spec $T/s || fail lines
`},
	"shell/sessions-of-the-design": {Text: `
echo 10.9.0.0/24 > $N/cidr; has $N/status 'state ready'
echo $name > net; printf 'httpd\n-f\n' > args; echo start > ctl; eq "$(cat wait/running.5s)" running
echo 512M > memory; holds memory 536870912
v=$(cat version); sed -i 's/^memory .*/memory 1G/' spec; holds memory 1073741824; [ $(cat version) -gt $v ] || fail version
grep -l 'state running' $M/box/*/status | grep -q $name || fail grep
errs 'Device or resource busy' rm -r $B
errs 'Device or resource busy' rmdir $N
has $N/usedby box/$name
echo stop > ctl; echo > net
`},
}
