package container

import (
	"path"
	"regexp"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/containercloud/cc/fault"
	"github.com/containercloud/cc/object"
)

// limits of what a spec may hold: together they keep a record below a few hundred kilobytes.
const (
	maxWords     = 4096
	maxWordBytes = 128 << 10 // the kernel's MAX_ARG_STRLEN
	maxMounts    = 64
	minMemory    = 1 << 20
	maxPids      = 4 << 20 // the kernel's PID_MAX_LIMIT, which pids.max may not pass
)

// Validate checks the whole spec of a container whose owner on the host is uid. Its fault begins with the setting's name.
func (s *Spec) Validate(uid uint32) error {
	for _, c := range []struct {
		setting string
		check   func() error
	}{
		{"image", func() error { return s.checkImage(uid) }},
		{"args", func() error { return checkWords(s.Args) }},
		{"entrypoint", func() error { return checkWords(s.Entrypoint) }},
		{"env", s.checkEnv},
		{"dir", s.checkDir},
		{"user", s.checkUser},
		{"hostname", s.checkHostname},
		{"vpc", s.checkVPC},
		{"memory", func() error { return within(s.Memory, minMemory, Max, "bytes") }},
		{"cpu", func() error { return within(int64(s.CPU), 2, 262144, "shares") }},
		{"cpu.max", func() error { return within(int64(s.CPUMax), 10, Max, "thousandths of a core") }},
		{"pids", s.checkPids},
		{"disk", func() error { return within(s.Disk, 1<<20, Max, "bytes") }},
		{"mounts", func() error { return s.checkMounts(uid) }},
		{"stop.signal", s.checkStopSignal},
		{"stop.timeout", func() error { return within(int64(s.StopTimeout), 0, Max, "nanoseconds") }},
		{"ttl", func() error { return within(int64(s.TTL), 0, Max, "nanoseconds") }},
		{"capability", func() error { _, err := Capabilities(s.Capability); return err }},
		{"seccomp", func() error {
			return oneOf(s.Seccomp, uid, SeccompUnconfined, SeccompDefault, SeccompUnconfined)
		}},
		{"userns", func() error { return oneOf(s.UserNS, uid, UserNSHost, UserNSOn, UserNSHost) }},
		{"log/policy", func() error { return oneOf(s.LogPolicy, 0, "", LogDrop, LogBlock, LogDirect) }},
		{"log/max", func() error { return within(s.LogMax, 64<<10, Max, "bytes") }},
	} {
		if err := c.check(); err != nil {
			return fault.Wrap(err, "%s", c.setting)
		}
	}
	return nil
}

func (s *Spec) checkPids() error {
	if s.Pids == Max {
		return nil
	}
	return within(s.Pids, 1, maxPids, "tasks")
}

func within(n, low, high int64, unit string) error {
	if n < low {
		return fault.New(fault.Range, "%d %s is less than the least, %d", n, unit, low)
	}
	if n > high {
		return fault.New(fault.Range, "%d %s is more than the most, %d", n, unit, high)
	}
	return nil
}

// oneOf accepts the words; the privileged one only where the owner is the host's.
func oneOf(word string, uid uint32, privileged string, words ...string) error {
	for _, w := range words {
		if w != word {
			continue
		}
		if w == privileged && uid != 0 {
			return fault.New(fault.Denied, "%s is for containers of the host's owner only", w)
		}
		return nil
	}
	return fault.New(fault.Invalid, "%q is none of %s", word, strings.Join(words, ", "))
}

// CheckGrants refuses what a user who may write settings of somebody else's container has put into it, and only the host's owner may
// give. What was there before stays.
func (s *Spec) CheckGrants(old Spec, uid uint32) error {
	if uid == 0 {
		return nil
	}
	added := s.Clone()
	added.Mounts = slices.DeleteFunc(added.Mounts, func(m Mount) bool { return slices.Contains(old.Mounts, m) })
	if s.Image == old.Image {
		added.Image = DefaultImage
	}
	if s.Seccomp == old.Seccomp {
		added.Seccomp = SeccompDefault
	}
	if s.UserNS == old.UserNS {
		added.UserNS = UserNSOn
	}
	return added.Validate(uid)
}

func (s *Spec) checkImage(uid uint32) error {
	if s.Image == "host" && uid != 0 {
		return fault.New(fault.Denied, "the image host shows the files of this host: it is for its owner only")
	}
	if s.Image == "" {
		return fault.New(fault.Invalid, "no image named").WithHint("a name as `cc image list` shows, builtin or host")
	}
	if len(s.Image) > 512 || strings.ContainsFunc(s.Image, func(r rune) bool { return r <= ' ' || r == 0x7f || r == utf8.RuneError }) {
		return fault.New(fault.Invalid, "%q is no image reference", s.Image)
	}
	return nil
}

