// Package unpack turns image layers, which anybody may have written, into directories, and stacks of
// such directories into one root file system.
//
// A layer is unpacked alone, once, whatever images it is part of. What a layer says about the layers
// below it (whiteouts, opaque directories, hard links to their files) cannot be carried out then and is
// kept in its Record until Merge. Overlayfs could do the merging at every container start, at 4 us for
// each layer and each negative lookup; one merged lower is paid for once.
//
//	layer tar -> Layer -> tree/ + Record   (one per diffID)
//	tree/ + Record, ... -> Merge -> root/  (one per list of diffIDs; files are hard links to the trees')
//
// No name from a layer is ever joined to a path string of the host: parents are resolved by
// openat2(RESOLVE_IN_ROOT) below the layer's own directory and everything else is done with *at calls
// on that descriptor, without following links. The directories are private to the caller (0700 above
// them), so nobody changes them underneath.
package unpack

import (
	"github.com/containercloud/cc/fault"
)

// Limits bound what one layer may take. A zero field means the default.
type Limits struct {
	Bytes   int64 // sum of the files' sizes, holes included; default 64 GiB
	Entries int64 // default 2 million
	Name    int   // bytes in one entry's name; default 4096
	Depth   int   // components in one entry's name; default 256
	Noted   int   // bytes of names kept in memory (directories, whiteouts); default 64 MiB
	Free    int64 // bytes to leave free on the disk; default 256 MiB
}

func (l Limits) withDefaults() Limits {
	def := func(p *int64, v int64) {
		if *p <= 0 {
			*p = v
		}
	}
	defInt := func(p *int, v int) {
		if *p <= 0 {
			*p = v
		}
	}
	def(&l.Bytes, 64<<30)
	def(&l.Entries, 2_000_000)
	def(&l.Free, 256<<20)
	defInt(&l.Name, 4096)
	defInt(&l.Depth, 256)
	defInt(&l.Noted, 64<<20)
	return l
}

// Record is what is known about an unpacked layer beyond its tree.
type Record struct {
	Bytes     int64    `json:"bytes"`               // sum of the files' sizes
	Entries   int64    `json:"entries"`             // entries carried out
	Whiteouts []string `json:"whiteouts,omitempty"` // names that hide what lies below, cleaned
	Opaque    []string `json:"opaque,omitempty"`    // directories that hide their content below
	Links     []Link   `json:"links,omitempty"`     // hard links to files of layers below
	Skipped   Skipped  `json:"skipped,omitzero"`
}

// Link is a hard link whose target is in a layer below.
type Link struct {
	Name   string `json:"name"`
	Target string `json:"target"`
}

// Skipped counts what a layer asked for and did not get, and why that is right.
type Skipped struct {
	Devices int64 `json:"devices,omitempty"` // device nodes: a container has its /dev from the runtime
	Xattrs  int64 `json:"xattrs,omitempty"`  // attributes other than user.* and security.capability: labels of the build host
	Aufs    int64 `json:"aufs,omitempty"`    // aufs bookkeeping (.wh..wh.plnk and the like)
}

// Add sums the counts of two layers.
func (s Skipped) Add(o Skipped) Skipped {
	return Skipped{s.Devices + o.Devices, s.Xattrs + o.Xattrs, s.Aufs + o.Aufs}
}

// Any reports whether something was skipped.
func (s Skipped) Any() bool { return s != Skipped{} }

// refuse is the answer to a layer that asks for something no honest layer needs.
func refuse(format string, args ...any) error {
	return fault.New(fault.Invalid, "layer refused: "+format, args...)
}
