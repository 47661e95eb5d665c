package words

import "strings"

// Lines cuts a text into lines without their newlines. A quote that opens at the start of a word and does
// not end on its line goes on over the following lines if it ends there: so an item may hold newlines.
// An apostrophe that is never closed is just an apostrophe.
func Lines(text string) []string {
	if text == "" {
		return nil
	}
	out := make([]string, 0, strings.Count(text, "\n")+1)
	for text != "" {
		n := lineEnd(text)
		out = append(out, text[:n])
		if n == len(text) {
			break
		}
		text = text[n+1:]
	}
	return out
}

// lineEnd returns where the first line of text ends: at its newline or at the end.
func lineEnd(text string) int {
	end := strings.IndexByte(text, '\n')
	if end < 0 {
		return len(text)
	}
	if strings.IndexByte(text[:end], '\'') < 0 || strings.TrimLeft(text[:end], " \t")[0] == '#' {
		return end
	}
	start := true // at the start of a word
	for i := 0; i < len(text); i++ {
		switch c := text[i]; {
		case c == '\n':
			return i
		case c == '\'' && start:
			n := skipQuoted(text[i:])
			if n < 0 {
				return i + strings.IndexByte(text[i:]+"\n", '\n')
			}
			i += n - 1
			start = false
		default:
			start = isBlank(c)
		}
	}
	return len(text)
}

// skipQuoted returns the length of the quoted string at the start of s, -1 when it does not end.
func skipQuoted(s string) int {
	for i := 1; i < len(s); i++ {
		if s[i] != '\'' {
			continue
		}
		if i+1 == len(s) || s[i+1] != '\'' {
			return i + 1
		}
		i++
	}
	return -1
}

// Item reads one item of a list: the line as it is without surrounding blanks, or, when it begins with a
// quote and is one quoted word, that word.
func Item(line string) string {
	line = strings.Trim(line, " \t")
	if line == "" || line[0] != '\'' {
		return line
	}
	var b strings.Builder
	if quoted(&b, line) == len(line) {
		return b.String()
	}
	return line
}

// FormatItem prints an item so that Lines and Item give it back.
func FormatItem(item string) string {
	switch {
	case item == "", item[0] == '#', item[0] == '\'',
		strings.Trim(item, " \t") != item,
		strings.ContainsAny(item, "\n\r"),
		leavesOpen(item):
		return quote(item)
	}
	return item
}

// leavesOpen reports whether a quote opens at the start of a word and does not end: on the next lines it might.
func leavesOpen(item string) bool {
	start := true
	for i := 0; i < len(item); i++ {
		if item[i] == '\'' && start {
			n := skipQuoted(item[i:])
			if n < 0 {
				return true
			}
			i += n - 1
		}
		start = isBlank(item[i])
	}
	return false
}
