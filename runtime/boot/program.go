package boot

import (
	"encoding/binary"
	"fmt"
	"os"
	"path"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/containercloud/cc/fault"
	"github.com/containercloud/cc/runtime/seccomp"
)

// program is the last part of a start, the same for a container and for an exec into one: directory, stdio, user,
// rights, filter, execve.
type program struct {
	Process
	caps     uint64 // effective, permitted and bounding at the end
	ambient  uint64
	bounding uint64 // what is in the bounding set before
	noNew    bool
	filter   []unix.SockFilter
	stdio    [3]*os.File
	files    unix.Rlimit
	tty      bool
	init     bool
	wait     bool // read one byte before execve
	enter    bool // the program is a child, in the pid namespace that was joined
	late     bool // the filter refuses what must come after it (reading the byte, making the child): load it as the last step
}

const defaultPath = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

// newProgram checks what came from outside.
func newProgram(p Process, caps, ambient []string, filter []unix.SockFilter, noNew bool, ids IDMap) (*program, error) {
	out := &program{Process: p, filter: filter, noNew: noNew}
	var err error
	if out.caps, err = capSet(caps); err != nil {
		return nil, err
	}
	if out.ambient, err = capSet(ambient); err != nil {
		return nil, err
	}
	if out.ambient&^out.caps != 0 {
		return nil, fault.New(fault.Invalid, "cannot keep an ambient capability that is not among the capabilities")
	}
	if len(p.Args) == 0 || p.Args[0] == "" {
		return nil, fault.New(fault.Invalid, "cannot start a program: no command")
	}
	for _, str := range slices.Concat(p.Args, p.Env, []string{p.Dir}) {
		if strings.ContainsRune(str, 0) {
			return nil, fault.New(fault.Invalid, "cannot start a program: NUL byte in its command, environment or directory")
		}
	}
	for _, id := range append([]uint32{p.UID, p.GID}, p.Groups...) {
		if id > 1<<31-1 || ids.Size != 0 && id >= ids.Size {
			return nil, fault.New(fault.Invalid, "cannot start a program as id %d: outside the container's ids", id)
		}
	}
	out.Dir = path.Clean("/" + p.Dir)
	return out, nil
}

// check looks at what the filter does to the calls that come after it.
func (p *program) check() error {
	if p.filter == nil {
		return nil
	}
	must := []call{callExecve, callWrite} // write tells why execve failed
	if !p.noNew {
		must = append(must, callCapset)
	}
	if p.init {
		must = append(must, callSigprocmask, callClone, callCloseRange, callSetsid, callWait4, callKill, callSigtimedwait, callExitGroup)
	}
	for _, c := range must {
		if !p.allows(c) {
			return fault.New(fault.Invalid, "cannot start a program: its seccomp profile refuses %s, which the start needs", c)
		}
	}
	if p.enter {
		after := []call{callClone, callSendmsg, callExitGroup, callPrlimit, callSetsid, callIoctl}
		p.late = slices.ContainsFunc(after, func(c call) bool { return !p.allows(c) })
		return nil
	}
	p.late = !p.allows(callRead)
	return nil
}

func (p *program) allows(c call) bool {
	var args [6]uint64
	switch {
	case c == callClone && p.enter:
		args[0] = enterFlags
	case c == callClone:
		args[0] = uint64(unix.SIGCHLD)
	case c == callIoctl:
		args[1] = unix.TIOCSCTTY
	}
	return seccomp.Allows(p.filter, int(c.nr()), args)
}

// workDir enters the working directory below the root that is in force, and makes it when it is missing. Links of the image
// are followed, but never out of it and never through /proc (CVE-2024-21626, CVE-2026-55686).
func (s *script) workDir(dir string) {
	at := s.reg().value()
	if dir == "/" {
		s.do(callChdir, s.str("/"))
		return
	}
	found := s.label()
	s.open(atCwd, dir, follow).into(at).orNext().on(jz|jp, found)
	parent := atCwd
	list := parts(dir)
	for i, part := range list {
		s.try(callMkdirat, parent, s.str(part), octal(0o755))
		s.open(atCwd, "/"+strings.Join(list[:i+1], "/"), follow).into(at)
		parent = at
	}
	s.place(found)
	s.do(callFchdir, at)
}

