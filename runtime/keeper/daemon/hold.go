package daemon

import (
	"sort"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/containercloud/cc/runtime/keeper/wire"
)

// holdLocked keeps fd under key in place of what was there.
func (k *keeper) holdLocked(key string, fd int) {
	if old, ok := k.holds[key]; ok {
		unix.Close(old)
	}
	k.holds[key] = fd
}

// dropLocked lets go of every descriptor whose key begins with prefix.
func (k *keeper) dropLocked(prefix string) {
	for key, fd := range k.holds {
		if strings.HasPrefix(key, prefix) {
			unix.Close(fd)
			delete(k.holds, key)
		}
	}
}

// forget removes what is known of a dead process, or stops watching one that was never kept.
func (k *keeper) forget(id string) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	c := k.kids[id]
	switch {
	case c == nil:
		return unix.ENOENT
	case c.done == nil, !c.exited && c.kept:
		return unix.EBUSY
	}
	delete(k.kids, id)
	if !c.exited {
		k.childlessLocked(c)
		if k.foreign[c.pidfd] == c {
			delete(k.foreign, c.pidfd)
			unix.EpollCtl(k.ep, unix.EPOLL_CTL_DEL, c.pidfd, nil)
		}
		c.closeDescriptors()
	}
	rest := k.pending[:0]
	for _, e := range k.pending {
		if e.ID != id {
			rest = append(rest, e)
		}
	}
	k.pending = rest
	if fd, ok := k.holds[id]; ok {
		unix.Close(fd)
		delete(k.holds, id)
	}
	k.dropLocked(id + "/")
	return nil
}

// page is how many bytes of names and states go into one answer.
const page = wire.MaxPacket - 1024

// list answers with the processes whose id comes after the given one.
func (k *keeper) list(after string) wire.States {
	k.mu.Lock()
	defer k.mu.Unlock()
	ids := make([]string, 0, len(k.kids))
	for id, c := range k.kids {
		if id > after && c.done != nil {
			ids = append(ids, id)
		}
	}
	sort.Strings(ids)
	var m wire.States
	size := 0
	for _, id := range ids {
		if size += 64 + len(id); size > page {
			m.More = true
			break
		}
		m.List = append(m.List, k.kids[id].state())
	}
	return m
}

// names answers with the keys that come after the given one.
func (k *keeper) names(after string) wire.Names {
	k.mu.Lock()
	defer k.mu.Unlock()
	keys := make([]string, 0, len(k.holds))
	for key := range k.holds {
		if key > after {
			keys = append(keys, key)
		}
	}
	sort.Strings(keys)
	var m wire.Names
	size := 0
	for _, key := range keys {
		if size += 2 + len(key); size > page {
			m.More = true
			break
		}
		m.List = append(m.List, key)
	}
	return m
}

// export describes a living process and returns duplicates of its descriptors, the pidfd first.
func (k *keeper) export(id string) (m wire.Adopt, files []int, err error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	c := k.kids[id]
	if c == nil || c.done == nil {
		return m, nil, unix.ENOENT
	}
	if c.exited {
		return m, nil, unix.ESRCH
	}
	m = wire.Adopt{ID: id, Keep: c.kept, Dir: c.dir >= 0, LogDir: c.logdir >= 0}
	from := []int{c.pidfd}
	for _, fd := range []int{c.dir, c.logdir} {
		if fd >= 0 {
			from = append(from, fd)
		}
	}
	for i, s := range c.logs {
		if s == nil {
			continue
		}
		m.Logs = append(m.Logs, wire.Log{Stream: wire.Stream(i), Pipe: s.Pipe() >= 0, Policy: wire.Policy(s.Policy())})
		if s.Pipe() >= 0 {
			from = append(from, s.Pipe())
		}
	}
	for _, fd := range from {
		dup, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 3)
		if err != nil {
			wire.Close(files)
			return m, nil, err
		}
		files = append(files, dup)
	}
	return m, files, nil
}
