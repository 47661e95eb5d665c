package boot

import (
	"encoding/binary"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

const (
	// where the keeper's root has an empty directory for us
	stageDir = "/slot"

	// of one container, which is the terminals of exec too; all containers together have 3072 (kernel.pty.max less kernel.pty.reserve)
	maxTerminals = 256

	msPlain = unix.MS_NOSUID | unix.MS_NODEV | unix.MS_NOEXEC
)

var plainText = "MS_NOSUID|MS_NODEV|MS_NOEXEC"

// stage is the script of NewSlot. It sees nothing that an image or a container could have made.
func stage(h *host, o *SlotOptions, bounding uint64, dev *os.File) *script {
	s := newScript(h, 2)
	s.do(callMount, null, s.str("/"), null, name(unix.MS_REC|unix.MS_PRIVATE, "MS_REC|MS_PRIVATE"), null)
	s.joinTasks(o.Tasks)
	if o.hasCgroup() {
		s.do(callUnshare, name(unix.CLONE_NEWCGROUP, "CLONE_NEWCGROUP"))
	}
	s.mount("cc", stageDir, "tmpfs", msPlain, plainText, "mode=755,size=64k")
	for _, d := range []string{"/proc", "/sys", "/dev"} {
		s.mkdir(stageDir + d)
	}
	s.do(callMoveMount, s.fd(dev, "dev"), s.str(""), atCwd, s.str(stageDir+"/dev"), fEmptyPath)
	s.mount("devpts", stageDir+"/dev/pts", "devpts", unix.MS_NOSUID|unix.MS_NOEXEC, "MS_NOSUID|MS_NOEXEC",
		fmt.Sprintf("newinstance,ptmxmode=0666,mode=0620,max=%d%s", maxTerminals, ptsGroup(o.IDs)))
	s.mount("shm", stageDir+"/dev/shm", "tmpfs", msPlain, plainText, "mode=1777,size=64m")
	s.mount("mqueue", stageDir+"/dev/mqueue", "mqueue", msPlain, plainText, "")
	s.mount("proc", stageDir+"/proc", "proc", msPlain, plainText, "")
	s.stageSys(o)
	if !o.HostNet {
		s.openNetwork(o.IDs)
	}
	s.hide(h.hidden)
	s.do(callChdir, s.str(stageDir))
	s.do(callPivotRoot, s.str("."), s.str("."))
	s.do(callUmount2, s.str("."), name(unix.MNT_DETACH, "MNT_DETACH"))
	s.do(callChdir, s.str("/"))
	s.openDir("/proc").into(regProc.value())
	s.openDir("/sys").into(regSys.value())
	s.openDir("/dev").into(regDev.value())
	s.dropBounding(^bounding)
	s.ackWithPts()
	return s
}

func (o *SlotOptions) hasCgroup() bool { return o.Cgroup != nil || o.CgroupFD > 0 || len(o.Tasks) > 0 }

func (s *script) joinTasks(files []*os.File) {
	for i, f := range files {
		s.do(callWrite, s.fd(f, fmt.Sprintf("tasks %d", i)), s.str("0"), num(1))
	}
}

// ptsGroup makes terminals belong to group tty (5 everywhere), where the map has it.
func ptsGroup(ids IDMap) string {
	if ids.Size != 0 && ids.Size <= 5 {
		return ""
	}
	return ",gid=5"
}

var (
	atCwd      = value{n: ^uint64(99), text: "AT_FDCWD"} // -100
	fEmptyPath = name(unix.MOVE_MOUNT_F_EMPTY_PATH, "F_EMPTY_PATH")
	bothEmpty  = name(unix.MOVE_MOUNT_F_EMPTY_PATH|unix.MOVE_MOUNT_T_EMPTY_PATH, "F_EMPTY_PATH|T_EMPTY_PATH")
)

// hygiene is the first script of every process: nobody may look into it, and it inherits nothing. It comes alone, because
// the descriptors of a script are there before its first op.
func hygiene(files unix.Rlimit) *script {
	s := newScript(nil, 1)
	s.do(callPrctl, name(unix.PR_SET_DUMPABLE, "PR_SET_DUMPABLE"), num(0))
	s.do(callCloseRange, num(4), name(0xffffffff, "~0"), num(0))
	s.do(callFcntl, num(3), name(unix.F_SETFD, "F_SETFD"), name(unix.FD_CLOEXEC, "FD_CLOEXEC"))
	// Go keeps an ignored SIGHUP or SIGINT, and execve keeps it further.
	def := s.bytes(make([]byte, 32), "SIG_DFL")
	for _, sig := range []unix.Signal{unix.SIGHUP, unix.SIGINT} {
		s.do(callSigaction, name(uint64(sig), unix.SignalName(sig)), def, null, num(8))
	}
	s.sigmask(0, "[]")
	s.do(callUmask, num(0))
	s.limitFiles(unix.Rlimit{Cur: files.Max, Max: files.Max})
	return s
}

func (s *script) sigmask(set uint64, text string) {
	mask := s.bytes(binary.LittleEndian.AppendUint64(nil, set), text)
	s.do(callSigprocmask, name(2, "SIG_SETMASK"), mask, null, num(8))
}

func (s *script) mount(source, target, fstype string, flags uint64, text, opts string) {
	o := null
	if opts != "" {
		o = s.str(opts)
	}
	s.do(callMount, s.str(source), s.str(target), s.str(fstype), name(flags, text), o)
}

func (s *script) bind(source, target string) {
	s.do(callMount, s.str(source), s.str(target), null, name(unix.MS_BIND|unix.MS_REC, "MS_BIND|MS_REC"), null)
}

func (s *script) mkdir(path string) {
	s.do(callMkdirat, atCwd, s.str(path), octal(0o755))
}

func (s *script) openDir(path string) *op {
	return s.do(callOpenat, atCwd, s.str(path), name(unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, "O_PATH|O_DIRECTORY"), num(0))
}

// setattr changes the mount at path (or at an open descriptor, path "").
func (s *script) setattr(at value, path string, recursive bool, set uint64, text string) {
	flags := uint64(0)
	if path == "" {
		flags |= unix.AT_EMPTY_PATH
	}
	if recursive {
		flags |= unix.AT_RECURSIVE
	}
	attr := binary.LittleEndian.AppendUint64(nil, set)
	attr = append(attr, make([]byte, 24)...) // attr_clr, propagation, userns_fd
	s.do(callMountSetattr, at, s.str(path), bits(flags, "AT_EMPTY_PATH", unix.AT_EMPTY_PATH, "AT_RECURSIVE", unix.AT_RECURSIVE),
		s.bytes(attr, "{+"+text+"}"), num(len(attr)))
}

// stageSys mounts sysfs of the new network namespace. That of the host's cannot be mounted by the root of a
// user namespace: then it is the keeper's, bound.
func (s *script) stageSys(o *SlotOptions) {
	sys := stageDir + "/sys"
	if o.HostNet {
		s.bind("/sys", sys)
	} else {
		s.mount("sysfs", sys, "sysfs", msPlain, plainText, "")
	}
	if o.hasCgroup() {
		s.stageCgroup(sys + "/fs/cgroup")
	}
}

func (s *script) stageCgroup(dir string) {
	list := s.host.groups
	if len(list) == 0 {
		s.mount("cgroup", dir, "cgroup2", msPlain, plainText, "")
		return
	}
	s.mount("cgroup", dir, "tmpfs", msPlain, plainText, "mode=755,size=64k")
	for _, h := range list {
		s.mkdir(dir + "/" + h.dir)
		s.mount("cgroup", dir+"/"+h.dir, "cgroup", msPlain, plainText, h.dir)
		for _, c := range h.also {
			s.do(callSymlinkat, s.str(h.dir), atCwd, s.str(dir+"/"+c))
		}
	}
}

// openNetwork raises lo, and lets ping and low ports work without capabilities, as Docker does.
func (s *script) openNetwork(ids IDMap) {
	last := uint32(1<<31 - 1)
	if ids.Size != 0 {
		last = ids.Size - 1
	}
	s.sysctl("net/ipv4/ping_group_range", fmt.Sprintf("0 %d", last))
	s.sysctl("net/ipv4/ip_unprivileged_port_start", "0")
	sock := s.keep(s.do(callSocket, name(unix.AF_INET, "AF_INET"), name(unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, "SOCK_DGRAM"), num(0)))
	ifreq := make([]byte, 40)
	copy(ifreq, "lo")
	binary.LittleEndian.PutUint16(ifreq[16:], unix.IFF_UP|unix.IFF_RUNNING)
	s.do(callIoctl, sock, name(unix.SIOCSIFFLAGS, "SIOCSIFFLAGS"), s.bytes(ifreq, "{lo, IFF_UP}"))
	s.do(callClose, sock)
}

func (s *script) sysctl(key, text string) {
	f := s.keep(s.do(callOpenat, atCwd, s.str(stageDir+"/proc/sys/"+key), name(unix.O_WRONLY|unix.O_CLOEXEC, "O_WRONLY"), num(0)))
	s.do(callWrite, f, s.str(text), num(len(text)))
	s.do(callClose, f)
}

// hide masks what must not be seen and makes read-only what must not be changed.
func (s *script) hide(h hidden) {
	for _, p := range h.files {
		s.bind(stageDir+"/dev/null", stageDir+p)
	}
	for i, p := range h.dirs {
		if i == 0 {
			s.mount("cc", stageDir+p, "tmpfs", msPlain|unix.MS_RDONLY, plainText+"|MS_RDONLY", "mode=555,size=4k")
			continue
		}
		s.bind(stageDir+h.dirs[0], stageDir+p)
	}
	for _, p := range h.readOnly {
		s.bind(stageDir+p, stageDir+p)
		s.setattr(atCwd, stageDir+p, false, unix.MOUNT_ATTR_RDONLY, "RDONLY")
	}
	s.setattr(atCwd, stageDir+"/sys", true, unix.MOUNT_ATTR_RDONLY, "RDONLY")
}

// dropBounding takes capabilities out of the bounding set.
func (s *script) dropBounding(set uint64) {
	for c := range s.host.lastCap + 1 {
		if set&(1<<c) != 0 {
			s.do(callPrctl, name(unix.PR_CAPBSET_DROP, "PR_CAPBSET_DROP"), capValue(c))
		}
	}
}

// ack tells ccd that everything before it is done.
func (s *script) ack() {
	s.do(callWrite, num(3), s.bytes([]byte("done"), `"done"`), num(4))
}

// ackWithPts is the ack of NewSlot. With it comes the root of the container's devpts, while nobody else can have
// touched it: ccd opens terminals below it for as long as the container lives.
func (s *script) ackWithPts() {
	control := s.rights("pts")
	s.openDir("/dev/pts").into(value{kind: isData, n: control.n + 16, text: "pts"})
	s.sendWith(num(3), control, s.bytes([]byte("done"), `"done"`), 4)
}

// rights is a control message for one descriptor, whose number is to be put 16 bytes into it; it cannot be sent before.
func (s *script) rights(what string) value {
	b := binary.LittleEndian.AppendUint64(nil, 20)
	b = binary.LittleEndian.AppendUint32(b, unix.SOL_SOCKET)
	b = binary.LittleEndian.AppendUint32(b, unix.SCM_RIGHTS)
	b = binary.LittleEndian.AppendUint64(b, 0xffffffff) // -1 and padding
	return s.bytes(b, "{SCM_RIGHTS, "+what+"}")
}

func (s *script) sendWith(sock, control, data value, n int) *op {
	iov := s.words("iov", data, num(n))
	msg := s.words("{"+data.String()+", "+control.String()+"}", null, null, iov, num(1), control, num(24), null)
	return s.do(callSendmsg, sock, msg, name(unix.MSG_NOSIGNAL, "MSG_NOSIGNAL"))
}
