package container

import (
	"context"
	"io"
	"os"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/containercloud/cc/fault"
	"github.com/containercloud/cc/runtime/boot"
)

// Root is a container's root file system, for copying in and out. While the container runs it is what its first process sees, mounts
// included; otherwise its own file system with /app.
//
// Files show ids of the host: Base above the container's. Paths are safe by os.Root, whatever the container does meanwhile;
// an open must be non-blocking and must look at what it has opened: the container may have put a FIFO there.
type Root struct {
	*os.Root
	Base     uint32
	IDs      uint32 // how many ids the container has; with Base 0 they are the host's
	ReadOnly bool   // the container's own root file system is for reading only
	close    func()
}

// Close lets go of the file system.
func (r *Root) Close() error {
	err := r.Root.Close()
	if r.close != nil {
		r.close()
	}
	return err
}

// As runs f as the container's root where that makes a difference: a file made by root of the host could not be written
// down in a file system whose ids are mapped (EOVERFLOW). f must not start goroutines that make files.
func (r *Root) As(f func() error) error {
	if r.Base == 0 {
		return f()
	}
	runtime.LockOSThread()
	// Effective file capabilities go with fsuid 0; they are raised again, so that every directory stays reachable.
	if err := actAs(int(r.Base)); err != nil {
		return err // the thread stays locked, and ends with its goroutine
	}
	defer func() {
		if actAs(0) == nil {
			runtime.UnlockOSThread() // else the thread ends with its goroutine
		}
	}()
	return f()
}

func actAs(id int) error {
	_, _ = unix.SetfsgidRetGid(id)
	_, _ = unix.SetfsuidRetUid(id)
	if got, _ := unix.SetfsuidRetUid(-1); got != id {
		return fault.New(fault.Internal, "cannot act as id %d", id)
	}
	head := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var data [2]unix.CapUserData
	if err := unix.Capget(&head, &data[0]); err != nil {
		return os.NewSyscallError("capget", err)
	}
	for i := range data {
		data[i].Effective = data[i].Permitted
	}
	return os.NewSyscallError("capset", unix.Capset(&head, &data[0]))
}

// rootView is the opened root that the container keeps for its readers.
type rootView struct {
	*Root
	run  *run // whose root it is; nil: of the stopped container
	idle *time.Timer
}

// rootIdle is how long an unused view stays open.
const rootIdle = 30 * time.Second

// Root is the root file system, opened at the first use. It stays the container's, which closes it when nobody asked for a while,
// when the container starts or ends, and when it goes.
func (c *Container) Root() (*Root, error) {
	c.mu.Lock()
	if v := c.view; v != nil && v.run == c.bodyAliveLocked() && v.idle.Reset(rootIdle) {
		c.mu.Unlock()
		return v.Root, nil
	}
	c.mu.Unlock()
	r, root, err := c.openView()
	if err != nil {
		return nil, fault.Wrap(err, "cannot open the root of container %s", c.Meta().Name)
	}
	v := &rootView{Root: root, run: r}
	v.idle = time.AfterFunc(rootIdle, func() { c.dropView(v) })
	c.mu.Lock()
	old := c.view
	c.view, c.lent = v, true
	c.mu.Unlock()
	old.drop()
	return root, nil
}

// bodyAliveLocked is the run whose processes are there, or nil.
func (c *Container) bodyAliveLocked() *run {
	if c.st.State.Alive() && !c.armed {
		return c.body
	}
	return nil
}

func (c *Container) openView() (*run, *Root, error) {
	c.mu.Lock()
	r := c.bodyAliveLocked()
	readOnly := c.spec.ReadOnly
	c.mu.Unlock()
	if r != nil {
		root, err := openRunning(r)
		if err == nil {
			ids := c.m.idsOf(!r.rec.UserNS)
			return r, &Root{Root: root, Base: ids.Base, IDs: ids.Size, ReadOnly: readOnly}, nil
		}
		if c.State().Alive() {
			return nil, nil, err
		}
	}
	ctx, cancel := context.WithTimeout(c.m.ctx, startDeadline)
	defer cancel()
	if err := c.lock(ctx); err != nil {
		return nil, nil, err
	}
	defer c.unlock()
	root, err := c.m.openStopped(ctx, c)
	return nil, root, err
}

// dropView closes a view, or with nil whatever is open.
func (c *Container) dropView(v *rootView) {
	c.mu.Lock()
	if v == nil {
		v = c.view
	}
	if c.view == v {
		c.view = nil
	}
	c.mu.Unlock()
	v.drop()
}

func (v *rootView) drop() {
	if v != nil {
		v.idle.Stop()
		_ = v.Close()
	}
}

// openRunning opens the root of a living process.
func openRunning(r *run) (*os.Root, error) {
	root, err := os.OpenRoot("/proc/" + strconv.Itoa(r.rec.PID) + "/root")
	if err != nil {
		return nil, err
	}
	if err := alive(r.pidfd); err != nil { // the number is another's by now
		root.Close()
		return nil, err
	}
	return root, nil
}

