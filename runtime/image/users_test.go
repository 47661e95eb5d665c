package image

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/containercloud/cc/fault"
)

func rootWith(t *testing.T, passwd, group string) *os.File {
	t.Helper()
	dir := t.TempDir()
	if err := os.Mkdir(dir+"/etc", 0o755); err != nil {
		t.Fatal(err)
	}
	for name, body := range map[string]string{"passwd": passwd, "group": group} {
		if body == "" {
			continue
		}
		if err := os.WriteFile(filepath.Join(dir, "etc", name), []byte(body), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dirFile(t, dir)
}

func dirFile(t *testing.T, dir string) *os.File {
	t.Helper()
	f, err := openPath(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return f
}

const (
	somePasswd = "# users\nroot:x:0:0:root:/root:/bin/bash\n\nweb:x:33:34:www:/var/www:/bin/sh\n" +
		"1234:x:55:56::/h:/s\nbad:x:4294967296:0::/:\nbad2:x:-1:0::/:\nbad3:x:abc:1::/:\nshort:x:7\nrel:x:9:9::home:\n"
	someGroup = "root:x:0:\nwww:x:34:root\nadm:x:4:root, web\nssl:x:99:web,x\nhuge:x:4294967296:web\n"
)

// TestUsers tries names and numbers that programs have read as root: 32 bits that wrap, names of digits, broken lines.
func TestUsers(t *testing.T) {
	root := rootWith(t, somePasswd, someGroup)
	empty := rootWith(t, "", "")
	for _, c := range []struct {
		root *os.File
		spec string
		want string // uid:gid groups home name, or the kind of failure
	}{
		{root, "", "0:0 [34 4] /root root"},
		{root, "root", "0:0 [34 4] /root root"},
		{root, "0", "0:0 [34 4] /root root"},
		{root, "web", "33:34 [4 99] /var/www web"},
		{root, "33", "33:34 [4 99] /var/www web"},
		{root, "web:adm", "33:4 [] /var/www web"},
		{root, "web:77", "33:77 [] /var/www web"},
		{root, "5000", "5000:0 [] / "},
		{root, "5000:6000", "5000:6000 [] / "},
		{root, "2147483647", "2147483647:0 [] / "},
		{root, "1234", "1234:0 [] / "}, // a number, not the name
		{root, "rel", "9:9 [] / rel"},
		{empty, "", "0:0 [] / "},
		{empty, "7:8", "7:8 [] / "},
		{empty, "web", "not-found"},
		{empty, "0:web", "not-found"},
		{root, "nobody", "not-found"},
		{root, "web:nogroup", "not-found"},
		{root, "2147483648", "invalid"},
		{root, "4294967295", "invalid"},
		{root, "4294967296", "invalid"},
		{root, "99999999999999999999", "invalid"},
		{root, "-1", "invalid"},
		{root, "+1", "invalid"},
		{root, "1:4294967296", "invalid"},
		{root, "1:-1", "invalid"},
		{root, "web:huge", "invalid"},
		{root, "bad", "invalid"},
		{root, "bad2", "invalid"},
		{root, "bad3", "invalid"},
		{root, "short", "not-found"},
		{root, ":", "invalid"},
		{root, ":34", "invalid"},
		{root, "web:", "invalid"},
		{root, "a\nb", "invalid"},
		{root, strings.Repeat("9", 600), "invalid"},
		{root, "1:2:3", "not-found"},
	} {
		u, err := Users(c.root, c.spec)
		got := fmt.Sprintf("%d:%d %v %s %s", u.UID, u.GID, u.Groups, u.Home, u.Name)
		if err != nil {
			got = fault.KindOf(err).String()
		}
		if got != c.want {
			t.Errorf("%.40q: %s (%v), want %s", c.spec, got, err, c.want)
		}
	}
}

// TestUserFileTricks: what a container can put in the place of /etc/passwd. Each ends at once, and with an error.
func TestUserFileTricks(t *testing.T) {
	out := t.TempDir()
	if err := os.WriteFile(out+"/passwd", []byte("root:x:0:0::/evil:\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		make func(p string) error
		ok   bool // acts as if there were none, or as the link says
		home string
	}{
		"fifo":      {func(p string) error { return syscall.Mkfifo(p, 0o644) }, false, ""},
		"directory": {func(p string) error { return os.Mkdir(p, 0o755) }, false, ""},
		"huge": {func(p string) error {
			f, err := os.Create(p)
			if err == nil {
				err = f.Truncate(256 << 20)
			}
			return err
		}, false, ""},
		"device":               {func(p string) error { return syscall.Mknod(p, syscall.S_IFCHR|0o666, 1<<8|5) }, false, ""},
		"link out":             {func(p string) error { return os.Symlink(out+"/passwd", p) }, true, "/"},
		"link up":              {func(p string) error { return os.Symlink("../../../../../../etc/passwd", p) }, false, ""},
		"link to itself":       {func(p string) error { return os.Symlink("passwd", p) }, false, ""},
		"link inside":          {func(p string) error { return os.Symlink("/nix/passwd", p) }, true, "/nix"},
		"no end of line, NULs": {func(p string) error { return os.WriteFile(p, make([]byte, 1<<20), 0o644) }, true, "/"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			os.MkdirAll(dir+"/etc", 0o755)
			os.MkdirAll(dir+"/nix", 0o755)
			os.WriteFile(dir+"/nix/passwd", []byte("root:x:0:0::/nix:\n"), 0o644)
			if err := c.make(dir + "/etc/passwd"); err != nil {
				t.Fatal(err)
			}
			u, err := Users(dirFile(t, dir), "")
			if (err == nil) != c.ok || u.Home != c.home && c.ok {
				t.Errorf("%+v, %v", u, err)
			}
			if err == nil && u.UID != 0 || err != nil && u.UID != 0 {
				t.Errorf("%+v", u)
			}
		})
	}
}
