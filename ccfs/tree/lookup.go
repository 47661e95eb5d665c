package tree

import (
	"context"
	"time"

	"github.com/containercloud/cc/fault"
	"github.com/containercloud/cc/object"
)

// Lookup finds a name. The door owes one Forget for every success of Lookup, Create, Mkdir and Symlink. Of a file whose
// attributes may not be kept the size is only an upper bound: whoever wants to know asks Getattr.
func (t *Tree) Lookup(ctx context.Context, c Caller, parent Ino, name string) (Attr, error) {
	p, err := t.node(parent)
	if err != nil {
		return Attr{}, err
	}
	if p.fileType() != dirType {
		return Attr{}, errNotDir
	}
	if !c.Root() && !p.allow(c, mayExecute) {
		return Attr{}, denied("pass", p, p)
	}
	n, err := t.child(ctx, c, p, name)
	if err != nil {
		return Attr{}, t.missed(c, p, name, err)
	}
	n = t.hold(n)
	a, err := t.attr(ctx, c, n, glance)
	if err != nil {
		t.Forget(n.ino, 1)
	}
	return a, err
}

// missed remembers for self/error that a name is not there, which is all that the tree hears of `cat container/nosuch/status`
// or of a rmdir. What editors look for and what is hidden from a copier was not expected to be there. A program that looks
// before it makes the name has not failed: see failures.found.
func (t *Tree) missed(c Caller, p *node, name string, err error) error {
	if !fault.Is(err, fault.NotFound) || p.kind != dirNode || p.dir.Host != nil || name == "" ||
		t.index[p.dir].files[name] != nil || t.index[p.dir].dirs[name] != nil || t.scratchName(p, name, false) {
		return err
	}
	path := join(p.path(), name)
	hint := fault.HintOf(err)
	if row := p.dir.Pattern; hint == "" && row != nil {
		hint = row.Name + ": " + row.Doc
	}
	t.failures.add(c, object.Failure{
		Time: time.Now(), Kind: fault.NotFound, Text: sentence(err, "cannot find %s", path).Error(), Hint: hint,
	}, path)
	return err
}

// child finds a name in a directory. The node it returns is not in the table yet, except for . and the like.
func (t *Tree) child(ctx context.Context, c Caller, p *node, name string) (*node, error) {
	switch name {
	case ".":
		return p, nil
	case "..":
		if up, _ := p.place(); up != nil {
			return up, nil
		}
		return p, nil
	}
	switch p.kind {
	case dirNode:
		return t.childOfDir(ctx, c, p, name)
	case entryNode:
		return t.childOfEntry(ctx, c, p, name)
	case hostNode:
		return t.childOfHost(ctx, c, p, name)
	}
	return nil, errNotDir
}

func (t *Tree) childOfDir(ctx context.Context, c Caller, p *node, name string) (*node, error) {
	x := t.index[p.dir]
	if f := x.files[name]; f != nil {
		if p.obj.hides(c, join(p.rel, name)) {
			return nil, absent(p, name)
		}
		return t.fileChild(ctx, c, p, name, f)
	}
	if d := x.dirs[name]; d != nil {
		if p.obj.hides(c, join(p.rel, name)) {
			return nil, absent(p, name)
		}
		return p.below(&node{kind: dirNode, dir: d}, name), nil
	}
	if n := t.findScratch(c, p, name); n != nil {
		return n, nil
	}
	switch d := p.dir; {
	case d.Objects != nil:
		return t.objectChild(ctx, c, p, name)
	case d.Entries != nil:
		return t.childOfEntry(ctx, c, p, name)
	case d.Match != nil:
		return t.matchedChild(ctx, c, p, name)
	case d.Host != nil:
		return t.childOfHost(ctx, c, p, name)
	}
	return nil, absent(p, name)
}

// below makes a node in p that belongs to the same object.
func (p *node) below(n *node, name string) *node {
	n.t, n.id, n.obj, n.parent, n.name, n.asked = p.t, p.id, p.obj, p, name, name
	n.rel = join(p.rel, name)
	return n
}

func absent(p *node, name string) error {
	return fault.New(fault.NotFound, "no %s", join(p.path(), name))
}

// fileChild is a row's node. A log's number also depends on its generation, so that tail -F notices rotation.
func (t *Tree) fileChild(ctx context.Context, c Caller, p *node, name string, f *File) (*node, error) {
	n := p.below(&node{kind: fileNode, file: f}, name)
	if f.Kind == Log {
		err := t.withLog(ctx, c, n, func(l LogFile) error {
			n.gen = l.Generation()
			size, _, err := l.Size()
			n.size = uint64(max(size, 0))
			return err
		})
		if err != nil && !fault.Is(err, fault.NotFound) {
			return nil, err
		}
	}
	return n, nil
}

func (t *Tree) matchedChild(ctx context.Context, c Caller, p *node, name string) (*node, error) {
	n := p.below(&node{kind: fileNode}, name)
	r, done := t.request(ctx, c, n)
	defer done()
	err := t.guard(n, func() error {
		f, ok := p.dir.Match(r, name)
		if !ok {
			return absent(p, name)
		}
		n.file = f
		return nil
	})
	return n, err
}

// objectChild is an object's directory. Asked for by its id it is a link to its name: a directory with two names would
// make the kernel move it back and forth.
func (t *Tree) objectChild(ctx context.Context, c Caller, p *node, name string) (*node, error) {
	o, err := t.find(ctx, c, p, name)
	if err != nil {
		return nil, err
	}
	id, real := identity(o)
	if real != name {
		return p.below(&node{kind: linkNode, link: real}, name), nil
	}
	return t.objectNode(p, o, string(id), real), nil
}

func (t *Tree) objectNode(p *node, o Object, id, name string) *node {
	coll := p.dir.Objects
	st := t.stateOf(o, coll, p.obj)
	return &node{t: t, kind: dirNode, id: id, dir: coll.Layout, obj: st, parent: p, name: name, asked: name}
}

// find asks a collection for an object.
func (t *Tree) find(ctx context.Context, c Caller, p *node, name string) (o Object, err error) {
	r, done := t.request(ctx, c, p)
	defer done()
	err = t.guard(p, func() error {
		o, err = p.dir.Objects.Find(r, name)
		if err == nil && o == nil {
			err = absent(p, name)
		}
		return err
	})
	return o, err
}

// childOfEntry asks an EntrySource, from the Dir that has it or from a directory in it.
func (t *Tree) childOfEntry(ctx context.Context, c Caller, p *node, name string) (*node, error) {
	n := p.below(&node{kind: entryNode, dir: p.dir, entry: join(p.entry, name)}, name)
	r, done := t.request(ctx, c, n)
	defer done()
	err := t.guard(n, func() error {
		e, err := p.dir.Entries.Entry(r, n.entry)
		if err != nil {
			return err
		}
		switch {
		case e.Link != "":
			n.kind, n.link = linkNode, e.Link
		case e.File != nil:
			n.kind, n.file = fileNode, e.File
		}
		return nil
	})
	return n, err
}

// Readlink returns where a link leads.
func (t *Tree) Readlink(ctx context.Context, c Caller, ino Ino) (string, error) {
	n, err := t.node(ino)
	switch {
	case err != nil:
		return "", err
	case n.kind == linkNode:
		return n.link, nil
	case n.kind == hostNode:
		return t.hostReadlink(ctx, c, n)
	}
	return "", fault.New(fault.Invalid, "%s is not a link", n.path())
}
