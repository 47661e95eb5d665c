package container

import (
	"encoding/json"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/containercloud/cc/fault"
)

func TestDefaultIsValid(t *testing.T) {
	s := Default()
	if err := s.Validate(1000); err != nil {
		t.Error(err)
	}
}

func TestValidateNamesTheSetting(t *testing.T) {
	for _, c := range []struct {
		setting string
		kind    fault.Kind
		uid     uint32
		change  func(*Spec)
	}{
		{"image", fault.Invalid, 0, func(s *Spec) { s.Image = "" }},
		{"image", fault.Invalid, 0, func(s *Spec) { s.Image = "a b" }},
		{"image", fault.Denied, 1000, func(s *Spec) { s.Image = "host" }},
		{"args", fault.Invalid, 0, func(s *Spec) { s.Args = []string{"a\x00b"} }},
		{"args", fault.Range, 0, func(s *Spec) { s.Args = make([]string, maxWords+1) }},
		{"env", fault.Invalid, 0, func(s *Spec) { s.Env = []string{"NOVALUE"} }},
		{"env", fault.Invalid, 0, func(s *Spec) { s.Env = []string{"=x"} }},
		{"dir", fault.Invalid, 0, func(s *Spec) { s.Dir = "relative" }},
		{"user", fault.Range, 0, func(s *Spec) { s.User = "4294967296" }},
		{"user", fault.Range, 0, func(s *Spec) { s.User = "99999999999999999999" }},
		{"user", fault.Range, 0, func(s *Spec) { s.User = "-1" }},
		{"user", fault.Range, 0, func(s *Spec) { s.User = "1:4294967296" }},
		{"user", fault.Invalid, 0, func(s *Spec) { s.User = "a:" }},
		{"hostname", fault.Invalid, 0, func(s *Spec) { s.Hostname = "a b" }},
		{"user", fault.Invalid, 0, func(s *Spec) { s.User = "''" }},
		{"hostname", fault.Invalid, 0, func(s *Spec) { s.Hostname = "." }},
		{"hostname", fault.Invalid, 0, func(s *Spec) { s.Hostname = "-1" }},
		{"vpc", fault.Invalid, 0, func(s *Spec) { s.VPC = "../x" }},
		{"vpc", fault.Invalid, 0, func(s *Spec) { s.VPC = "-" }},
		{"memory", fault.Range, 0, func(s *Spec) { s.Memory = 100 }},
		{"memory", fault.Range, 0, func(s *Spec) { s.Memory = -1 }},
		{"cpu", fault.Range, 0, func(s *Spec) { s.CPU = 1 }},
		{"cpu.max", fault.Range, 0, func(s *Spec) { s.CPUMax = 1 }},
		{"pids", fault.Range, 0, func(s *Spec) { s.Pids = 0 }},
		{"pids", fault.Range, 0, func(s *Spec) { s.Pids = maxPids + 1 }},
		{"mounts", fault.Invalid, 0, func(s *Spec) { s.Mounts = []Mount{{Target: "/proc/x", Source: "tmpfs:1M"}} }},
		{"mounts", fault.Invalid, 0, func(s *Spec) { s.Mounts = []Mount{{Target: "/a/../b", Source: "tmpfs:1M"}} }},
		{"mounts", fault.Invalid, 0, func(s *Spec) {
			s.Mounts = []Mount{{Target: "/a", Source: "tmpfs:1M"}, {Target: "/a", Source: "tmpfs:1M"}}
		}},
		{"mounts", fault.Unsupported, 0, func(s *Spec) { s.Mounts = []Mount{{Target: "/a", Source: "volume:db"}} }},
		{"mounts", fault.Denied, 1000, func(s *Spec) { s.Mounts = []Mount{{Target: "/a", Source: "bind:/etc"}} }},
		{"stop.signal", fault.Invalid, 0, func(s *Spec) { s.StopSignal = "SIGNOPE" }},
		{"stop.timeout", fault.Range, 0, func(s *Spec) { s.StopTimeout = -time.Second }},
		{"capability", fault.Invalid, 0, func(s *Spec) { s.Capability = []string{"+FLY"} }},
		{"seccomp", fault.Denied, 1000, func(s *Spec) { s.Seccomp = SeccompUnconfined }},
		{"userns", fault.Denied, 1000, func(s *Spec) { s.UserNS = UserNSHost }},
		{"userns", fault.Invalid, 0, func(s *Spec) { s.UserNS = "maybe" }},
		{"log/policy", fault.Invalid, 0, func(s *Spec) { s.LogPolicy = "lose" }},
		{"log/max", fault.Range, 0, func(s *Spec) { s.LogMax = 1 }},
	} {
		s := Default()
		c.change(&s)
		err := s.Validate(c.uid)
		if err == nil || !strings.HasPrefix(err.Error(), c.setting+": ") || fault.KindOf(err) != c.kind {
			t.Errorf("%s: %v (kind %v, want %v)", c.setting, err, err != nil && fault.Is(err, c.kind), c.kind)
		}
	}
}

