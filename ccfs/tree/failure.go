package tree

import (
	"crypto/sha256"
	"encoding/hex"
	"strconv"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"github.com/containercloud/cc/fault"
	"github.com/containercloud/cc/object"
	"github.com/containercloud/cc/words"
)

// failed makes a sentence of an error, and remembers it for self/error and for the object's error file. A nil error
// stays nil.
func (t *Tree) failed(c Caller, n *node, verb string, err error) error {
	if err == nil {
		return nil
	}
	switch fault.KindOf(err) {
	case fault.NoData, fault.Interrupted:
		return err
	}
	err = sentence(err, "cannot %s %s", verb, orRoot(n.path()))
	f := object.Failure{Time: time.Now(), Kind: fault.KindOf(err), Text: err.Error(), Hint: fault.HintOf(err)}
	t.failures.add(c, f, "")
	if n.obj != nil && f.Kind != fault.Denied && !n.obj.dead() {
		// Strangers that are turned away do not push the owner's failures out.
		addOnce(n.obj.get().Failures(), f, err)
	}
	return err
}

// addOnce leaves out what the domain has just noted itself.
func addOnce(list *object.Failures, f object.Failure, err error) {
	if list == nil {
		return
	}
	if old := list.List(); len(old) > 0 {
		last := old[len(old)-1]
		if f.Time.Sub(last.Time) < time.Second && strings.Contains(f.Text, last.Text) {
			return
		}
	}
	list.Add(err)
}

// FormatFailure is a line of an error file: `TIME CODE sentence; hint: ...`.
func FormatFailure(f object.Failure) string {
	line := f.Time.UTC().Format(time.RFC3339) + " " + f.Kind.String() + " " + oneLine(f.Text)
	if f.Hint != "" {
		line += "; hint: " + oneLine(f.Hint)
	}
	return line + "\n"
}

// maxSentence bounds what of a sentence is shown: it may quote what somebody wrote.
const maxSentence = 1000

// oneLine makes a sentence safe for a terminal: one line of bounded length.
func oneLine(s string) string {
	s = strings.ReplaceAll(s, "\n", "; ")
	if len(s) > maxSentence {
		s = strings.ToValidUTF8(s[:maxSentence], "") + "..."
	}
	return words.Printable(s)
}

// FormatFailures is an error file.
func FormatFailures(list []object.Failure) []byte {
	var b strings.Builder
	for _, f := range list {
		b.WriteString(FormatFailure(f))
	}
	return []byte(b.String())
}

// failures remembers everybody's last failures, so that each finds its own in self/error.
type failures struct {
	mu    sync.Mutex
	byUID map[uint32][]failure
}

// failure is one, and who had it: the process and its ancestors up to the session's leader.
type failure struct {
	object.Failure
	door, session string
	line          []process
	tid           uint32
	missing       string // the path that was looked up and is not there
}

const (
	maxFailures = 64   // of one user
	maxUsers    = 1024 // whose failures are kept
)

// add notes a failure; with missing, the path of a name that is not there. Of these one process has only the last.
func (s *failures) add(c Caller, f object.Failure, missing string) {
	var line []process
	if c.PID != 0 {
		line = ancestry(c.PID)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.byUID == nil {
		s.byUID = map[uint32][]failure{}
	}
	if _, known := s.byUID[c.UID]; !known && len(s.byUID) >= maxUsers {
		clear(s.byUID)
	}
	list := s.byUID[c.UID]
	if n := len(list); missing != "" && n > 0 && list[n-1].missing != "" && list[n-1].by(c) {
		list = list[:n-1]
	}
	list = append(list, failure{f, c.Door, c.Session, line, c.PID, missing})
	if len(list) > maxFailures {
		list = append([]failure(nil), list[len(list)-maxFailures:]...)
	}
	s.byUID[c.UID] = list
}

func (f *failure) by(c Caller) bool {
	return f.tid == c.PID && f.door == c.Door && f.session == c.Session
}

// found takes back that a name is not there: its caller has just made it.
func (s *failures) found(c Caller, path string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	list := s.byUID[c.UID]
	for i := len(list) - 1; i >= 0; i-- {
		if list[i].missing == path && list[i].by(c) {
			s.byUID[c.UID] = append(list[:i:i], list[i+1:]...)
			return
		}
	}
}

// last is the caller's own last failure: that of its process, or of the nearest one whose child it is too, such as the
// shell whose last command failed and that now runs cat.
func (s *failures) last(c Caller) (object.Failure, bool) {
	var line []process
	if c.PID != 0 {
		line = ancestry(c.PID)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	list := s.byUID[c.UID]
	best, found := len(line)+1, -1
	for i := len(list) - 1; i >= 0; i-- {
		f := &list[i]
		if f.door != c.Door || f.session != c.Session {
			continue
		}
		if c.PID == 0 {
			return f.Failure, true
		}
		if d := meeting(line, f.line); d < best {
			best, found = d, i
		}
	}
	if found < 0 {
		return object.Failure{}, false
	}
	return list[found].Failure, true
}

// meeting returns how far up a's line the first process is that b's line has too; more than its length when none.
func meeting(a, b []process) int {
	for i, p := range a {
		for _, q := range b {
			if p == q {
				return i
			}
		}
	}
	return len(a) + 1
}

// audit hands on one change, done or refused.
func (t *Tree) audit(c Caller, op string, n *node, value string, err error) {
	if t.o.Audit == nil {
		return
	}
	const most = 256
	if len(value) > most {
		value = value[:most]
		for !utf8.ValidString(value) && len(value) > most-utf8.UTFMax {
			value = value[:len(value)-1]
		}
	}
	t.o.Audit(Audit{time.Now(), c, op, n.path(), value, err})
}

// secretText is what an audit may show of a value: only its hash where nobody may read the file, or not everybody that
// reads audits.
func (n *node) secretText(value string, raw []byte) string {
	if n.file != nil && (n.file.Read == nil || n.file.Sealed) {
		sum := sha256.Sum256(raw)
		return "sha256:" + hex.EncodeToString(sum[:])
	}
	if value == "" {
		value = string(raw)
	}
	return strings.TrimSuffix(value, "\n")
}

func rightsOp(s SetAttr) string {
	if s.Mode == nil {
		return "chown"
	}
	return "chmod"
}

func rightsText(s SetAttr) string {
	switch {
	case s.Mode != nil:
		return strconv.FormatUint(uint64(*s.Mode&0o7777), 8)
	case s.UID != nil && s.GID != nil:
		return strconv.Itoa(int(*s.UID)) + ":" + strconv.Itoa(int(*s.GID))
	case s.UID != nil:
		return strconv.Itoa(int(*s.UID))
	case s.GID != nil:
		return ":" + strconv.Itoa(int(*s.GID))
	}
	return ""
}
