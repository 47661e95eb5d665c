package image

import (
	"os"
	"runtime"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"golang.org/x/sys/unix"

	"github.com/containercloud/cc/fault"
)

// hostImage is the image `host`: whatever the host's root is at the moment.
func hostImage() *Image {
	return &Image{
		Digest: Host, Names: []string{Host}, Host: true, Platform: "linux/" + runtime.GOARCH,
		Config: v1.Config{
			Env: []string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"},
			Cmd: []string{"/bin/sh"},
		},
	}
}

// HostLower puts a read-only overlay of nothing over the host's root and returns it as a detached mount, for use as
// the lower of containers' overlays. root is a mount of the host's root (its own, or an idmapped clone), empty an empty
// directory on any other place than below what will be upper.
//
// It is needed because overlayfs refuses with ELOOP an upper that lies inside a lower of the same file
// system, and the state directory usually lies below "/". The check walks from upper to the root of its file
// system looking for a lower's inode; a lower that is itself an overlay has inodes of its own. That costs
// one level of the two that overlays may be stacked. Rejected: an upper on tmpfs (a container's files would take memory and
// die with the mount), and one overlay for each directory of "/" (the one with the state directory in it needs the
// same again one level down). File systems mounted below "/" are not part of it: /proc, /sys, /boot are empty.
//
// An overlay cannot be idmapped: for a container with a user namespace, idmap root before.
func HostLower(root, empty *os.File) (*os.File, error) {
	m, err := hostLower(root, empty)
	return m, fault.Wrap(err, "cannot make the image host")
}

func hostLower(root, empty *os.File) (*os.File, error) {
	fs, err := unix.Fsopen("overlay", unix.FSOPEN_CLOEXEC)
	if err != nil {
		return nil, err
	}
	defer unix.Close(fs)
	for _, l := range []*os.File{empty, root} { // two lowers and no upper: a read-only overlay
		if err := fsconfigFD(fs, "lowerdir+", int(l.Fd())); err != nil {
			return nil, err
		}
	}
	if err := unix.FsconfigSetString(fs, "source", "cc-host"); err != nil {
		return nil, err
	}
	if err := unix.FsconfigCreate(fs); err != nil {
		return nil, err
	}
	fd, err := unix.Fsmount(fs, unix.FSMOUNT_CLOEXEC, unix.MOUNT_ATTR_RDONLY|unix.MOUNT_ATTR_NODEV)
	if err != nil {
		return nil, err
	}
	return os.NewFile(uintptr(fd), "cc-host"), nil
}

// fsconfigFD gives a layer as a descriptor where the kernel takes them (6.14), else by its magic name.
func fsconfigFD(fs int, key string, fd int) error {
	err := unix.FsconfigSetFd(fs, key, fd)
	if err != unix.EINVAL {
		return err
	}
	return unix.FsconfigSetString(fs, key, fdPath(fd))
}