// openStopped mounts what a container that does not run would see. c.op is held.
func (m *Manager) openStopped(ctx context.Context, c *Container) (*Root, error) {
	m.disarm(c)
	if err := c.left(ctx); err != nil {
		return nil, err
	}
	p, err := m.plan(c)
	if err != nil {
		return nil, err
	}
	fs, err := m.rootOf(p)
	if err != nil {
		return nil, err
	}
	c.mu.Lock()
	c.st.Digest = p.img.Digest
	c.mu.Unlock()
	m.saveSoon(c)
	fs.fresh = false // whoever looks may change it
	release, ok := fs.hold()
	if !ok {
		return nil, fault.New(fault.Again, "it is being closed")
	}
	root, err := m.withApp(c, fs, m.idsOf(p.host))
	if err != nil {
		release()
		return nil, err
	}
	ids := m.idsOf(p.host)
	return &Root{Root: root, Base: ids.Base, IDs: ids.Size, close: sync.OnceFunc(release)}, nil
}

// withApp is a clone of the file system with /app mounted in it, where the kernel can do that outside of a namespace (6.15).
func (m *Manager) withApp(c *Container, fs *rootfs, ids boot.IDMap) (*os.Root, error) {
	top, err := fs.attachable()
	if err != nil {
		return nil, err
	}
	defer top.Close()
	at, err := rawFD(top)
	if err != nil {
		return nil, err
	}
	root, err := os.OpenRoot("/proc/self/fd/" + strconv.Itoa(at))
	if err != nil {
		return nil, err
	}
	if err := m.mountApp(c, root, at, ids); err != nil {
		m.log.Debug("no /app in the root of a stopped container", "container", c.id, "error", err)
	}
	return root, nil
}

func (m *Manager) mountApp(c *Container, root *os.Root, at int, ids boot.IDMap) error {
	r := Root{Root: root, Base: ids.Base}
	if err := r.As(func() error { return root.Mkdir("app", 0o755) }); err != nil && !os.IsExist(err) {
		return err
	}
	how := unix.OpenHow{Flags: unix.O_PATH | unix.O_DIRECTORY | unix.O_CLOEXEC, Resolve: unix.RESOLVE_BENEATH | unix.RESOLVE_NO_SYMLINKS}
	target, err := unix.Openat2(at, "app", &how)
	if err != nil {
		return err
	}
	defer unix.Close(target)
	app, err := m.bind(c.dir+"/app", ids, false)
	if err != nil {
		return err
	}
	defer app.Close()
	fd, err := rawFD(app)
	if err != nil {
		return err
	}
	return unix.MoveMount(fd, "", target, "", unix.MOVE_MOUNT_F_EMPTY_PATH|unix.MOVE_MOUNT_T_EMPTY_PATH)
}

// Diff lists what differs from the image, sorted by path.
func (c *Container) Diff() ([]Change, error) {
	list, err := c.diff()
	return list, fault.Wrap(err, "cannot compare container %s with its image", c.Meta().Name)
}

func (c *Container) diff() ([]Change, error) {
	c.mu.Lock()
	layer, spec := c.layer, c.spec
	c.mu.Unlock()
	digest, _, host := strings.Cut(layer, " ")
	if digest == "" {
		return nil, nil // nothing ran yet
	}
	img, err := c.m.conf.Images.Find(digest)
	if err != nil {
		return nil, err
	}
	base, err := img.Root()
	if err != nil {
		return nil, err
	}
	defer base.Close()
	fd, err := rawFD(base)
	if err != nil {
		return nil, err
	}
	lower, err := os.OpenRoot("/proc/self/fd/" + strconv.Itoa(fd))
	if err != nil {
		return nil, err
	}
	defer lower.Close()
	upper, err := os.OpenRoot(layerDir(c.dir) + "/upper")
	if err != nil {
		return nil, err
	}
	defer upper.Close()
	skip := []string{"/app", "/proc", "/sys", "/dev", "/etc/hosts", "/etc/hostname", "/etc/resolv.conf"}
	for _, mnt := range spec.Mounts {
		skip = append(skip, mnt.Target)
	}
	return diff(upper, lower, c.m.idsOf(host).Base, skip)
}

// userNames reads the names of the container's users, for lists. What cannot be read is left out.
func (c *Container) userNames(r *run) map[uint32]string {
	root, err := openRunning(r)
	if err != nil {
		return nil
	}
	defer root.Close()
	f, err := root.OpenFile("etc/passwd", os.O_RDONLY|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil
	}
	defer f.Close()
	if info, err := f.Stat(); err != nil || !info.Mode().IsRegular() {
		return nil
	}
	text, err := io.ReadAll(io.LimitReader(f, 1<<20))
	if err != nil {
		return nil
	}
	return parsePasswd(string(text))
}

func parsePasswd(text string) map[uint32]string {
	names := map[uint32]string{}
	for line := range strings.Lines(text) {
		w := strings.Split(strings.TrimSpace(line), ":")
		if len(w) < 3 {
			continue
		}
		uid, err := strconv.ParseUint(w[2], 10, 32)
		if _, have := names[uint32(uid)]; err == nil && !have {
			names[uint32(uid)] = w[0]
		}
	}
	return names
}
