package container

import (
	"math"
	"net/netip"
	"slices"
	"time"

	"github.com/containercloud/cc/runtime/logs"
)

// Max is the value of a limit that does not limit; it is written `max`.
const Max = math.MaxInt64

// Never is the ttl of a container that stays until someone deletes it; it is written `max`.
const Never = time.Duration(math.MaxInt64)

// Spec is what someone wants a container to be: every setting, with its default filled in. The text forms
// that belong to the typed fields (Restart, Mount, CPUMax, Terminal ...) are next to their types.
type Spec struct {
	Image      string   `json:"image"`                // reference as given; `builtin` and `host` need no network
	Args       []string `json:"args,omitempty"`       // none: the image's command; else they replace it behind its entrypoint
	Entrypoint []string `json:"entrypoint,omitempty"` // none: the image's; one empty word: no entrypoint
	Env        []string `json:"env,omitempty"`        // NAME=VALUE, over the image's
	Dir        string   `json:"dir,omitempty"`        // absolute; "": the image's
	User       string   `json:"user,omitempty"`       // NAME|UID[:GROUP|GID]; "": the image's
	Hostname   string   `json:"hostname,omitempty"`   // "": the container's name

	VPC string     `json:"vpc,omitempty"` // "": only a loopback device
	IP  netip.Addr `json:"ip,omitzero"`   // fixed address; zero: any free one of the VPC

	Memory int64  `json:"memory"`  // bytes, or Max
	CPU    uint64 `json:"cpu"`     // shares, 1024 = one weight unit
	CPUMax Cores  `json:"cpu.max"` // thousandths of a core, or NoCores
	Pids   int64  `json:"pids"`    // tasks, or Max
	Disk   int64  `json:"disk"`    // bytes, or Max; kept, not enforced before there are volumes

	Mounts []Mount `json:"mounts,omitempty"`

	Restart     Restart       `json:"restart"`
	StopSignal  string        `json:"stop.signal,omitempty"` // "": the image's, else SIGTERM
	StopTimeout time.Duration `json:"stop.timeout"`
	TTL         time.Duration `json:"ttl"` // deleted this long after it ended; Never

	Capability []string `json:"capability,omitempty"` // changes to the default set, in order: `+NET_RAW` `-CHOWN` `none` `all`
	Seccomp    string   `json:"seccomp"`              // `default` or `unconfined` (host owner only)
	ReadOnly   bool     `json:"readonly"`             // the root file system
	UserNS     string   `json:"userns"`               // `on` or `host` (host owner only)
	Init       bool     `json:"init"`                 // a reaping, signal-forwarding pid 1 in front of the program
	TTY        Terminal `json:"tty"`                  // a terminal instead of pipes
	StdinOpen  bool     `json:"stdin.open"`           // stdin is a pipe that the file stdin feeds; else /dev/null

	LogPolicy string `json:"log.policy"` // `drop` the oldest, `block` the writer, or `direct`
	LogMax    int64  `json:"log.max"`    // bytes kept per stream
}

// Words that Spec fields take.
const (
	DefaultImage = "builtin"

	SeccompDefault    = "default"
	SeccompUnconfined = "unconfined"

	UserNSOn   = "on"
	UserNSHost = "host"

	LogDrop   = "drop"
	LogBlock  = "block"
	LogDirect = "direct"
)

// Default is the spec of a container nobody configured. Where the numbers come from stands in
// docs/decisions/101-container-defaults.md.
func Default() Spec {
	return Spec{
		Image:       DefaultImage,
		Memory:      Max,
		CPU:         1024,
		CPUMax:      NoCores,
		Pids:        4096,
		Disk:        Max,
		StopTimeout: 10 * time.Second,
		TTL:         Never,
		Seccomp:     SeccompDefault,
		UserNS:      UserNSOn,
		StdinOpen:   true,
		LogPolicy:   LogDrop,
		LogMax:      logs.DefaultMax,
	}
}

// Clone returns a copy that shares nothing with s.
func (s Spec) Clone() Spec {
	s.Args = slices.Clone(s.Args)
	s.Entrypoint = slices.Clone(s.Entrypoint)
	s.Env = slices.Clone(s.Env)
	s.Mounts = slices.Clone(s.Mounts)
	s.Capability = slices.Clone(s.Capability)
	return s
}
