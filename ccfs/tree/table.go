package tree

import (
	"context"
	"os"
	"time"

	"github.com/containercloud/cc/object"
	"github.com/containercloud/cc/words"
)

// Kind is what sort of content a file has and how writes to it are understood (docs/TREE.md, rule 3).
type Kind string

const (
	Scalar   Kind = "scalar"   // one value
	List     Kind = "list"     // one item a line; > replaces, >> adds
	Table    Kind = "table"    // "key value" lines or columns; > replaces, >> adds
	Document Kind = "document" // a whole text, committed at once
	Ctl      Kind = "ctl"      // verbs, one message a line; reading prints those legal now
	Log      Kind = "log"      // a growing real file
	Stream   Kind = "stream"   // reads block until there is something; writes flow in
	Clone    Kind = "clone"    // opening it reserves conversation N; the descriptor is N's ctl
)

// When says when a written setting takes effect.
type When string

const (
	State   When = ""      // not a setting: what is
	Live    When = "live"  // at once
	AtStart When = "start" // at the next start
	Fixed   When = "fixed" // cannot change once set or started: EPERM
)

// Caller is who asks, as the door found out. Doors make it; handlers may decide by it.
type Caller struct {
	UID, GID uint32
	Groups   func() []uint32 // supplementary groups, asked for only when needed; may be nil
	PID      uint32          // process or thread; 0 where the door has no processes
	Door     string          // "fuse", "9p", "nfs", "http", "cc" (in process)
	Session  string          // who of many with one UID, where there is no PID: a connection, a token
}

// Root reports whether the caller owns the host.
func (c Caller) Root() bool { return c.UID == 0 }

// Request is what a handler gets. Object is the object whose directory the file is in (a *container.Container,
// *vpc.VPC ...), nil outside of objects; Outer is the object around that one (the container of an exec session).
type Request struct {
	context.Context // ends at the door's deadline or when the caller goes away
	Caller          Caller
	Object          Object
	Outer           Object
	Name            string // the name that was looked up: what a Match row matched

	node  *node  // where the request goes; nil in requests made outside of the engine
	reply *reply // what Reply collects; nil where nobody could read it
}

// File is one row: a file in every directory of its kind. Exactly the handlers that its Kind needs are set.
type File struct {
	Name    string
	Kind    Kind
	Mode    uint32 // permission bits shown and enforced, e.g. 0664
	When    When
	Syntax  string // one line: `BYTES|max`, `TARGET SOURCE [ro]`
	Default string
	Doc     string // sentences for the manual and `cc help`
	Hidden  bool   // answered by lookup, not listed by readdir (docs/TREE.md, rule 18)

	// Volatile files can change without a write through the tree: doors do not cache their attributes.
	Volatile bool

	// Read renders the content, one newline at the end, empty for an empty value. The engine calls it at
	// lookup and getattr, and hands the same bytes to the open that follows.
	Read func(*Request) ([]byte, error)
	// Write sets the whole value. For Scalar text is one line without its newline and surrounding blanks;
	// for List and Table the lines, each ending in a newline (comments and blank lines kept out unless KeepText;
	// words.Lines cuts them); for Document the whole text. CRLF is LF by then, and the text is UTF-8 without NUL.
	// An error that does not begin with "cannot" gets "cannot set FILE of OBJECT: " in front.
	Write func(r *Request, text string) error
	// Append adds lines to a List or Table (>>). Without it the engine reads, appends and writes.
	Append func(r *Request, text string) error
	// Reset brings back the default (unlink, and `default` written to a Scalar). Without it the engine calls
	// Write with the row's default.
	Reset func(*Request) error
	// Sealed content may hold secrets, though its owner may read it: audits show its hash only.
	Sealed bool
	// KeepText gives Write the text as it was written: comments, blank lines, order.
	KeepText bool

	Verbs  []Verb                          // Ctl
	Log    func(*Request) (LogFile, error) // Log: opened once per open of the file
	Stream func(*Request) (Conn, error)    // Stream: one per open; the request's context ends when it returns
	Clone  func(*Request) (Object, error)  // Clone: reserves a child object of the Dir's collection named Into
	Into   string                          // Clone: "" for the directory the file is in
}

