package unpack

import (
	"archive/tar"
	"bytes"
	"strings"

	"golang.org/x/sys/unix"
)

const xattrRecord = "SCHILY.xattr."

type attr struct {
	name  string
	value string
}

// Bounds of what one entry may carry; ext4 has room for less.
const (
	maxAttrs      = 64
	maxAttrBytes  = 64 << 10
	capabilityKey = "security.capability"
)

// xattrs picks the extended attributes an image may set: user.* and file capabilities. Attributes that
// overlayfs itself obeys would let a layer redirect directories of the merged root, so a layer that has them is
// refused; labels of the build host's security modules and ACLs are left out and counted.
func (u *unpacker) xattrs(h *tar.Header) ([]attr, error) {
	var list []attr
	size := 0
	for key, value := range h.PAXRecords {
		name, ok := strings.CutPrefix(key, xattrRecord)
		if !ok {
			continue
		}
		if strings.HasPrefix(name, "trusted.") || strings.HasPrefix(name, "user.overlay.") || strings.HasPrefix(name, "system.overlay.") {
			return nil, refuse("%q sets the attribute %q", short(h.Name), short(name))
		}
		if name != capabilityKey && !strings.HasPrefix(name, "user.") {
			u.rec.Skipped.Xattrs++
			continue
		}
		size += len(name) + len(value)
		if len(list) >= maxAttrs || size > maxAttrBytes || len(name) > 255 {
			return nil, refuse("%q has too many or too large attributes", short(h.Name))
		}
		list = append(list, attr{name, value})
	}
	return list, nil
}

// setXattrs sets attributes on an open file. Links and fifos cannot have user.* (xattr(7)): left out.
func (u *unpacker) setXattrs(fd int, list []attr) error {
	for _, a := range list {
		err := unix.Fsetxattr(fd, a.name, []byte(a.value), 0)
		if err == unix.ENOTSUP {
			u.rec.Skipped.Xattrs++
			continue
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// copyXattrs gives the directory to the attributes of from, but our own mark.
func copyXattrs(from, to int) error {
	n, err := unix.Flistxattr(from, nil)
	if err != nil || n == 0 {
		return ignoreUnsupported(err)
	}
	list := make([]byte, n)
	if n, err = unix.Flistxattr(from, list); err != nil {
		return err
	}
	for _, raw := range bytes.Split(list[:n], []byte{0}) {
		name := string(raw)
		if name != capabilityKey && !strings.HasPrefix(name, "user.") {
			continue
		}
		value := make([]byte, maxAttrBytes)
		n, err := unix.Fgetxattr(from, name, value)
		if err != nil {
			return err
		}
		if err := unix.Fsetxattr(to, name, value[:n], 0); err != nil {
			return err
		}
	}
	return nil
}

func ignoreUnsupported(err error) error {
	if err == unix.ENOTSUP {
		return nil
	}
	return err
}
