package container

import "reflect"

// When says when a changed setting takes effect.
type When string

const (
	Live    When = "live"  // at once, on the running container too
	AtStart When = "start" // at the next start
)

// Setting is one name of the spec.
type Setting struct {
	Name  string
	When  When
	field string // of Spec
}

// Settings are all names of a spec in the order of the manual. No setting of a container is fixed: a
// changed image begins with a fresh root file system at the next start, /app and volumes stay.
var Settings = []Setting{
	{"image", AtStart, "Image"},
	{"args", AtStart, "Args"},
	{"entrypoint", AtStart, "Entrypoint"},
	{"env", AtStart, "Env"},
	{"dir", AtStart, "Dir"},
	{"user", AtStart, "User"},
	{"hostname", AtStart, "Hostname"},
	{"vpc", AtStart, "VPC"},
	{"ip", AtStart, "IP"},
	{"memory", Live, "Memory"},
	{"cpu", Live, "CPU"},
	{"cpu.max", Live, "CPUMax"},
	{"pids", Live, "Pids"},
	{"disk", Live, "Disk"},
	{"mounts", AtStart, "Mounts"},
	{"restart", Live, "Restart"},
	{"stop.signal", Live, "StopSignal"},
	{"stop.timeout", Live, "StopTimeout"},
	{"ttl", Live, "TTL"},
	{"capability", AtStart, "Capability"},
	{"seccomp", AtStart, "Seccomp"},
	{"readonly", AtStart, "ReadOnly"},
	{"userns", AtStart, "UserNS"},
	{"init", AtStart, "Init"},
	{"tty", AtStart, "TTY"},
	{"stdin.open", AtStart, "StdinOpen"},
	{"log/policy", Live, "LogPolicy"},
	{"log/max", Live, "LogMax"},
}

// Changed returns the settings in which the two specs differ.
func Changed(a, b Spec) []Setting {
	var out []Setting
	va, vb := reflect.ValueOf(a), reflect.ValueOf(b)
	for _, s := range Settings {
		fa, fb := va.FieldByName(s.field), vb.FieldByName(s.field)
		if fa.Kind() == reflect.Slice && fa.Len() == 0 && fb.Len() == 0 {
			continue
		}
		if !reflect.DeepEqual(fa.Interface(), fb.Interface()) {
			out = append(out, s)
		}
	}
	return out
}
