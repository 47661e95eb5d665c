package container

import (
	"errors"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"github.com/containercloud/cc/fault"
	"github.com/containercloud/cc/object"
	"github.com/containercloud/cc/runtime/keeper"
)

// A container that changed nothing in its root file system and in /app leaves its home as it found it. Such a home is made
// blank and goes back to the shelf, mount and all. It is not only quicker than to remove one and make another: ext4 gives a
// deleted inode to nobody for a minute, and everyone who makes a file steps over those of all files that were
// deleted meanwhile (recently_deleted in fs/ext4/ialloc.c). With a hundred short lives a second, making files was
// two thirds of the daemon's work.

const (
	spareHomes = 16 // of an image, beyond what the shelf wants
	lingering  = time.Second
	// settling is how old the newest file of a home must be when it is taken, so that a later change has another time: the
	// clock of an inode moves in steps of up to 10 ms, where it is not a fine one (fineTimes).
	settling = 50 * time.Millisecond
)

// fineTimes reports whether a change in dir is always later than one that somebody has looked at: multigrain timestamps, Linux
// 6.13 on ext4, xfs, btrfs and tmpfs.
func fineTimes(dir string) bool {
	f, err := os.CreateTemp(dir, "times")
	if err != nil {
		return false
	}
	defer os.Remove(f.Name())
	defer f.Close()
	var before, st unix.Stat_t
	for range 5 { // a coarse clock does not tick five times in a row
		if err := errors.Join(f.Chmod(0o600), unix.Fstat(int(f.Fd()), &st)); err != nil || st.Ctim == before.Ctim {
			return false
		}
		before = st
	}
	return true
}

// homeDirs and homeFiles are everything in a home that was never used, but for what is below layer and app.
var (
	homeDirs  = []string{"", "layer", "layer/upper", "layer/work", "app", "logs"}
	homeFiles = []string{specFile, statusFile, keeper.RecordName, "logs/stdout", "logs/stdout.idx", "logs/stderr", "logs/stderr.idx"}
)

// lend notes that somebody else may have a file of the container open from now on: its home is then nobody else's. A log that is
// read is such a file, and so is every file of a container with a bind mount, which can pass descriptors to others through a socket.
func (c *Container) lend() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.lent = true
}

// pristine says whether a container that goes leaves its home as it was; c.op is held, and nothing of it runs any more. The root
// file system must be that of a home, seen by nobody but the container.
func (c *Container) pristine() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	fs := c.rootfs
	return fs != nil && !fs.newest.IsZero() && !c.lent && !c.armed && c.body == nil && c.st.State == Exited && len(c.sessions) == 0
}

// recycle makes a home of the directory of a deleted container, or throws it away.
func (m *Manager) recycle(dir string, fs *rootfs) {
	h, err := m.blank(dir, fs)
	if err == nil && m.warm.giveBack(h) {
		return
	}
	if err != nil {
		m.log.Debug("a home is not used again", "error", err)
		fs.drop()
		removeTree(dir, m.log)
		return
	}
	h.close(m)
}

// blank brings a used home back to how newHome made it. An error leaves dir where it was.
func (m *Manager) blank(dir string, fs *rootfs) (*home, error) {
	newest, err := newestChange(filepath.Join(layerDir(dir), "upper"), filepath.Join(dir, "app"))
	if err != nil {
		return nil, err
	}
	if !newest.Equal(fs.newest) {
		return nil, fault.New(fault.Busy, "it was changed")
	}
	if err := blankFiles(dir); err != nil {
		return nil, err
	}
	h := &home{dir: m.newHomeDir(), rootfs: fs}
	if err := m.conf.Images.Use(fs.digest, warmUser(h.dir)); err != nil {
		return nil, err
	}
	if h.app, err = m.bind(filepath.Join(dir, "app"), m.host.ids, false); err == nil {
		err = os.Rename(dir, h.dir)
	}
	if err != nil {
		closeAll(h.app)
		m.conf.Images.Release(warmUser(h.dir))
		return nil, err
	}
	return h, nil
}

func (m *Manager) newHomeDir() string {
	return filepath.Join(m.conf.State, "warm", string(object.NewID()))
}

// blankFiles empties the files of a home and finds out that there is nothing else.
func blankFiles(dir string) error {
	seen := 0
	for _, d := range []string{"", "logs"} {
		names, err := readNames(filepath.Join(dir, d))
		if err != nil {
			return err
		}
		seen += len(names)
	}
	if seen != len(homeFiles)+len([]string{"layer", "app", "logs"}) {
		return fault.New(fault.Busy, "there are other files in it")
	}
	for _, name := range homeFiles {
		if err := blankFile(filepath.Join(dir, name)); err != nil {
			return err
		}
	}
	return nil
}

// blankFile empties a file that must be as makeHome made it. It is closed after that: what is written later by another descriptor
// would else be written to the disk at its close (auto_da_alloc in ext4(5)).
func blankFile(name string) error {
	f, err := os.OpenFile(name, os.O_WRONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	var st unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &st); err != nil {
		return err
	}
	if st.Mode != unix.S_IFREG|0o600 || st.Uid != 0 || st.Nlink != 1 {
		return fault.New(fault.Busy, "%s was given away", filepath.Base(name))
	}
	if st.Size == 0 {
		return nil
	}
	return f.Truncate(0)
}

// mostFiles bounds the look at a layer: a home's has the places of the runtime's mounts and nothing else.
const mostFiles = 32

// newestChange is the time of the newest change (st_ctime, which nobody can set) of anything in the directories: every file that
// comes, goes, or is touched, changes its own or its directory's.
func newestChange(dirs ...string) (newest time.Time, err error) {
	n := 0
	var look func(name string) error
	look = func(name string) error {
		if n++; n > mostFiles {
			return fault.New(fault.Busy, "there are more files in it")
		}
		var st unix.Stat_t
		if err := unix.Lstat(name, &st); err != nil {
			return err
		}
		if t := time.Unix(st.Ctim.Unix()); t.After(newest) {
			newest = t
		}
		if st.Mode&unix.S_IFMT != unix.S_IFDIR {
			return nil
		}
		names, err := readNames(name)
		for _, e := range names {
			if err == nil {
				err = look(filepath.Join(name, e))
			}
		}
		return err
	}
	for _, d := range dirs {
		if err := look(d); err != nil {
			return newest, err
		}
	}
	return newest, nil
}

// dropLater lets go of the root file system of a container that has ended, if it is neither started nor deleted meanwhile: then
// it is of use.
func (m *Manager) dropLater(c *Container, fs *rootfs) {
	time.AfterFunc(lingering, func() {
		m.spawn(func() {
			if c.lock(m.ctx) != nil {
				return
			}
			defer c.unlock()
			c.mu.Lock()
			idle := c.rootfs == fs && c.body == nil
			if idle {
				c.rootfs = nil
			}
			c.mu.Unlock()
			if idle {
				fs.drop()
			}
		})
	})
}
