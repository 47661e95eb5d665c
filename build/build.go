// Package build says which build of Container Cloud a program is.
package build

import "runtime/debug"

// version is set by the linker: make build gives what git describe says.
var version string

// Version is what the linker was told, else what the Go command stamped: a revision, `+` behind it when files differed,
// or a module's version. It is `unknown` where nothing was.
func Version() string {
	if version != "" {
		return version
	}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "unknown"
	}
	return stamped(info)
}

func stamped(info *debug.BuildInfo) string {
	said := map[string]string{}
	for _, s := range info.Settings {
		said[s.Key] = s.Value
	}
	revision := said["vcs.revision"]
	switch {
	case revision != "" && said["vcs.modified"] == "true":
		return revision[:min(12, len(revision))] + "+"
	case revision != "":
		return revision[:min(12, len(revision))]
	case info.Main.Version != "" && info.Main.Version != "(devel)":
		return info.Main.Version
	}
	return "unknown"
}