// Verb is one word that a ctl file understands.
type Verb struct {
	Name  string
	Args  string // syntax after the name: `[timeout=10s]`
	Doc   string
	Legal func(*Request) bool // nil: always; an illegal verb is EBUSY naming the state
	// Sealed are the options whose values may be secrets: audits leave them out.
	Sealed []string
	Run    func(*Request, words.Message) error
}

// Dir is a directory of the tree: rows, and at most one source of names that come and go.
type Dir struct {
	Name   string
	Mode   uint32
	Doc    string
	Hidden bool
	Files  []File
	Dirs   []*Dir

	Objects *Collection                                 // children are objects
	Match   func(r *Request, name string) (*File, bool) // names by pattern (`wait/running.5s`), never listed
	Pattern *File                                       // describes what Match finds, to schema and manual only
	Entries EntrySource                                 // links and read-only trees made elsewhere (`image/ref`)
	Host    func(*Request) (HostDir, error)             // a real directory passed through (`root/`)
}

// Object is what a collection holds. Its methods return at once and are safe for concurrent use. An object that
// also has Identity() (object.ID, string), its id and name, is listed without a copy of its Meta.
type Object interface {
	Meta() object.Meta
	// SetMeta changes owner, modes or labels durably; it counts as a configuration change.
	SetMeta(ctx context.Context, change func(*object.Meta) error) error
	// Failures is the object's error file.
	Failures() *object.Failures
}

// Collection is a directory whose subdirectories are objects.
type Collection struct {
	Noun   string // "container": the object's path is Noun/NAME in messages
	Layout *Dir   // what every object's directory holds
	List   func(*Request) ([]Object, error)
	Find   func(r *Request, name string) (Object, error) // fault.NotFound; also accepts an ID
	Make   func(r *Request, name string) (Object, error) // nil: mkdir is EPERM
	Remove func(*Request, Object) error                  // rmdir
	// Busy says why rm -r must not even begin, or nil; asked before any unlink below the object.
	Busy func(*Request, Object) error
	// Abandon is called when the last open file of a conversation (a Clone) is closed; nil: Remove is.
	Abandon func(*Request, Object)
	// Defined reports whether the object was made but not committed yet: then its state files take and drop
	// what a copier writes (docs/TREE.md, rule 16). Without it that holds for 30 s after mkdir.
	Defined func(*Request, Object) bool
	Rename  func(r *Request, o Object, name string) error // nil: EPERM
}

// EntrySource lists names that are neither rows nor objects.
type EntrySource interface {
	Entry(r *Request, path string) (Entry, error) // path is relative to the Dir: "registry:5000/team/app:1"; fault.NotFound
	Entries(r *Request, path string) ([]Entry, error)
}

// Linker is an EntrySource that takes symbolic links: `ln -s` adds, rm removes.
type Linker interface {
	Link(r *Request, path, target string) error
	Unlink(r *Request, path string) error
}

// Entry is one name of an EntrySource: a link if Link is set, a file if File is, else a directory.
type Entry struct {
	Name string
	Link string // target of a symbolic link
	File *File
}

// HostDir is a directory of the host served as it is, through os.Root so that no link leads out of it.
// The engine asks for it at every request and does not close it: its maker keeps one Root and closes it when
// the directory goes.
type HostDir struct {
	Root *os.Root
	// UIDBase is what the host's ids are above the container's, of which there are UIDs; files show and take container ids. With
	// 0 they are the host's.
	UIDBase  uint32
	UIDs     uint32
	ReadOnly bool
}

// LogFile is a snapshot view of a growing file. Offsets count from the oldest byte that was kept when the
// view was opened, and stay true while it is held, over rotation too.
type LogFile interface {
	Size() (bytes int64, mtime time.Time, err error)
	ReadAt(p []byte, off int64) (int, error)
	// Backing is a descriptor whose offset 0 is the view's offset 0, for FUSE passthrough; -1 when there is none.
	Backing() int
	// Generation changes when the name must get a new inode: after the head was cut off.
	Generation() uint64
	Close() error
}

// Conn is one open stream. Read returns the next record or part of one, io.EOF at the end, and fault.NoData
// instead of blocking when nonblock is set; it ends with ctx. Write may be nil-op with EPERM for one-way streams.
type Conn interface {
	Read(ctx context.Context, p []byte, nonblock bool) (int, error)
	Write(ctx context.Context, p []byte) (int, error)
	Close() error
}