// program ends a script. The order matters: descriptors before rights are given up, user before capabilities, filter last.
func (s *script) program(p *program) {
	s.do(callUmask, octal(0o022))
	s.stdio(p.stdio)
	// A container of its own session keyring. The quota of a shared user may be used up: then it is the keeper's, which is empty.
	s.try(callKeyctl, name(unix.KEYCTL_JOIN_SESSION_KEYRING, "JOIN_SESSION_KEYRING"), null)
	if !p.init && !p.enter {
		s.session(p.tty)
	}
	if !p.enter {
		s.limitFiles(p.files)
	}
	s.do(callCloseRange, num(4), name(0xffffffff, "~0"), num(0))
	s.user(p)
	if p.noNew {
		s.do(callPrctl, name(unix.PR_SET_NO_NEW_PRIVS, "PR_SET_NO_NEW_PRIVS"), num(1), num(0), num(0), num(0))
	}
	s.execute(p)
}

func (s *script) stdio(files [3]*os.File) {
	var devNull *value
	for i, f := range files {
		if f != nil {
			s.do(callDup3, s.fd(f, []string{"stdin", "stdout", "stderr"}[i]), num(i), num(0))
			continue
		}
		if devNull == nil {
			null := s.keep(s.do(callOpenat, atCwd, s.str("/dev/null"), name(unix.O_RDWR|unix.O_CLOEXEC, "O_RDWR"), num(0)))
			devNull = &null
		}
		s.do(callDup3, *devNull, num(i), num(0))
	}
}

// session makes the process the leader of a new one, with its stdin as controlling terminal.
func (s *script) session(tty bool) {
	s.try(callSetsid)
	if tty {
		s.do(callIoctl, num(0), name(unix.TIOCSCTTY, "TIOCSCTTY"), num(0))
	}
}

func (s *script) user(p *program) {
	s.dropBounding(p.bounding &^ p.caps)
	s.do(callPrctl, name(unix.PR_SET_KEEPCAPS, "PR_SET_KEEPCAPS"), num(1))
	groups := make([]byte, 0, 4*len(p.Groups))
	for _, g := range p.Groups {
		groups = binary.LittleEndian.AppendUint32(groups, g)
	}
	s.do(callSetgroups, num(len(p.Groups)), s.bytes(groups, fmt.Sprint(p.Groups)))
	s.do(callSetresgid, num(int(p.GID)), num(int(p.GID)), num(int(p.GID)))
	s.do(callSetresuid, num(int(p.UID)), num(int(p.UID)), num(int(p.UID)))
	if p.noNew || p.filter == nil {
		s.capset(p)
		return
	}
	// Without no_new_privs a filter needs CAP_SYS_ADMIN: the last step of giving up comes after it.
	admin := uint64(1 << unix.CAP_SYS_ADMIN)
	s.capsetTo(p.caps|admin, p.ambient)
}

func (s *script) capset(p *program) {
	caps := p.caps
	if p.UID != 0 {
		caps = p.ambient // execve would clear the others
	}
	s.capsetTo(caps, p.ambient)
	for c := range s.host.lastCap + 1 {
		if p.ambient&(1<<c) != 0 {
			s.do(callPrctl, name(unix.PR_CAP_AMBIENT, "PR_CAP_AMBIENT"), name(unix.PR_CAP_AMBIENT_RAISE, "RAISE"), capValue(c), num(0), num(0))
		}
	}
}

// capsetTo sets effective and permitted; what is inheritable is ambient and nothing else (CVE-2022-24769).
func (s *script) capsetTo(caps, inheritable uint64) {
	head := binary.LittleEndian.AppendUint32(nil, unix.LINUX_CAPABILITY_VERSION_3)
	head = binary.LittleEndian.AppendUint32(head, 0)
	var data []byte
	for shift := 0; shift <= 32; shift += 32 {
		data = binary.LittleEndian.AppendUint32(data, uint32(caps>>shift))
		data = binary.LittleEndian.AppendUint32(data, uint32(caps>>shift))
		data = binary.LittleEndian.AppendUint32(data, uint32(inheritable>>shift))
	}
	s.do(callCapset, s.bytes(head, "{VERSION_3}"), s.bytes(data, "{e=p="+hex(caps)+", i="+hex(inheritable)+"}"))
}

