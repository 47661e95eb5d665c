package container

import (
	"io/fs"
	"os"
	"path"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/containercloud/cc/fault"
)

// maxDiff bounds one listing; a container with more changes is told so instead of filling memory.
const maxDiff = 1 << 20

// differ walks an overlay's upper directory next to the image it covers.
type differ struct {
	upper, lower *os.Root
	base         uint32
	skip         map[string]bool // mount points the runtime made
	out          []Change
}

// diff lists what upper says about lower, sorted by path. skip are targets of the runtime's own mounts.
// base is what the upper has added to the owners of files.
func diff(upper, lower *os.Root, base uint32, skip []string) ([]Change, error) {
	d := &differ{upper: upper, lower: lower, base: base, skip: map[string]bool{}}
	for _, s := range skip {
		d.skip[strings.TrimPrefix(path.Clean(s), "/")] = true
	}
	if err := d.dir(".", false); err != nil {
		return nil, err
	}
	slices.SortFunc(d.out, func(a, b Change) int { return strings.Compare(a.Path, b.Path) })
	return d.out, nil
}

func (d *differ) add(kind byte, name string) error {
	if len(d.out) >= maxDiff {
		return fault.New(fault.Range, "more than %d changes", maxDiff)
	}
	d.out = append(d.out, Change{kind, "/" + name})
	return nil
}

// dir walks one directory. covered: no directory of this name is in the image, or it is hidden.
func (d *differ) dir(name string, covered bool) error {
	entries, err := fs.ReadDir(d.upper.FS(), name)
	if err != nil {
		return err
	}
	seen := map[string]bool{}
	for _, e := range entries {
		seen[e.Name()] = true
		if err := d.entry(path.Join(name, e.Name()), covered); err != nil {
			return err
		}
	}
	if covered || !opaque(d.upper, name) {
		return nil
	}
	hidden, err := fs.ReadDir(d.lower.FS(), name)
	if err != nil {
		return nil // the image has no such directory: nothing is hidden
	}
	for _, e := range hidden {
		if !seen[e.Name()] {
			if err := d.add('D', path.Join(name, e.Name())); err != nil {
				return err
			}
		}
	}
	return nil
}

func (d *differ) entry(name string, covered bool) error {
	up, err := d.upper.Lstat(name)
	if err != nil {
		return nil // gone while we looked: the container runs
	}
	low, errLow := d.lower.Lstat(name)
	inImage := errLow == nil && !covered
	switch {
	case whiteout(up):
		if inImage {
			return d.add('D', name)
		}
		return nil
	case d.skip[name] && bare(d.upper, name, up):
		return nil
	case !up.IsDir():
		return d.add(kind(inImage), name)
	}
	mark := len(d.out)
	if err := d.dir(name, !inImage || !low.IsDir()); err != nil {
		return err
	}
	if inImage && len(d.out) == mark && d.sameMeta(up, low) && !opaque(d.upper, name) {
		return nil // copied up on the way to something, itself unchanged
	}
	return d.add(kind(inImage), name)
}

func kind(inImage bool) byte {
	if inImage {
		return 'C'
	}
	return 'A'
}

// bare reports whether a mount point holds nothing of the container's own.
func bare(r *os.Root, name string, info fs.FileInfo) bool {
	if !info.IsDir() {
		return info.Size() == 0
	}
	list, err := fs.ReadDir(r.FS(), name)
	return err == nil && len(list) == 0
}

// whiteout is overlayfs' mark of a deleted name: a character device 0:0.
func whiteout(info fs.FileInfo) bool {
	st, ok := info.Sys().(*unixStat)
	return ok && info.Mode()&fs.ModeCharDevice != 0 && st.Rdev == 0
}

func (d *differ) sameMeta(a, b fs.FileInfo) bool {
	sa, ok1 := a.Sys().(*unixStat)
	sb, ok2 := b.Sys().(*unixStat)
	return ok1 && ok2 && sa.Mode == sb.Mode && sa.Uid == sb.Uid+d.base && sa.Gid == sb.Gid+d.base
}

// opaque reports overlayfs' mark of a directory that hides the image's.
func opaque(r *os.Root, name string) bool {
	f, err := r.Open(name)
	if err != nil {
		return false
	}
	defer f.Close()
	var v [1]byte
	n, err := unix.Fgetxattr(int(f.Fd()), "trusted.overlay.opaque", v[:])
	return err == nil && n == 1 && v[0] == 'y'
}
