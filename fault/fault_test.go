package fault

import (
	"errors"
	"fmt"
	"io/fs"
	"syscall"
	"testing"
)

func TestErrno(t *testing.T) {
	for _, c := range []struct {
		err  error
		want syscall.Errno
	}{
		{nil, 0},
		{New(Invalid, "cannot set cidr: %q", "x"), syscall.EINVAL},
		{fmt.Errorf("outer: %w", New(Busy, "in use")), syscall.EBUSY},
		{Wrap(syscall.ENOSPC, "cannot write"), syscall.ENOSPC},
		{syscall.ENOTDIR, syscall.ENOTDIR},
		{syscall.ENOSYS, syscall.EIO},
		{fs.ErrNotExist, syscall.ENOENT},
		{errors.New("who knows"), syscall.EIO},
		{errors.Join(errors.New("a"), New(Exists, "b")), syscall.EEXIST},
	} {
		if got := Errno(c.err); got != c.want {
			t.Errorf("Errno(%v) = %d, want %d", c.err, got, c.want)
		}
	}
}

func TestEveryKindHasARow(t *testing.T) {
	seen := map[string]bool{}
	for k := range table {
		if table[k].errno == 0 || table[k].errno >= 512 || seen[table[k].word] || table[k].word == "" {
			t.Errorf("kind %d: errno %d word %q", k, table[k].errno, table[k].word)
		}
		seen[table[k].word] = true
	}
}

func TestWrapKeepsKindAndHint(t *testing.T) {
	err := Wrap(New(NotFound, "no image %q", "x").WithHint("cc image pull x"), "cannot start container %s", "web")
	if !Is(err, NotFound) || HintOf(err) != "cc image pull x" || err.Error() != `cannot start container web: no image "x"` {
		t.Errorf("%v, kind %v, hint %q", err, KindOf(err), HintOf(err))
	}
	if Wrap(nil, "x") != nil {
		t.Error("Wrap(nil) is not nil")
	}
}
