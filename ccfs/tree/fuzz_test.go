package tree_test

import (
	"strings"
	"syscall"
	"testing"
	"unicode/utf8"

	"github.com/containercloud/cc/ccfs/tree"
	"github.com/containercloud/cc/ccfs/treetest"
	"github.com/containercloud/cc/fault"
	"github.com/containercloud/cc/words"
)

// spec is a spec with a setting of each form.
type spec struct {
	Text  string
	Size  int64
	On    bool
	Items []string
	Pairs map[string]string
	Doc   string
}

func (s *spec) settings() *tree.Settings[spec] {
	return &tree.Settings[spec]{Rows: []tree.Setting[spec]{
		{Name: "text", Value: tree.TextOf(func(s *spec) *string { return &s.Text }, nil)},
		{Name: "size", Default: "max", Value: tree.SizeOf(func(s *spec) *int64 { return &s.Size })},
		{Name: "on", Default: "off", Value: tree.SwitchOf(func(s *spec) *bool { return &s.On })},
		{Name: "items", Kind: tree.List, Value: tree.ItemsOf(func(s *spec) *[]string { return &s.Items }, nil)},
		{Name: "pairs", Kind: tree.Table, Value: tree.PairsOf(func(s *spec) *map[string]string { return &s.Pairs }, nil)},
		{Name: "sub/doc", Kind: tree.Document, KeepText: true, Get: func(s *spec) string { return s.Doc }, Set: func(s *spec, text string) error {
			s.Doc = text
			return nil
		}},
	}}
}

// What Format prints, Parse reads as the same spec.
func FuzzSpec(f *testing.F) {
	for _, s := range []string{"", "text a b\nsize 64K\non yes\n", "items a\nitems 'b\nc'\nitems ''\npairs K v\npairs L\n", "sub/doc # x\nsub/doc allow any\n",
		"size\n", "nonsense 1\n", "items it's\nitems 'x\n", "# version 1\n\n \ntext\n", "text default\nsize default\n"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		var s spec
		rows := s.settings()
		if err := rows.Parse(text, &s); err != nil {
			if !fault.Is(err, fault.Invalid) && !fault.Is(err, fault.Range) {
				t.Fatalf("%q: %v", text, err)
			}
			return
		}
		printed := rows.Format(&s)
		var back spec
		if err := rows.Parse(printed, &back); err != nil {
			t.Fatalf("%q prints %q, which is not read: %v", text, printed, err)
		}
		if again := rows.Format(&back); again != printed {
			t.Fatalf("%q prints %q, then %q", text, printed, again)
		}
	})
}

// Messages may come in any number of writes, cut between lines; cut anywhere they must at least do no harm.
func FuzzCtlSplit(f *testing.F) {
	f.Add("say a\nsay b\n", uint16(6))
	f.Add("say 'a\nb'\nsay c", uint16(4))
	f.Add("# verbs now\nstart\n", uint16(3))
	f.Add("say a\nfly\nsay b\n", uint16(100))
	s := treetest.New(f.TempDir(), tree.Options{Log: quiet})
	v := s.Tree.As(root)
	f.Fuzz(func(t *testing.T, text string, cut uint16) {
		if strings.Contains(text, "delete") || strings.Contains(text, "exit") || strings.Contains(text, "times") {
			return // they end the box, or come later, or print without end
		}
		if !utf8.ValidString(text) || strings.ContainsAny(text, "\x00\r") {
			run(t, v, text)
			return // a write that is not text does nothing at all
		}
		at := int(cut) % (len(text) + 1)
		boundary := at == 0 || text[at-1] == '\n'
		whole := run(t, v, text)
		split := run(t, v, text[:at], text[at:])
		lines := words.Lines(text)
		if boundary && len(lines) == strings.Count(strings.TrimSuffix(text, "\n"), "\n")+1 && !strings.Contains(text, "#") &&
			len(text) < 4096 && !strings.Contains(text, "'") && whole != split {
			t.Fatalf("%q at once prints %q, in two writes at %d %q", text, whole, at, split)
		}
	})
}

// run writes to a new box's ctl and returns what the box printed, up to the first failure.
func run(t *testing.T, v tree.View, writes ...string) string {
	if err := v.Mkdir(ctx, "box/fuzz", 0o755); err != nil {
		t.Fatal(err)
	}
	defer func() {
		_ = v.WriteFile(ctx, "box/fuzz/ctl", []byte("stop\n"), 0)
		if err := v.Rmdir(ctx, "box/fuzz"); err != nil {
			t.Fatal(err)
		}
	}()
	h, err := v.Open(ctx, "box/fuzz/ctl", syscall.O_WRONLY|syscall.O_TRUNC, 0)
	if err != nil {
		t.Fatal(err)
	}
	for i, w := range writes {
		if _, err := h.Write(ctx, []byte(w), int64(i)); err != nil {
			if no := fault.Errno(err); no == 0 || no >= 512 || no == syscall.EIO {
				t.Fatalf("%q: %v", w, err)
			}
			break
		}
	}
	h.Release()
	out, err := v.ReadFile(ctx, "box/fuzz/stdout")
	if err != nil {
		t.Fatal(err)
	}
	return string(out)
}
