// Package object holds what every object of the tree has, whatever its noun: identity, owner, modes,
// labels, a version, and its last failures.
package object

import (
	"maps"
	"regexp"
	"sync"
	"time"

	"github.com/google/uuid"

	"github.com/containercloud/cc/fault"
)

// ID is an object's UUID: it never names two objects, not even after a re-creation under the same name.
type ID string

// NewID makes a random ID (RFC 9562, version 4).
func NewID() ID { return ID(uuid.NewString()) }

// Mark is what a daemon's kernel objects are marked with: the name of its nftables tables, of its control groups and of its
// mount's source. Names of links have no room for it; theirs come from a hash (link.MarkOf).
func Mark(instance string) string {
	if instance == "cc" {
		return instance
	}
	return "cc-" + instance
}

// Meta is the part of an object that all nouns share. It is stored with the object's spec.
type Meta struct {
	ID      ID                `json:"id"`
	Name    string            `json:"name"`
	Created time.Time         `json:"created"`
	Version uint64            `json:"version"` // counts configuration changes, from 1
	UID     uint32            `json:"uid"`     // owner on the host
	GID     uint32            `json:"gid"`
	Modes   map[string]uint32 `json:"modes,omitempty"` // permission bits by file name, "." for the directory, where chmod changed them
	Labels  map[string]string `json:"labels,omitempty"`
}

// Clone returns a copy that shares nothing with m.
func (m Meta) Clone() Meta {
	m.Modes = maps.Clone(m.Modes)
	m.Labels = maps.Clone(m.Labels)
	return m
}

var label = regexp.MustCompile(`^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$`)

// CheckName accepts DNS labels (RFC 1123) that no collection reserves (docs/TREE.md, rule 4).
func CheckName(name string) error {
	if !label.MatchString(name) {
		return fault.New(fault.Invalid, "bad name %q", name).
			WithHint("use 1 to 63 of a-z, 0-9 and -, with a letter or digit at both ends")
	}
	switch name {
	case "ctl", "new", "index":
		return fault.New(fault.Exists, "name %q is reserved", name)
	}
	return nil
}

// Failure is one line of an object's error file.
type Failure struct {
	Time time.Time
	Kind fault.Kind
	Text string
	Hint string
}

// MaxFailures is how many failures an object remembers.
const MaxFailures = 16

// Failures remembers an object's last failures, newest last. The zero value is ready for use.
type Failures struct {
	mu   sync.Mutex
	list []Failure
}

// Add remembers err; a nil err is ignored.
func (f *Failures) Add(err error) {
	if err == nil {
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.list = append(f.list, Failure{time.Now(), fault.KindOf(err), err.Error(), fault.HintOf(err)})
	if n := len(f.list) - MaxFailures; n > 0 {
		f.list = append(f.list[:0:0], f.list[n:]...)
	}
}

// List returns the failures, newest last.
func (f *Failures) List() []Failure {
	f.mu.Lock()
	defer f.mu.Unlock()
	return append([]Failure(nil), f.list...)
}
