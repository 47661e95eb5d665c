package main

// program is one executable of the userland and the commands in it.
type program struct {
	name  string
	uroot []string // below u-root's cmds
	own   []string // below ../cmd
}

func (p program) commands() (list []string) {
	for _, c := range p.uroot {
		list = append(list, "github.com/u-root/u-root/cmds/"+c)
	}
	for _, c := range p.own {
		list = append(list, "github.com/containercloud/cc/runtime/image/builtin/cmd/"+c)
	}
	return list
}

var programs = []program{
	{
		name: "cc-tiny", // what scripts call in loops: little but the standard library's core
		uroot: []string{
			"core/basename", "core/dirname", "core/echo", "core/false", "core/hostname", "core/printenv", "core/pwd",
			"core/seq", "core/sleep", "core/sync", "core/true", "core/tty", "core/uname", "core/yes",
		},
		own: []string{"env", "head", "id", "kill", "nproc", "tail", "whoami"},
	},
	{
		name: "cc-core",
		uroot: []string{
			"core/base64", "core/cat", "core/chmod", "core/chroot", "core/cmp", "core/comm", "core/cp", "core/date", "core/dd", "core/df",
			"core/dmesg", "core/du", "core/find", "core/free", "core/grep", "core/gzip", "core/hexdump", "core/ip",
			"core/ln", "core/ls", "core/md5sum", "core/mkdir", "core/mkfifo", "core/mknod", "core/mktemp", "core/more", "core/mount",
			"core/mv", "core/netstat", "core/nohup", "core/pidof", "core/ping", "core/ps", "core/readlink", "core/realpath",
			"core/rm", "core/shasum", "core/sort", "core/strings", "core/stty", "core/tar", "core/tee", "core/time",
			"core/timeout", "core/touch", "core/tr", "core/truncate", "core/umount", "core/uniq", "core/uptime", "core/wc", "core/which",
			"core/xargs", "exp/ed", "exp/tac", "exp/watch",
		},
		own: []string{"cut", "nc", "sh"},
	},
	{
		name: "cc-http", // net/http and TLS
		own:  []string{"httpd", "wget"},
	},
}

// skeleton is the rest of the root file system. /etc/resolv.conf and /etc/hosts are the runtime's.
var skeleton = []entry{
	{name: "bin", dir: true, mode: 0o755},
	{name: "sbin", link: "bin"},
	{name: "usr", dir: true, mode: 0o755},
	{name: "usr/bin", link: "../bin"},
	{name: "usr/sbin", link: "../bin"},
	{name: "dev", dir: true, mode: 0o755},
	{name: "etc", dir: true, mode: 0o755},
	{name: "home", dir: true, mode: 0o755},
	{name: "proc", dir: true, mode: 0o555},
	{name: "root", dir: true, mode: 0o700},
	{name: "run", dir: true, mode: 0o755},
	{name: "sys", dir: true, mode: 0o555},
	{name: "tmp", dir: true, mode: 0o1777},
	{name: "var", dir: true, mode: 0o755},
	{name: "var/tmp", dir: true, mode: 0o1777},
	{name: "etc/passwd", mode: 0o644, body: []byte("root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/false\n")},
	{name: "etc/group", mode: 0o644, body: []byte("root:x:0:\ntty:x:5:\nnogroup:x:65534:\n")},
	{name: "etc/os-release", mode: 0o644, body: []byte("ID=cc-builtin\nNAME=\"Container Cloud builtin\"\nPRETTY_NAME=\"Container Cloud builtin (u-root)\"\n")},
	{name: "etc/nsswitch.conf", mode: 0o644, body: []byte("hosts: files dns\n")},
}
