// Package image keeps the images that containers start from: it fetches, checks, unpacks and finds them.
//
// A Store is one directory that only root can enter (setuid files of layers lie in it):
//
//	lock                  held while a daemon has the store open
//	blob/HEX              manifests and configs, by SHA-256
//	partial/HEX           layers on their way; a later pull goes on where an earlier one ended
//	layer/HEX/tree        one unpacked layer by its diffID, shared by all images that have it
//	root/HEX/tree         one merged root per list of layers; its files are links to the layers' files
//	image/HEX             the record that makes the above an image
//	ref/HEX               a name and the image it stands for, by SHA-256 of the canonical name
//	tmp/                  everything unfinished; emptied by Open
//
// Whatever appears under its final name is whole: it is made in tmp and renamed. That holds against kill -9. Against
// loss of power it holds because a layer or root is believed only if it was made since the machine started
// or carries the file `durable`, which is put there after a background syncfs: no pull waits for the disk.
//
// Locks: Store.mu guards the maps and the renames that go with them and is never held across reading,
// unpacking or deleting trees. What a running job has found or made but not yet recorded is pinned.
package image

import (
	"os"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/containercloud/cc/runtime/image/unpack"
)

// Names of the images that need no registry.
const (
	Builtin = "builtin" // a u-root userland that is part of the daemon; the default
	Host    = "host"    // the host's own root
)

// Image is one image as it was when it was asked for.
type Image struct {
	Digest   string    // "sha256:HEX" of the manifest; for host "host"
	Names    []string  // as they were given, sorted
	Config   v1.Config // Env, Cmd, Entrypoint, WorkingDir, User, StopSignal, ExposedPorts, Labels ...
	Platform string    // "linux/amd64"
	Layers   []Layer   // lowest first
	Size     int64     // bytes of the unpacked layers
	Created  time.Time // by whoever built it; when unknown, Added
	Added    time.Time // when it came into this store
	Skipped  unpack.Skipped
	Host     bool // Root is the host's root: see HostLower for how to put an overlay on it

	store *Store
	root  string // key below root/
	// Raw documents, as the tree shows them.
	manifest, config string // hex below blob/
}

// Layer is one layer of an image.
type Layer struct {
	DiffID string // "sha256:HEX" of the uncompressed tar
	Digest string // of the blob in the registry
	Size   int64  // of the blob
	Bytes  int64  // unpacked
}

// ID is the short name of the image in tables: 12 hex digits.
func (i *Image) ID() string {
	if i.Host {
		return Host
	}
	return i.Digest[len("sha256:"):][:12]
}

// Root opens the root file system read-only as an O_PATH descriptor. Its owners are the container's ids, from 0.
// The caller must hold a Use of the image for as long as something is mounted from it.
func (i *Image) Root() (*os.File, error) {
	if i.Host {
		return openPath("/")
	}
	return i.store.openRoot(i)
}

// Manifest returns the image's manifest as the registry gave it.
func (i *Image) Manifest() ([]byte, error) { return i.document(i.manifest) }

// ConfigFile returns the image's whole configuration document.
func (i *Image) ConfigFile() ([]byte, error) { return i.document(i.config) }

func (i *Image) document(hex string) ([]byte, error) {
	if i.Host {
		return []byte("{}\n"), nil
	}
	return i.store.readBlob(hex)
}
