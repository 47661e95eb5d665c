package boot

import (
	"fmt"
	"strconv"
	"strings"
)

// String prints the script like strace prints a program, one op a line, with what its result does behind
// it. The tests compare this text.
func (s *script) String() string {
	var b strings.Builder
	targets := map[int]bool{}
	for _, o := range s.ops {
		if o.flags&(jn|jz|jp) != 0 {
			targets[s.labels[o.to]] = true
		}
	}
	for i := range s.ops {
		mark := "  "
		if targets[i] {
			mark = "> "
		}
		fmt.Fprintf(&b, "%s%3d %s\n", mark, i, s.line(i))
	}
	if targets[len(s.ops)] {
		fmt.Fprintf(&b, "> %3d\n", len(s.ops))
	}
	return b.String()
}

func (s *script) line(i int) string {
	o := &s.ops[i]
	var b strings.Builder
	b.WriteString(o.text())
	if o.result.kind != isReg || reg(o.result.n) != waste {
		b.WriteString(" = " + o.result.String())
	}
	if o.flags&fz != 0 {
		b.WriteString(" [0 fails]")
	}
	if o.flags&ig != 0 {
		b.WriteString(" [may fail]")
	}
	if o.flags&(jn|jz|jp) != 0 {
		fmt.Fprintf(&b, " [%s: go to %d]", conditions[o.flags&(jn|jz|jp)], s.labels[o.to])
	}
	return b.String()
}

var conditions = [...]string{jn: "<0", jz: "0", jp: ">0", jn | jz: "<=0", jz | jp: ">=0", jn | jp: "!=0", jn | jz | jp: "always"}

func (v value) String() string {
	switch {
	case v.style == quoted:
		return strconv.Quote(v.text)
	case v.style == inOctal:
		return fmt.Sprintf("%#o", v.n)
	case v.text != "":
		return v.text
	case v.kind == isReg:
		return reg(v.n).String()
	}
	return strconv.FormatInt(int64(v.n), 10)
}

// text is the call with its arguments.
func (o *op) text() string {
	args := make([]string, len(o.args))
	for i, a := range o.args {
		args[i] = a.String()
	}
	return o.call.String() + "(" + strings.Join(args, ", ") + ")"
}
