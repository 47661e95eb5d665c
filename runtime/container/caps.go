package container

import (
	"slices"
	"strings"

	"github.com/containercloud/cc/fault"
	"github.com/containercloud/cc/runtime/boot"
)

// Capabilities applies the words of the capability setting to the default set: `+NET_RAW` or `NET_RAW` adds,
// `-CHOWN` takes away, `none`, `all` and `default` replace the whole. The result is sorted, without CAP_.
func Capabilities(changes []string) ([]string, error) {
	set := map[string]bool{}
	fill := func(list []string) {
		clear(set)
		for _, c := range list {
			set[c] = true
		}
	}
	fill(boot.DefaultCapabilities())
	for _, w := range changes {
		name := strings.ToUpper(w)
		switch name {
		case "ALL":
			fill(boot.AllCapabilities())
			continue
		case "NONE":
			fill(nil)
			continue
		case "DEFAULT":
			fill(boot.DefaultCapabilities())
			continue
		}
		add := !strings.HasPrefix(name, "-")
		name = strings.TrimPrefix(strings.TrimLeft(name, "+-"), "CAP_")
		if !slices.Contains(boot.AllCapabilities(), name) {
			return nil, fault.New(fault.Invalid, "%q is no capability", w).WithHint("+NET_RAW, -CHOWN, none, all or default")
		}
		if add {
			set[name] = true
		} else {
			delete(set, name)
		}
	}
	list := make([]string, 0, len(set))
	for c := range set {
		list = append(list, c)
	}
	slices.Sort(list)
	return list, nil
}
