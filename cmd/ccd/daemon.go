package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/containercloud/cc/build"
	"github.com/containercloud/cc/ccfs"
	"github.com/containercloud/cc/ccfs/fusefs"
	"github.com/containercloud/cc/ccfs/tree"
	"github.com/containercloud/cc/event"
	"github.com/containercloud/cc/fault"
	"github.com/containercloud/cc/net/vpc"
	"github.com/containercloud/cc/object"
	"github.com/containercloud/cc/runtime/boot"
	"github.com/containercloud/cc/runtime/cgroup"
	"github.com/containercloud/cc/runtime/container"
	"github.com/containercloud/cc/runtime/image"
	"github.com/containercloud/cc/runtime/image/builtin"
	"github.com/containercloud/cc/runtime/keeper"
	"github.com/containercloud/cc/store"
)

// daemon is everything ccd has open, in the order it is opened. Closing goes backwards.
type daemon struct {
	conf   config
	log    *slog.Logger
	level  *slog.LevelVar
	ring   *logRing
	events event.Log

	lock       *os.File
	instance   net.Listener // its name is the lock of the instance
	store      store.Store
	images     *image.Store
	keeper     *keeper.Client
	cgroups    *cgroup.Root
	networks   *vpc.Manager
	containers *container.Manager
	tree       *tree.Tree
	mount      *fusefs.Server

	once     sync.Once
	shutdown chan struct{} // closed by `echo shutdown > /cc/ctl`
}

func newDaemon(conf config) *daemon {
	d := &daemon{conf: conf, level: new(slog.LevelVar), shutdown: make(chan struct{})}
	d.ring = &logRing{out: os.Stderr, max: 64 << 10}
	d.log = slog.New(slog.NewTextHandler(d.ring, &slog.HandlerOptions{Level: d.level}))
	return d
}

// cloud is what the tables get.
func (d *daemon) cloud(host *ccfs.Host) *ccfs.Cloud {
	return &ccfs.Cloud{
		Version: build.Version(), Host: host,
		Containers: d.containers, Networks: d.networks, Images: d.images, Events: &d.events,
		Level: d.level, LogFile: d.ring.tail, Features: d.features,
		Shutdown: func() { d.once.Do(func() { close(d.shutdown) }) },
	}
}

// Open starts everything; when it returns the tree answers. After an error Close must still be called.
func (d *daemon) Open(ctx context.Context) error {
	for _, step := range []struct {
		what string
		do   func(context.Context) error
	}{
		{"state directory", d.openState},
		{"instance", d.openInstance},
		{"store", d.openStore},
		{"events", d.openEvents},
		{"images", d.openImages},
		{"keeper", d.openKeeper},
		{"networks", d.openNetworks},
		{"containers", d.openContainers},
		{"tree", d.openTree},
	} {
		if err := step.do(ctx); err != nil {
			return fmt.Errorf("cannot open %s: %w", step.what, err)
		}
	}
	d.log.Info("up", "version", build.Version(), "mount", d.conf.mount, "instance", d.conf.instance, "containers", len(d.containers.List()))
	return nil
}

// openState makes the directories and refuses to share them with another daemon.
func (d *daemon) openState(context.Context) error {
	for _, dir := range []string{d.conf.state, d.conf.run} {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return err
		}
		if err := os.Chmod(dir, 0o700); err != nil {
			return err
		}
	}
	f, err := os.OpenFile(filepath.Join(d.conf.state, "lock"), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return err
	}
	err = unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
	if err != nil && d.freeKilled(f) {
		for range 100 {
			if err = unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err == nil {
				break
			}
			<-time.After(20 * time.Millisecond)
		}
	}
	if err != nil {
		_ = f.Close()
		return fmt.Errorf("another ccd uses %s; end it, or give this one its own --state, --run, --mount and --instance", d.conf.state)
	}
	d.lock = f
	return nil
}

// openInstance refuses to be the second of its instance in this network namespace, where both would take the other's links and rules
// for left over. The lock is a name of an abstract socket, which ends with the process.
func (d *daemon) openInstance(ctx context.Context) error {
	name := "@" + object.Mark(d.conf.instance)
	for try := 0; ; try++ {
		l, err := (&net.ListenConfig{}).Listen(ctx, "unix", name)
		if err == nil {
			d.instance = l
			return nil
		}
		if !errors.Is(err, unix.EADDRINUSE) || try == 100 {
			return fmt.Errorf("another ccd is instance %s of this host: give this one another --instance (%w)", d.conf.instance, err)
		}
		<-time.After(20 * time.Millisecond) // one that was killed may still be leaving
	}
}

