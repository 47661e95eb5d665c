package tree

import (
	"bytes"
	"context"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/containercloud/cc/fault"
	"github.com/containercloud/cc/words"
)

// ctl is an open ctl file. Reading gives the verbs that are legal now, or the reply to the line that was just written.
// Offsets of writes mean nothing.
type ctl struct {
	h *Handle
	view
	fixed string // of a conversation: its name, which is what reading gives

	rmu   sync.Mutex
	reply []byte // unread answer to the last write
	base  int64  // offset where it is read, -1 before the first read

	wmu     sync.Mutex
	rest    []byte // the beginning of a line whose end is still to come
	dropped bool   // a copier is writing a listing
}

// listingHead is the first line of a listing. A write that begins with it is a copy of one and is dropped: cp -r must
// not run the verbs that it copies.
const listingHead = "# verbs now"

func openCtl(_ context.Context, h *Handle, fixed string) (*ctl, error) {
	return &ctl{h: h, fixed: fixed, base: -1}, nil
}

// listing prints the verbs that are legal now.
func listing(r *Request, verbs []Verb) []byte {
	var b bytes.Buffer
	b.WriteString(listingHead + "\n")
	for i := range verbs {
		v := &verbs[i]
		if v.Legal == nil || v.Legal(r) {
			b.WriteString(strings.TrimSpace(v.Name+" "+v.Args) + "\n")
		}
	}
	return b.Bytes()
}

func (f *ctl) read(ctx context.Context, p []byte, off int64, _ bool) (int, error) {
	if n, ok := f.readReply(p, off); ok {
		return n, nil
	}
	return f.readAt(p, off, func() ([]byte, error) {
		if f.fixed != "" {
			return []byte(f.fixed), nil
		}
		return f.h.t.render(ctx, f.h.caller, f.h.node)
	})
}

// readReply reads the answer to the last line, which begins wherever the first read after the write asks: a shell
// reads on at the offset where its write ended, other programs go back to 0.
func (f *ctl) readReply(p []byte, off int64) (int, bool) {
	f.rmu.Lock()
	defer f.rmu.Unlock()
	if f.reply == nil {
		return 0, false
	}
	if f.base < 0 {
		f.base = off
	}
	at := off - f.base
	if at < 0 {
		f.reply, f.base = nil, -1
		return 0, false
	}
	if at >= int64(len(f.reply)) {
		return 0, true
	}
	return copy(p, f.reply[at:]), true
}

func (f *ctl) setReply(b []byte) {
	f.rmu.Lock()
	defer f.rmu.Unlock()
	f.base = -1
	f.reply = nil
	if len(b) > 0 {
		f.reply = b
	}
}

func (f *ctl) size() (uint64, time.Time, bool) {
	f.rmu.Lock()
	reply := f.reply
	f.rmu.Unlock()
	switch {
	case reply != nil:
		return uint64(len(reply)), time.Time{}, true
	case f.fixed != "":
		return uint64(len(f.fixed)), time.Time{}, true
	}
	return f.view.size()
}

func (f *ctl) write(ctx context.Context, c Caller, p []byte, _ int64) (int, error) {
	f.wmu.Lock()
	defer f.wmu.Unlock()
	if f.dropped || len(f.rest) == 0 && bytes.HasPrefix(p, []byte(listingHead)) {
		f.dropped = true
		return len(p), nil
	}
	raw := append(f.rest, p...)
	f.rest = nil
	if isPiece(p) && p[len(p)-1] != '\n' {
		cut := bytes.LastIndexByte(raw, '\n') + 1
		f.rest = bytes.Clone(raw[cut:])
		raw = raw[:cut]
		if len(f.rest) > maxLine {
			f.rest = nil
			return 0, fault.New(fault.TooLong, "a line is longer than %d bytes", maxLine)
		}
	}
	if err := f.run(ctx, c, raw); err != nil {
		f.rest = nil
		return 0, err
	}
	return len(p), nil
}

// run carries out whole lines in order, up to the first that fails.
func (f *ctl) run(ctx context.Context, c Caller, raw []byte) error {
	text, err := plainText(raw)
	if err != nil {
		return sentence(err, "cannot write %s", f.h.node.path())
	}
	f.view.stale()
	var answer reply
	lines := words.Lines(text)
	for i, line := range lines {
		if err := f.h.t.message(ctx, c, f.h.node, line, &answer); err != nil {
			f.setReply(answer.bytes())
			if len(lines) > 1 {
				return fault.Wrap(err, "line %d", i+1)
			}
			return err
		}
	}
	f.setReply(answer.bytes())
	return nil
}

