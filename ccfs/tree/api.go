// Package tree is the engine behind every door to /cc: it turns tables of rows (table.go) into directories
// and files with exact sizes, checked writes, modes, blocking reads and errors that say why (docs/TREE.md).
//
//	doors (fusefs, 9p, http ...)        Lookup Getattr Open Readdir Create Mkdir ... Handle.Read Handle.Write
//	       |                                  |
//	     Tree    node table: Ino -> row + object        objects: scratch files, drafts, waiting readers
//	       |
//	     rows    Read, Write, Verbs, Stream ... of the tables in ccfs, which call the domain
//
// Locks, in the order they are taken: those of a Handle, then objState.change (one configuration change of an
// object at a time), then Tree.mu, node.mu, objState.mu, which are held for a few instructions only and never while a
// row's function runs. Below them comes only what Object.Meta takes.
package tree

import (
	"context"
	"log/slog"
	"time"
)

// Ino is a file's number: a hash of (object id, path in the object), so it survives restarts, and a
// re-created object has others. The root is RootIno.
type Ino uint64

// RootIno is the number of the root directory.
const RootIno Ino = 1

// Options are what a Tree needs from its surroundings. The zero value works.
type Options struct {
	Log   *slog.Logger // panics and slow or stuck rows; slog.Default when nil
	Audit func(Audit)  // called after everything that changed or was to change state
	// Deadline is how long a request that is not a blocking read may take; 30 s when 0.
	Deadline time.Duration
	// Rights are those of fixed files and directories, by path below the root ("." is the root), where they are not as their rows say.
	Rights map[string]Rights
	// KeepRights makes them durable before a change of them counts; it must not change the map. Nil: they last as long as the Tree.
	KeepRights func(context.Context, map[string]Rights) error
}

// Audit is one change, done or refused.
type Audit struct {
	Time   time.Time
	Caller Caller
	Op     string // "write", "mkdir", "rmdir", "reset", "rename", "chmod" ...
	Path   string // below the root: "container/web/ctl"
	Value  string // what was written, at most 256 bytes; "sha256:..." for files that nobody can read
	Err    error
}

// Attr is what stat shows. Mode holds the file type (syscall.S_IF*) and the permission bits.
type Attr struct {
	Ino                 Ino
	Mode                uint32
	Size                uint64 // exactly what a read from 0 returns; 0 for streams
	UID, GID            uint32
	Nlink               uint32
	Rdev                uint32
	Mtime, Ctime, Birth time.Time
	// Cache says that these attributes stay true until a Change of Ino is announced. Otherwise they may differ at
	// the next look, and a door must not keep them.
	Cache bool
	// CacheName says the same of the name that was looked up, until a Change of that name in its directory.
	CacheName bool
	// Private says that writes may wait long (ctl, streams): a door whose client locks inodes should give every
	// opener an inode of its own.
	Private bool
}

// SetAttr names the attributes to change; nil ones stay.
type SetAttr struct {
	Mode, UID, GID *uint32
	Size           *uint64
	Mtime, Atime   *time.Time
}

// Dirent is one name of a directory. Mode is the file type only.
type Dirent struct {
	Name string
	Ino  Ino
	Mode uint32
}

// Change tells a door what to forget: with a Name, that name in the directory Parent (it came, went or
// means something else); without, the attributes and content of Ino.
type Change struct {
	Ino    Ino
	Parent Ino
	Name   string
}

// Statfs is what df shows: nothing is full, nothing is measured.
type Statfs struct {
	Blocks, Bfree, Bavail uint64
	Files, Ffree          uint64
	Bsize, NameLen        uint32
}
