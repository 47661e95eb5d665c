package fusefs

import "sync"

// table gives open things numbers. Numbers start at 1 and are used again.
type table[T any] struct {
	mu   sync.RWMutex
	list []T
	used []bool
	free []uint64
}

func (t *table[T]) add(v T) uint64 {
	t.mu.Lock()
	defer t.mu.Unlock()
	if n := len(t.free); n > 0 {
		i := t.free[n-1]
		t.free = t.free[:n-1]
		t.list[i], t.used[i] = v, true
		return i + 1
	}
	t.list, t.used = append(t.list, v), append(t.used, true)
	return uint64(len(t.list))
}

func (t *table[T]) get(n uint64) (v T, ok bool) {
	t.mu.RLock()
	defer t.mu.RUnlock()
	if n == 0 || n > uint64(len(t.list)) || !t.used[n-1] {
		return v, false
	}
	return t.list[n-1], true
}

func (t *table[T]) remove(n uint64) (v T, ok bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if n == 0 || n > uint64(len(t.list)) || !t.used[n-1] {
		return v, false
	}
	var zero T
	v, t.list[n-1], t.used[n-1] = t.list[n-1], zero, false
	t.free = append(t.free, n-1)
	return v, true
}

// drain empties the table and calls f for everything that was in it.
func (t *table[T]) drain(f func(T)) {
	t.mu.Lock()
	list, used := t.list, t.used
	t.list, t.used, t.free = nil, nil, nil
	t.mu.Unlock()
	for i, v := range list {
		if used[i] {
			f(v)
		}
	}
}
