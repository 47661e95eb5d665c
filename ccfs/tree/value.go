package tree

import (
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/containercloud/cc/fault"
	"github.com/containercloud/cc/words"
)

// Value is how a setting stands in a spec: see Setting.
type Value[S any] struct {
	Get func(*S) string
	Set func(*S, string) error
	Add func(*S, string) error
}

// Of is a value of any type with a text form.
func Of[S, T any](at func(*S) *T, format func(T) string, parse func(string) (T, error)) Value[S] {
	return Value[S]{
		Get: func(s *S) string { return format(*at(s)) },
		Set: func(s *S, text string) error {
			v, err := parse(text)
			if err == nil {
				*at(s) = v
			}
			return err
		},
	}
}

// SizeOf is a number of bytes, words.Max for no limit.
func SizeOf[S any](at func(*S) *int64) Value[S] { return Of(at, words.FormatSize, words.Size) }

// DurationOf is a span of time.
func DurationOf[S any](at func(*S) *time.Duration) Value[S] {
	return Of(at, words.FormatDuration, words.Duration)
}

// SwitchOf is on or off.
func SwitchOf[S any](at func(*S) *bool) Value[S] { return Of(at, words.FormatSwitch, words.Switch) }

// TextOf is a word or a sentence; check may be nil.
func TextOf[S any](at func(*S) *string, check func(string) error) Value[S] {
	return Of(at, func(s string) string { return s }, func(s string) (string, error) {
		if check != nil {
			return s, check(s)
		}
		return s, nil
	})
}

// IntOf is a whole number from min to max; outside it is fault.Range. Where max is words.Max, `max` says so.
func IntOf[S any](at func(*S) *int64, min, max int64) Value[S] {
	format := func(n int64) string { return strconv.FormatInt(n, 10) }
	if max == words.Max {
		format = words.FormatSize
	}
	return Of(at, format, func(s string) (int64, error) {
		if s == "max" && max == words.Max {
			return max, nil
		}
		n, err := strconv.ParseInt(s, 10, 64)
		switch {
		case err != nil && strings.Trim(s, "+-0123456789") == "" && s != "":
			return 0, fault.New(fault.Range, "%s is not between %d and %d", s, min, max)
		case err != nil:
			return 0, fault.New(fault.Invalid, "%q is not a number", s)
		case n < min || n > max:
			return 0, fault.New(fault.Range, "%d is not between %d and %d", n, min, max)
		}
		return n, nil
	})
}

// ItemsOf is a list of one item a line; check may be nil.
func ItemsOf[S any](at func(*S) *[]string, check func(string) error) Value[S] {
	parse := func(text string) ([]string, error) {
		lines := words.Lines(text)
		items := make([]string, 0, len(lines))
		for _, line := range lines {
			item := words.Item(line)
			if check != nil {
				if err := check(item); err != nil {
					return nil, err
				}
			}
			items = append(items, item)
		}
		return items, nil
	}
	return Value[S]{
		Get: func(s *S) string { return FormatItems(*at(s)) },
		Set: func(s *S, text string) (err error) { return assign(at(s), text, parse) },
		Add: func(s *S, text string) error {
			items, err := parse(text)
			if err == nil {
				*at(s) = slices.Concat(*at(s), items)
			}
			return err
		},
	}
}

func assign[T any](to *T, text string, parse func(string) (T, error)) error {
	v, err := parse(text)
	if err == nil {
		*to = v
	}
	return err
}

// FormatItems prints one item a line.
func FormatItems(items []string) string {
	var b strings.Builder
	for _, item := range items {
		b.WriteString(words.FormatItem(item))
		b.WriteByte('\n')
	}
	return b.String()
}

// PairsOf is a table of `KEY value` lines, shown sorted by key; check may be nil.
func PairsOf[S any](at func(*S) *map[string]string, check func(key, value string) error) Value[S] {
	parse := func(text string) (map[string]string, error) { return ParsePairs(text, check) }
	return Value[S]{
		Get: func(s *S) string { return FormatPairs(*at(s)) },
		Set: func(s *S, text string) error { return assign(at(s), text, parse) },
		Add: func(s *S, text string) error {
			more, err := parse(text)
			if err == nil {
				sum := maps.Clone(*at(s))
				if sum == nil {
					sum = map[string]string{}
				}
				maps.Copy(sum, more)
				*at(s) = sum
			}
			return err
		},
	}
}

// ParsePairs reads `KEY value` lines. A value may be quoted, and may be missing.
func ParsePairs(text string, check func(key, value string) error) (map[string]string, error) {
	pairs := map[string]string{}
	for _, line := range words.Lines(text) {
		line = strings.Trim(line, " \t")
		if line == "" || line[0] == '#' {
			continue
		}
		key, value := line, ""
		if i := strings.IndexAny(line, " \t"); i >= 0 {
			key, value = line[:i], words.Item(line[i:])
		}
		if check != nil {
			if err := check(key, value); err != nil {
				return nil, err
			}
		}
		pairs[key] = value
	}
	return pairs, nil
}

// FormatPairs prints `KEY value` lines, sorted by key.
func FormatPairs(pairs map[string]string) string {
	var b strings.Builder
	for _, key := range slices.Sorted(maps.Keys(pairs)) {
		b.WriteString(FormatPair(key, pairs[key]))
		b.WriteByte('\n')
	}
	return b.String()
}

// FormatPair is one line of a table.
func FormatPair(key, value string) string { return key + " " + words.FormatItem(value) }
