// Package words is the grammar of one line in /cc (docs/TREE.md, rules 9 and 11): quoting, messages, and the
// one spelling of sizes, durations and switches.
//
// A line is words between blanks. Single quotes keep blanks, # and newlines in a word; two of them inside
// quotes are one quote, and alone they are the empty word. Quotes may open and close in the middle of a
// word (name='a b'), as in rc(1). A # at the start of a word begins a comment. What the package prints it
// also reads.
package words

import (
	"strconv"
	"strings"
	"unicode"

	"github.com/containercloud/cc/fault"
)

// word is a word and how many of its leading bytes stood outside quotes: those may mean something.
type word struct {
	text string
	bare int
}

// Split cuts a line into words. A newline outside quotes and a quote that does not end are fault.Invalid.
func Split(line string) ([]string, error) {
	ws, err := scan(line)
	if err != nil {
		return nil, err
	}
	out := make([]string, len(ws))
	for i, w := range ws {
		out[i] = w.text
	}
	return out, nil
}

func scan(line string) ([]word, error) {
	var out []word
	for {
		line = strings.TrimLeft(line, " \t")
		if line == "" || line[0] == '#' {
			return out, nil
		}
		w, rest, err := one(line)
		if err != nil {
			return nil, err
		}
		out = append(out, w)
		line = rest
	}
}

// one takes the first word of a line that does not begin with a blank.
func one(line string) (w word, rest string, err error) {
	if i := strings.IndexAny(line, " \t'\n"); i < 0 {
		return word{line, len(line)}, "", nil
	} else if isBlank(line[i]) {
		return word{line[:i], i}, line[i:], nil
	}
	var b strings.Builder
	bare := -1
	i := 0
	for i < len(line) && !isBlank(line[i]) {
		switch c := line[i]; c {
		case '\n':
			return w, "", fault.New(fault.Invalid, "a newline must be quoted").WithHint("one message a line")
		case '\'':
			if bare < 0 {
				bare = b.Len()
			}
			n := quoted(&b, line[i:])
			if n < 0 {
				return w, "", fault.New(fault.Invalid, "a quote does not end").WithHint("write '' for a quote inside quotes")
			}
			i += n
		default:
			b.WriteByte(c)
			i++
		}
	}
	if bare < 0 {
		bare = b.Len()
	}
	return word{b.String(), bare}, line[i:], nil
}

// quoted reads a quoted string at the start of s and returns its length in s, -1 when it does not end.
func quoted(b *strings.Builder, s string) int {
	for i := 1; i < len(s); i++ {
		if s[i] != '\'' {
			b.WriteByte(s[i])
			continue
		}
		if i+1 == len(s) || s[i+1] != '\'' {
			return i + 1
		}
		b.WriteByte('\'')
		i++
	}
	return -1
}

func isBlank(c byte) bool { return c == ' ' || c == '\t' }

// Quote returns word so that Split gives it back: as it is where that is possible, else in quotes.
func Quote(word string) string {
	if word != "" && word[0] != '#' && word != "--" && !strings.ContainsAny(word, " \t\n'") {
		return word
	}
	return quote(word)
}

func quote(word string) string { return "'" + strings.ReplaceAll(word, "'", "''") + "'" }

// Join makes a line of words.
func Join(words []string) string {
	n := len(words)
	for _, w := range words {
		n += len(w)
	}
	var b strings.Builder
	b.Grow(n)
	for i, w := range words {
		if i > 0 {
			b.WriteByte(' ')
		}
		b.WriteString(Quote(w))
	}
	return b.String()
}

// Printable escapes what is not to reach a terminal: control characters, and those that turn the direction of writing.
func Printable(s string) string {
	var b strings.Builder
	for _, r := range s {
		if unicode.IsPrint(r) {
			b.WriteRune(r)
		} else {
			b.WriteString(strings.Trim(strconv.QuoteRuneToASCII(r), "'"))
		}
	}
	return b.String()
}
