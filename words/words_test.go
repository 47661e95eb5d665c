package words

import (
	"math"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/containercloud/cc/fault"
)

func TestSplit(t *testing.T) {
	for _, c := range []struct {
		line string
		want []string
	}{
		{"", []string{}},
		{"   \t", []string{}},
		{"# all of it", []string{}},
		{"a b\tc", []string{"a", "b", "c"}},
		{"a # b", []string{"a"}},
		{"a#b c#", []string{"a#b", "c#"}},
		{"'a b' c", []string{"a b", "c"}},
		{"''", []string{""}},
		{"'it''s'", []string{"it's"}},
		{"''''", []string{"'"}},
		{"x='a b'c", []string{"x=a bc"}},
		{"'#' '--'", []string{"#", "--"}},
		{"'a\nb'", []string{"a\nb"}},
		{"é ü", []string{"é", "ü"}},
	} {
		got, err := Split(c.line)
		if err != nil || !reflect.DeepEqual(got, c.want) {
			t.Errorf("Split(%q) = %q, %v; want %q", c.line, got, err, c.want)
		}
	}
	for _, bad := range []string{"'a", "it's", "a\nb'c'", "x='"} {
		if got, err := Split(bad); !fault.Is(err, fault.Invalid) {
			t.Errorf("Split(%q) = %q, %v", bad, got, err)
		}
	}
}

func TestParse(t *testing.T) {
	for _, c := range []struct {
		line string
		want Message
	}{
		{"", Message{}},
		{"# start", Message{}},
		{"start", Message{Verb: "start"}},
		{"kill TERM", Message{Verb: "kill", Args: []string{"TERM"}}},
		{"run name=web env=A=b env='C=d e' vpc= -- sh -c 'a=b; c' x=y --", Message{
			Verb: "run",
			Opts: []Opt{{"name", "web"}, {"env", "A=b"}, {"env", "C=d e"}, {"vpc", ""}},
			Cmd:  []string{"sh", "-c", "a=b; c", "x=y", "--"}, HasCmd: true,
		}},
		{"run 'a=b c' '--' c", Message{Verb: "run", Args: []string{"--", "c"}, Opts: []Opt{{"a", "b c"}}}},
		{"x =y 1=2 --flag=1", Message{Verb: "x", Args: []string{"=y", "1=2", "--flag=1"}}},
		{"x stop.timeout=5s --", Message{Verb: "x", Opts: []Opt{{"stop.timeout", "5s"}}, HasCmd: true}},
	} {
		got, err := Parse(c.line)
		if err != nil || !reflect.DeepEqual(got, c.want) {
			t.Errorf("Parse(%q) = %+v, %v; want %+v", c.line, got, err, c.want)
		}
	}
	for _, bad := range []string{"a=b", "-- x", "start 'x"} {
		if got, err := Parse(bad); !fault.Is(err, fault.Invalid) {
			t.Errorf("Parse(%q) = %+v, %v", bad, got, err)
		}
	}
}

func TestTake(t *testing.T) {
	m, _ := Parse("stop wait=1s timeout=3s wait=2s")
	if v, ok := m.Take("wait"); v != "2s" || !ok || len(m.Opts) != 1 {
		t.Errorf("%q %v %v", v, ok, m.Opts)
	}
	if v, ok := m.Opt("timeout"); v != "3s" || !ok {
		t.Errorf("%q %v", v, ok)
	}
	if _, ok := m.Take("wait"); ok {
		t.Error("taken twice")
	}
}

func TestLines(t *testing.T) {
	for _, c := range []struct {
		text string
		want []string
	}{
		{"", nil},
		{"a\nb\n", []string{"a", "b"}},
		{"a\n\nb", []string{"a", "", "b"}},
		{"'a\nb'\nc\n", []string{"'a\nb'", "c"}},
		{"KEY 'a\nb' c\nd", []string{"KEY 'a\nb' c", "d"}},
		{"it's\nfine\n", []string{"it's", "fine"}},
		{"don't 'x\ny\n", []string{"don't 'x", "y"}},
		{"# don't 'x\ny' z\n", []string{"# don't 'x", "y' z"}},
		{" \n'a", []string{" ", "'a"}},
	} {
		if got := Lines(c.text); !slices.Equal(got, c.want) {
			t.Errorf("Lines(%q) = %q, want %q", c.text, got, c.want)
		}
	}
}

func TestFormatItem(t *testing.T) {
	for in, want := range map[string]string{
		"a b": "a b", "": "''", "#x": "'#x'", "a #x": "a #x", " a": "' a'", "it's": "it's", "'": "''''", "echo 'x'": "echo 'x'",
		"echo 'x": "'echo ''x'", "a\nb": "'a\nb'",
	} {
		if got := FormatItem(in); got != want {
			t.Errorf("FormatItem(%q) = %q, want %q", in, got, want)
		}
	}
}

func TestItem(t *testing.T) {
	for in, want := range map[string]string{
		"a b": "a b", " a ": "a", "'a b'": "a b", "'it''s'": "it's", "''": "", "it's": "it's",
		"'a' 'b'": "'a' 'b'", "echo 'x'": "echo 'x'", "'": "'",
	} {
		if got := Item(in); got != want {
			t.Errorf("Item(%q) = %q, want %q", in, got, want)
		}
	}
}

