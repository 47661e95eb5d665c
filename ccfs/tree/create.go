package tree

import (
	"context"
	"syscall"
	"time"

	"github.com/containercloud/cc/fault"
	"github.com/containercloud/cc/object"
)

// Create opens a file, making it if need be: O_CREAT. In an object's directory the names of rows open those; any other
// name becomes a scratch file. The door owes one Forget.
func (t *Tree) Create(ctx context.Context, c Caller, parent Ino, name string, flags, mode uint32) (Attr, *Handle, error) {
	p, err := t.node(parent)
	if err != nil {
		return Attr{}, nil, err
	}
	n, h, err := t.create(ctx, c, p, name, flags, mode)
	if err != nil {
		return Attr{}, nil, t.failedName(c, p, name, "create", err)
	}
	t.failures.found(c, join(p.path(), name))
	a, err := h.attr(ctx)
	if err != nil {
		h.Release()
		t.Forget(n.ino, 1)
		return Attr{}, nil, err
	}
	a.Ino = n.ino
	return a, h, nil
}

// failedName is failed for a name that may not exist.
func (t *Tree) failedName(c Caller, p *node, name, verb string, err error) error {
	n := p.below(&node{kind: dirNode, dir: p.dir}, name)
	return t.failed(c, n, verb, err)
}

func (t *Tree) create(ctx context.Context, c Caller, p *node, name string, flags, mode uint32) (*node, *Handle, error) {
	if p.fileType() != dirType {
		return nil, nil, errNotDir
	}
	if len(name) > 255 {
		return nil, nil, fault.Wrap(syscall.ENAMETOOLONG, "the name is too long")
	}
	n, hidden, err := t.creating(ctx, c, p, name, flags&syscall.O_EXCL != 0)
	made := err == nil && n == nil
	switch {
	case made:
		n, err = t.makeFile(ctx, c, p, name, flags, mode)
	case err == nil && flags&syscall.O_EXCL != 0 && !hidden:
		err = fault.New(fault.Exists, "it exists")
	}
	if err != nil {
		return nil, nil, err
	}
	n = t.hold(n)
	if made {
		flags &^= syscall.O_TRUNC
	} else if hidden {
		flags |= syscall.O_TRUNC // a new file is empty
	}
	h, err := t.openMade(ctx, c, n, flags&^syscall.O_EXCL, made)
	if err != nil {
		t.Forget(n.ino, 1)
	}
	return n, h, err
}

// creating finds what a create opens: a row, shown to a copier from now on, or a scratch file; nil for a new name.
// hidden says that the caller believes to make a new file.
func (t *Tree) creating(ctx context.Context, c Caller, p *node, name string, sure bool) (n *node, hidden bool, err error) {
	if p.kind == dirNode {
		if t.index[p.dir].files[name] != nil {
			hidden = p.obj.reveal(c, join(p.rel, name), sure)
		}
	}
	n, err = t.child(ctx, c, p, name)
	if fault.Is(err, fault.NotFound) {
		return nil, false, nil
	}
	return n, hidden, err
}

// openMade opens a file that create found or made. Whoever made a file may write it whatever its mode says.
func (t *Tree) openMade(ctx context.Context, c Caller, n *node, flags uint32, made bool) (*Handle, error) {
	if !made || n.kind == fileNode {
		return t.open(ctx, c, n, flags)
	}
	h := &Handle{t: t, node: n, ino: n.ino, caller: c, flags: flags}
	f, err := t.openFile(ctx, h)
	if err != nil {
		return nil, err
	}
	h.file = f
	return h.begin(), nil
}

// makeFile makes a file with a name that is no row's.
func (t *Tree) makeFile(ctx context.Context, c Caller, p *node, name string, flags, mode uint32) (*node, error) {
	if p.kind == hostNode || p.kind == dirNode && p.dir.Host != nil {
		return t.hostCreate(ctx, c, p, name, mode)
	}
	if p.obj == nil || p.kind != dirNode || p.dir.Objects != nil || p.dir.Entries != nil || p.dir.Match != nil {
		return nil, fault.New(fault.Fixed, "no files can be made here").WithHint("mkdir makes objects, in the directories of their kind")
	}
	if err := t.may(c, p, mayWrite|mayExecute, "create files in"); err != nil {
		return nil, err
	}
	if err := t.checkScratch(p, name, flags&syscall.O_EXCL != 0); err != nil {
		return nil, err
	}
	return t.makeScratch(c, p, name, mode, nil)
}

// Mkdir makes an object. The door owes one Forget.
func (t *Tree) Mkdir(ctx context.Context, c Caller, parent Ino, name string, mode uint32) (Attr, error) {
	p, err := t.node(parent)
	if err != nil {
		return Attr{}, err
	}
	n, err := t.mkdir(ctx, c, p, name, mode)
	if err != nil {
		return Attr{}, t.failedName(c, p, name, "make", err)
	}
	t.failures.found(c, join(p.path(), name))
	n = t.hold(n)
	return t.attr(ctx, c, n, glance)
}

