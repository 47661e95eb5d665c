package tree

import (
	"context"
	"path"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/containercloud/cc/fault"
	"github.com/containercloud/cc/words"
)

// Limits of scratch files (docs/TREE.md, rule 13).
const (
	maxScratch      = 1 << 20
	maxScratchFiles = 16
	scratchFor      = 10 * time.Minute
)

// scratch is a file that an editor keeps beside the one it edits: in memory, for its owner, for a while. A rename over
// a setting makes its text the setting's.
type scratch struct {
	number uint64
	born   time.Time

	mu    sync.Mutex
	owner Caller
	mode  uint32
	data  []byte
	used  time.Time
}

func (s *scratch) rights() rights {
	s.mu.Lock()
	defer s.mu.Unlock()
	return rights{s.owner.UID, s.owner.GID, s.mode, s.born}
}

// findScratch finds a scratch file of the object by its path; other callers than its owner do not see it.
func (t *Tree) findScratch(c Caller, dir *node, name string) *node {
	st := dir.obj
	if st == nil {
		return nil
	}
	rel := join(dir.rel, name)
	st.mu.Lock()
	defer st.mu.Unlock()
	s := st.scratch[rel]
	if s == nil || !c.Root() && s.uid() != c.UID {
		return nil
	}
	if time.Since(s.lastUse()) > scratchFor {
		delete(st.scratch, rel)
		return nil
	}
	return t.scratchNode(dir, name, s)
}

// checkScratch refuses a name that no editor gives its files: `echo 1G > memroy` or `> network` must not be lost in a
// scratch file. sure says that the maker believes to make something new (O_EXCL), as programs that make names up do.
func (t *Tree) checkScratch(dir *node, name string, sure bool) error {
	if t.scratchName(dir, name, sure) {
		return nil
	}
	var rows []string
	for row, f := range t.index[dir.dir].files {
		if f.setting() {
			rows = append(rows, row)
		}
	}
	slices.Sort(rows)
	err := fault.New(fault.NotFound, "there is no such setting")
	if near := words.Nearest(strings.ToLower(name), rows); near != "" {
		return err.WithHint("did you mean %s?", near)
	}
	return err.WithHint("there are: %s", strings.Join(rows, " "))
}

// scratchName knows the names that programs give their scratch files:
//
//	.x.swp .#x .x.Ab3dEf #x# x~ 4913         vim, emacs, rsync, and whoever means "not to be seen"
//	spec.new spec.orig memory-2              beside a row
//	sedAb3dEf argsAb3dEf tmp.Ab3dEf Ab3dEf7x sed, busybox, mktemp, perl: random, and made with O_EXCL
func (t *Tree) scratchName(dir *node, name string, sure bool) bool {
	if strings.ContainsRune(".#", rune(name[0])) || name[len(name)-1] == '~' || strings.Trim(name, "0123456789") == "" {
		return true
	}
	if sure && (isRandom(name, 8) || len(name) > len("tmp") && strings.HasPrefix(name, "tmp")) {
		return true
	}
	if rest, ok := strings.CutPrefix(name, "sed"); ok && sure && isRandom(rest, 6) {
		return true
	}
	if i := strings.LastIndexByte(name, '.'); sure && i > 0 && isRandom(name[i+1:], 6) {
		return true
	}
	for row := range t.index[dir.dir].files {
		if rest, ok := strings.CutPrefix(name, row); ok && rest != "" && (!isLetter(rest[0]) || sure && isRandom(rest, 6)) {
			return true
		}
	}
	return false
}

// isRandom reports whether a word can be what mkstemp(3) makes of n X.
func isRandom(s string, n int) bool {
	return len(s) == n && !strings.ContainsFunc(s, func(r rune) bool { return r > 'z' || !isLetter(byte(r)) && (r < '0' || r > '9') })
}

func isLetter(c byte) bool { return 'a' <= c|0x20 && c|0x20 <= 'z' }

// setRights lets an editor give its copy the rights of the original.
func (s *scratch) setRights(c Caller, set SetAttr) error {
	now := s.rights()
	set = set.without(now)
	if err := checkOwner(c, now, set); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if set.Mode != nil {
		s.mode = *set.Mode & 0o777
	}
	if set.UID != nil {
		s.owner.UID = *set.UID
	}
	if set.GID != nil {
		s.owner.GID = *set.GID
	}
	return nil
}

func (s *scratch) uid() uint32 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.owner.UID
}

func (s *scratch) lastUse() time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.used
}

