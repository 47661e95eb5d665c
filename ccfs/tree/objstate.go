package tree

import (
	"sync"
	"sync/atomic"
	"time"

	"github.com/containercloud/cc/object"
)

// objState is what the engine knows about an object beyond what the domain does.
type objState struct {
	id    object.ID
	coll  *Collection
	outer *objState
	gone  atomic.Bool

	// change is held over one change of configuration, so that a compare-and-set sees no other in between. It is a
	// channel because waiting for it must end with the request.
	change chan struct{}

	refs int // nodes and handles; guarded by Tree.mu

	mu      sync.Mutex
	object  Object
	wake    chan struct{} // closed and replaced at every change; nil while nobody waits
	changed time.Time     // when the last change was noticed
	made    time.Time     // by mkdir through this tree
	scratch map[string]*scratch
	draft   *draft
	absent  map[absence]time.Time
	copy    copied // the last file that a copier created
	open    int    // handles
	release func() // when the last handle of a conversation closes
}

// stateOf returns the state of an object, made when it is new.
func (t *Tree) stateOf(o Object, coll *Collection, outer *objState) *objState {
	id, _ := identity(o)
	t.mu.Lock()
	defer t.mu.Unlock()
	st := t.objects[id]
	if st == nil || st.gone.Load() {
		st = &objState{id: id, change: make(chan struct{}, 1)}
		t.objects[id] = st
	}
	st.mu.Lock()
	st.object, st.coll, st.outer = o, coll, outer
	st.mu.Unlock()
	return st
}

// identity is an object's id and name, without a copy of its Meta where the object allows that.
func identity(o Object) (object.ID, string) {
	if i, ok := o.(interface{ Identity() (object.ID, string) }); ok {
		return i.Identity()
	}
	m := o.Meta()
	return m.ID, m.Name
}

func (st *objState) get() Object {
	if st == nil {
		return nil
	}
	st.mu.Lock()
	defer st.mu.Unlock()
	return st.object
}

func (st *objState) enclosing() *objState {
	if st == nil {
		return nil
	}
	st.mu.Lock()
	defer st.mu.Unlock()
	return st.outer
}

// dead reports whether the object, or one around it, is gone.
func (st *objState) dead() bool {
	for ; st != nil; st = st.enclosing() {
		if st.gone.Load() {
			return true
		}
	}
	return false
}

func (st *objState) collection() *Collection {
	st.mu.Lock()
	defer st.mu.Unlock()
	return st.coll
}

// idle reports whether the state holds nothing that a later lookup must find. Callers hold Tree.mu.
func (st *objState) idle() bool {
	st.mu.Lock()
	defer st.mu.Unlock()
	return len(st.scratch) == 0 && len(st.absent) == 0 && time.Since(st.made) > draftFor
}

// lastChange is the mtime of files whose content is older than our memory of it.
func (st *objState) lastChange() time.Time {
	st.mu.Lock()
	defer st.mu.Unlock()
	if st.changed.IsZero() {
		st.changed = st.object.Meta().Created
	}
	return st.changed
}

// ref keeps the state while a handle is open.
func (t *Tree) ref(st *objState) {
	if st == nil {
		return
	}
	t.mu.Lock()
	st.refs++
	t.mu.Unlock()
	st.mu.Lock()
	st.open++
	st.mu.Unlock()
}

// unref ends ref; the last handle of a conversation ends the conversation.
func (t *Tree) unref(st *objState) {
	if st == nil {
		return
	}
	st.mu.Lock()
	st.open--
	var release func()
	if st.open == 0 {
		release, st.release = st.release, nil
	}
	st.mu.Unlock()
	t.mu.Lock()
	t.unrefLocked(st)
	t.mu.Unlock()
	if release != nil {
		release()
	}
}

// next returns a channel that is closed at the object's next change; outside of objects nothing is ever told to change.
func (st *objState) next() <-chan struct{} {
	if st == nil {
		return nil
	}
	st.mu.Lock()
	defer st.mu.Unlock()
	if st.wake == nil {
		st.wake = make(chan struct{})
	}
	return st.wake
}

// touch marks a change and wakes who waits for one.
func (st *objState) touch(now time.Time) {
	st.mu.Lock()
	defer st.mu.Unlock()
	st.changed = now
	if st.wake != nil {
		close(st.wake)
		st.wake = nil
	}
}