func TestSpecSurvivesItsRecord(t *testing.T) {
	s := Default()
	s.Args = []string{"sh", "-c", "a  b\n'c'"}
	s.Mounts = []Mount{{Target: "/with blank", Source: "tmpfs:64M", ReadOnly: true}}
	s.Restart = Restart{OnFailure, 5}
	s.TTY = Terminal{120, 40}
	s.CPUMax = 1500
	b, err := json.Marshal(s)
	if err != nil {
		t.Fatal(err)
	}
	got := Default()
	if err := json.Unmarshal(b, &got); err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(s, got) {
		t.Errorf("%+v\n%+v\n%s", s, got, b)
	}
}

func TestChanged(t *testing.T) {
	a, b := Default(), Default()
	b.Args = []string{}
	if got := Changed(a, b); len(got) != 0 {
		t.Errorf("nil and empty differ: %v", got)
	}
	b.Memory, b.Args = 1<<30, []string{"x"}
	got := Changed(a, b)
	if len(got) != 2 || got[0].Name != "args" || got[0].When != AtStart || got[1].Name != "memory" || got[1].When != Live {
		t.Errorf("%v", got)
	}
}

func TestEverySpecFieldIsASetting(t *testing.T) {
	have := map[string]bool{}
	for _, s := range Settings {
		have[s.field] = true
	}
	typ := reflect.TypeFor[Spec]()
	for i := range typ.NumField() {
		if !have[typ.Field(i).Name] {
			t.Errorf("Spec.%s is no setting", typ.Field(i).Name)
		}
	}
	if len(have) != typ.NumField() || len(have) != len(Settings) {
		t.Errorf("%d settings, %d fields", len(Settings), typ.NumField())
	}
}

func TestTextForms(t *testing.T) {
	for in, want := range map[string]string{"": "no", "no": "no", "on-failure": "on-failure", "on-failure:5": "on-failure:5", "always": "always"} {
		if r, err := ParseRestart(in); err != nil || r.String() != want {
			t.Errorf("restart %q: %v %v", in, r, err)
		}
	}
	for _, in := range []string{"maybe", "always:3", "on-failure:0", "on-failure:x", "on-failure:-1"} {
		if _, err := ParseRestart(in); err == nil {
			t.Errorf("restart %q accepted", in)
		}
	}
	for in, want := range map[string]string{"off": "off", "on": "80x24", "120x40": "120x40"} {
		if r, err := ParseTerminal(in); err != nil || r.String() != want {
			t.Errorf("tty %q: %v %v", in, r, err)
		}
	}
	for in, want := range map[string]string{"max": "max", "1.5": "1.5", "2": "2", "0.01": "0.01"} {
		if r, err := ParseCores(in); err != nil || r.String() != want {
			t.Errorf("cores %q: %v %v", in, r, err)
		}
	}
	for _, in := range []string{"", "0", "-1", "NaN", "1e9", "x"} {
		if _, err := ParseCores(in); err == nil {
			t.Errorf("cores %q accepted", in)
		}
	}
}

func TestSignals(t *testing.T) {
	for in, want := range map[string]string{
		"TERM": "SIGTERM", "sigterm": "SIGTERM", "15": "SIGTERM", "RTMIN+3": "SIGRTMIN+3", "37": "SIGRTMIN+3", "RTMAX": "SIGRTMIN+30",
	} {
		sig, err := ParseSignal(in)
		if err != nil || SignalName(sig) != want {
			t.Errorf("%q: %v %v", in, SignalName(sig), err)
		}
	}
	for _, in := range []string{"", "0", "65", "TERMINATE", "RTMIN+31", "-9", "RTMAX-99"} {
		if _, err := ParseSignal(in); err == nil {
			t.Errorf("%q accepted", in)
		}
	}
}

func TestCapabilities(t *testing.T) {
	for _, c := range []struct {
		in   string
		want string
	}{
		{"none", ""},
		{"none +NET_RAW", "NET_RAW"},
		{"none cap_net_raw", "NET_RAW"},
		{"none NET_RAW -NET_RAW", ""},
	} {
		got, err := Capabilities(strings.Fields(c.in))
		if err != nil || strings.Join(got, " ") != c.want {
			t.Errorf("%s: %v %v", c.in, got, err)
		}
	}
	if got, _ := Capabilities([]string{"-CHOWN"}); len(got) != 10 {
		t.Errorf("%v", got)
	}
}
