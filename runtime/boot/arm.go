package boot

import (
	"context"
	"encoding/binary"
	"fmt"
	"os"
	"path"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/containercloud/cc/fault"
)

// plan checks c, does what is done to the process from outside, and builds the script of Arm.
func (s *Slot) plan(ctx context.Context, c *Config) (*script, error) {
	if s.state != slotPreparing && s.state != slotPrepared {
		return nil, fault.New(fault.Busy, "cannot arm %s: it is %s", s.o.ID, s.state)
	}
	mounts, err := checkMounts(c.Mounts)
	if err != nil {
		return nil, err
	}
	p, err := newProgram(c.Process, c.Capabilities, c.Ambient, c.Seccomp, c.NoNewPrivs, s.o.IDs)
	if err != nil {
		return nil, err
	}
	if p.caps&^s.bounding != 0 {
		return nil, fault.New(fault.Invalid, "cannot arm %s: it was made without some of its capabilities", s.o.ID)
	}
	p.bounding, p.stdio, p.tty, p.init, p.wait = s.bounding, c.Stdio, c.TTY, c.Init, true
	p.files = programFiles(s.files, c.Rlimits)
	if c.Root == nil {
		return nil, fault.New(fault.Invalid, "cannot arm %s: no root file system", s.o.ID)
	}
	if err := p.check(); err != nil {
		return nil, err
	}
	if err := fromOutside(s.child.PID, c.Rlimits, s.oomScoreAdj, c.OOMScoreAdj); err != nil {
		if failed := s.Ready(ctx); failed != nil { // that is why
			err = failed
		}
		return nil, err
	}
	if err := giveStdio(c.Stdio, s.o.IDs, c.Process); err != nil {
		return nil, err
	}
	return armScript(thisHost(), uint16(len(s.scripts)+1), c, mounts, p), nil
}

func armScript(h *host, serial uint16, c *Config, mounts []Mount, p *program) *script {
	s := newScript(h, serial)
	root := s.fd(c.Root, "root")
	s.do(callMoveMount, root, s.str(""), atCwd, s.str("/"), fEmptyPath)
	s.do(callFchdir, root)
	s.do(callChroot, s.str("."))
	late := s.earlyMounts(root, mounts)
	s.staged(root, "proc", regProc)
	s.staged(root, "sys", regSys)
	s.staged(root, "dev", regDev)
	for i := range late {
		s.attach(root, &late[i], false)
	}
	if c.TTY && c.Stdio[0] != nil {
		s.console(c.Stdio[0])
	}
	if c.Hostname != "" {
		s.do(callSethostname, s.str(c.Hostname), num(len(c.Hostname)))
	}
	s.workDir(p.Dir)
	if c.ReadOnly {
		s.setattr(root, "", false, unix.MOUNT_ATTR_RDONLY, "RDONLY")
	}
	s.program(p)
	return s
}

// Paths in the root are the image's: they may be symlinks to anywhere. RESOLVE_IN_ROOT keeps a walk below the
// root whatever happens meanwhile, and no magic link is ever followed.
const (
	strict = unix.RESOLVE_IN_ROOT | unix.RESOLVE_NO_MAGICLINKS | unix.RESOLVE_NO_SYMLINKS
	follow = unix.RESOLVE_IN_ROOT | unix.RESOLVE_NO_MAGICLINKS
	within = follow | unix.RESOLVE_NO_XDEV
)

// open resolves p below at with O_PATH.
func (s *script) open(at value, p string, resolve uint64) *op {
	how := binary.LittleEndian.AppendUint64(nil, unix.O_PATH|unix.O_CLOEXEC)
	how = binary.LittleEndian.AppendUint64(how, 0)
	how = binary.LittleEndian.AppendUint64(how, resolve)
	text := map[uint64]string{strict: "IN_ROOT|NO_MAGICLINKS|NO_SYMLINKS", follow: "IN_ROOT|NO_MAGICLINKS",
		within: "IN_ROOT|NO_MAGICLINKS|NO_XDEV"}[resolve]
	return s.do(callOpenat2, at, s.str(p), s.bytes(how, "{O_PATH, "+text+"}"), num(len(how)))
}

