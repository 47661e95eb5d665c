package tree

import (
	"context"
	"path"
	"strings"
	"syscall"

	"github.com/containercloud/cc/fault"
)

// View is the tree as one caller sees it, by paths: for tests, and for doors that have no inodes. Links are followed,
// except in the last name of Lstat, Readlink, Remove and Rename.
type View struct {
	t *Tree
	c Caller
}

// As returns a caller's view.
func (t *Tree) As(c Caller) View {
	if c.Door == "" {
		c.Door = "cc"
	}
	return View{t, c}
}

const maxLinks = 40 // as the kernel has it

// walk finds the node of a path, counted once; the caller gives it back with done.
func (v View) walk(ctx context.Context, p string, follow bool) (a Attr, done func(), err error) {
	rest := parts(p)
	trail := []Attr{{Ino: RootIno, Mode: syscall.S_IFDIR}}
	defer func() {
		for _, up := range trail {
			if err != nil || up.Ino != a.Ino {
				v.t.Forget(up.Ino, 1)
			}
		}
	}()
	for links := 0; len(rest) > 0; {
		name := rest[0]
		rest = rest[1:]
		if name == ".." {
			if len(trail) > 1 {
				v.t.Forget(trail[len(trail)-1].Ino, 1)
				trail = trail[:len(trail)-1]
			}
			continue
		}
		here, err := v.t.Lookup(ctx, v.c, trail[len(trail)-1].Ino, name)
		if err != nil {
			return Attr{}, nil, err
		}
		if here.Mode&syscall.S_IFMT == syscall.S_IFLNK && (follow || len(rest) > 0) {
			link, err := v.t.Readlink(ctx, v.c, here.Ino)
			v.t.Forget(here.Ino, 1)
			if links++; err != nil || links > maxLinks {
				return Attr{}, nil, fault.Wrap(syscall.ELOOP, "%s", p)
			}
			rest = append(parts(link), rest...)
			continue
		}
		trail = append(trail, here)
	}
	a = trail[len(trail)-1]
	return a, func() { v.t.Forget(a.Ino, 1) }, nil
}

func parts(p string) (names []string) {
	for _, name := range strings.Split(p, "/") {
		if name != "" && name != "." {
			names = append(names, name)
		}
	}
	return names
}

// parent walks to the directory of a path.
func (v View) parent(ctx context.Context, p string) (ino Ino, name string, done func(), err error) {
	dir, name := path.Split(path.Clean("/" + p))
	a, done, err := v.walk(ctx, dir, true)
	return a.Ino, name, done, err
}

// Stat describes what a path leads to.
func (v View) Stat(ctx context.Context, p string) (Attr, error) {
	a, done, err := v.walk(ctx, p, true)
	if err != nil {
		return a, err
	}
	defer done()
	return v.t.Getattr(ctx, v.c, a.Ino, nil)
}

// Lstat does not follow a link at the end.
func (v View) Lstat(ctx context.Context, p string) (Attr, error) {
	a, done, err := v.walk(ctx, p, false)
	if err != nil {
		return a, err
	}
	defer done()
	return v.t.Getattr(ctx, v.c, a.Ino, nil)
}

// Open opens with O_* flags; with O_CREAT it creates.
func (v View) Open(ctx context.Context, p string, flags, mode uint32) (*Handle, error) {
	if flags&syscall.O_CREAT != 0 {
		ino, name, done, err := v.parent(ctx, p)
		if err != nil {
			return nil, err
		}
		defer done()
		a, h, err := v.t.Create(ctx, v.c, ino, name, flags&^syscall.O_CREAT, mode)
		if err == nil {
			v.t.Forget(a.Ino, 1)
		}
		return h, err
	}
	a, done, err := v.walk(ctx, p, true)
	if err != nil {
		return nil, err
	}
	defer done()
	return v.t.Open(ctx, v.c, a.Ino, flags)
}

// ReadFile reads a file to its end.
func (v View) ReadFile(ctx context.Context, p string) ([]byte, error) {
	h, err := v.Open(ctx, p, syscall.O_RDONLY, 0)
	if err != nil {
		return nil, err
	}
	defer h.Release()
	var out []byte
	buf := make([]byte, 64<<10)
	for {
		n, err := h.Read(ctx, buf, int64(len(out)), false)
		out = append(out, buf[:n]...)
		if err != nil || n == 0 {
			return out, err
		}
	}
}