// load puts the filter in force.
func (s *script) load(p *program) {
	if p.filter == nil {
		return
	}
	code := make([]byte, 0, 8*len(p.filter))
	for _, f := range p.filter {
		code = binary.LittleEndian.AppendUint16(code, f.Code)
		code = append(code, f.Jt, f.Jf)
		code = binary.LittleEndian.AppendUint32(code, f.K)
	}
	if s.prog.text == "" {
		s.prog = s.words("{filter of "+num(len(p.filter)).String()+"}", num(len(p.filter)), s.bytes(code, "filter"))
	}
	s.do(callSeccomp, name(unix.SECCOMP_SET_MODE_FILTER, "SET_MODE_FILTER"), num(0), s.prog)
	if !p.noNew {
		s.capset(p)
	}
}

// execute finds the program, waits if it is to, and executes. Every candidate of PATH has its own tail, because the last steps
// (filter, waiting) come after the search.
func (s *script) execute(p *program) {
	argv := s.strings(p.Args, text(p.Args))
	envp := s.strings(p.Env, num(len(p.Env)).String()+" variables")
	file := p.Args[0]
	if strings.Contains(file, "/") {
		s.tail(p, s.str(file), argv, envp)
		return
	}
	paths := candidates(file, p.Env)
	files := make([]value, len(paths))
	found := make([]label, len(paths))
	for i, c := range paths {
		files[i], found[i] = s.str(c), s.label()
		s.candidate(files[i], found[i])
	}
	s.notFound(files, argv, envp)
	for i := range paths {
		s.place(found[i])
		s.tail(p, files[i], argv, envp)
	}
}

// notFound fails as execvp(3) does: EACCES when there is such a file in one of the directories, else ENOENT. It must not try to
// execute a candidate for that: one that has appeared meanwhile would run here, before the filter.
func (s *script) notFound(files []value, argv, envp value) {
	denied := s.label()
	for _, f := range files {
		s.do(callFaccessat2, atCwd, f, name(0, "F_OK"), num(0)).orNext().on(jz, denied)
	}
	s.do(callExecve, s.str(""), argv, envp)
	s.place(denied)
	s.do(callExecve, s.str("/"), argv, envp)
}

// candidate goes to found when path is executable and no directory.
func (s *script) candidate(path value, found label) {
	next := s.label()
	s.do(callFaccessat2, atCwd, path, name(1, "X_OK"), name(unix.AT_EACCESS, "AT_EACCESS")).on(jn, next)
	s.do(callOpenat, atCwd, path, name(unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, "O_PATH|O_DIRECTORY"), num(0)).on(jn, found)
	s.place(next)
}

func candidates(file string, env []string) []string {
	dirs := defaultPath
	for _, e := range env {
		if v, ok := strings.CutPrefix(e, "PATH="); ok {
			dirs = v
		}
	}
	var list []string
	for _, d := range strings.Split(dirs, ":") {
		if d == "" {
			d = "." // execvp(3)
		}
		list = append(list, d+"/"+file)
	}
	return list
}

func (s *script) tail(p *program, file, argv, envp value) {
	if !p.late {
		s.load(p)
	}
	if p.init {
		s.sigmask(^uint64(0), "~[]")
	}
	if p.wait {
		s.ack()
		// End of file is zero: the daemon has ended, and nothing must start.
		s.do(callRead, num(3), s.bytes(make([]byte, 8), "byte"), num(1)).zeroFails()
	}
	if p.enter {
		s.cloneParent()
		s.limitFiles(p.files)
		s.session(p.tty)
	}
	if p.late {
		s.load(p)
	}
	if p.init {
		s.fork(p)
	}
	s.do(callExecve, file, argv, envp)
}

// fork leaves ccinit behind as pid 1, without a descriptor, and goes on in its child.
func (s *script) fork(p *program) {
	child := s.label()
	pid := s.keep(s.do(callClone, name(uint64(unix.SIGCHLD), "SIGCHLD"), null, null, null, null).on(jz, child))
	s.do(callCloseRange, num(0), name(0xffffffff, "~0"), num(0))
	s.do(callInit, pid)
	s.place(child)
	s.sigmask(0, "[]")
	s.session(p.tty)
}