func TestSize(t *testing.T) {
	for in, want := range map[string]int64{
		"0": 0, "512": 512, "64K": 64 << 10, "64k": 64 << 10, "1.5G": 3 << 29, "2GiB": 2 << 30, "10MB": 10 << 20,
		"512B": 512, " 1T ": 1 << 40, ".5K": 512, "max": Max, "7E": 7 << 60, "1.0001K": 1024,
		"9223372036854775807": math.MaxInt64,
	} {
		if got, err := Size(in); err != nil || got != want {
			t.Errorf("Size(%q) = %d, %v; want %d", in, got, err, want)
		}
	}
	for in, kind := range map[string]fault.Kind{
		"": fault.Invalid, "-1": fault.Invalid, "1X": fault.Invalid, "K": fault.Invalid, "1KK": fault.Invalid, "1.2.3": fault.Invalid,
		"0x10": fault.Invalid, "1e3": fault.Invalid, "8E": fault.Range, "9223372036854775808": fault.Range, "inf": fault.Invalid,
	} {
		if got, err := Size(in); !fault.Is(err, kind) {
			t.Errorf("Size(%q) = %d, %v; want %v", in, got, err, kind)
		}
	}
	if FormatSize(Max) != "max" || FormatSize(1536) != "1536" {
		t.Error("FormatSize")
	}
}

func TestDuration(t *testing.T) {
	for in, want := range map[string]time.Duration{
		"90s": 90 * time.Second, "5m": 5 * time.Minute, "2h": 2 * time.Hour, "1h30m": 90 * time.Minute, "1.5h": 90 * time.Minute,
		"500ms": 500 * time.Millisecond, "10": 10 * time.Second, "0": 0, "7d": 168 * time.Hour,
	} {
		if got, err := Duration(in); err != nil || got != want {
			t.Errorf("Duration(%q) = %v, %v; want %v", in, got, err, want)
		}
	}
	for _, bad := range []string{"", "-5s", "+5s", "s", "5x", "d", "1h2d", "1e999d", "99999999999999999999d"} {
		if got, err := Duration(bad); err == nil {
			t.Errorf("Duration(%q) = %v", bad, got)
		}
	}
	for d, want := range map[time.Duration]string{
		0: "0s", 90 * time.Second: "90s", 5 * time.Minute: "5m", 2 * time.Hour: "2h", 1500 * time.Millisecond: "1500ms", 3: "3ns",
		90 * time.Minute: "90m", 7 * time.Microsecond: "7us",
	} {
		if got := FormatDuration(d); got != want {
			t.Errorf("FormatDuration(%d) = %q, want %q", d, got, want)
		}
		if back, err := Duration(FormatDuration(d)); err != nil || back != d {
			t.Errorf("%v comes back as %v, %v", d, back, err)
		}
	}
}

func TestSwitch(t *testing.T) {
	for in, want := range map[string]bool{"on": true, "Off": false, "1": true, "no": false, " true": true} {
		if got, err := Switch(in); err != nil || got != want {
			t.Errorf("Switch(%q) = %v, %v", in, got, err)
		}
	}
	if _, err := Switch("maybe"); !fault.Is(err, fault.Invalid) {
		t.Error(err)
	}
	if FormatSwitch(true) != "on" || FormatSwitch(false) != "off" {
		t.Error("FormatSwitch")
	}
}

func TestNearest(t *testing.T) {
	names := []string{"memory", "cidr", "args", "image", "stop.timeout"}
	for in, want := range map[string]string{
		"memroy": "memory", "memori": "memory", "memor": "memory", "mmeory": "memory", "cdir": "cidr", "ags": "args",
		"foo": "", "tmp": "", "sedAbCdE": "", "4913": "", "stop.timout": "stop.timeout", "images": "image", "a": "",
	} {
		if got := Nearest(in, names); got != want {
			t.Errorf("Nearest(%q) = %q, want %q", in, got, want)
		}
	}
}

// What the package prints it reads.
func FuzzParse(f *testing.F) {
	for _, s := range []string{"start", "run name='a b' -- sh -c 'x''y' #", "kill '#' '--' 'a=b'", "''", "a '' b='' -- ''", "x=1", "'a\nb'"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, line string) {
		if ws, err := Split(line); err == nil {
			back, err := Split(Join(ws))
			if err != nil || !slices.Equal(ws, back) {
				t.Fatalf("words %q: %q comes back as %q, %v", line, ws, back, err)
			}
		}
		m, err := Parse(line)
		if err != nil || m.Verb == "" && len(m.Args) == 0 && !strings.Contains(line, "'") {
			return
		}
		back, err := Parse(m.String())
		if err != nil || back.String() != m.String() {
			t.Fatalf("message %q: %+v comes back from %q as %+v, %v", line, m, m.String(), back, err)
		}
		for _, item := range []string{line, m.Verb} {
			ls := Lines(FormatItem(item) + "\nnext\n")
			if len(ls) != 2 || Item(ls[0]) != item {
				t.Fatalf("item %q comes back as %q", item, ls)
			}
		}
	})
}