// WriteFile writes a file whole, as a shell's > does, or with O_APPEND in flags as >>.
func (v View) WriteFile(ctx context.Context, p string, data []byte, flags uint32) error {
	if flags&syscall.O_APPEND == 0 {
		flags |= syscall.O_TRUNC
	}
	h, err := v.Open(ctx, p, flags|syscall.O_WRONLY|syscall.O_CREAT, 0o666)
	if err != nil {
		return err
	}
	defer h.Release()
	off := int64(0)
	if a, err := h.attr(ctx); err == nil && flags&syscall.O_APPEND != 0 {
		off = int64(a.Size)
	}
	if _, err := h.Write(ctx, data, off); err != nil {
		return err
	}
	return h.Flush(ctx)
}

// ReadDir lists a directory.
func (v View) ReadDir(ctx context.Context, p string) ([]Dirent, error) {
	a, done, err := v.walk(ctx, p, true)
	if err != nil {
		return nil, err
	}
	defer done()
	return v.t.Readdir(ctx, v.c, a.Ino)
}

// Readlink reads a link.
func (v View) Readlink(ctx context.Context, p string) (string, error) {
	a, done, err := v.walk(ctx, p, false)
	if err != nil {
		return "", err
	}
	defer done()
	return v.t.Readlink(ctx, v.c, a.Ino)
}

// Mkdir makes an object.
func (v View) Mkdir(ctx context.Context, p string, mode uint32) error {
	ino, name, done, err := v.parent(ctx, p)
	if err != nil {
		return err
	}
	defer done()
	a, err := v.t.Mkdir(ctx, v.c, ino, name, mode)
	if err == nil {
		v.t.Forget(a.Ino, 1)
	}
	return err
}

// Symlink makes a link at p.
func (v View) Symlink(ctx context.Context, target, p string) error {
	ino, name, done, err := v.parent(ctx, p)
	if err != nil {
		return err
	}
	defer done()
	a, err := v.t.Symlink(ctx, v.c, ino, name, target)
	if err == nil {
		v.t.Forget(a.Ino, 1)
	}
	return err
}

// Unlink removes a file.
func (v View) Unlink(ctx context.Context, p string) error { return v.in(ctx, p, v.t.Unlink) }

// Rmdir removes a directory.
func (v View) Rmdir(ctx context.Context, p string) error { return v.in(ctx, p, v.t.Rmdir) }

func (v View) in(ctx context.Context, p string, f func(context.Context, Caller, Ino, string) error) error {
	ino, name, done, err := v.parent(ctx, p)
	if err != nil {
		return err
	}
	defer done()
	return f(ctx, v.c, ino, name)
}

// Rename moves a name.
func (v View) Rename(ctx context.Context, from, to string, noReplace bool) error {
	p, name, done, err := v.parent(ctx, from)
	if err != nil {
		return err
	}
	defer done()
	q, newName, done2, err := v.parent(ctx, to)
	if err != nil {
		return err
	}
	defer done2()
	return v.t.Rename(ctx, v.c, p, name, q, newName, noReplace)
}

// Setattr changes rights, size and times of what a path leads to.
func (v View) Setattr(ctx context.Context, p string, s SetAttr) error {
	a, done, err := v.walk(ctx, p, true)
	if err != nil {
		return err
	}
	defer done()
	_, err = v.t.Setattr(ctx, v.c, a.Ino, nil, s)
	return err
}

// Access checks R_OK, W_OK and X_OK bits.
func (v View) Access(ctx context.Context, p string, mask uint32) error {
	a, done, err := v.walk(ctx, p, true)
	if err != nil {
		return err
	}
	defer done()
	return v.t.Access(ctx, v.c, a.Ino, mask)
}

// Getxattr reads an extended attribute.
func (v View) Getxattr(ctx context.Context, p, name string) ([]byte, error) {
	a, done, err := v.walk(ctx, p, true)
	if err != nil {
		return nil, err
	}
	defer done()
	return v.t.Getxattr(ctx, v.c, a.Ino, name)
}

// Setxattr writes an extended attribute.
func (v View) Setxattr(ctx context.Context, p, name string, value []byte) error {
	a, done, err := v.walk(ctx, p, true)
	if err != nil {
		return err
	}
	defer done()
	return v.t.Setxattr(ctx, v.c, a.Ino, name, value, 0)
}

// Fstat describes an open file.
func (v View) Fstat(ctx context.Context, h *Handle) (Attr, error) {
	return v.t.Getattr(ctx, v.c, h.Ino(), h)
}

// Fsetattr changes an open file.
func (v View) Fsetattr(ctx context.Context, h *Handle, s SetAttr) error {
	_, err := v.t.Setattr(ctx, v.c, h.Ino(), h, s)
	return err
}