// freeKilled lets the killed ccd end that has the lock and cannot: one of its threads waits in the kernel for a directory
// that a mkdir has locked which waits for that ccd's answer, and with the thread stay the connection, the lock and all
// else that was open. Aborting the connection answers the mkdir; the keeper does that, unless it was killed too. It reports
// whether there was such a ccd.
func (d *daemon) freeKilled(lock *os.File) bool {
	var st unix.Stat_t
	if err := unix.Fstat(int(lock.Fd()), &st); err != nil {
		return false
	}
	file := fmt.Sprintf("%02x:%02x:%d", unix.Major(st.Dev), unix.Minor(st.Dev), st.Ino)
	locks, _ := os.ReadFile("/proc/locks")
	for line := range strings.Lines(string(locks)) {
		f := strings.Fields(line) // 1: FLOCK ADVISORY WRITE PID MAJOR:MINOR:INODE 0 EOF
		if len(f) < 6 || f[1] != "FLOCK" || f[5] != file {
			continue
		}
		if status, _ := os.ReadFile("/proc/" + f[4] + "/status"); !killed(string(status)) {
			continue
		}
		d.log.Warn("a killed ccd waits for its own mount; abort it", "pid", f[4], "mount", d.conf.mount)
		_ = unix.Unmount(d.conf.mount, unix.MNT_FORCE|unix.UMOUNT_NOFOLLOW) // EBUSY: it has users, and is aborted too
		return true
	}
	return false
}

// killed reads in proc_pid_status(5) that a process has ended, or has only to leave the kernel to do so.
func killed(status string) bool {
	for line := range strings.Lines(status) {
		key, value, _ := strings.Cut(strings.TrimSpace(line), ":\t")
		switch key {
		case "State":
			if strings.HasPrefix(value, "Z") {
				return true
			}
		case "SigPnd", "ShdPnd":
			if set, err := strconv.ParseUint(value, 16, 64); err == nil && set&(1<<(unix.SIGKILL-1)) != 0 {
				return true
			}
		}
	}
	return false
}

func (d *daemon) openStore(context.Context) (err error) {
	d.store, err = store.Open(filepath.Join(d.conf.state, "cc.db"))
	return err
}

// eventsKey holds a number that no event has exceeded, so that the next daemon counts on.
const eventsKey = "event/rev"

func (d *daemon) openEvents(ctx context.Context) error {
	last := uint64(0)
	item, err := d.store.Get(ctx, eventsKey)
	if err == nil {
		last, err = strconv.ParseUint(string(item.Value), 10, 64)
	}
	if err != nil && !fault.Is(err, fault.NotFound) {
		return err
	}
	d.events.Resume(last, d.keepEvents)
	return nil
}

func (d *daemon) keepEvents(rev uint64) {
	op := store.Put(eventsKey, []byte(strconv.FormatUint(rev, 10)))
	if _, err := d.store.Txn(context.Background(), nil, []store.Op{op}); err != nil {
		d.log.Error("the next daemon may number its events as this one does", "error", err)
	}
}

func (d *daemon) openImages(context.Context) (err error) {
	tar, err := builtin.Tar()
	if err != nil { // a ccd built without it: the image says so when asked for
		d.log.Warn("no builtin image", "error", err)
	}
	d.images, err = image.Open(filepath.Join(d.conf.state, "image"), image.Options{Log: d.log, Builtin: tar})
	return err
}

func (d *daemon) openKeeper(ctx context.Context) (err error) {
	binary := d.conf.keeper
	if binary == "" {
		self, err := os.Executable()
		if err != nil {
			return err
		}
		binary = filepath.Join(filepath.Dir(self), "cc-keeper")
	}
	d.keeper, err = keeper.Connect(ctx, keeper.Options{
		Run: d.conf.run, Instance: d.conf.instance, Binary: binary, Init: boot.Init(), Log: d.log,
	})
	if err != nil {
		return err
	}
	d.cgroups, err = cgroup.Open(d.conf.instance)
	return err
}

func (d *daemon) openNetworks(ctx context.Context) (err error) {
	d.networks, err = vpc.Open(ctx, vpc.Config{Instance: d.conf.instance, Store: d.store, Events: &d.events, Log: d.log})
	return err
}

func (d *daemon) openContainers(ctx context.Context) (err error) {
	d.containers, err = container.Open(ctx, container.Config{
		State: d.conf.state, Run: d.conf.run, Instance: d.conf.instance, Warm: d.conf.warm,
		Images: d.images, Networks: d.networks, Keeper: d.keeper, Cgroups: d.cgroups, Events: &d.events, Log: d.log,
	})
	return err
}

func (d *daemon) openTree(ctx context.Context) (err error) {
	host, err := d.host(ctx)
	if err != nil {
		return err
	}
	cloud := d.cloud(host)
	d.networks.SetUsers(d.containersOf)
	rights, err := d.rights(ctx)
	if err != nil {
		return err
	}
	d.tree = tree.New(cloud.Root(), tree.Options{Log: d.log, Audit: d.audit, Rights: rights, KeepRights: d.keepRights})
	cloud.Watch(d.tree)
	d.mount, err = fusefs.Mount(ctx, d.tree, fusefs.Options{
		Dir: d.conf.mount, Source: object.Mark(d.conf.instance), Mounted: guardedBy(d.keeper), Log: d.log,
	})
	return err
}

