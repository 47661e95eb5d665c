package tree

import (
	"bytes"
	"strings"
	"unicode/utf8"

	"github.com/containercloud/cc/fault"
	"github.com/containercloud/cc/words"
)

// maxLine is the longest line of any message, list or document (docs/TREE.md, rule 17: EMSGSIZE).
const maxLine = 64 << 10

// plainText checks raw bytes as text of any kind: no NUL, UTF-8, CRLF read as LF, no line over maxLine.
func plainText(raw []byte) (string, error) {
	if bytes.IndexByte(raw, 0) >= 0 {
		return "", fault.New(fault.Invalid, "it holds a NUL byte")
	}
	if !utf8.Valid(raw) {
		return "", fault.New(fault.Invalid, "it is not UTF-8 text")
	}
	text := string(raw)
	if strings.IndexByte(text, '\r') >= 0 {
		text = strings.ReplaceAll(text, "\r\n", "\n")
		text = strings.TrimSuffix(text, "\r")
	}
	if len(text) > maxLine {
		for line := range strings.Lines(text) {
			if len(line) > maxLine+1 {
				return "", fault.New(fault.TooLong, "a line of %d bytes is longer than %d", len(line)-1, maxLine)
			}
		}
	}
	return text, nil
}

// cleanText makes of raw bytes what File.Write gets.
func cleanText(f *File, raw []byte) (string, error) {
	text, err := plainText(raw)
	if err != nil {
		return "", err
	}
	switch {
	case f.Kind == Scalar:
		text = strings.Trim(text, " \t\n")
		if strings.IndexByte(text, '\n') >= 0 {
			return "", fault.New(fault.Invalid, "it takes one line")
		}
		if len(text) > maxLine {
			return "", fault.New(fault.TooLong, "a line of %d bytes is longer than %d", len(text), maxLine)
		}
		return text, nil
	case f.Kind == Document || f.KeepText:
		return string(terminated(text)), nil
	}
	return withoutComments(text), nil
}

// withoutComments drops blank lines and those that begin with #.
func withoutComments(text string) string {
	var b strings.Builder
	b.Grow(len(text) + 1)
	for _, line := range words.Lines(text) {
		if t := strings.TrimLeft(line, " \t"); t != "" && t[0] != '#' {
			b.WriteString(line)
			b.WriteByte('\n')
		}
	}
	return b.String()
}
