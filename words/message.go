package words

import (
	"strings"

	"github.com/containercloud/cc/fault"
)

// Message is one line of a ctl file: a verb, arguments, options, and the command after ` -- `.
type Message struct {
	Verb   string
	Args   []string
	Opts   []Opt // in order; a key may repeat
	Cmd    []string
	HasCmd bool // there was a ` -- `, even with nothing after it
}

// Opt is one key=value.
type Opt struct{ Key, Value string }

// Parse reads one line. An empty line or a comment is a Message without a verb. Every word that reads key=value is
// an option, quoted or not; a quoted '--' is an argument.
func Parse(line string) (Message, error) {
	ws, err := scan(line)
	if err != nil || len(ws) == 0 {
		return Message{}, err
	}
	if _, ok := option(ws[0]); ok || isDashes(ws[0]) {
		return Message{}, fault.New(fault.Invalid, "a line begins with a verb, not with %q", ws[0].text)
	}
	m := Message{Verb: ws[0].text}
	for i, w := range ws[1:] {
		if isDashes(w) {
			m.HasCmd = true
			for _, c := range ws[i+2:] {
				m.Cmd = append(m.Cmd, c.text)
			}
			break
		}
		if o, ok := option(w); ok {
			m.Opts = append(m.Opts, o)
		} else {
			m.Args = append(m.Args, w.text)
		}
	}
	return m, nil
}

func isDashes(w word) bool { return w.text == "--" && w.bare == 2 }

// option reads key=value. A key is a letter followed by letters, digits, '.', '-', '_' and '/'.
func option(w word) (Opt, bool) {
	key, value, ok := strings.Cut(w.text, "=")
	if !ok || !isKey(key) {
		return Opt{}, false
	}
	return Opt{key, value}, true
}

func isKey(s string) bool {
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case 'a' <= c|0x20 && c|0x20 <= 'z':
		case i > 0 && ('0' <= c && c <= '9' || c == '.' || c == '-' || c == '_' || c == '/'):
		default:
			return false
		}
	}
	return s != ""
}

// Opt returns the last value of an option.
func (m Message) Opt(key string) (string, bool) {
	for i := len(m.Opts) - 1; i >= 0; i-- {
		if m.Opts[i].Key == key {
			return m.Opts[i].Value, true
		}
	}
	return "", false
}

// Take removes every option of that key and returns its last value.
func (m *Message) Take(key string) (value string, ok bool) {
	kept := m.Opts[:0:0]
	for _, o := range m.Opts {
		if o.Key == key {
			value, ok = o.Value, true
		} else {
			kept = append(kept, o)
		}
	}
	m.Opts = kept
	return value, ok
}

// String is the line that Parse reads as m.
func (m Message) String() string {
	ws := []string{Quote(m.Verb)}
	for _, a := range m.Args {
		ws = append(ws, Quote(a))
	}
	for _, o := range m.Opts {
		ws = append(ws, Quote(o.Key+"="+o.Value))
	}
	if m.HasCmd {
		ws = append(ws, "--")
		for _, c := range m.Cmd {
			ws = append(ws, Quote(c))
		}
	}
	return strings.Join(ws, " ")
}