// hostKey holds a hostRecord.
const hostKey = "host"

type hostRecord struct {
	Meta object.Meta   `json:"meta"`
	Spec ccfs.HostSpec `json:"spec"`
}

// host reads what is kept about this host, and keeps it when this is its first daemon. Its name is the kernel's, which may be
// another at every start.
func (d *daemon) host(ctx context.Context) (*ccfs.Host, error) {
	name, err := os.Hostname()
	if err != nil {
		return nil, err
	}
	keep := func(ctx context.Context, meta object.Meta, spec ccfs.HostSpec) error {
		text, err := json.Marshal(hostRecord{meta, spec})
		if err != nil {
			return err
		}
		_, err = d.store.Txn(ctx, nil, []store.Op{store.Put(hostKey, text)})
		return err
	}
	r := hostRecord{Meta: object.Meta{ID: object.NewID(), Created: time.Now().UTC(), Version: 1}}
	item, err := d.store.Get(ctx, hostKey)
	switch {
	case err == nil:
		err = fault.Wrap(json.Unmarshal(item.Value, &r), "cannot read %s in the store", hostKey)
	case fault.Is(err, fault.NotFound):
		err = keep(ctx, r.Meta, r.Spec)
	}
	r.Meta.Name = name
	return ccfs.NewHost(r.Meta, r.Spec, keep), err
}

// rightsKey holds what root changed of the rights of the tree's own files and directories.
const rightsKey = "tree/rights"

func (d *daemon) rights(ctx context.Context) (rights map[string]tree.Rights, err error) {
	item, err := d.store.Get(ctx, rightsKey)
	if fault.Is(err, fault.NotFound) {
		return nil, nil
	}
	if err == nil {
		err = fault.Wrap(json.Unmarshal(item.Value, &rights), "cannot read %s in the store", rightsKey)
	}
	return rights, err
}

func (d *daemon) keepRights(ctx context.Context, rights map[string]tree.Rights) error {
	op := store.Delete(rightsKey)
	if len(rights) > 0 {
		text, err := json.Marshal(rights)
		if err != nil {
			return err
		}
		op = store.Put(rightsKey, text)
	}
	_, err := d.store.Txn(ctx, nil, []store.Op{op})
	return err
}

// guardedBy has the keeper abort the connection of a mount should this daemon be killed.
func guardedBy(k *keeper.Client) func(mount *os.File) error {
	return func(mount *os.File) error {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		return k.Guard(ctx, mount)
	}
}

// containersOf are the paths of the containers that are to start in a network: it is not deleted under them.
func (d *daemon) containersOf(network string) []string {
	var paths []string
	for _, x := range d.containers.List() {
		if x.Spec().VPC == network {
			paths = append(paths, "container/"+x.Meta().Name)
		}
	}
	return paths
}

// audit writes one line for everything that changed state or was to change it (docs/TREE.md, rule 24).
func (d *daemon) audit(a tree.Audit) {
	args := []any{"op", a.Op, "path", a.Path, "uid", a.Caller.UID, "pid", a.Caller.PID, "door", a.Caller.Door}
	if a.Value != "" {
		args = append(args, "value", a.Value)
	}
	if a.Err != nil {
		args = append(args, "error", a.Err)
	}
	d.log.Info("audit", args...)
}

// Wait returns when a signal or `shutdown` ends the daemon.
func (d *daemon) Wait(ctx context.Context) error {
	select {
	case <-ctx.Done():
		d.log.Info("ending; containers stay")
		return nil
	case <-d.shutdown:
	}
	d.log.Info("shutting down")
	stopping := context.Background()
	err := d.containers.Shutdown(stopping)
	d.containers = nil
	err = errors.Join(err, d.networks.Down(stopping), d.keeper.Shutdown(stopping), d.cgroups.Delete())
	d.keeper = nil
	return err
}

// Close lets go of everything in reverse order. Containers stay unless Wait shut them down.
func (d *daemon) Close() error {
	var errs []error
	if d.mount != nil {
		errs = append(errs, d.mount.Unmount())
	}
	if d.tree != nil {
		errs = append(errs, d.tree.Close())
	}
	if d.containers != nil {
		errs = append(errs, d.containers.Close())
	}
	if d.networks != nil {
		errs = append(errs, d.networks.Close())
	}
	if d.cgroups != nil {
		errs = append(errs, d.cgroups.Close())
	}
	if d.keeper != nil {
		errs = append(errs, d.keeper.Close())
	}
	if d.images != nil {
		errs = append(errs, d.images.Close())
	}
	if d.store != nil {
		if d.events.Rev() > 0 {
			d.keepEvents(d.events.Rev())
		}
		errs = append(errs, d.store.Close())
	}
	if d.instance != nil {
		errs = append(errs, d.instance.Close())
	}
	if d.lock != nil {
		errs = append(errs, d.lock.Close())
	}
	return errors.Join(errs...)
}
