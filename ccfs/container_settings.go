package ccfs

import (
	"net/netip"
	"strconv"
	"strings"
	"time"

	"github.com/containercloud/cc/ccfs/tree"
	"github.com/containercloud/cc/fault"
	"github.com/containercloud/cc/runtime/container"
	"github.com/containercloud/cc/runtime/image"
	"github.com/containercloud/cc/words"
)

// containerSetting is one row of a container's configuration.
type containerSetting = tree.Setting[container.Spec]

// containerSettings are the settings of a container in the order of its spec.
var containerSettings = withDefaults([]containerSetting{
	{
		Name: "image", Kind: tree.Scalar, When: tree.AtStart, Syntax: "REF|DIGEST|builtin|host",
		Doc:   "The image that the root file system begins as: a name of `cc image list`, `builtin` (a small userland that needs no network) or `host` (this host's own root below an overlay; for its owner only).",
		Value: tree.TextOf(func(s *container.Spec) *string { return &s.Image }, image.CheckName),
	}, {
		Name: "args", Kind: tree.List, When: tree.AtStart, Syntax: "WORD (one a line)",
		Doc:   "The command, one word a line. Empty: the image's own. Otherwise it stands behind the image's entrypoint in place of its command.",
		Value: tree.ItemsOf(func(s *container.Spec) *[]string { return &s.Args }, nil),
	}, {
		Name: "entrypoint", Kind: tree.List, When: tree.AtStart, Syntax: "WORD (one a line)",
		Doc:   "What stands in front of args. Empty: the image's; one empty word '' : nothing.",
		Value: tree.ItemsOf(func(s *container.Spec) *[]string { return &s.Entrypoint }, nil),
	}, {
		Name: "env", Kind: tree.Table, When: tree.AtStart, Sealed: true, Syntax: "NAME VALUE (or NAME=VALUE)",
		Doc:   "Environment over the image's. Nothing is taken from the environment of the daemon or of whoever writes.",
		Value: tree.Of(func(s *container.Spec) *[]string { return &s.Env }, formatEnv, parseEnv),
	}, {
		Name: "dir", Kind: tree.Scalar, When: tree.AtStart, Syntax: "PATH",
		Doc:   "Working directory, made when missing. Empty: the image's, else /.",
		Value: tree.TextOf(func(s *container.Spec) *string { return &s.Dir }, nil),
	}, {
		Name: "user", Kind: tree.Scalar, When: tree.AtStart, Syntax: "NAME|UID[:GROUP|GID]",
		Doc:   "Who the command runs as inside. Empty: the image's, else root (of the container's user namespace).",
		Value: tree.TextOf(func(s *container.Spec) *string { return &s.User }, nil),
	}, {
		Name: "hostname", Kind: tree.Scalar, When: tree.AtStart, Syntax: "NAME",
		Doc:   "Host name inside. Empty: the container's name.",
		Value: tree.TextOf(func(s *container.Spec) *string { return &s.Hostname }, nil),
	}, {
		Name: "vpc", Kind: tree.Scalar, When: tree.AtStart, Syntax: "NAME",
		Doc:   "The network it joins. Empty: only a loopback device.",
		Value: tree.TextOf(func(s *container.Spec) *string { return &s.VPC }, nil),
	}, {
		Name: "ip", Kind: tree.Scalar, When: tree.AtStart, Syntax: "ADDRESS",
		Doc:   "A fixed address of the vpc. Empty: any free one, kept over restarts of the container where possible.",
		Value: tree.Of(func(s *container.Spec) *netip.Addr { return &s.IP }, formatAddr, parseAddr),
	}, {
		Name: "memory", Kind: tree.Scalar, When: tree.Live, Syntax: "BYTES|max",
		Doc:   "Memory limit in bytes; 64K 1.5G 2GiB are understood. A container that needs more is killed by the kernel and says so (`exit`: oom 1).",
		Value: tree.SizeOf(func(s *container.Spec) *int64 { return &s.Memory }),
	}, {
		Name: "cpu", Kind: tree.Scalar, When: tree.Live, Syntax: "SHARES",
		Doc:   "Weight among containers that want the processor at once: 1024 is one unit, as docker's --cpu-shares.",
		Value: tree.Of(func(s *container.Spec) *uint64 { return &s.CPU }, formatShares, parseShares),
	}, {
		Name: "cpu.max", Kind: tree.Scalar, When: tree.Live, Syntax: "CORES|max",
		Doc:   "The most processor time it gets, in cores: 0.5, 2.",
		Value: tree.Of(func(s *container.Spec) *container.Cores { return &s.CPUMax }, container.Cores.String, container.ParseCores),
	}, {
		Name: "pids", Kind: tree.Scalar, When: tree.Live, Syntax: "N|max",
		Doc:   "The most processes and threads at once.",
		Value: tree.IntOf(func(s *container.Spec) *int64 { return &s.Pids }, 1, container.Max),
	}, {
		Name: "disk", Kind: tree.Scalar, When: tree.Live, Syntax: "BYTES|max",
		Doc:   "What it may write. Kept with its other settings; this release does not enforce it.",
		Value: tree.SizeOf(func(s *container.Spec) *int64 { return &s.Disk }),
	}, {
		Name: "mounts", Kind: tree.Table, When: tree.AtStart, Syntax: "TARGET tmpfs:SIZE|bind:/HOST/PATH [ro]",
		Doc:   "What else is mounted inside. bind: is for the host's owner only.",
		Value: tree.Of(func(s *container.Spec) *[]container.Mount { return &s.Mounts }, formatMounts, parseMounts),
	}, {
		Name: "restart", Kind: tree.Scalar, When: tree.Live, Syntax: "no|on-failure[:N]|always",
		Doc:   "What happens when it ends by itself. Restarts wait 100 ms, then twice as long each time, a minute at most; ten seconds of running start over. A stop by a user is remembered.",
		Value: tree.Of(func(s *container.Spec) *container.Restart { return &s.Restart }, container.Restart.String, container.ParseRestart),
	}, {
		Name: "stop.signal", Kind: tree.Scalar, When: tree.Live, Syntax: "SIGNAL",
		Doc:   "What stop sends first. Empty: the image's, else SIGTERM.",
		Value: tree.TextOf(func(s *container.Spec) *string { return &s.StopSignal }, nil),
	}, {
		Name: "stop.timeout", Kind: tree.Scalar, When: tree.Live, Syntax: "DURATION",
		Doc:   "How long stop waits before it kills. A first process that ignores the signal is not waited for.",
		Value: tree.DurationOf(func(s *container.Spec) *time.Duration { return &s.StopTimeout }),
	}, {
		Name: "ttl", Kind: tree.Scalar, When: tree.Live, Syntax: "DURATION|max",
		Doc:   "It is deleted this long after it ended for good.",
		Value: tree.Of(func(s *container.Spec) *time.Duration { return &s.TTL }, formatTTL, parseTTL),
	}, {
		Name: "capability", Kind: tree.List, When: tree.AtStart, Syntax: "+NAME|-NAME|all|none (one a line)",
		Doc:   "Changes to the default set of capabilities, in order.",
		Value: tree.ItemsOf(func(s *container.Spec) *[]string { return &s.Capability }, nil),
	}, {
		Name: "seccomp", Kind: tree.Scalar, When: tree.AtStart, Syntax: "default|unconfined",
		Doc:   "The filter of system calls; unconfined is for the host's owner only.",
		Value: tree.TextOf(func(s *container.Spec) *string { return &s.Seccomp }, nil),
	}, {
		Name: "readonly", Kind: tree.Scalar, When: tree.AtStart, Syntax: "on|off",
		Doc:   "The root file system cannot be written; /app and mounts can.",
		Value: tree.SwitchOf(func(s *container.Spec) *bool { return &s.ReadOnly }),
	}, {
		Name: "userns", Kind: tree.Scalar, When: tree.AtStart, Syntax: "on|host",
		Doc:   "on: root inside is nobody outside. host is for the host's owner only.",
		Value: tree.TextOf(func(s *container.Spec) *string { return &s.UserNS }, nil),
	}, {
		Name: "init", Kind: tree.Scalar, When: tree.AtStart, Syntax: "on|off",
		Doc:   "A first process of 24 KB that reaps orphans and passes signals on, in front of the command.",
		Value: tree.SwitchOf(func(s *container.Spec) *bool { return &s.Init }),
	}, {
		Name: "tty", Kind: tree.Scalar, When: tree.AtStart, Syntax: "off|on|COLSxROWS",
		Doc:   "A terminal instead of pipes; everything goes to stdout.",
		Value: tree.Of(func(s *container.Spec) *container.Terminal { return &s.TTY }, container.Terminal.String, container.ParseTerminal),
	}, {
		Name: "stdin.open", Kind: tree.Scalar, When: tree.AtStart, Syntax: "on|off",
		Doc:   "on: standard input is a pipe that the file stdin feeds, until the verb eof. off: /dev/null.",
		Value: tree.SwitchOf(func(s *container.Spec) *bool { return &s.StdinOpen }),
	}, {
		Name: "log/policy", Kind: tree.Scalar, When: tree.Live, Syntax: "drop|block|direct",
		Doc:   "When a stream's log is full: drop the oldest, or block the writer. direct writes the file without a pipe: fastest, but `echo > /dev/stderr` inside empties it.",
		Value: tree.TextOf(func(s *container.Spec) *string { return &s.LogPolicy }, nil),
	}, {
		Name: "log/max", Kind: tree.Scalar, When: tree.Live, Syntax: "BYTES|max",
		Doc:   "Bytes kept of each stream.",
		Value: tree.SizeOf(func(s *container.Spec) *int64 { return &s.LogMax }),
	},
})

