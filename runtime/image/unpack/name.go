package unpack

import (
	"path"
	"strings"
)

// Whiteouts as in the OCI image specification, layer.md.
const (
	whiteoutPrefix = ".wh."
	whiteoutMeta   = ".wh..wh."
	opaqueName     = ".wh..wh..opq"
)

// clean makes an entry's name relative to the layer's root: "" is the root itself. An absolute name
// counts from the root, as tar and docker have it; a name that climbs above the root is refused.
func clean(name string, l Limits) (string, error) {
	if len(name) > l.Name {
		return "", refuse("a name of %d bytes (limit %d)", len(name), l.Name)
	}
	if strings.IndexByte(name, 0) >= 0 {
		return "", refuse("a name with a zero byte")
	}
	c := path.Clean(strings.TrimLeft(name, "/"))
	if c == "." || name == "" {
		return "", nil
	}
	if c == ".." || strings.HasPrefix(c, "../") {
		return "", refuse("name %q leads out of the root", short(name))
	}
	depth := 1
	for rest := c; ; depth++ {
		i := strings.IndexByte(rest, '/')
		part := rest
		if i >= 0 {
			part = rest[:i]
		}
		if len(part) > 255 {
			return "", refuse("name %q has a component of %d bytes", short(name), len(part))
		}
		if i < 0 {
			break
		}
		rest = rest[i+1:]
	}
	if depth > l.Depth {
		return "", refuse("name %q is %d levels deep (limit %d)", short(name), depth, l.Depth)
	}
	return c, nil
}

type kind int

const (
	plain    kind = iota
	whiteout      // dir/base hides base below
	opaque        // dir hides its content below
	ignored       // aufs bookkeeping
)

// classify tells what a cleaned name means and which name it is about.
func classify(name string) (kind, string, error) {
	dir, base := path.Split(name)
	dir = strings.TrimSuffix(dir, "/")
	if strings.HasPrefix(name, whiteoutMeta) && strings.Contains(name, "/") {
		return ignored, name, nil
	}
	if strings.HasPrefix(dir, whiteoutPrefix) || strings.Contains(dir, "/"+whiteoutPrefix) {
		return 0, "", refuse("name %q goes through a whiteout", short(name))
	}
	switch {
	case !strings.HasPrefix(base, whiteoutPrefix):
		return plain, name, nil
	case base == opaqueName:
		return opaque, dir, nil
	case strings.HasPrefix(base, whiteoutMeta):
		return ignored, name, nil
	}
	switch hidden := base[len(whiteoutPrefix):]; hidden {
	case "", ".", "..":
		return 0, "", refuse("whiteout %q names no file", short(name))
	default:
		return whiteout, path.Join(dir, hidden), nil
	}
}

// short makes a hostile name fit into a sentence.
func short(s string) string {
	if len(s) > 80 {
		return s[:60] + "..." + s[len(s)-16:]
	}
	return s
}
