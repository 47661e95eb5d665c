package container

import (
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/containercloud/cc/fault"
	"github.com/containercloud/cc/runtime/boot"
	"github.com/containercloud/cc/runtime/image"
)

// rootfs is a container's root file system: an overlay of its own layer over the image. The mount itself is never attached
// anywhere; every start and every reader gets a clone of it, so that one file system serves them all, whoever comes first
// (two overlays on one upper directory would each miss what the other writes).
type rootfs struct {
	digest string
	host   bool // the host's ids instead of the container's
	mount  *os.File
	fresh  bool      // nothing ran in it yet
	newest time.Time // when anything in the layer and in /app was changed; zero: unknown, or too lately to see a change

	mu   sync.Mutex
	uses int // readers; the container itself is not counted
	done bool
}

// attachable is a clone to put into a container.
func (f *rootfs) attachable() (*os.File, error) {
	return boot.CloneMount(f.mount, false, boot.IDMap{})
}

// hold keeps the mount for a reader until the returned function is called.
func (f *rootfs) hold() (release func(), ok bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.done && f.uses == 0 {
		return nil, false
	}
	f.uses++
	return sync.OnceFunc(func() {
		f.mu.Lock()
		defer f.mu.Unlock()
		f.uses--
		if f.done && f.uses == 0 {
			f.mount.Close()
		}
	}), true
}

