package build

import (
	"runtime/debug"
	"testing"
)

func TestStamped(t *testing.T) {
	for _, c := range []struct {
		revision, modified, module, want string
	}{
		{"0123456789abcdef", "false", "(devel)", "0123456789ab"},
		{"0123456789abcdef", "true", "(devel)", "0123456789ab+"},
		{"", "", "v1.2.3", "v1.2.3"},
		{"", "", "(devel)", "unknown"},
	} {
		info := &debug.BuildInfo{Main: debug.Module{Version: c.module}}
		if c.revision != "" {
			info.Settings = []debug.BuildSetting{{Key: "vcs.revision", Value: c.revision}, {Key: "vcs.modified", Value: c.modified}}
		}
		if got := stamped(info); got != c.want {
			t.Errorf("%+v: %q", c, got)
		}
	}
}
