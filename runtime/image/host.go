package image

import (
	"runtime"

	v1 "github.com/google/go-containerregistry/pkg/v1"
)

// hostImage is the image `host`: whatever the host's root is at the moment. Its Root is "/" itself, used as the only
// lower of a container's overlay.
//
// An upper inside its own lower is refused by some kernels before 5.4 only; since then overlayfs refuses only a lower
// inside another layer (ovl_check_layer, is_lower), so the container's upper may lie below "/" on the same file system. What remains
// is that the upper and work directories give ELOOP when they are reached through the overlay itself, which does no
// harm; whoever mounts should put an empty read-only tmpfs over the daemon's state and run directories, because they
// hold other people's containers. File systems mounted below "/" are not part of a lower: /proc, /sys, /boot are empty.
// Rejected: an upper on tmpfs (a container's files would take memory and die with the mount), and one overlay for each
// directory of "/".
func hostImage() *Image {
	return &Image{
		Digest: Host, Names: []string{Host}, Host: true, Platform: "linux/" + runtime.GOARCH,
		Config: v1.Config{
			Env: []string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"},
			Cmd: []string{"/bin/sh"},
		},
	}
}
