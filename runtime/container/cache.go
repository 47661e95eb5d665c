package container

import (
	"strings"
	"sync"

	"golang.org/x/sys/unix"

	"github.com/containercloud/cc/runtime/image"
	"github.com/containercloud/cc/runtime/seccomp"
)

// filters keeps compiled seccomp filters: one takes 130 us, and containers differ in few.
type filters struct {
	mu   sync.Mutex
	have map[string][]unix.SockFilter
}

// maxCached bounds the caches; a full one begins anew.
const maxCached = 256

func (f *filters) get(setting string, caps []string) ([]unix.SockFilter, error) {
	key := setting + " " + strings.Join(caps, " ")
	f.mu.Lock()
	code, ok := f.have[key]
	f.mu.Unlock()
	if ok {
		return code, nil
	}
	code, err := seccomp.For(setting, caps...)
	if err != nil {
		return nil, err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.have == nil || len(f.have) >= maxCached {
		f.have = map[string][]unix.SockFilter{}
	}
	f.have[key] = code
	return code, nil
}

// users keeps who a user is in an image: the lookup reads two files. It holds for containers that have not run yet; the
// files of the others may have changed.
type users struct {
	mu   sync.Mutex
	have map[[2]string]image.User
}

func (u *users) find(fs *rootfs, spec string) (image.User, error) {
	if !fs.fresh {
		return image.Users(fs.mount, spec)
	}
	key := [2]string{fs.digest, spec}
	u.mu.Lock()
	user, ok := u.have[key]
	u.mu.Unlock()
	if ok {
		return user, nil
	}
	user, err := image.Users(fs.mount, spec)
	if err != nil {
		return user, err
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.have == nil || len(u.have) >= maxCached {
		u.have = map[[2]string]image.User{}
	}
	u.have[key] = user
	return user, nil
}