func checkWords(list []string) error {
	if len(list) > maxWords {
		return fault.New(fault.Range, "%d words are more than %d", len(list), maxWords)
	}
	for _, w := range list {
		if len(w) >= maxWordBytes {
			return fault.New(fault.Range, "a word of %d bytes is longer than the kernel's %d", len(w), maxWordBytes)
		}
		if strings.ContainsRune(w, 0) {
			return fault.New(fault.Invalid, "a word holds a zero byte")
		}
	}
	return nil
}

func (s *Spec) checkEnv() error {
	if err := checkWords(s.Env); err != nil {
		return err
	}
	for _, e := range s.Env {
		if name, _, ok := strings.Cut(e, "="); !ok || name == "" {
			return fault.New(fault.Invalid, "%q has no name and value", e).WithHint("NAME=VALUE; nothing is taken from the caller's environment")
		}
	}
	return nil
}

func (s *Spec) checkDir() error {
	if s.Dir == "" {
		return nil
	}
	if !path.IsAbs(s.Dir) || len(s.Dir) > 4095 || strings.ContainsAny(s.Dir, "\x00\n") {
		return fault.New(fault.Invalid, "%q is no absolute path", s.Dir)
	}
	return nil
}

// checkUser looks at the form only; the names are looked up in the image at start.
func (s *Spec) checkUser() error {
	return checkUserForm(s.User)
}

// userName is what a passwd file may name, and no more than useradd and directory services make.
var userName = regexp.MustCompile(`^[\p{L}\p{N}._-][\p{L}\p{N}._@+\\-]*\$?$`)

func checkUserForm(user string) error {
	if user == "" {
		return nil
	}
	u, g, both := strings.Cut(user, ":")
	for _, part := range []string{u, g} {
		if part == "" && (both || part == u) {
			return fault.New(fault.Invalid, "%q is no user", user).WithHint("NAME or UID, with :GROUP or :GID behind")
		}
		if part == "" {
			continue
		}
		if !userName.MatchString(part) || len(part) > 256 {
			return fault.New(fault.Invalid, "%q is no user", user)
		}
		if part[0] == '-' || allDigits(part) && (len(part) > 10 || atoi(part) > 1<<31-2) {
			return fault.New(fault.Range, "%s is no id from 0 to 2147483646", part)
		}
	}
	return nil
}

func allDigits(s string) bool { return strings.Trim(s, "0123456789") == "" }

// atoi reads at most ten digits.
func atoi(s string) (n int64) {
	for _, c := range s {
		n = n*10 + int64(c-'0')
	}
	return n
}

// hostName is labels of a DNS name; an underscore is tolerated.
var hostName = regexp.MustCompile(`^[a-zA-Z0-9_]([a-zA-Z0-9_-]*[a-zA-Z0-9_])?(\.[a-zA-Z0-9_]([a-zA-Z0-9_-]*[a-zA-Z0-9_])?)*$`)

func (s *Spec) checkHostname() error {
	if s.Hostname != "" && (len(s.Hostname) > 64 || !hostName.MatchString(s.Hostname)) {
		return fault.New(fault.Invalid, "%q is no host name", s.Hostname)
	}
	return nil
}

func (s *Spec) checkVPC() error {
	if s.VPC != "" && object.CheckName(s.VPC) != nil {
		return fault.New(fault.Invalid, "%q is no vpc's name", s.VPC)
	}
	return nil
}

func (s *Spec) checkMounts(uid uint32) error {
	if len(s.Mounts) > maxMounts {
		return fault.New(fault.Range, "%d mounts are more than %d", len(s.Mounts), maxMounts)
	}
	seen := map[string]bool{}
	for _, m := range s.Mounts {
		if err := m.check(); err != nil {
			return err
		}
		if seen[m.Target] {
			return fault.New(fault.Invalid, "two mounts on %s", path.Clean(m.Target))
		}
		seen[m.Target] = true
		if kind, _ := m.split(); kind == "bind" && uid != 0 {
			return fault.New(fault.Denied, "mount %s: bind mounts are for containers of the host's owner only", m.Target)
		}
	}
	return nil
}

func (s *Spec) checkStopSignal() error {
	if s.StopSignal == "" {
		return nil
	}
	_, err := ParseSignal(s.StopSignal)
	return err
}
