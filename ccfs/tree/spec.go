package tree

import (
	"slices"
	"strconv"
	"strings"

	"github.com/containercloud/cc/fault"
	"github.com/containercloud/cc/words"
)

// document is the row of `spec`: every setting as `name value` lines. What is written is the whole object: settings
// that it does not name go back to their defaults. `>>` changes only what it names.
func (s *Settings[S]) document() File {
	write := func(r *Request, text string, parse func(string, *S) error) error {
		if err := checkHeading(text, r.Object.Meta().Version); err != nil {
			return err
		}
		return s.Update(r, r.Object, func(spec *S) error { return parse(text, spec) })
	}
	return File{
		Name: "spec", Kind: Document, Mode: 0o664, When: Live, Syntax: "NAME VALUE", KeepText: true,
		Sealed: slices.ContainsFunc(s.Rows, func(row Setting[S]) bool { return row.Sealed }),
		Doc: "All settings, one `name value` a line; a list has a line for each item. Writing sets them all or none: what is not " +
			"named goes back to its default, while >> changes only what it names. With `# version N` as the first line " +
			"it is done only if the object's version is still N. Each setting keeps the rule of its own file about when it counts.",
		Read: func(r *Request) ([]byte, error) {
			spec := s.Spec(r.Object)
			return []byte(s.Format(&spec)), nil
		},
		Write:  func(r *Request, text string) error { return write(r, text, s.Parse) },
		Append: func(r *Request, text string) error { return write(r, text, s.apply) },
		Reset:  func(r *Request) error { return write(r, "", s.Parse) },
	}
}

// Format prints a spec. A setting without a value is its bare name, so that every name can be seen.
func (s *Settings[S]) Format(spec *S) string {
	var b strings.Builder
	for i := range s.Rows {
		row := &s.Rows[i]
		if row.Secret {
			continue
		}
		text := strings.TrimSuffix(row.get(spec), "\n")
		lines := []string{text}
		if row.isList() && text != "" {
			lines = words.Lines(text)
		}
		for _, line := range lines {
			b.WriteString(row.Name)
			if line != "" {
				b.WriteByte(' ')
				b.WriteString(line)
			}
			b.WriteByte('\n')
		}
	}
	return b.String()
}

// Parse reads a whole spec: what text does not name gets its default. Secrets stay. On an error spec may be half
// changed: throw it away.
func (s *Settings[S]) Parse(text string, spec *S) error {
	for i := range s.Rows {
		if row := &s.Rows[i]; !row.Secret {
			if err := row.reset(spec); err != nil {
				return fault.Wrap(err, "default of %s", row.Name)
			}
		}
	}
	return s.parse(text, spec, func(row *Setting[S], lines string) error { return row.set(spec, lines) })
}

// apply changes only what text names; lines of a list are added to it.
func (s *Settings[S]) apply(text string, spec *S) error {
	return s.parse(text, spec, func(row *Setting[S], lines string) error { return row.add(spec, lines) })
}

// parse hands scalars to write at their line, and lists to list when all their lines are known.
func (s *Settings[S]) parse(text string, spec *S, list func(row *Setting[S], lines string) error) error {
	lists := map[*Setting[S]]*strings.Builder{}
	number := 1
	for _, line := range words.Lines(text) {
		at := number
		number += 1 + strings.Count(line, "\n")
		name, value := cutName(line)
		if name == "" {
			continue
		}
		row := s.find(name)
		if row == nil {
			return fault.Wrap(s.unknown(name), "line %d", at)
		}
		if !row.isList() {
			if err := row.write(spec, value); err != nil {
				return fault.Wrap(err, "line %d: %s", at, name)
			}
			continue
		}
		if lists[row] == nil {
			lists[row] = new(strings.Builder)
		}
		if value != "" {
			lists[row].WriteString(value + "\n")
		}
	}
	for i := range s.Rows {
		if b := lists[&s.Rows[i]]; b != nil {
			if err := list(&s.Rows[i], b.String()); err != nil {
				return fault.Wrap(err, "%s", s.Rows[i].Name)
			}
		}
	}
	return nil
}

// cutName splits `name value`; a comment or blank line has no name.
func cutName(line string) (name, value string) {
	line = strings.Trim(line, " \t")
	if line == "" || line[0] == '#' {
		return "", ""
	}
	i := strings.IndexAny(line, " \t\n")
	if i < 0 {
		return line, ""
	}
	return line[:i], strings.Trim(line[i:], " \t")
}

// checkHeading compares a `# version N` line among the comments that head a document (docs/TREE.md, rule 15).
func checkHeading(text string, version uint64) error {
	for line := range strings.Lines(text) {
		line = strings.Trim(line, " \t\n")
		if line != "" && line[0] != '#' {
			return nil
		}
		n, ok := strings.CutPrefix(strings.Join(strings.Fields(line), " "), "# version ")
		if !ok {
			continue
		}
		return checkVersion(n, version)
	}
	return nil
}

// checkVersion is the compare of compare-and-set.
func checkVersion(want string, version uint64) error {
	n, err := strconv.ParseUint(want, 10, 64)
	if err != nil {
		return fault.New(fault.Invalid, "version %q is not a number", want)
	}
	if n != version {
		return fault.New(fault.Stale, "the version is %d, not %d", version, n).WithHint("read again, change, write again")
	}
	return nil
}