// formatEnv prints NAME VALUE lines: the keys are what a table's readers look for.
func formatEnv(env []string) string {
	lines := make([]string, len(env))
	for i, e := range env {
		name, value, _ := strings.Cut(e, "=")
		lines[i] = words.Join([]string{name, value})
	}
	return strings.Join(lines, "\n")
}

// parseEnv takes NAME=VALUE, the form of every other tool, and NAME VALUE, the form of a table.
func parseEnv(text string) ([]string, error) {
	var env []string
	for _, line := range words.Lines(text) {
		if name, _, ok := strings.Cut(line, "="); ok && !strings.ContainsAny(name, " \t'") {
			env = append(env, line)
			continue
		}
		w, err := words.Split(line)
		if err != nil {
			return nil, err
		}
		if len(w) == 1 && strings.Contains(w[0], "=") { // quoted as a whole
			env = append(env, w[0])
			continue
		}
		if len(w) != 2 {
			return nil, fault.New(fault.Invalid, "%q is not NAME VALUE", line).WithHint("quote a value that has blanks: GREETING 'hello world'")
		}
		env = append(env, w[0]+"="+w[1])
	}
	return env, nil
}

func formatAddr(a netip.Addr) string {
	if !a.IsValid() {
		return ""
	}
	return a.String()
}

