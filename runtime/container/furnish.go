package container

import (
	"context"
	"net/netip"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"github.com/containercloud/cc/fault"
	"github.com/containercloud/cc/runtime/boot"
	"github.com/containercloud/cc/runtime/keeper"
	"github.com/containercloud/cc/runtime/logs"
	"github.com/containercloud/cc/words"
)

// mounts are the runtime's and the user's mounts below the root.
func (m *Manager) mounts(p *plan, r *run, files *fileList) ([]boot.Mount, error) {
	ids := m.idsOf(p.host)
	var ip netip.Addr
	if a := r.rec.Attachment; a != nil {
		ip = a.IP.Addr()
	}
	list, err := m.etc.mounts(string(p.meta.ID), p.hostname, p.meta.Name, ip, ids.Base, files)
	if err != nil {
		return nil, fault.Wrap(err, "cannot write its /etc files")
	}
	app, err := m.appOf(p, ids)
	if err != nil {
		return nil, err
	}
	files.add(app)
	list = append(list, boot.Mount{Target: "/app", Source: app})
	if p.img.Host { // other people's containers are below these
		for _, dir := range []string{m.conf.State, m.conf.Run} {
			list = append(list, boot.Mount{Target: dir, Tmpfs: 4096, ReadOnly: true})
		}
	}
	for _, mnt := range p.spec.Mounts {
		b, err := m.userMount(p.c, mnt, files)
		if err != nil {
			return nil, err
		}
		list = append(list, b)
	}
	return list, nil
}

// appOf is a mount of the container's /app: the one made in advance, or a new one.
func (m *Manager) appOf(p *plan, ids boot.IDMap) (*os.File, error) {
	dir := filepath.Join(p.c.dir, "app")
	if err := give(dir, p.process.UID, p.process.GID); err != nil {
		return nil, fault.Wrap(err, "cannot give /app to user %d", p.process.UID)
	}
	if !p.host {
		p.c.mu.Lock()
		app := p.c.app
		p.c.app = nil
		p.c.mu.Unlock()
		if app != nil {
			return app, nil
		}
	}
	return m.bind(dir, ids, false)
}

// give hands a directory that is root's, or empty, to the container's user: a program that is not root, as in most
// images of databases, could not write there. One that is in use keeps its owner. The ids are the container's.
func give(dir string, uid, gid uint32) error {
	if uid == 0 {
		return nil
	}
	f, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer f.Close()
	var st unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &st); err != nil || st.Uid == uid {
		return err
	}
	if names, _ := f.Readdirnames(1); st.Uid != 0 && len(names) > 0 {
		return nil
	}
	return f.Chown(int(uid), int(gid))
}

// userMount is one line of the mounts setting. A bind mount shows the host's ids as they are: in a container with a user namespace they
// are nobody's unless the owner gave them to the container's range.
func (m *Manager) userMount(c *Container, mnt Mount, files *fileList) (boot.Mount, error) {
	b := boot.Mount{Target: mnt.Target, ReadOnly: mnt.ReadOnly}
	kind, arg := mnt.split()
	if kind == "tmpfs" {
		n, err := words.Size(arg)
		b.Tmpfs = n
		return b, err
	}
	c.lend()
	src, err := m.bind(arg, boot.IDMap{}, mnt.ReadOnly)
	if err != nil {
		return b, fault.Wrap(err, "mount %s", mnt.Target)
	}
	files.add(src)
	info, err := src.Stat()
	if err != nil {
		return b, err
	}
	b.Source, b.File = src, !info.IsDir()
	return b, nil
}

// bind is a detached mount of a path of the host.
func (m *Manager) bind(path string, ids boot.IDMap, readOnly bool) (*os.File, error) {
	f, err := os.OpenFile(path, unix.O_PATH, 0)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return boot.CloneMount(f, readOnly, ids)
}

// stdio makes the program's three streams: pipes that the keeper reads, or a terminal.
func (m *Manager) stdio(ctx context.Context, p *plan, r *run, cfg *boot.Config, a *keeper.Adoption, files *fileList) error {
	uid := m.idsOf(p.host).Base + p.process.UID
	a.Hold = map[string]*os.File{}
	if err := r.slot.Ready(ctx); err != nil {
		return err
	}
	a.Hold[p.c.holdKey(r, holdPts)] = r.slot.Devpts()
	if p.spec.TTY.On() {
		return m.terminal(p, r, cfg, a, files)
	}
	if p.spec.StdinOpen {
		ours, theirs, err := pipe(false, 0, uid)
		if err != nil {
			return err
		}
		files.add(theirs)
		r.stdin, r.rec.Stdin = ours, true
		cfg.Stdio[0] = theirs
		a.Hold[p.c.holdKey(r, holdStdin)] = ours
	}
	if a.Policy.Direct {
		return m.direct(p, uid, cfg, a, files)
	}
	for i, log := range []**os.File{&a.Stdout, &a.Stderr} {
		ours, theirs, err := pipe(true, pipeSize, uid)
		if err != nil {
			return err
		}
		files.add(ours, theirs)
		*log, cfg.Stdio[1+i] = ours, theirs
	}
	return nil
}

// direct gives the program the log files themselves.
func (m *Manager) direct(p *plan, uid uint32, cfg *boot.Config, a *keeper.Adoption, files *fileList) error {
	for i, stream := range []logs.Stream{logs.Stdout, logs.Stderr} {
		f, err := logs.Direct(p.c.logDir(), stream, uid, m.idsOf(p.host).Base+p.process.GID)
		if err != nil {
			return err
		}
		files.add(f)
		cfg.Stdio[1+i] = f
	}
	a.Streams = []keeper.Stream{keeper.Stdout, keeper.Stderr}
	return nil
}

// terminal is stdio with a terminal of the container's own devpts.
func (m *Manager) terminal(p *plan, r *run, cfg *boot.Config, a *keeper.Adoption, files *fileList) error {
	t := p.spec.TTY
	master, slave, err := boot.OpenTerminal(r.slot.Devpts(), m.idsOf(p.host), p.process.UID, t.Rows, t.Cols)
	if err != nil {
		return err
	}
	files.add(slave)
	r.tty, r.rec.TTY = master, true
	cfg.TTY = true
	cfg.Stdio = [3]*os.File{slave, slave, slave}
	a.Stdout = master
	a.Hold[p.c.holdKey(r, holdTTY)] = master
	return nil
}

// logPolicy is the spec's in the keeper's terms.
func logPolicy(s Spec) logs.Policy {
	return logs.Policy{Max: s.LogMax, Block: s.LogPolicy == LogBlock, Direct: s.LogPolicy == LogDirect}
}
