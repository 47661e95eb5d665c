package container

import (
	"encoding/json"
	"math"
	"path"
	"strconv"
	"strings"

	"github.com/containercloud/cc/fault"
	"github.com/containercloud/cc/words"
)

// Cores is a share of processor time in thousandths of a core.
type Cores int64

// NoCores is the cpu.max of a container that may use every core.
const NoCores Cores = math.MaxInt64

// ParseCores reads `1.5` or `max`.
func ParseCores(s string) (Cores, error) {
	if s == "max" {
		return NoCores, nil
	}
	f, err := strconv.ParseFloat(s, 64)
	if err != nil || math.IsNaN(f) {
		return 0, fault.New(fault.Invalid, "%q is no number of cores", s).WithHint("a number like 0.5 or 2, or max")
	}
	if f < 0.01 || f > 100000 {
		return 0, fault.New(fault.Range, "%s cores are outside of 0.01 to 100000", s)
	}
	return Cores(math.Round(f * 1000)), nil
}

func (c Cores) String() string {
	if c == NoCores {
		return "max"
	}
	return strconv.FormatFloat(float64(c)/1000, 'f', -1, 64)
}

// Policy is when a container that ended is started again.
type Policy string

const (
	No        Policy = "no"
	OnFailure Policy = "on-failure"
	Always    Policy = "always"
)

// Restart is the restart setting: `no`, `on-failure`, `on-failure:5`, `always`.
type Restart struct {
	Policy Policy
	Limit  int // restarts in a row for on-failure; 0: no limit
}

// ParseRestart reads the text form; "" is no.
func ParseRestart(s string) (Restart, error) {
	word, n, limited := strings.Cut(s, ":")
	r := Restart{Policy: Policy(word)}
	switch {
	case s == "":
		return Restart{Policy: No}, nil
	case limited && r.Policy == OnFailure:
		limit, err := strconv.ParseUint(n, 10, 31)
		if err != nil || limit == 0 {
			return Restart{}, fault.New(fault.Invalid, "%q is no number of restarts", n).WithHint("on-failure:5")
		}
		r.Limit = int(limit)
		return r, nil
	case !limited && (r.Policy == No || r.Policy == OnFailure || r.Policy == Always):
		return r, nil
	}
	return Restart{}, fault.New(fault.Invalid, "%q is no restart policy", s).WithHint("no, on-failure, on-failure:N or always")
}

func (r Restart) String() string {
	switch {
	case r.Policy == "":
		return string(No)
	case r.Limit > 0:
		return string(r.Policy) + ":" + strconv.Itoa(r.Limit)
	}
	return string(r.Policy)
}

// MarshalText and UnmarshalText keep records readable.
func (r Restart) MarshalText() ([]byte, error) { return []byte(r.String()), nil }

// UnmarshalText reads what MarshalText wrote.
func (r *Restart) UnmarshalText(b []byte) (err error) { *r, err = ParseRestart(string(b)); return err }

// Terminal is the tty setting: off, or a size in characters.
type Terminal struct{ Cols, Rows uint16 }

// On reports whether there is a terminal.
func (t Terminal) On() bool { return t.Cols != 0 && t.Rows != 0 }

// ParseTerminal reads `off`, `on` (80x24) or `COLSxROWS`.
func ParseTerminal(s string) (Terminal, error) {
	switch s {
	case "", "off":
		return Terminal{}, nil
	case "on":
		return Terminal{80, 24}, nil
	}
	c, r, ok := strings.Cut(s, "x")
	cols, err1 := strconv.ParseUint(c, 10, 16)
	rows, err2 := strconv.ParseUint(r, 10, 16)
	if !ok || err1 != nil || err2 != nil || cols == 0 || rows == 0 {
		return Terminal{}, fault.New(fault.Invalid, "%q is no terminal", s).WithHint("off, on or COLSxROWS, as 80x24")
	}
	return Terminal{uint16(cols), uint16(rows)}, nil
}

