package tree

import (
	"errors"
	"strings"

	"github.com/containercloud/cc/fault"
	"github.com/containercloud/cc/words"
)

// Setting is one setting of an object whose spec is an S: the row of its file, and how it stands in the spec. Get
// returns the text that the file shows (lists: lines). Set replaces the value by a text as File.Write gets it, and
// must accept Default and what Get returns. Specs are copied shallowly, so Set assigns new slices and maps and never
// changes old ones in place.
type Setting[S any] struct {
	Name    string // path in the object's directory: "memory", "log/policy"; also its name in spec
	Kind    Kind   // Scalar when empty, List, Table or Document
	Mode    uint32 // 0664 when 0
	When    When
	Syntax  string
	Default string // as text for Set; for lists, lines
	Doc     string

	Get func(*S) string
	Set func(*S, string) error
	Add func(*S, string) error // adds lines to a list; without it Get, Set and a join do
	// Value stands for those of Get, Set and Add that are nil.
	Value Value[S]

	KeepText bool // as File.KeepText
	Hidden   bool
	Sealed   bool // as File.Sealed
	Secret   bool // never shown, not even in spec; mode 0200 unless given

	// Option is the key on a ctl line where it is not Name ("mount" for "mounts"), and OptionLine turns the
	// option's value into a line of the list ("K=V" into "K V").
	Option     string
	OptionLine func(value string) string
}

// Settings are the settings of one noun, in the order of `spec`.
type Settings[S any] struct {
	Rows   []Setting[S]
	Spec   func(Object) S                                          // the present spec; the caller may change the copy
	Update func(r *Request, o Object, change func(*S) error) error // all or nothing; an error may begin with a setting's name
}

// Fill adds a row for every setting, and `spec`, to a layout.
func (s *Settings[S]) Fill(d *Dir) {
	d.Files = append(d.Files, s.document())
	for i := range s.Rows {
		f := s.file(&s.Rows[i])
		dir := d
		for {
			head, rest, deeper := strings.Cut(f.Name, "/")
			if !deeper {
				break
			}
			dir, f.Name = dir.Sub(head), rest
		}
		dir.Files = append(dir.Files, f)
	}
}

// unlisted are the directories of what a reader waits for, which every object may have.
var unlisted = map[string]string{
	"live": "What happens, as it happens. Reads block.",
	"wait": "Conditions. A read returns when one holds.",
}

// Sub returns the subdirectory of a layout, making it if need be; live and wait are made hidden.
func (d *Dir) Sub(name string) *Dir {
	for _, sub := range d.Dirs {
		if sub.Name == name {
			return sub
		}
	}
	doc, hidden := unlisted[name]
	sub := &Dir{Name: name, Doc: doc, Hidden: hidden}
	d.Dirs = append(d.Dirs, sub)
	return sub
}

func (s *Settings[S]) file(row *Setting[S]) File {
	f := File{
		Name: row.Name, Kind: row.kind(), Mode: row.Mode, When: row.When, Syntax: row.Syntax,
		Default: row.Default, Doc: row.Doc, Hidden: row.Hidden, KeepText: row.KeepText, Sealed: row.Sealed,
	}
	if f.Mode == 0 {
		f.Mode = 0o664
		if row.Secret {
			f.Mode = 0o200
		}
	}
	if !row.Secret {
		f.Read = func(r *Request) ([]byte, error) {
			spec := s.Spec(r.Object)
			return terminated(row.get(&spec)), nil
		}
	}
	update := func(r *Request, change func(*S) error) error { return about(s.Update(r, r.Object, change), row.Name) }
	f.Write = func(r *Request, text string) error {
		return update(r, func(spec *S) error { return row.set(spec, text) })
	}
	f.Reset = func(r *Request) error { return update(r, row.reset) }
	if row.isList() {
		f.Append = func(r *Request, text string) error {
			return update(r, func(spec *S) error { return row.add(spec, text) })
		}
	}
	return f
}

// about takes a setting's name from the front of an error: its file's path says it.
func about(err error, name string) error {
	cause := errors.Unwrap(err)
	if cause != nil && err.Error() == name+": "+cause.Error() {
		return cause
	}
	return err
}

func (row *Setting[S]) kind() Kind {
	if row.Kind == "" {
		return Scalar
	}
	return row.Kind
}

func (row *Setting[S]) isList() bool { return row.kind() != Scalar }

func (row *Setting[S]) get(spec *S) string {
	if row.Get != nil {
		return row.Get(spec)
	}
	return row.Value.Get(spec)
}

func (row *Setting[S]) set(spec *S, text string) error {
	if row.Set != nil {
		return row.Set(spec, text)
	}
	return row.Value.Set(spec, text)
}

func (row *Setting[S]) reset(spec *S) error {
	if row.isList() {
		return row.set(spec, string(terminated(row.Default)))
	}
	return row.set(spec, row.Default)
}

func (row *Setting[S]) add(spec *S, lines string) error {
	switch {
	case row.Add != nil:
		return row.Add(spec, lines)
	case row.Value.Add != nil:
		return row.Value.Add(spec, lines)
	}
	return row.set(spec, string(terminated(row.get(spec)))+lines)
}

// terminated returns text ending in one newline, empty for an empty text.
func terminated(text string) []byte {
	if text == "" {
		return nil
	}
	if text[len(text)-1] == '\n' {
		return []byte(text)
	}
	return append([]byte(text), '\n')
}

// find returns the setting of that name, or of that option's name.
func (s *Settings[S]) find(name string) *Setting[S] {
	for i := range s.Rows {
		if row := &s.Rows[i]; row.Name == name || row.Option != "" && row.Option == name {
			return row
		}
	}
	return nil
}

func (s *Settings[S]) unknown(name string) error {
	names := make([]string, len(s.Rows))
	for i := range s.Rows {
		names[i] = s.Rows[i].Name
	}
	err := fault.New(fault.Invalid, "no setting %q", name)
	if near := words.Nearest(name, names); near != "" {
		return err.WithHint("did you mean %s?", near)
	}
	return err
}

// Set sets one setting by name, from text as it would be written to its file.
func (s *Settings[S]) Set(spec *S, name, text string) error {
	row := s.find(name)
	if row == nil {
		return s.unknown(name)
	}
	return fault.Wrap(row.write(spec, text), "%s", name)
}

// write is set with `default` understood and the lines of lists terminated.
func (row *Setting[S]) write(spec *S, text string) error {
	switch {
	case row.isList():
		return row.set(spec, string(terminated(text)))
	case text == "default":
		return row.reset(spec)
	}
	return row.set(spec, text)
}

// SetOpts applies the options of a ctl line, each named as its setting (or its Option). Options of a list add lines,
// of others the last one counts.
func (s *Settings[S]) SetOpts(spec *S, opts []words.Opt) error {
	for _, o := range opts {
		row := s.find(o.Key)
		if row == nil {
			return s.unknown(o.Key)
		}
		err := row.option(spec, o.Value)
		if err != nil {
			return fault.Wrap(err, "%s", o.Key)
		}
	}
	return nil
}

func (row *Setting[S]) option(spec *S, value string) error {
	if !row.isList() {
		return row.write(spec, value)
	}
	if row.OptionLine != nil {
		return row.add(spec, row.OptionLine(value)+"\n")
	}
	return row.add(spec, value+"\n")
}