// message carries out one line of a ctl file.
func (t *Tree) message(ctx context.Context, c Caller, n *node, line string, answer *reply) error {
	m, err := words.Parse(line)
	if err == nil && m.Verb == "" {
		return nil
	}
	if err == nil {
		err = t.verb(ctx, c, n, m, answer)
	} else {
		err = sentence(err, "cannot read the message to %s", n.path())
	}
	t.audit(c, "ctl", n, unsealed(n.file.Verbs, m, line), err)
	return err
}

// unsealed is what an audit may show of a line, of which m was understood.
func unsealed(verbs []Verb, m words.Message, line string) string {
	v := findVerb(verbs, m.Verb)
	if v == nil { // not understood at all
		verb, _, _ := strings.Cut(line, " ")
		return verb
	}
	if !slices.ContainsFunc(m.Opts, func(o words.Opt) bool { return slices.Contains(v.Sealed, o.Key) }) {
		return line
	}
	m.Opts = slices.Clone(m.Opts)
	for i, o := range m.Opts {
		if slices.Contains(v.Sealed, o.Key) {
			name, _, named := strings.Cut(o.Value, "=")
			m.Opts[i].Value = "..."
			if named {
				m.Opts[i].Value = name + "=..."
			}
		}
	}
	return m.String()
}

func (t *Tree) verb(ctx context.Context, c Caller, n *node, m words.Message, answer *reply) error {
	v := findVerb(n.file.Verbs, m.Verb)
	if v == nil {
		return unknownVerb(n, m.Verb)
	}
	wait, err := Wait(m)
	if err != nil {
		return sentence(err, "cannot %s %s", m.Verb, n.subject())
	}
	r, done := t.longRequest(ctx, c, n, wait)
	defer done()
	r.reply = answer
	err = t.runVerb(r, v, m, wait)
	t.wrote(n)
	return sentence(err, "cannot %s %s", m.Verb, n.subject())
}

// runVerb runs a verb, if-version=N first. The compare and the verb are one change, except where the verb waits
// afterwards: others need not wait with it.
func (t *Tree) runVerb(r *Request, v *Verb, m words.Message, wait time.Duration) error {
	run := func() error {
		if v.Legal != nil && !v.Legal(r) {
			return t.illegal(r, v)
		}
		return v.Run(r, m)
	}
	version, conditional := m.Take("if-version")
	if !conditional {
		return t.act(r, run)
	}
	if r.Object == nil {
		return fault.New(fault.Invalid, "if-version needs an object").WithHint("write to the ctl of one")
	}
	compare := func() error { return checkVersion(version, r.Object.Meta().Version) }
	if wait == 0 {
		return t.exclusively(r, func() error {
			if err := compare(); err != nil {
				return err
			}
			return run()
		})
	}
	if err := t.exclusively(r, compare); err != nil {
		return err
	}
	return t.act(r, run)
}

// subject is what a ctl file speaks to: its object's or directory's path.
func (n *node) subject() string {
	p, _ := n.place()
	if p == nil {
		return n.path()
	}
	return orRoot(p.path())
}

func findVerb(verbs []Verb, name string) *Verb {
	for i := range verbs {
		if verbs[i].Name == name {
			return &verbs[i]
		}
	}
	return nil
}

func unknownVerb(n *node, name string) error {
	var names []string
	for i := range n.file.Verbs {
		names = append(names, n.file.Verbs[i].Name)
	}
	hint := "there are: " + strings.Join(names, " ")
	if near := words.Nearest(name, names); near != "" {
		hint = "did you mean " + near + "? " + hint
	}
	return fault.New(fault.Invalid, "cannot tell %s: there is no verb %q", n.subject(), name).WithHint("%s", hint)
}

// illegal says why a verb cannot run now: by the first line of the object's status where there is one.
func (t *Tree) illegal(r *Request, v *Verb) error {
	err := fault.New(fault.Busy, "not in the present state").WithHint("cat %s shows what is possible now", r.Path())
	p, _ := r.node.place()
	if p == nil || p.dir == nil {
		return err
	}
	status := t.index[p.dir].files["status"]
	if status == nil || status.Read == nil {
		return err
	}
	text, fail := status.Read(r)
	if fail != nil {
		return err
	}
	line, _, _ := strings.Cut(string(text), "\n")
	if state, ok := strings.CutPrefix(line, "state "); ok {
		return fault.New(fault.Busy, "it is %s", state).WithHint("%s", err.Hint)
	}
	return err
}

func (f *ctl) flush(ctx context.Context) error {
	f.wmu.Lock()
	defer f.wmu.Unlock()
	raw := f.rest
	f.rest = nil
	if len(raw) == 0 {
		return nil
	}
	return f.run(ctx, f.h.caller, raw)
}

func (f *ctl) release() {}
