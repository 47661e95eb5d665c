package main

import (
	"fmt"
	"io"
	"strings"
	"unicode"
	"unicode/utf8"
)

// safe returns s for people: on a terminal, control characters and what turns the direction of text are
// shown as escapes, so that a name or a log line cannot move the cursor, answer for the user or hide itself.
func (c *call) safe(s string, terminal bool) string {
	if !terminal {
		return s
	}
	return escape(s)
}

func escape(s string) string {
	if strings.IndexFunc(s, unsafeRune) < 0 && utf8.ValidString(s) {
		return s
	}
	var b strings.Builder
	for i := 0; i < len(s); {
		r, n := utf8.DecodeRuneInString(s[i:])
		switch {
		case r == '\r' && strings.HasPrefix(s[i:], "\r\n"):
			b.WriteByte('\r')
		case r == utf8.RuneError && n == 1, unsafeRune(r) && r < 0x80:
			fmt.Fprintf(&b, `\x%02x`, s[i])
		case unsafeRune(r):
			fmt.Fprintf(&b, `\u%04x`, r)
		default:
			b.WriteString(s[i : i+n])
		}
		i += n
	}
	return b.String()
}

func unsafeRune(r rune) bool {
	if r < 0x80 {
		return r < ' ' && r != '\n' && r != '\t' || r == 0x7f
	}
	return unicode.IsControl(r) || unicode.Is(unicode.Bidi_Control, r) || r == '\u2028' || r == '\u2029' || r == utf8.RuneError
}

// safeWriter escapes a stream. A rune cut at the end of one write waits for the next.
type safeWriter struct {
	w    io.Writer
	rest []byte
}

func (s *safeWriter) Write(p []byte) (int, error) {
	all := append(s.rest, p...)
	cut := len(all)
	for back := 1; back <= utf8.UTFMax-1 && back <= len(all); back++ {
		if c := all[len(all)-back]; utf8.RuneStart(c) {
			if c >= 0x80 && !utf8.FullRune(all[len(all)-back:]) || c == '\r' && back == 1 {
				cut = len(all) - back
			}
			break
		}
	}
	s.rest = append([]byte(nil), all[cut:]...)
	if _, err := io.WriteString(s.w, escape(string(all[:cut]))); err != nil {
		return 0, err
	}
	return len(p), nil
}

// flush writes what waited for more.
func (s *safeWriter) flush() error {
	_, err := io.WriteString(s.w, escape(string(s.rest)))
	s.rest = nil
	return err
}