// drop closes the mount when the last reader has gone. A nil rootfs is fine.
func (f *rootfs) drop() {
	if f == nil {
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if !f.done && f.uses == 0 {
		f.mount.Close()
	}
	f.done = true
}

// layerDir is where a container's own files are below its directory.
func layerDir(dir string) string { return filepath.Join(dir, "layer") }

// makeHome makes the directories and files of a container. upper becomes the root directory: the image's root is 0755 and root's
// everywhere that matters.
func makeHome(dir string) error {
	for _, d := range homeDirs {
		mode := os.FileMode(0o755)
		if d == "" {
			mode = 0o700
		}
		if err := os.Mkdir(filepath.Join(dir, d), mode); err != nil {
			return err
		}
	}
	// Files that a start opens are quicker than files that it makes.
	for _, f := range homeFiles {
		file, err := os.OpenFile(filepath.Join(dir, f), os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
		if err != nil {
			return err
		}
		file.Close()
	}
	return nil
}

// home is a container's directory that was made in advance, perhaps with its root file system mounted.
type home struct {
	dir    string
	rootfs *rootfs
	app    *os.File // detached mount of app/, for a container with a user namespace
}

// newHome makes one; digest "" leaves out the mount.
func (m *Manager) newHome(digest string) (*home, error) {
	h := &home{dir: m.newHomeDir()}
	if err := makeHome(h.dir); err != nil {
		return nil, err
	}
	if digest == "" {
		return h, nil
	}
	return h, m.furnishHome(h, digest)
}

// furnishHome mounts the image's root over a home. On failure nothing is left of the home.
func (m *Manager) furnishHome(h *home, digest string) error {
	img, err := m.conf.Images.Find(digest)
	if err == nil {
		err = m.conf.Images.Use(img.Digest, warmUser(h.dir))
	}
	if err == nil {
		h.rootfs, err = m.mountRoot(h.dir, img, false, false)
	}
	if err == nil {
		h.app, err = m.bind(filepath.Join(h.dir, "app"), m.host.ids, false)
	}
	if err == nil {
		err = makeTargets(h.rootfs.mount, m.host.ids.Base)
	}
	if err == nil {
		h.rootfs.newest, err = newestChange(filepath.Join(layerDir(h.dir), "upper"), filepath.Join(h.dir, "app"))
	}
	if err != nil {
		h.close(m)
	}
	return err
}

// makeTargets makes the places of the runtime's mounts that the image lacks, which else the start would do (60 us for each). Where
// the image has something else than a directory on the way, it is left to the start to say so.
func makeTargets(mount *os.File, base uint32) error {
	at, err := rawFD(mount)
	if err != nil {
		return err
	}
	top, err := os.OpenRoot("/proc/self/fd/" + strconv.Itoa(at))
	if err != nil {
		return err
	}
	defer top.Close()
	root := Root{Root: top, Base: base}
	return root.As(func() error {
		for _, d := range []string{"proc", "sys", "dev", "etc", "app"} {
			if _, err := root.Lstat(d); os.IsNotExist(err) {
				if err := root.Mkdir(d, 0o755); err != nil {
					return err
				}
			}
		}
		if etc, err := root.Lstat("etc"); err != nil || !etc.IsDir() {
			return nil
		}
		for _, f := range etcNames {
			name := "etc/" + f
			if _, err := root.Lstat(name); !os.IsNotExist(err) {
				continue
			}
			file, err := root.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
			if err != nil {
				return err
			}
			file.Close()
		}
		return nil
	})
}

// warmUser is what the image store calls a home that holds one of its images.
func warmUser(dir string) string { return "warm/" + filepath.Base(dir) }

func (h *home) close(m *Manager) {
	h.rootfs.drop()
	closeAll(h.app)
	m.conf.Images.Release(warmUser(h.dir))
	if err := m.remove(h.dir); err != nil && !os.IsNotExist(err) {
		m.log.Warn("a prepared directory stays behind", "dir", h.dir, "error", err)
	}
}

// warmDigest says which image's homes suit a spec, "" for none.
func (m *Manager) warmDigest(s Spec) string {
	if s.UserNS == UserNSHost || s.Image == image.Host {
		return ""
	}
	img, err := m.conf.Images.Find(s.Image)
	if err != nil {
		return ""
	}
	return img.Digest
}

// mountRoot mounts the overlay of dir over the image. again: the layer was mounted before.
func (m *Manager) mountRoot(dir string, img *image.Image, host, again bool) (*rootfs, error) {
	ids := m.idsOf(host)
	layer, err := openDir(layerDir(dir))
	if err != nil {
		return nil, err
	}
	defer layer.Close()
	o := boot.OverlayOptions{Volatile: true, Reuse: again, IDs: ids}
	lower, err := img.Root()
	if err != nil {
		return nil, err
	}
	defer lower.Close()
	mount, err := over(lower, layer, o)
	if err != nil {
		return nil, err
	}
	return &rootfs{digest: img.Digest, host: host, mount: mount, fresh: !again}, nil
}

func over(lower, layer *os.File, o boot.OverlayOptions) (*os.File, error) {
	upper, err := openat(layer, "upper")
	if err != nil {
		return nil, err
	}
	defer upper.Close()
	work, err := openat(layer, "work")
	if err != nil {
		return nil, err
	}
	defer work.Close()
	mount, err := boot.Overlay([]*os.File{lower}, upper, work, o)
	if err != nil {
		return nil, err
	}
	var st unix.Statfs_t
	if fd, err := rawFD(mount); err == nil && unix.Fstatfs(fd, &st) == nil && st.Flags&unix.ST_RDONLY != 0 {
		mount.Close() // overlayfs makes one that can only be read when it can write nothing down
		return nil, fault.New(fault.NoSpace, "no space for the root file system: the disk of the state directory is full")
	}
	return mount, nil
}

// rootOf is the container's root file system, mounted if it is not; c.op is held. An image that is another than that of the layer begins a
// new layer.
func (m *Manager) rootOf(p *plan) (*rootfs, error) {
	c := p.c
	c.mu.Lock()
	fs, layer := c.rootfs, c.layer
	c.mu.Unlock()
	if fs != nil && fs.digest == p.img.Digest && fs.host == p.host {
		m.owned(c, fs)
		return fs, nil
	}
	fs.drop()
	if layer != "" && layer != layerOf(p.img.Digest, p.host) {
		if err := m.freshLayer(c.dir); err != nil {
			return nil, fault.Wrap(err, "cannot begin a new root file system")
		}
		layer = ""
	}
	if err := m.useImage(p.img.Digest, string(p.meta.ID)); err != nil {
		return nil, err
	}
	fs, err := m.mountRoot(c.dir, p.img, p.host, layer != "")
	if err != nil {
		c.mu.Lock()
		c.rootfs = nil
		c.mu.Unlock()
		return nil, err
	}
	m.owned(c, fs)
	return fs, nil
}

// useImage keeps an image for a container, and lets go of the one before.
func (m *Manager) useImage(digest, id string) error {
	const meanwhile = "/next" // the image is in use at every moment
	if err := m.conf.Images.Use(digest, id+meanwhile); err != nil {
		return err
	}
	defer m.conf.Images.Release(id + meanwhile)
	m.conf.Images.Release(id)
	return m.conf.Images.Use(digest, id)
}

func (m *Manager) owned(c *Container, fs *rootfs) {
	c.mu.Lock()
	c.rootfs, c.layer = fs, layerOf(fs.digest, fs.host)
	c.mu.Unlock()
}

// layerOf names what a layer belongs to: an image, and whose ids its files have on disk. One of another name begins anew.
func layerOf(digest string, host bool) string {
	if host {
		return digest + " host"
	}
	return digest
}

// freshLayer puts an empty layer in the place of the present one.
func (m *Manager) freshLayer(dir string) error {
	layer := layerDir(dir)
	if err := m.remove(layer); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	for _, d := range []string{"", "upper", "work"} {
		if err := os.Mkdir(filepath.Join(layer, d), 0o755); err != nil {
			return err
		}
	}
	return nil
}

func openDir(dir string) (*os.File, error) {
	return os.OpenFile(dir, unix.O_PATH|unix.O_DIRECTORY|unix.O_NOFOLLOW, 0)
}

func openat(dir *os.File, name string) (*os.File, error) {
	fd, err := rawFD(dir)
	if err != nil {
		return nil, err
	}
	n, err := unix.Openat(fd, name, unix.O_PATH|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, &os.PathError{Op: "open", Path: name, Err: err}
	}
	return os.NewFile(uintptr(n), name), nil
}
