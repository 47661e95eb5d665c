package container

import (
	"bytes"
	"encoding/json"
	"errors"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"time"

	"github.com/containercloud/cc/fault"
	"github.com/containercloud/cc/net/vpc"
	"github.com/containercloud/cc/object"
	"github.com/containercloud/cc/runtime/boot"
)

// specRecord is spec.json.
type specRecord struct {
	Meta object.Meta `json:"meta"`
	Spec Spec        `json:"spec"`
}

// statusRecord is status.json: the status, and what the next daemon needs to go on.
type statusRecord struct {
	Status
	InRow int        `json:"in-row,omitempty"` // restarts in a row
	Last  netip.Addr `json:"last,omitzero"`    // the address of the last run, preferred for the next
	Layer string     `json:"layer,omitempty"`  // digest of the image that the layer belongs to
	Run   *runRecord `json:"run,omitempty"`    // what is armed or runs
}

// runRecord is one slot that became this container: everything of it that outlives the daemon.
type runRecord struct {
	Cgroup     string          `json:"cgroup"`
	PID        int             `json:"pid"`
	Start      uint64          `json:"start,omitempty"`  // of the process, as keeper.StartTime; 0 unknown
	Started    time.Time       `json:"started,omitzero"` // zero: armed, or not yet written down
	Begun      bool            `json:"-"`                // it was started: Started, or the mark
	UserNS     bool            `json:"userns"`
	TTY        bool            `json:"tty,omitempty"`
	Stdin      bool            `json:"stdin,omitempty"`
	Init       bool            `json:"init,omitempty"`
	Spec       Spec            `json:"spec"`    // as it was at the start
	Process    boot.Process    `json:"process"` // what exec sessions take their defaults from
	Caps       []string        `json:"caps"`
	Seccomp    string          `json:"seccomp"`
	Attachment *vpc.Attachment `json:"attachment,omitempty"`
	Boot       string          `json:"boot"` // the kernel's boot id: an older one means that nothing of it is left
}

const (
	specFile   = "spec.json"
	statusFile = "status.json"
	maxRecord  = 64 << 20 // more is no record of ours
)

// writeRecord replaces dir/name. It is complete or absent whenever the daemon is killed; nobody waits for the disk.
func writeRecord(dir, name string, v any) error {
	f, err := openRecord(dir, name, v)
	if err != nil {
		return err
	}
	return f.Close()
}

// openRecord is writeRecord that leaves the file open, for mark.
func openRecord(dir, name string, v any) (*os.File, error) {
	b, err := json.Marshal(v)
	if err != nil {
		return nil, err
	}
	if f := blank(filepath.Join(dir, name)); f != nil {
		if _, err = f.Write(b); err == nil {
			return f, nil
		}
		f.Close()
	}
	tmp := filepath.Join(dir, "."+name)
	f, err := os.OpenFile(tmp, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return nil, err
	}
	if _, err = f.Write(b); err == nil {
		err = os.Rename(tmp, filepath.Join(dir, name))
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

// blank opens a record that was made in advance and is still empty, which stands for none: one write fills it, and a kill
// cannot split a write. nil when there is no such file.
func blank(file string) *os.File {
	f, err := os.OpenFile(file, os.O_WRONLY, 0)
	if err != nil {
		return nil
	}
	if info, err := f.Stat(); err != nil || info.Size() != 0 {
		f.Close()
		return nil
	}
	return f
}

// mark notes in the status record that what it describes was started. It costs one write of a byte: the record of an armed
// container ends without a newline, and a newline at its end is the mark.
func mark(f *os.File) error {
	_, err := f.WriteString("\n")
	return err
}

// readRecord reads dir/name over the defaults that are in v.
func readRecord(dir, name string, v any) (marked bool, err error) {
	file := filepath.Join(dir, name)
	info, err := os.Lstat(file)
	if err != nil {
		return false, err
	}
	if !info.Mode().IsRegular() || info.Size() > maxRecord {
		return false, fault.New(fault.Internal, "%s is no record", name)
	}
	b, err := os.ReadFile(file)
	if err != nil {
		return false, err
	}
	if len(b) == 0 {
		return false, fs.ErrNotExist
	}
	if err := json.Unmarshal(b, v); err != nil {
		return false, fault.New(fault.Internal, "%s cannot be read: %w", name, err)
	}
	return bytes.HasSuffix(b, []byte("\n")), nil
}

// loadRecords reads the container in dir. What cannot be read is replaced by something that can be shown and
// deleted, and broken says why.
func loadRecords(dir string) (specRecord, statusRecord, error) {
	id := object.ID(filepath.Base(dir))
	spec := specRecord{Spec: Default()}
	var status statusRecord
	_, broken := readRecord(dir, specFile, &spec)
	if broken == nil {
		broken = checkRecord(spec, id)
	}
	if broken != nil {
		spec = specRecord{
			Meta: object.Meta{ID: id, Name: string(id[:min(8, len(id))]), Created: time.Now().UTC(), Version: 1},
			Spec: Default(),
		}
	}
	marked, err := readRecord(dir, statusFile, &status)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		status.State = Defined
		status.Since = spec.Meta.Created
	case err != nil:
		status = statusRecord{Status: Status{State: Failed, Since: time.Now().UTC()}}
		broken = errors.Join(broken, err)
	case status.State == "" || arrows[status.State] == nil:
		broken = errors.Join(broken, fault.New(fault.Internal, "%s names the unknown state %q", statusFile, status.State))
		status.State = Failed
	}
	if marked && status.Run != nil {
		status.Run.Begun = true
	}
	return spec, status, broken
}

func checkRecord(r specRecord, id object.ID) error {
	if r.Meta.ID != id {
		return fault.New(fault.Internal, "%s belongs to %q", specFile, r.Meta.ID)
	}
	if err := object.CheckName(r.Meta.Name); err != nil {
		return fault.Wrap(err, "%s", specFile)
	}
	return nil
}