func (t Terminal) String() string {
	if !t.On() {
		return "off"
	}
	return strconv.Itoa(int(t.Cols)) + "x" + strconv.Itoa(int(t.Rows))
}

// MarshalText keeps records readable.
func (t Terminal) MarshalText() ([]byte, error) { return []byte(t.String()), nil }

// UnmarshalText reads what MarshalText wrote.
func (t *Terminal) UnmarshalText(b []byte) (err error) {
	*t, err = ParseTerminal(string(b))
	return err
}

// Mount is one line of the mounts setting: `TARGET SOURCE [ro]`. Source is `tmpfs:SIZE`, `bind:/HOST/PATH`
// (host owner only) or `volume:NAME`.
type Mount struct {
	Target   string
	Source   string
	ReadOnly bool
}

// ParseMount reads one line.
func ParseMount(line string) (Mount, error) {
	w, err := words.Split(line)
	if err != nil {
		return Mount{}, err
	}
	if len(w) < 2 || len(w) > 3 || len(w) == 3 && w[2] != "ro" && w[2] != "rw" {
		return Mount{}, fault.New(fault.Invalid, "%q is no mount", line).WithHint("TARGET SOURCE [ro], as `/tmp tmpfs:64M`")
	}
	m := Mount{Target: w[0], Source: w[1], ReadOnly: len(w) == 3 && w[2] == "ro"}
	return m, m.check()
}

func (m Mount) String() string {
	w := []string{m.Target, m.Source}
	if m.ReadOnly {
		w = append(w, "ro")
	}
	return words.Join(w)
}

// MarshalJSON keeps records in the form users write.
func (m Mount) MarshalJSON() ([]byte, error) { return json.Marshal(m.String()) }

// UnmarshalJSON reads what MarshalJSON wrote.
func (m *Mount) UnmarshalJSON(b []byte) error {
	var s string
	if err := json.Unmarshal(b, &s); err != nil {
		return err
	}
	var err error
	*m, err = ParseMount(s)
	return err
}

// split takes the source apart: kind and argument.
func (m Mount) split() (kind, arg string) {
	kind, arg, _ = strings.Cut(m.Source, ":")
	return kind, arg
}

// reserved are targets that are the runtime's own.
var reserved = []string{"/", "/proc", "/sys", "/dev", "/app", "/etc/hosts", "/etc/hostname", "/etc/resolv.conf"}

func (m Mount) check() error {
	if !path.IsAbs(m.Target) || path.Clean(m.Target) != m.Target || strings.ContainsAny(m.Target, "\x00\n") {
		return fault.New(fault.Invalid, "mount target %q is no clean absolute path", m.Target)
	}
	for _, r := range reserved {
		if m.Target == r || r != "/" && strings.HasPrefix(m.Target, r+"/") && !strings.HasPrefix(r, "/etc") {
			if m.Target == "/dev/shm" {
				continue
			}
			return fault.New(fault.Invalid, "mount target %s belongs to the runtime", m.Target)
		}
	}
	switch kind, arg := m.split(); kind {
	case "tmpfs":
		if n, err := words.Size(arg); err != nil || n < 4096 {
			return fault.New(fault.Invalid, "mount %s: %q is no size of a tmpfs", m.Target, arg).WithHint("tmpfs:64M")
		}
	case "bind":
		if !path.IsAbs(arg) || strings.ContainsAny(arg, "\x00\n") {
			return fault.New(fault.Invalid, "mount %s: %q is no absolute path of the host", m.Target, arg)
		}
	case "volume":
		return fault.New(fault.Unsupported, "mount %s: there are no volumes yet", m.Target).
			WithHint("use tmpfs:SIZE or bind:/HOST/PATH until volumes land")
	default:
		return fault.New(fault.Invalid, "mount %s: unknown source %q", m.Target, m.Source).
			WithHint("tmpfs:SIZE, bind:/HOST/PATH or volume:NAME")
	}
	return nil
}
