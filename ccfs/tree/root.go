package tree

import (
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/containercloud/cc/event"
	"github.com/containercloud/cc/fault"
)

// Root are the files of the root that the engine makes: schema, doc/, more, self/, events, live/events, version.
type Root struct {
	Version string
	Events  *event.Log
}

// Fill adds the files to the root of a table.
func (k Root) Fill(d *Dir) {
	d.Files = append(d.Files,
		File{
			Name: "version", Kind: Scalar, Mode: 0o444, Doc: "The daemon's version.",
			Read: func(*Request) ([]byte, error) { return terminated(k.Version), nil },
		},
		File{
			Name: "schema", Kind: Table, Mode: 0o444, Doc: "Every file: path, kind, syntax, default, when a change counts, mode, what it is for.",
			Read: func(r *Request) ([]byte, error) { return []byte(r.node.t.pages().schema), nil },
		},
		moreRow(),
	)
	d.Dirs = append(d.Dirs,
		&Dir{Name: "doc", Doc: "The manual: a page for every kind of object.", Entries: manualPages{}},
		selfDir(),
	)
	if k.Events != nil {
		d.Files = append(d.Files, eventsRow(k.Events))
		live := d.Sub("live")
		live.Files = append(live.Files, eventStream(k.Events, nil))
	}
}

// manualPages is doc/.
type manualPages struct{}

func (manualPages) Entry(r *Request, name string) (Entry, error) {
	text, ok := r.node.t.pages().manual[name]
	if !ok {
		return Entry{}, fault.New(fault.NotFound, "there is no page %s", name)
	}
	return Entry{Name: name, File: &File{
		Name: name, Kind: Document, Mode: 0o444,
		Read: func(*Request) ([]byte, error) { return text, nil },
	}}, nil
}

func (m manualPages) Entries(r *Request, _ string) ([]Entry, error) {
	var list []Entry
	for _, name := range slices.Sorted(maps.Keys(r.node.t.pages().manual)) {
		e, err := m.Entry(r, name)
		if err != nil {
			return nil, err
		}
		list = append(list, e)
	}
	return list, nil
}

func selfDir() *Dir {
	return &Dir{
		Name: "self", Doc: "The caller.",
		Files: []File{
			{
				Name: "whoami", Kind: Table, Mode: 0o444, Volatile: true, Doc: "Who you are to the daemon.",
				Read: func(r *Request) ([]byte, error) { return whoami(r.Caller), nil },
			},
			{
				Name: "error", Kind: Table, Mode: 0o444, Volatile: true,
				Doc: "Your last failure, also that of a program that your shell ran: TIME CODE sentence; hint: what to do. " +
					"What the kernel answers from its memory never comes here: mkdir of a name that it has seen is EEXIST without a sentence.",
				Read: func(r *Request) ([]byte, error) {
					f, ok := r.node.t.failures.last(r.Caller)
					if !ok {
						return nil, nil
					}
					return []byte(FormatFailure(f)), nil
				},
			},
		},
	}
}

func whoami(c Caller) []byte {
	var b strings.Builder
	b.WriteString("user " + userName(c.UID) + "\nuid " + strconv.Itoa(int(c.UID)) + "\ngid " + strconv.Itoa(int(c.GID)) + "\n")
	if c.Groups != nil {
		b.WriteString("groups")
		for _, g := range c.Groups() {
			b.WriteString(" " + strconv.Itoa(int(g)))
		}
		b.WriteByte('\n')
	}
	b.WriteString("door " + c.Door + "\n")
	return []byte(b.String())
}