func (t *Tree) scratchNode(dir *node, name string, s *scratch) *node {
	return &node{
		t: t, kind: scratchNode, id: dir.id, rel: join(dir.rel, name), gen: s.number,
		obj: dir.obj, draft: s, parent: dir, name: name,
	}
}

// makeScratch creates one.
func (t *Tree) makeScratch(c Caller, dir *node, name string, mode uint32, data []byte) (*node, error) {
	st := dir.obj
	now := time.Now()
	s := &scratch{number: t.scratch.Add(1), owner: c, mode: mode & 0o777, data: data, born: now, used: now}
	st.mu.Lock()
	defer st.mu.Unlock()
	count := 0
	for rel, old := range st.scratch {
		if time.Since(old.lastUse()) > scratchFor {
			delete(st.scratch, rel)
		} else if inDir(rel, dir.rel) {
			count++
		}
	}
	if count >= maxScratchFiles {
		return nil, fault.New(fault.NoSpace, "cannot create %s: there are %d scratch files already", name, count).
			WithHint("remove some; they go by themselves %s after their last use", scratchFor)
	}
	if st.scratch == nil {
		st.scratch = map[string]*scratch{}
	}
	st.scratch[join(dir.rel, name)] = s
	t.expireLater(st)
	return t.scratchNode(dir, name, s), nil
}

// expireLater drops scratch files when nobody comes to look any more.
func (t *Tree) expireLater(st *objState) {
	time.AfterFunc(scratchFor+time.Second, func() {
		st.mu.Lock()
		for rel, s := range st.scratch {
			if time.Since(s.lastUse()) > scratchFor {
				delete(st.scratch, rel)
			}
		}
		st.mu.Unlock()
		t.mu.Lock()
		st.refs++
		t.unrefLocked(st)
		t.mu.Unlock()
	})
}

func inDir(rel, dir string) bool {
	d, _ := path.Split(rel)
	return strings.TrimSuffix(d, "/") == dir
}

// dropScratch removes one and returns it, nil when there was none.
func (st *objState) dropScratch(rel string) *scratch {
	st.mu.Lock()
	defer st.mu.Unlock()
	s := st.scratch[rel]
	delete(st.scratch, rel)
	return s
}

// scratchNames lists the caller's scratch files in a directory.
func (st *objState) scratchNames(c Caller, dir string) (names []string) {
	st.mu.Lock()
	defer st.mu.Unlock()
	for rel, s := range st.scratch {
		if inDir(rel, dir) && (c.Root() || s.uid() == c.UID) {
			names = append(names, path.Base(rel))
		}
	}
	return names
}

// scratchFile is an open scratch file.
type scratchFile struct {
	s      *scratch
	append bool
}

func (f *scratchFile) read(_ context.Context, p []byte, off int64, _ bool) (int, error) {
	f.s.mu.Lock()
	defer f.s.mu.Unlock()
	f.s.used = time.Now()
	if off >= int64(len(f.s.data)) {
		return 0, nil
	}
	return copy(p, f.s.data[off:]), nil
}

func (f *scratchFile) write(_ context.Context, _ Caller, p []byte, off int64) (int, error) {
	f.s.mu.Lock()
	defer f.s.mu.Unlock()
	f.s.used = time.Now()
	if f.append {
		off = int64(len(f.s.data))
	}
	end := off + int64(len(p))
	if end > maxScratch {
		return 0, fault.New(fault.NoSpace, "a scratch file holds at most %d bytes", maxScratch)
	}
	if grow := end - int64(len(f.s.data)); grow > 0 {
		f.s.data = append(f.s.data, make([]byte, grow)...)
	}
	return copy(f.s.data[off:], p), nil
}

func (f *scratchFile) truncate(size uint64) error {
	f.s.mu.Lock()
	defer f.s.mu.Unlock()
	if size > maxScratch {
		return fault.New(fault.NoSpace, "a scratch file holds at most %d bytes", maxScratch)
	}
	data := make([]byte, size)
	copy(data, f.s.data)
	f.s.data = data
	return nil
}

func (f *scratchFile) flush(context.Context) error { return nil }
func (f *scratchFile) release()                    {}
func (f *scratchFile) size() (uint64, time.Time, bool) {
	f.s.mu.Lock()
	defer f.s.mu.Unlock()
	return uint64(len(f.s.data)), f.s.used, true
}

// text is what a rename commits.
func (s *scratch) text() []byte {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]byte(nil), s.data...)
}
