package boot

import (
	"fmt"
	"path"
	"strings"

	"golang.org/x/sys/unix"
)

// earlyMounts attaches the mounts that do not lie below /dev and returns the others. At that time the container has
// no /proc and no /sys yet, so no symlink of the image leads there.
func (s *script) earlyMounts(root value, mounts []Mount) (late []Mount) {
	for i := range mounts {
		if below(mounts[i].Target, "/dev") {
			late = append(late, mounts[i])
			continue
		}
		s.attach(root, &mounts[i], true)
	}
	return late
}

// attach puts one mount in its place.
func (s *script) attach(root value, m *Mount, mayFollow bool) {
	free := s.next
	source := s.source(m)
	target := s.target(root, m, mayFollow)
	s.do(callMoveMount, source, s.str(""), target, s.str(""), bothEmpty)
	s.next = free
}

func (s *script) source(m *Mount) value {
	attr := uint64(unix.MOUNT_ATTR_NODEV)
	if m.ReadOnly {
		attr |= unix.MOUNT_ATTR_RDONLY
	}
	if m.NoExec {
		attr |= unix.MOUNT_ATTR_NOEXEC
	}
	if m.Source == nil {
		return s.tmpfs(m.Tmpfs, attr|unix.MOUNT_ATTR_NOSUID)
	}
	src := s.fd(m.Source, "source of "+m.Target)
	s.setattr(src, "", true, attr, attrText(attr))
	return src
}

func attrText(attr uint64) string {
	return bits(attr, "RDONLY", unix.MOUNT_ATTR_RDONLY, "NOSUID", unix.MOUNT_ATTR_NOSUID,
		"NODEV", unix.MOUNT_ATTR_NODEV, "NOEXEC", unix.MOUNT_ATTR_NOEXEC).text
}

func (s *script) tmpfs(size int64, attr uint64) value {
	fs := s.keep(s.do(callFsopen, s.str("tmpfs"), name(unix.FSOPEN_CLOEXEC, "FSOPEN_CLOEXEC")))
	s.fsString(fs, "source", "cc")
	s.fsString(fs, "mode", "1777")
	if size > 0 {
		s.fsString(fs, "size", fmt.Sprint(size))
	}
	s.do(callFsconfig, fs, name(unix.FSCONFIG_CMD_CREATE, "CMD_CREATE"), null, null, num(0))
	return s.keep(s.do(callFsmount, fs, name(unix.FSMOUNT_CLOEXEC, "FSMOUNT_CLOEXEC"), name(attr, attrText(attr))))
}

func (s *script) fsString(fs value, key, val string) {
	s.do(callFsconfig, fs, name(unix.FSCONFIG_SET_STRING, "SET_STRING"), s.str(key), s.str(val), num(0))
}

// target opens the mount point and makes it when it is missing. The path is taken strictly first: no symlink. Where the
// image itself has one on the way (/var/run), it is followed below the root and only inside the image's own
// file system: what is mounted there already (a volume shared with somebody) has no say (CVE-2021-30465).
func (s *script) target(root value, m *Mount, mayFollow bool) value {
	found := s.reg().value()
	done := s.label()
	s.lookup(root, m.Target, mayFollow, found, done)
	s.makeTarget(root, m, mayFollow)
	s.lookup(root, m.Target, mayFollow, found, done)
	s.open(root, m.Target, strict).into(found) // once more, to fail with its reason
	s.place(done)
	return found
}

// makeTarget makes what is missing of a mount point, from the root down.
func (s *script) makeTarget(root value, m *Mount, mayFollow bool) {
	parent := root
	list := parts(m.Target)
	for i, part := range list[:len(list)-1] {
		s.try(callMkdirat, parent, s.str(part), octal(0o755))
		prefix, next, dir := "/"+strings.Join(list[:i+1], "/"), s.label(), s.reg().value()
		s.lookup(root, prefix, mayFollow, dir, next)
		s.open(root, prefix, strict).into(dir)
		s.place(next)
		parent = dir
	}
	last := s.str(list[len(list)-1])
	if m.File {
		s.try(callMknodat, parent, last, octal(unix.S_IFREG|0o644), num(0))
		return
	}
	s.try(callMkdirat, parent, last, octal(0o755))
}

// lookup opens path p as result and goes to found, or goes on to the next op.
func (s *script) lookup(root value, p string, mayFollow bool, result value, found label) {
	s.open(root, p, strict).into(result).orNext().on(jz|jp, found)
	if mayFollow {
		s.open(root, p, within).into(result).orNext().on(jz|jp, found)
	}
}

func parts(p string) []string { return strings.Split(strings.TrimPrefix(path.Clean(p), "/"), "/") }