func parseAddr(v string) (netip.Addr, error) {
	if v == "" {
		return netip.Addr{}, nil
	}
	a, err := netip.ParseAddr(v)
	if err != nil {
		return netip.Addr{}, fault.New(fault.Invalid, "%q is no address", v)
	}
	if !a.IsGlobalUnicast() || a.Zone() != "" {
		return netip.Addr{}, fault.New(fault.AddrUnusable, "no host of a network can have the address %s", a)
	}
	return a, nil
}

func formatShares(n uint64) string { return strconv.FormatUint(n, 10) }

func parseShares(v string) (uint64, error) {
	n, err := strconv.ParseUint(v, 10, 64)
	if err != nil {
		return 0, fault.New(fault.Invalid, "%q is no number of shares", v).WithHint("1024 is one unit")
	}
	return n, nil
}

func formatMounts(list []container.Mount) string {
	lines := make([]string, len(list))
	for i, m := range list {
		lines[i] = m.String()
	}
	return strings.Join(lines, "\n")
}

func parseMounts(text string) ([]container.Mount, error) {
	var list []container.Mount
	for _, line := range words.Lines(text) {
		m, err := container.ParseMount(line)
		if err != nil {
			return nil, err
		}
		list = append(list, m)
	}
	return list, nil
}

func formatTTL(d time.Duration) string {
	if d == container.Never {
		return "max"
	}
	return words.FormatDuration(d)
}

func parseTTL(v string) (time.Duration, error) {
	if v == "max" {
		return container.Never, nil
	}
	return words.Duration(v)
}

// withDefaults fills in what each row says about its default, from the domain's own defaults.
func withDefaults(rows []containerSetting) []containerSetting {
	spec := container.Default()
	for i := range rows {
		rows[i].Default = rows[i].Value.Get(&spec)
	}
	return rows
}
