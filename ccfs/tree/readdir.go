package tree

import (
	"context"
	"slices"
	"strings"
	"syscall"
)

// Readdir lists a directory without . and ..: directories, settings, then what cannot be written; nothing that is hidden. It
// renders no file.
func (t *Tree) Readdir(ctx context.Context, c Caller, ino Ino) ([]Dirent, error) {
	n, err := t.node(ino)
	if err != nil {
		return nil, err
	}
	if n.fileType() != dirType {
		return nil, errNotDir
	}
	if err := t.may(c, n, mayRead, "list"); err != nil {
		return nil, t.failed(c, n, "list", err)
	}
	list, err := t.list(ctx, c, n)
	if err != nil {
		return nil, t.failed(c, n, "list", err)
	}
	return list, nil
}

func (t *Tree) list(ctx context.Context, c Caller, n *node) ([]Dirent, error) {
	switch n.kind {
	case hostNode:
		return t.listHost(ctx, c, n)
	case entryNode:
		return t.listEntries(ctx, c, n)
	}
	x := t.index[n.dir]
	list := make([]Dirent, 0, len(x.listed)+len(n.dir.Dirs))
	add := func(name string, k class, mode uint32) {
		if rel := join(n.rel, name); !n.obj.hasUnlinked(c, rel) {
			list = append(list, Dirent{name, number(k, n.id, rel, 0, 0), mode})
		}
	}
	for _, d := range n.dir.Dirs {
		if !d.Hidden {
			add(d.Name, classDir, syscall.S_IFDIR)
		}
	}
	for _, f := range x.listed {
		add(f.Name, f.class(), syscall.S_IFREG)
	}
	if n.obj != nil {
		for _, name := range n.obj.scratchNames(c, n.rel) {
			add(name, classOther, syscall.S_IFREG)
		}
	}
	more, err := t.listSource(ctx, c, n)
	return append(list, more...), err
}

func (t *Tree) listSource(ctx context.Context, c Caller, n *node) ([]Dirent, error) {
	switch d := n.dir; {
	case d.Objects != nil:
		return t.listObjects(ctx, c, n)
	case d.Entries != nil:
		return t.listEntries(ctx, c, n)
	case d.Host != nil:
		return t.listHost(ctx, c, n)
	}
	return nil, nil
}

func (t *Tree) listObjects(ctx context.Context, c Caller, n *node) (list []Dirent, err error) {
	r, done := t.request(ctx, c, n)
	defer done()
	err = t.guard(n, func() error {
		objects, err := n.dir.Objects.List(r)
		list = make([]Dirent, 0, len(objects))
		for _, o := range objects {
			id, name := identity(o)
			list = append(list, Dirent{name, number(classDir, string(id), "", 0, 0), syscall.S_IFDIR})
		}
		return err
	})
	slices.SortFunc(list, func(a, b Dirent) int { return strings.Compare(a.Name, b.Name) })
	return list, err
}

func (t *Tree) listEntries(ctx context.Context, c Caller, n *node) (list []Dirent, err error) {
	r, done := t.request(ctx, c, n)
	defer done()
	err = t.guard(n, func() error {
		entries, err := n.dir.Entries.Entries(r, n.entry)
		for _, e := range entries {
			if e.File != nil && e.File.Hidden {
				continue
			}
			k, mode := classDir, uint32(syscall.S_IFDIR)
			switch {
			case e.Link != "":
				k, mode = classOther, syscall.S_IFLNK
			case e.File != nil:
				k, mode = e.File.class(), syscall.S_IFREG
			}
			list = append(list, Dirent{e.Name, number(k, n.id, join(n.rel, e.Name), 0, 0), mode})
		}
		return err
	})
	return list, err
}
