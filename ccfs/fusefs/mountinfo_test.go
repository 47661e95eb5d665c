package fusefs

import "testing"

func TestParseMountLine(t *testing.T) {
	for _, c := range []struct {
		line string
		want mountLine
		ok   bool
	}{
		{
			`63 43 0:39 / /cc rw,nosuid,nodev,noexec,relatime - fuse.cc cc-test rw,user_id=0,group_id=0,allow_other`,
			mountLine{Dev: "0:39", Point: "/cc", Type: "fuse.cc", Source: "cc-test"}, true,
		},
		{
			`36 35 98:0 /mnt1 /mnt\0402/a\134b rw,noatime master:1 propagate_from:3 - ext3 /dev/root rw,errors=continue`,
			mountLine{Dev: "98:0", Point: `/mnt 2/a\b`, Type: "ext3", Source: "/dev/root"}, true,
		},
		{`36 35 98:0 /mnt1 /mnt2 rw,noatime`, mountLine{}, false},
		{``, mountLine{}, false},
	} {
		got, ok := parseMountLine(c.line)
		if got != c.want || ok != c.ok {
			t.Errorf("parseMountLine(%q) = %+v, %v; want %+v, %v", c.line, got, ok, c.want, c.ok)
		}
	}
}
