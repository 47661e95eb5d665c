package tree

import (
	"os/user"
	"strconv"
	"strings"
	"time"

	"github.com/containercloud/cc/event"
	"github.com/containercloud/cc/fault"
	"github.com/containercloud/cc/object"
	"github.com/containercloud/cc/words"
)

// Common are the files that every object's directory has (docs/TREE.md, "Every object directory"). What is nil is left
// out, with the files that need it.
type Common struct {
	Verbs   []Verb
	State   func(*Request) string          // one of States
	Status  func(*Request) []words.Opt     // what status says after `state WORD`
	UsedBy  func(*Request) []string        // paths below the root
	Metrics func(*Request) ([]byte, error) // Prometheus text
	Events  *event.Log                     // events of the object, by its id
	// EventName is what events call the object that carry no id: "container/web".
	EventName func(*Request) string
	States    []string                                     // what wait/ can wait for, besides gone
	Reached   func(r *Request, state string) (bool, error) // nil: State(r) == state
}

// Fill adds the files to a layout, and an empty `live` and `wait` if it has none.
func (k Common) Fill(d *Dir) {
	d.Files = append(d.Files, k.identity()...)
	d.Files = append(d.Files, labelsRow(), errorRow())
	if len(k.Verbs) > 0 {
		d.Files = append(d.Files, CtlRow(k.Verbs...))
	}
	if k.State != nil {
		d.Files = append(d.Files, k.statusRow())
		live := d.Sub("live")
		live.Files = append(live.Files, k.liveStatusRow())
	}
	if k.UsedBy != nil {
		d.Files = append(d.Files, File{
			Name: "usedby", Kind: List, Mode: 0o444, Volatile: true,
			Doc:  "Paths of the objects that refer to this one.",
			Read: func(r *Request) ([]byte, error) { return []byte(FormatItems(k.UsedBy(r))), nil },
		})
	}
	if k.Metrics != nil {
		d.Files = append(d.Files, File{
			Name: "metrics", Kind: Document, Mode: 0o444, Volatile: true, Doc: "Prometheus text for this object.", Read: k.Metrics,
		})
	}
	if k.Events != nil {
		live := d.Sub("live")
		live.Files = append(live.Files, eventStream(k.Events, k.eventName))
	}
	if len(k.States) > 0 {
		k.fillWait(d.Sub("wait"))
	}
	d.Files = append(d.Files, moreRow())
}

// eventName is how events name the request's object.
func (k Common) eventName(r *Request) string {
	if k.EventName == nil {
		return ""
	}
	return k.EventName(r)
}

// CtlRow is a ctl file with these verbs.
func CtlRow(verbs ...Verb) File {
	return File{
		Name: "ctl", Kind: Ctl, Mode: 0o664, Volatile: true, Verbs: verbs,
		Doc: "Verbs, one message a line. Reading prints those that are possible now. Any line may hold if-version=N: " +
			"it is done only if the version is N.",
	}
}

func (k Common) identity() []File {
	text := func(name, doc string, volatile bool, read func(r *Request, m object.Meta) string) File {
		return File{
			Name: name, Kind: Scalar, Mode: 0o444, Doc: doc, Volatile: volatile,
			Read: func(r *Request) ([]byte, error) { return terminated(read(r, r.Object.Meta())), nil },
		}
	}
	return []File{
		text("id", "The object's UUID: it never names another one.", false, func(_ *Request, m object.Meta) string { return string(m.ID) }),
		text("version", "Counts changes of the configuration.", true, func(_ *Request, m object.Meta) string {
			return strconv.FormatUint(m.Version, 10)
		}),
		text("created", "When it was made.", false, func(_ *Request, m object.Meta) string { return FormatTime(m.Created) }),
		text("owner", "user:group; chown changes it.", true, func(_ *Request, m object.Meta) string {
			return userName(m.UID) + ":" + groupName(m.GID)
		}),
	}
}

// FormatTime prints a time as every file of the tree does: RFC 3339, UTC; - for none.
func FormatTime(t time.Time) string {
	if t.IsZero() {
		return "-"
	}
	return t.UTC().Format(time.RFC3339Nano)
}