// staged moves a mount that NewSlot made to its place. The place may be missing in the image; it must not be a symlink
// (CVE-2019-19921, CVE-2026-41579).
func (s *script) staged(root value, dir string, from reg) {
	have := s.label()
	target := s.reg().value()
	s.open(root, dir, strict).into(target).orNext().on(jz|jp, have)
	s.try(callMkdirat, root, s.str(dir), octal(0o755))
	s.open(root, dir, strict).into(target)
	s.place(have)
	s.do(callMoveMount, from.value(), s.str(""), target, s.str(""), bothEmpty)
}

// checkMounts cleans the targets and refuses those that would hide what the runtime has made.
func checkMounts(list []Mount) ([]Mount, error) {
	out := make([]Mount, len(list))
	for i, m := range list {
		t := path.Clean("/" + m.Target)
		bad := ""
		switch {
		case !strings.HasPrefix(m.Target, "/"):
			bad = "it is not absolute"
		case strings.ContainsRune(t, 0):
			bad = "it has a NUL byte"
		case t == "/":
			bad = "it is the root"
		case t == "/dev", below(t, "/proc"), below(t, "/sys"):
			bad = "the runtime's own mounts are there"
		}
		if bad != "" {
			return nil, fault.New(fault.Invalid, "cannot mount at %q: %s", m.Target, bad)
		}
		out[i] = m
		out[i].Target = t
	}
	return out, nil
}

func below(p, dir string) bool { return p == dir || strings.HasPrefix(p, dir+"/") }

// fromOutside sets what ccinit itself has not the right to: it is root of its user namespace only. The limit of open files is not
// for ccinit (programFiles).
// A limit above what this process may give is cut to the most it may (CAP_SYS_RESOURCE is often missing in
// a virtual machine or a nested daemon), because images and users ask for more than they need.
func fromOutside(pid int, limits []Rlimit, oomNow, oomWant int) error {
	for _, l := range limits {
		if l.Soft > l.Hard {
			return fault.New(fault.Invalid, "cannot limit resource %d: soft %d is above hard %d", l.Resource, l.Soft, l.Hard)
		}
		if l.Resource == unix.RLIMIT_NOFILE {
			continue
		}
		var old unix.Rlimit
		want := unix.Rlimit{Cur: l.Soft, Max: l.Hard}
		err := unix.Prlimit(pid, l.Resource, &want, &old)
		if err == unix.EPERM {
			if err = unix.Prlimit(pid, l.Resource, nil, &old); err == nil {
				want = unix.Rlimit{Cur: min(l.Soft, old.Max), Max: min(l.Hard, old.Max)}
				err = unix.Prlimit(pid, l.Resource, &want, nil)
			}
		}
		if err != nil {
			return fault.Wrap(os.NewSyscallError("prlimit", err), "cannot limit resource %d", l.Resource)
		}
	}
	return setOOMScore(pid, oomNow, oomWant)
}

// setOOMScore writes oom_score_adj. Going below the keeper's needs CAP_SYS_RESOURCE; without it, the value
// stays the keeper's: the container is then no better protected than the daemon itself.
func setOOMScore(pid, now, want int) error {
	if now == want {
		return nil
	}
	err := os.WriteFile(oomFile(pid), []byte(strconv.Itoa(want)), 0)
	if os.IsPermission(err) && want < now {
		return nil
	}
	return err
}

func oomFile(pid int) string { return fmt.Sprintf("/proc/%d/oom_score_adj", pid) }

// oomScore is what a process has from the keeper.
func oomScore(pid int) (int, error) {
	b, err := os.ReadFile(oomFile(pid))
	if err != nil {
		return 0, err
	}
	return strconv.Atoi(strings.TrimSpace(string(b)))
}
