package logs

import (
	"encoding/binary"
	"os"
	"strconv"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// watcher tells of changes in directories. There is one in a process: a user may have 128 inotify instances, all
// programs together, and a daemon many followers. It has a goroutine and a descriptor only while someone waits.
type watcher struct {
	mu   sync.Mutex
	file *os.File // inotify; nil while nobody waits
	dirs map[int32]*watch
}

// watches is the process's one: a cache of a kernel object, not state of ours.
var watches = watcher{dirs: map[int32]*watch{}}

// watch is one directory, whoever waits for it.
type watch struct {
	watcher *watcher
	id      int32 // -1: inotify is used up, and the clock wakes instead
	users   int

	mu   sync.Mutex
	wake chan struct{}
}

// poll is how often a follower looks without inotify.
const poll = 50 * time.Millisecond

func (w *watcher) add(dir *os.File) *watch {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.file == nil {
		fd, err := unix.InotifyInit1(unix.IN_CLOEXEC | unix.IN_NONBLOCK)
		if err != nil {
			return &watch{watcher: w, id: -1, users: 1}
		}
		w.file = os.NewFile(uintptr(fd), "inotify")
		go w.run(w.file)
	}
	c, err := w.file.SyscallConn()
	if err != nil {
		return &watch{watcher: w, id: -1, users: 1}
	}
	id := -1
	c.Control(func(fd uintptr) {
		id, err = unix.InotifyAddWatch(int(fd), "/proc/self/fd/"+strconv.Itoa(int(dir.Fd())),
			unix.IN_MODIFY|unix.IN_CREATE|unix.IN_MOVED_TO|unix.IN_DELETE_SELF|unix.IN_ONLYDIR)
	})
	if err != nil || id < 0 {
		w.closeIfUnused()
		return &watch{watcher: w, id: -1, users: 1}
	}
	d := w.dirs[int32(id)]
	if d == nil {
		d = &watch{watcher: w, id: int32(id), wake: make(chan struct{})}
		w.dirs[d.id] = d
	}
	d.users++
	return d
}

// next returns a channel that is closed at the next change.
func (d *watch) next() <-chan struct{} {
	if d.id < 0 {
		c := make(chan struct{})
		time.AfterFunc(poll, func() { close(c) })
		return c
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.wake
}

func (d *watch) changed() {
	d.mu.Lock()
	defer d.mu.Unlock()
	close(d.wake)
	d.wake = make(chan struct{})
}

func (d *watch) release() {
	w := d.watcher
	w.mu.Lock()
	defer w.mu.Unlock()
	if d.users--; d.users > 0 || d.id < 0 {
		return
	}
	if w.dirs[d.id] == d {
		delete(w.dirs, d.id)
		if c, err := w.file.SyscallConn(); err == nil {
			c.Control(func(fd uintptr) { unix.InotifyRmWatch(int(fd), uint32(d.id)) })
		}
	}
	w.closeIfUnused()
}

func (w *watcher) closeIfUnused() {
	if len(w.dirs) == 0 && w.file != nil {
		w.file.Close() // and run ends
		w.file = nil
	}
}

func (w *watcher) run(f *os.File) {
	b := make([]byte, 16<<10)
	for {
		n, err := f.Read(b)
		if err != nil {
			return
		}
		w.dispatch(f, b[:n])
	}
}

func (w *watcher) dispatch(f *os.File, b []byte) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.file != f {
		return
	}
	seen := map[int32]bool{}
	for len(b) >= unix.SizeofInotifyEvent {
		id := int32(binary.NativeEndian.Uint32(b))
		mask := binary.NativeEndian.Uint32(b[4:])
		b = b[min(len(b), unix.SizeofInotifyEvent+int(binary.NativeEndian.Uint32(b[12:]))):]
		if mask&unix.IN_Q_OVERFLOW != 0 {
			for _, d := range w.dirs {
				d.changed()
			}
			return
		}
		d := w.dirs[id]
		if d == nil || seen[id] {
			continue
		}
		seen[id] = true
		d.changed()
		if mask&unix.IN_IGNORED != 0 { // the directory is gone, and the id may be used again
			delete(w.dirs, id)
		}
	}
}
