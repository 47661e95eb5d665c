package seccomp

import (
	"runtime"
	"strings"

	moby "github.com/moby/profiles/seccomp"
	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"github.com/containercloud/cc/fault"
)

// Default is moby's default profile, as it is for a container with these capabilities.
func Default(caps ...string) ([]unix.SockFilter, error) {
	p, err := moby.GetDefaultProfile(withCaps(caps))
	if err != nil {
		return nil, fault.New(fault.Internal, "cannot make the default seccomp profile: %w", err)
	}
	return Compile(p)
}

// For compiles the value of a container's `seccomp` setting: default, or unconfined (nil).
func For(setting string, caps ...string) ([]unix.SockFilter, error) {
	switch strings.TrimSpace(setting) {
	case "", "default":
		return Default(caps...)
	case "unconfined":
		return nil, nil
	}
	return nil, fault.New(fault.Invalid, "there is no seccomp profile %q", setting)
}

// withCaps is the part of a runtime spec that moby's conditions look at.
func withCaps(caps []string) *specs.Spec {
	list := make([]string, len(caps))
	for i, c := range caps {
		list[i] = "CAP_" + strings.TrimPrefix(strings.ToUpper(c), "CAP_")
	}
	return &specs.Spec{Process: &specs.Process{Capabilities: &specs.LinuxCapabilities{Bounding: list}}}
}

// native is the architecture filters are made for.
var native = map[string]architecture{
	"amd64": {audit: unix.AUDIT_ARCH_X86_64, limit: 0x40000000},
	"arm64": {audit: unix.AUDIT_ARCH_AARCH64, limit: 0x40000000},
}[runtime.GOARCH]

type architecture struct {
	audit uint32
	limit uint32 // numbers from here on are another ABI's (x32)
}
