package tree

import (
	"bytes"
	"os"
	"strconv"
	"time"
)

// A copier makes a directory and then creates each file in it with O_CREAT|O_EXCL, sure that the new directory is
// empty. But mkdir fills an object's directory with settings at their defaults, so every create would be EEXIST. The
// kernel asks with a plain lookup before such a create and answers EEXIST itself when the name is there; so the name
// must not be there: to the process that made the object, for a while, and only to its calls that make new files
// (creates.go), names that it has not created yet do not exist. To whatever else it does, and to everybody else, they
// do: `mkdir x; echo ... > x/cidr` is two processes, and a program that makes an object and reads or writes its
// settings is no copier.
//
// A maker that reads any file of the object before it has created one is no copier either, and that ends the draft.
// What cp and tar say, O_EXCL, Python's copytree does not, and needs no draft for files; but it begins with the
// subdirectories, which are listed first.
//
// A name that a process has just unlinked does not exist for it, whatever it asks (mv, install and tar unlink, then
// create).
type draft struct {
	process uint32 // thread group
	until   time.Time
	shown   map[string]bool // paths that the maker has created
}

// copied says that a process created a name that was hidden from it: it copies a file there.
type copied struct {
	absence
	at time.Time
}

// draftFor is how long drafts and absences last.
const draftFor = 30 * time.Second

// absence is a name that a process unlinked and has not created again.
type absence struct {
	process uint32
	rel     string
}

// beginDraft opens the draft view of an object that the caller just made.
func (st *objState) beginDraft(c Caller, now time.Time) {
	st.mu.Lock()
	defer st.mu.Unlock()
	st.made = now
	if c.PID != 0 {
		st.draft = &draft{process: threadGroup(c.PID), until: now.Add(draftFor), shown: map[string]bool{}}
	}
}

// endDraft ends it when its maker proves to be no copier.
func (st *objState) endDraft(c Caller) {
	if st == nil || c.PID == 0 {
		return
	}
	st.mu.Lock()
	defer st.mu.Unlock()
	if d := st.draft; d != nil && len(d.shown) == 0 && sameProcess(c.PID, d.process) {
		st.draft = nil
	}
}

// hides reports whether the caller, who looks it up, does not see a name of the object.
func (st *objState) hides(c Caller, rel string) bool {
	if st == nil || c.PID == 0 {
		return false
	}
	st.mu.Lock()
	st.pruneLocked(time.Now())
	draft, absent := st.draftsLocked(c, rel), st.absentLocked(c, rel)
	st.mu.Unlock()
	return absent || draft && creates(c.PID)
}

// draftsLocked reports whether the caller has made the object and not created that name yet.
func (st *objState) draftsLocked(c Caller, rel string) bool {
	d := st.draft
	return d != nil && !d.shown[rel] && sameProcess(c.PID, d.process)
}

func (st *objState) absentLocked(c Caller, rel string) bool {
	for a := range st.absent {
		if a.rel == rel && sameProcess(c.PID, a.process) {
			return true
		}
	}
	return false
}

// pruneLocked forgets what is over, by time or because the process ended.
func (st *objState) pruneLocked(now time.Time) {
	if d := st.draft; d != nil && (now.After(d.until) || !alive(d.process)) {
		st.draft = nil
	}
	for a, until := range st.absent {
		if now.After(until) || !alive(a.process) {
			delete(st.absent, a)
		}
	}
}

// unstable reports whether names of the object differ between processes now, so that doors must not keep them.
func (st *objState) unstable() bool {
	if st == nil {
		return false
	}
	st.mu.Lock()
	defer st.mu.Unlock()
	if st.draft == nil && len(st.absent) == 0 {
		return false
	}
	st.pruneLocked(time.Now())
	return st.draft != nil || len(st.absent) > 0
}

// reveal shows a hidden name to who creates it, and reports whether it was hidden. sure says that the creator believes
// to make something new: mkdir, O_EXCL.
func (st *objState) reveal(c Caller, rel string, sure bool) bool {
	if st == nil || c.PID == 0 {
		return false
	}
	st.mu.Lock()
	defer st.mu.Unlock()
	st.pruneLocked(time.Now())
	draft := st.draftsLocked(c, rel)
	hidden := draft || st.absentLocked(c, rel)
	switch {
	case draft && !sure && len(st.draft.shown) == 0:
		st.draft = nil // a copier would be sure
	case draft:
		st.draft.shown[rel] = true
	}
	for a := range st.absent {
		if a.rel == rel && sameProcess(c.PID, a.process) {
			delete(st.absent, a)
		}
	}
	if hidden {
		st.copy = copied{absence{c.PID, rel}, time.Now()}
	}
	return hidden
}

// copying reports whether the caller is just copying a file to that path.
func (st *objState) copying(c Caller, rel string) bool {
	st.mu.Lock()
	defer st.mu.Unlock()
	k := st.copy
	return c.PID != 0 && k.rel == rel && k.process == c.PID && time.Since(k.at) < draftFor
}

// hasUnlinked reports whether the caller has unlinked the name and not created it again: a listing leaves it out, so
// that a program that removes until nothing is left comes to an end.
func (st *objState) hasUnlinked(c Caller, rel string) bool {
	if st == nil || c.PID == 0 {
		return false
	}
	st.mu.Lock()
	defer st.mu.Unlock()
	return st.absentLocked(c, rel)
}

// maxAbsent bounds the memory of unlinked names: more than any tool unlinks before it creates.
const maxAbsent = 256

// hide makes a name absent for the caller, until it creates it.
func (st *objState) hide(c Caller, rel string) {
	if st == nil || c.PID == 0 {
		return
	}
	st.mu.Lock()
	defer st.mu.Unlock()
	if st.absent == nil {
		st.absent = map[absence]time.Time{}
	}
	if len(st.absent) < maxAbsent {
		st.absent[absence{threadGroup(c.PID), rel}] = time.Now().Add(draftFor)
	}
	if st.draft != nil {
		delete(st.draft.shown, rel)
	}
}

// threadGroup finds the process of a thread: FUSE tells us threads. The thread itself when /proc does not say.
func threadGroup(tid uint32) uint32 {
	status, err := os.ReadFile("/proc/" + strconv.FormatUint(uint64(tid), 10) + "/status")
	if err != nil {
		return tid
	}
	_, rest, _ := bytes.Cut(status, []byte("\nTgid:"))
	line, _, _ := bytes.Cut(rest, []byte("\n"))
	n, err := strconv.ParseUint(string(bytes.TrimSpace(line)), 10, 32)
	if err != nil {
		return tid
	}
	return uint32(n)
}

// sameProcess reports whether a thread belongs to a process.
func sameProcess(tid, process uint32) bool {
	if tid == process {
		return true
	}
	_, err := os.Stat("/proc/" + strconv.FormatUint(uint64(process), 10) + "/task/" + strconv.FormatUint(uint64(tid), 10))
	return err == nil
}

func alive(process uint32) bool {
	_, err := os.Stat("/proc/" + strconv.FormatUint(uint64(process), 10))
	return err == nil
}