func (t *Tree) mkdir(ctx context.Context, c Caller, p *node, name string, mode uint32) (*node, error) {
	switch {
	case p.kind == hostNode || p.kind == dirNode && p.dir.Host != nil:
		return t.hostMkdir(ctx, c, p, name, mode)
	case p.kind != dirNode:
		return nil, errNoMkdir
	}
	if d := t.index[p.dir].dirs[name]; d != nil {
		// A copier makes the subdirectories of the object that it has just made.
		if p.obj.reveal(c, join(p.rel, name), true) {
			return p.below(&node{kind: dirNode, dir: d}, name), nil
		}
		return nil, fault.New(fault.Exists, "it exists")
	}
	coll := p.dir.Objects
	if coll == nil || coll.Make == nil {
		return nil, errNoMkdir
	}
	if err := t.may(c, p, mayWrite|mayExecute, "make objects in"); err != nil {
		return nil, err
	}
	if t.index[p.dir].files[name] != nil {
		return nil, fault.New(fault.Exists, "the name is reserved")
	}
	if err := object.CheckName(name); err != nil {
		return nil, err
	}
	return t.makeObject(ctx, c, p, name, mode)
}

var errNoMkdir = fault.New(fault.Fixed, "no directories can be made here")

func (t *Tree) makeObject(ctx context.Context, c Caller, p *node, name string, mode uint32) (*node, error) {
	coll := p.dir.Objects
	r, done := t.request(ctx, c, p)
	defer done()
	var o Object
	err := t.exclusively(r, func() (err error) {
		if old, err := coll.Find(r, name); err == nil && old.Meta().Name == name {
			return fault.New(fault.Exists, "%s exists", join(p.path(), name))
		}
		o, err = coll.Make(r, name)
		if err != nil || o == nil {
			return err
		}
		return narrow(r, o, coll.Layout, mode)
	})
	t.audit(c, "mkdir", p.below(&node{}, name), "", err)
	if err != nil {
		return nil, err
	}
	id, real := identity(o)
	n := t.objectNode(p, o, string(id), real)
	n.obj.beginDraft(c, time.Now())
	t.nameChanged(p, name)
	return n, nil
}

// narrow takes away what mkdir's mode (that is, the caller's umask) does not grant.
func narrow(r *Request, o Object, layout *Dir, mode uint32) error {
	have := layout.Mode
	if have == 0 {
		have = 0o755
	}
	want := have & mode
	if want == have || mode&0o777 == 0 {
		return nil
	}
	return o.SetMeta(r, func(m *object.Meta) error {
		return SetAttr{Mode: &want}.apply(m, ".", true)
	})
}

// Symlink makes a link where links mean something: in an EntrySource that is a Linker, and in a host directory. The
// door owes one Forget.
func (t *Tree) Symlink(ctx context.Context, c Caller, parent Ino, name, target string) (Attr, error) {
	p, err := t.node(parent)
	if err != nil {
		return Attr{}, err
	}
	n, err := t.symlink(ctx, c, p, name, target)
	if err != nil {
		return Attr{}, t.failedName(c, p, name, "link", err)
	}
	t.failures.found(c, join(p.path(), name))
	n = t.hold(n)
	return t.attr(ctx, c, n, glance)
}

func (t *Tree) symlink(ctx context.Context, c Caller, p *node, name, target string) (*node, error) {
	if p.kind == hostNode || p.kind == dirNode && p.dir.Host != nil {
		return t.hostSymlink(ctx, c, p, name, target)
	}
	linker := p.linker()
	if linker == nil {
		return nil, fault.New(fault.Fixed, "no links can be made here")
	}
	if err := t.may(c, p, mayWrite|mayExecute, "make links in"); err != nil {
		return nil, err
	}
	r, done := t.request(ctx, c, p)
	defer done()
	err := t.exclusively(r, func() error { return linker.Link(r, join(p.entry, name), target) })
	t.audit(c, "symlink", p.below(&node{}, name), target, err)
	if err != nil {
		return nil, err
	}
	t.wrote(p)
	t.nameChanged(p, name)
	return t.child(ctx, c, p, name)
}

// linker is the node's EntrySource where it also takes links.
func (n *node) linker() Linker {
	if n.dir == nil || n.dir.Entries == nil {
		return nil
	}
	l, _ := n.dir.Entries.(Linker)
	return l
}

// Link makes a second name of a file: only in a host directory.
func (t *Tree) Link(ctx context.Context, c Caller, ino, parent Ino, name string) (Attr, error) {
	n, err := t.node(ino)
	if err != nil {
		return Attr{}, err
	}
	p, err := t.node(parent)
	if err != nil {
		return Attr{}, err
	}
	made, err := t.hostLink(ctx, c, n, p, name)
	if err != nil {
		return Attr{}, t.failedName(c, p, name, "link", err)
	}
	made = t.hold(made)
	return t.attr(ctx, c, made, glance)
}
