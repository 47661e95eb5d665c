package treetest

import (
	"bytes"
	"fmt"
	"strings"
	"syscall"
	"testing"
)

var writeFunctions = map[string]func(*testing.T, Env){
	"write/scalar": func(t *testing.T, e Env) {
		b := e.newBox(t)
		for in, want := range map[string]string{
			"64M\n": "67108864\n", "512": "512\n", " 1.5G \n": "1610612736\n", "2GiB\r\n": "2147483648\n", "max\n": "max\n",
			"default\n": "max\n", "64K\n\n": "65536\n",
		} {
			e.write(t, b+"/memory", in)
			e.wants(t, b+"/memory", want)
		}
		e.write(t, b+"/memory", "64K\n")
		fails(t, e.put(b+"/memory", "lots\n"), syscall.EINVAL)
		fails(t, e.put(b+"/memory", "1M\n2M\n"), syscall.EINVAL)
		e.wants(t, b+"/memory", "65536\n")
	},
	"write/scalar-append-replaces": func(t *testing.T, e Env) {
		b := e.newBox(t)
		e.write(t, b+"/memory", "64M\n")
		e.append(t, b+"/memory", "1M\n")
		e.wants(t, b+"/memory", "1048576\n")
	},
	// dd bs=1: every write is valid in itself here, and the last one counts.
	"write/scalar-in-bytes": func(t *testing.T, e Env) {
		b := e.newBox(t)
		ok(t, e.open(b+"/memory", syscall.O_TRUNC, "5", "1", "2", "M"))
		e.wants(t, b+"/memory", "536870912\n")
	},
	// Rule 12 of docs/TREE.md: truncation alone changes nothing.
	"write/truncation-alone": func(t *testing.T, e Env) {
		b := e.newBox(t)
		e.write(t, b+"/memory", "64M\n")
		e.write(t, b+"/args", "a\nb\n")
		for _, p := range []string{b + "/memory", b + "/args", b + "/spec"} {
			before := e.read(t, p)
			ok(t, e.open(p, syscall.O_TRUNC))
			ok(t, e.FS.Truncate(p, 0))
			ok(t, e.FS.Touch(p))
			e.wants(t, p, before)
		}
	},
	// bash sends one write per line; together they are the new list.
	"write/list-line-by-line": func(t *testing.T, e Env) {
		b := e.newBox(t)
		ok(t, e.open(b+"/args", syscall.O_TRUNC, "httpd\n", "-f\n", "-p 80\n"))
		e.wants(t, b+"/args", "httpd\n-f\n-p 80\n")
		ok(t, e.open(b+"/args", syscall.O_TRUNC, "sh\n-c\necho 'x'\n"))
		e.wants(t, b+"/args", "sh\n-c\necho 'x'\n")
	},
	"write/list-append": func(t *testing.T, e Env) {
		b := e.newBox(t)
		e.write(t, b+"/args", "a\n")
		ok(t, e.open(b+"/args", syscall.O_APPEND, "b\n", "c\n"))
		e.append(t, b+"/args", "d")
		e.append(t, b+"/args", "e\n")
		e.wants(t, b+"/args", "a\nb\nc\nd\ne\n")
	},
	// ftruncate on a descriptor, then lines: the new list.
	"write/list-after-ftruncate": func(t *testing.T, e Env) {
		b := e.newBox(t)
		e.write(t, b+"/args", "a\nb\n")
		f, err := e.FS.Open(b+"/args", syscall.O_RDWR, 0)
		ok(t, err)
		ok(t, f.Truncate(0))
		e.wants(t, b+"/args", "a\nb\n")
		_, err = f.Write([]byte("c\n"))
		ok(t, err)
		_, err = f.Write([]byte("d\n"))
		ok(t, err)
		ok(t, f.Close())
		e.wants(t, b+"/args", "c\nd\n")
	},
	// An append in a handle opened without O_APPEND, as 9P clients do it.
	"write/list-append-by-offset": func(t *testing.T, e Env) {
		b := e.newBox(t)
		e.write(t, b+"/args", "a\n")
		f, err := e.FS.Open(b+"/args", syscall.O_WRONLY, 0)
		ok(t, err)
		_, err = f.Seek(2, 0)
		ok(t, err)
		_, err = f.Write([]byte("b\n"))
		ok(t, err)
		ok(t, f.Close())
		e.wants(t, b+"/args", "a\nb\n")
	},
	"write/list-comments-and-quotes": func(t *testing.T, e Env) {
		b := e.newBox(t)
		e.write(t, b+"/args", "# what it runs\n\nsh\n-c\n'echo a\necho b'\n''\n'# no comment'\n")
		e.wants(t, b+"/args", "sh\n-c\n'echo a\necho b'\n''\n'# no comment'\n")
		text := e.read(t, b+"/args")
		e.write(t, b+"/args", text)
		e.wants(t, b+"/args", text)
	},
	"write/list-empty": func(t *testing.T, e Env) {
		b := e.newBox(t)
		e.write(t, b+"/args", "a\n")
		e.write(t, b+"/args", "\n")
		e.wants(t, b+"/args", "")
	},
	"write/table": func(t *testing.T, e Env) {
		b := e.newBox(t)
		e.write(t, b+"/env", "PATH /bin\nHOME /\n")
		e.wants(t, b+"/env", "HOME /\nPATH /bin\n")
		e.append(t, b+"/env", "GREETING 'it''s  '\nHOME /root\n")
		e.wants(t, b+"/env", "GREETING 'it''s  '\nHOME /root\nPATH /bin\n")
		fails(t, e.add(b+"/env", "A=B c\n"), syscall.EINVAL)
	},
	"write/bad-line-leaves-the-list": func(t *testing.T, e Env) {
		n := e.newNet(t)
		e.write(t, n+"/reserve", "10.1.0.2 web\n")
		fails(t, e.put(n+"/reserve", "10.1.0.3 db\nnonsense x\n"), syscall.EINVAL)
		e.wants(t, n+"/reserve", "10.1.0.2 web\n")
	},
	"write/document-keeps-its-text": func(t *testing.T, e Env) {
		n := e.newNet(t)
		text := "# who may come in\nallow in tcp 443 from any\n\ndeny in any\n"
		e.write(t, n+"/firewall/rules", text)
		e.wants(t, n+"/firewall/rules", text)
		e.append(t, n+"/firewall/rules", "allow out any\n")
		e.wants(t, n+"/firewall/rules", text+"allow out any\n")
		fails(t, e.put(n+"/firewall/rules", "permit any\n"), syscall.EINVAL)
		e.wants(t, n+"/firewall/rules", text+"allow out any\n")
	},
	// A long document comes in pieces; none of them need be whole lines.
	"write/document-in-pieces": func(t *testing.T, e Env) {
		n := e.newNet(t)
		var doc bytes.Buffer
		for i := 0; doc.Len() < 300_000; i++ {
			fmt.Fprintf(&doc, "allow in tcp %d from 10.%d.0.0/16\n", i%65536, i%256)
		}
		for _, size := range []int{4096, 65536, 131072, 1 << 20} {
			var pieces []string
			for b := doc.Bytes(); len(b) > 0; {
				k := min(size, len(b))
				pieces = append(pieces, string(b[:k]))
				b = b[k:]
			}
			e.write(t, n+"/firewall/rules", "deny any\n")
			ok(t, e.open(n+"/firewall/rules", syscall.O_TRUNC, pieces...))
			e.wants(t, n+"/firewall/rules", doc.String())
		}
	},
	"write/list-in-pieces": func(t *testing.T, e Env) {
		b := e.newBox(t)
		var list strings.Builder
		for i := 0; list.Len() < 20_000; i++ {
			fmt.Fprintf(&list, "word-%d\n", i)
		}
		text := list.String()
		ok(t, e.open(b+"/args", syscall.O_TRUNC, text[:4096], text[4096:12288], text[12288:16384], text[16384:]))
		e.wants(t, b+"/args", text)
	},
	"write/not-text": func(t *testing.T, e Env) {
		n := e.newNet(t)
		fails(t, e.put(n+"/note", "a\x00b\n"), syscall.EINVAL)
		fails(t, e.put(n+"/note", "\xff\xfe\n"), syscall.EINVAL)
		e.write(t, n+"/note", "é\r\n")
		e.wants(t, n+"/note", "é\n")
		e.write(t, n+"/firewall/rules", "allow a\r\ndeny b\r\n")
		e.wants(t, n+"/firewall/rules", "allow a\ndeny b\n")
	},
	"write/line-too-long": func(t *testing.T, e Env) {
		n, b := e.newNet(t), e.newBox(t)
		long := strings.Repeat("x", 64<<10)
		e.write(t, n+"/note", long+"\n")
		fails(t, e.put(n+"/note", long+"x\n"), syscall.EMSGSIZE)
		fails(t, e.put(b+"/args", "a\n"+long+"x\n"), syscall.EMSGSIZE)
		fails(t, e.put(b+"/ctl", "say "+long+"\n"), syscall.EMSGSIZE)
	},
	"write/secret": func(t *testing.T, e Env) {
		b := e.newBox(t)
		e.write(t, b+"/secret", "hunter2\n")
		e.wants(t, b+"/secret", "") // root may read; there is nothing to see
		for _, p := range []string{b + "/spec", "audit"} {
			if strings.Contains(e.read(t, p), "hunter2") {
				t.Errorf("%s shows it", p)
			}
		}
	},
	"write/sealed": func(t *testing.T, e Env) {
		b := e.newBox(t)
		e.write(t, b+"/env", "TOKEN hunter3\n")
		e.write(t, b+"/spec", "env TOKEN hunter3\n")
		e.wants(t, b+"/env", "TOKEN hunter3\n")
		if strings.Contains(e.read(t, "audit"), "hunter3") {
			t.Error("audit shows it")
		}
	},
	"write/unlink-resets": func(t *testing.T, e Env) {
		b := e.newBox(t)
		e.write(t, b+"/memory", "64M\n")
		e.write(t, b+"/args", "a\n")
		ok(t, e.FS.Unlink(b+"/memory"))
		ok(t, e.FS.Unlink(b+"/args"))
		ok(t, e.FS.Unlink(b+"/status"))
		// Whoever unlinked a name does not see it until it creates it: ask spec.
		e.has(t, b+"/spec", "\nargs\n")
		e.has(t, b+"/spec", "\nmemory max\n")
	},
	"write/state-files-take-copies-while-defined": func(t *testing.T, e Env) {
		b := e.newBox(t)
		for _, p := range []string{"status", "id", "pid", "stdout", "version", "created"} {
			ok(t, e.open(b+"/"+p, syscall.O_TRUNC, "copied\n"))
		}
		e.has(t, b+"/status", "state defined")
		e.write(t, b+"/ctl", "start\n")
		fails(t, e.put(b+"/status", "copied\n"), syscall.EPERM)
		fails(t, e.put(b+"/stdout", "copied\n"), syscall.EPERM)
		fails(t, e.put("schema", "x\n"), syscall.EPERM)
	},
	"write/fixed": func(t *testing.T, e Env) {
		n := e.newNet(t)
		e.write(t, n+"/cidr", "10.1.0.0/24\n")
		e.write(t, n+"/cidr", "10.1.0.0/24\n")
		fails(t, e.put(n+"/cidr", "10.2.0.0/24\n"), syscall.EPERM)
	},
	"write/readers-and-writers-on-one-descriptor": func(t *testing.T, e Env) {
		n := e.newNet(t)
		f, err := e.FS.Open(n+"/note", syscall.O_RDWR, 0)
		ok(t, err)
		defer f.Close()
		_, err = f.Write([]byte("hello\n"))
		ok(t, err)
		_, err = f.Seek(0, 0)
		ok(t, err)
		buf := make([]byte, 100)
		if k, err := f.Read(buf); err != nil || string(buf[:k]) != "hello\n" {
			t.Errorf("%q, %v", buf[:k], err)
		}
	},
}