func userName(uid uint32) string {
	id := strconv.FormatUint(uint64(uid), 10)
	if u, err := user.LookupId(id); err == nil {
		return u.Username
	}
	return id
}

func groupName(gid uint32) string {
	id := strconv.FormatUint(uint64(gid), 10)
	if g, err := user.LookupGroupId(id); err == nil {
		return g.Name
	}
	return id
}

func labelsRow() File {
	set := func(r *Request, text string, add bool) error {
		labels, err := ParsePairs(text, checkLabel)
		if err != nil {
			return err
		}
		return r.Object.SetMeta(r, func(m *object.Meta) error {
			if add {
				for k, v := range m.Labels {
					if _, replaced := labels[k]; !replaced {
						labels[k] = v
					}
				}
			}
			m.Labels = labels
			return nil
		})
	}
	return File{
		Name: "labels", Kind: Table, Mode: 0o664, When: Live, Syntax: "KEY VALUE",
		Doc: "Free names for finding and grouping; a service selects its backends by them.",
		Read: func(r *Request) ([]byte, error) {
			return []byte(FormatPairs(r.Object.Meta().Labels)), nil
		},
		Write:  func(r *Request, text string) error { return set(r, text, false) },
		Append: func(r *Request, text string) error { return set(r, text, true) },
	}
}

func checkLabel(key, value string) error {
	if key == "" || key[0] == '#' || len(key) > 253 || len(value) > 4096 || strings.ContainsAny(key, " \t\n=,'\"") {
		return fault.New(fault.Invalid, "%q is no label", key).WithHint("KEY is up to 253 letters without blanks = , and quotes")
	}
	return nil
}

// TakeLabels takes every label=KEY=VALUE out of a message, by the rules of the file labels.
func TakeLabels(m *words.Message) (map[string]string, error) {
	var labels map[string]string
	var rest []words.Opt
	for _, o := range m.Opts {
		if o.Key != "label" {
			rest = append(rest, o)
			continue
		}
		k, v, _ := strings.Cut(o.Value, "=")
		if err := checkLabel(k, v); err != nil {
			return nil, err
		}
		if labels == nil {
			labels = map[string]string{}
		}
		labels[k] = v
	}
	m.Opts = rest
	return labels, nil
}

func errorRow() File {
	return File{
		Name: "error", Kind: Table, Mode: 0o444, Volatile: true,
		Doc:  "The last failures, newest last: TIME CODE sentence; hint: what to do.",
		Read: func(r *Request) ([]byte, error) { return FormatFailures(r.Object.Failures().List()), nil },
	}
}

func (k Common) statusRow() File {
	return File{
		Name: "status", Kind: Table, Mode: 0o444, Volatile: true, Doc: "What is: `state WORD`, then `key value` lines.",
		Read: func(r *Request) ([]byte, error) { return k.status(r), nil },
	}
}

func (k Common) status(r *Request) []byte {
	var b strings.Builder
	b.WriteString("state " + k.State(r) + "\n")
	if k.Status != nil {
		for _, o := range k.Status(r) {
			b.WriteString(FormatPair(o.Key, o.Value) + "\n")
		}
	}
	return []byte(b.String())
}

// moreRow lists what readdir leaves out.
func moreRow() File {
	return File{
		Name: "more", Kind: Table, Mode: 0o444, Doc: "Names that are not listed here, because they block, never end, cost much or lead elsewhere.",
		Read: func(r *Request) ([]byte, error) {
			dir := r.node.dirOf()
			var b strings.Builder
			for i := range dir.Files {
				if f := &dir.Files[i]; f.Hidden {
					b.WriteString(FormatPair(f.Name, firstSentence(f.Doc)) + "\n")
				}
			}
			for _, sub := range dir.Dirs {
				if sub.Hidden {
					b.WriteString(FormatPair(sub.Name+"/", firstSentence(sub.Doc)) + "\n")
					for i := range sub.Files {
						f := &sub.Files[i]
						b.WriteString(FormatPair(sub.Name+"/"+f.Name, firstSentence(f.Doc)) + "\n")
					}
				}
			}
			return []byte(b.String()), nil
		},
	}
}

func firstSentence(doc string) string {
	if s, _, ok := strings.Cut(doc, ". "); ok {
		return s + "."
	}
	return doc
}
