package boot

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/containercloud/cc/runtime/seccomp"
)

// TestRebuild holds the committed programs against their source.
func TestRebuild(t *testing.T) {
	for _, tool := range []string{"as", "ld", "objcopy", "aarch64-linux-gnu-as", "aarch64-linux-gnu-ld", "aarch64-linux-gnu-objcopy"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Skip("needs binutils for amd64 and arm64: ", err)
		}
	}
	dir := t.TempDir()
	if out, err := exec.Command("./build.sh", dir).CombinedOutput(); err != nil {
		t.Fatalf("build.sh: %v\n%s", err, out)
	}
	for file, have := range map[string][]byte{"ccinit_amd64.elf": initAMD64, "ccinit_arm64.elf": initARM64} {
		made, err := os.ReadFile(filepath.Join(dir, file))
		must(t, err)
		if !bytes.Equal(made, have) {
			t.Errorf("%s is not what its source makes: run go generate ./runtime/boot", file)
		}
		if len(made) > 1024 {
			t.Errorf("%s has %d bytes, more than a kilobyte", file, len(made))
		}
	}
}

// machine is a way to run ccinit here.
type machine struct {
	arch string
	argv []string
}

func machines(t testing.TB) []machine {
	dir := t.TempDir()
	must(t, os.WriteFile(dir+"/amd64", initAMD64, 0o755))
	must(t, os.WriteFile(dir+"/arm64", initARM64, 0o755))
	list := []machine{{"amd64", []string{dir + "/amd64"}}}
	if qemu, err := exec.LookPath("qemu-aarch64-static"); err == nil {
		return append(list, machine{"arm64", []string{qemu, dir + "/arm64"}})
	}
	t.Log("arm64 left out: needs qemu-aarch64-static (package qemu-user-static)")
	return list
}

// lab is one ccinit with nothing around it.
type lab struct {
	machine
	*wire
	cmd *exec.Cmd
}

func (m machine) start(t testing.TB) *lab {
	t.Helper()
	w, theirs, err := pair()
	must(t, err)
	defer theirs.Close()
	cmd := exec.Command(m.argv[0], m.argv[1:]...)
	cmd.ExtraFiles = []*os.File{theirs}
	must(t, cmd.Start())
	t.Cleanup(func() { cmd.Process.Kill(); cmd.Wait(); w.close() })
	w.file.SetDeadline(time.Now().Add(10 * time.Second))
	return &lab{m, w, cmd}
}

func (l *lab) script() *script {
	s := newScript(thisHost(), 7)
	s.arch = l.arch
	return s
}

func (l *lab) send(t testing.TB, s *script) {
	t.Helper()
	must(t, sendScript(l.wire, s))
}

func (l *lab) words(t testing.TB) []uint32 {
	t.Helper()
	r, err := l.recv()
	must(t, err)
	return r.words
}

func (l *lab) exit(t testing.TB) int {
	t.Helper()
	done := make(chan error, 1)
	go func() { done <- l.cmd.Wait() }()
	select {
	case err := <-done:
		var e *exec.ExitError
		if err != nil && !errors.As(err, &e) {
			t.Fatal(err)
		}
	case <-time.After(10 * time.Second):
		t.Fatal("ccinit does not end")
	}
	return l.cmd.ProcessState.Sys().(syscall.WaitStatus).ExitStatus()
}

// answer writes the registers from the first free one on to the socket.
func (s *script) answer(n int) {
	s.do(callWrite, num(3), name(regBase+4*uint64(regFree), "registers"), num(4*n))
}

func onEach(t *testing.T, f func(t *testing.T, l *lab)) {
	for _, m := range machines(t) {
		t.Run(m.arch, func(t *testing.T) { f(t, m.start(t)) })
	}
}

func TestResults(t *testing.T) {
	onEach(t, func(t *testing.T, l *lab) {
		s := l.script()
		s.keep(s.do(callGetpid))
		s.keep(s.do(callFcntl, num(3), name(unix.F_GETFD, "F_GETFD")))
		s.keep(s.do(callClose, num(99)).orNext())
		s.answer(3)
		l.send(t, s)
		got := l.words(t)
		if got[0] != uint32(l.cmd.Process.Pid) || got[1] != 0 || syscall.Errno(-int32(got[2])) != syscall.EBADF {
			t.Errorf("got %v", got)
		}
		// Registers live from script to script.
		s = l.script()
		s.answer(3)
		l.send(t, s)
		if again := l.words(t); again[0] != got[0] {
			t.Errorf("registers: %v, before %v", again, got)
		}
		l.close()
		if code := l.exit(t); code != NeverStarted {
			t.Errorf("end of file: exit %d", code)
		}
	})
}

func TestDescriptors(t *testing.T) {
	onEach(t, func(t *testing.T, l *lab) {
		r, w, err := os.Pipe()
		must(t, err)
		s := l.script()
		s.do(callWrite, s.fd(w, "pipe"), s.str("hello"), num(5))
		s.keep(s.do(callFcntl, s.fd(w, "pipe"), name(unix.F_GETFD, "F_GETFD")))
		s.do(callClose, s.fd(w, "pipe"))
		s.answer(1)
		l.send(t, s)
		w.Close()
		b, err := io.ReadAll(r)
		if string(b) != "hello" || err != nil {
			t.Errorf("got %q, %v", b, err)
		}
		if got := l.words(t); got[0] != unix.FD_CLOEXEC {
			t.Errorf("a received descriptor is not close-on-exec: %v", got)
		}
	})
}

func TestBranches(t *testing.T) {
	// Every kind of result through every flag; a taken branch leaves out the write of "no".
	for _, c := range []struct {
		fd    int // close(-1) fails, umask(0) after umask(0) is 0, getpid is positive
		kind  string
		flags uint8
		want  string
	}{
		{0, "negative", jn, "yes"}, {0, "negative", ig, "no"}, {0, "negative", jz | jp, "fail"}, {0, "negative", jz | jp | ig, "no"},
		{0, "zero", jz, "yes"}, {0, "zero", jn | jp, "no"}, {0, "zero", fz, "fail"}, {0, "zero", 0, "no"},
		{0, "positive", jp, "yes"}, {0, "positive", jn | jz, "no"}, {0, "positive", fz, "no"}, {0, "negative", 0, "fail"},
	} {
		onEach(t, func(t *testing.T, l *lab) {
			s := l.script()
			s.do(callUmask, num(0))
			over := s.label()
			var o *op
			switch c.kind {
			case "negative":
				o = s.do(callClose, num(-1))
			case "zero":
				o = s.do(callUmask, num(0))
			default:
				o = s.do(callGetpid)
			}
			o.on(c.flags, over)
			s.do(callWrite, num(3), s.str("no"), num(4))
			s.do(callExitGroup, num(0))
			s.place(over)
			s.do(callWrite, num(3), s.str("yes"), num(4))
			l.send(t, s)
			got := l.words(t)
			text := "fail"
			if len(got) == 1 {
				text = strings.TrimRight(string(binary.LittleEndian.AppendUint32(nil, got[0])), "\x00")
			} else if got[0] != 7<<16|1 {
				t.Errorf("the report is about op %#x", got[0])
			}
			if text[:2] != c.want[:2] {
				t.Errorf("%s with flags %d: %s, want %s", c.kind, c.flags, text, c.want)
			}
		})
	}
}

func TestArena(t *testing.T) {
	onEach(t, func(t *testing.T, l *lab) {
		big := strings.Repeat("0123456789abcdef", 30000) // 480 KB in one string
		s := l.script()
		v := s.strings([]string{"x", big, "y"}, "args")
		if v.kind != isArena {
			t.Fatal("a large block is not in the arena")
		}
		s.do(callWrite, num(3), value{kind: isArena, n: v.n + 32 + 2 + uint64(len(big)) - 4}, num(4))
		l.send(t, s)
		if got := l.words(t); string(binary.LittleEndian.AppendUint32(nil, got[0])) != "cdef" {
			t.Errorf("got %x", got)
		}
	})
}

// A script that is not one ends the process.
func TestMalformed(t *testing.T) {
	head := func(n, m uint32) []byte {
		b := binary.LittleEndian.AppendUint32(nil, n)
		return append(binary.LittleEndian.AppendUint32(b, m), make([]byte, 8)...)
	}
	for what, msg := range map[string][]byte{
		"short": []byte("x"), "magic": head(0, 1), "count": head(1, magic), "huge count": head(0xffffffff, magic),
		"large count": append(head(0x40000000, magic), make([]byte, 64)...),
		"truncated":   append(head(1, magic), make([]byte, 0x3f000)...),
	} {
		onEach(t, func(t *testing.T, l *lab) {
			if len(msg) > msgMax {
				fd, _ := rawFd(l.file)
				unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_SNDBUFFORCE, 1<<20)
			}
			if err := l.wire.send(packet{data: msg}); err != nil {
				t.Skip(what, ": cannot send a message that large: ", err)
			}
			if code := l.exit(t); code != NeverStarted {
				t.Errorf("%s: exit %d", what, code)
			}
		})
	}
}

// cage lets a ccinit make no call but those of its own loop, so that any script may be tried.
func (l *lab) cage(t testing.TB) {
	t.Helper()
	var prog []unix.SockFilter
	prog = append(prog, unix.SockFilter{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, K: 0})
	for _, nr := range []uint16{callRead.nr(), callWrite.nr(), callGetpid.nr(), callExitGroup.nr(), 47 /* recvmsg */} {
		prog = append(prog, unix.SockFilter{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, Jf: 1, K: uint32(nr)},
			unix.SockFilter{Code: unix.BPF_RET | unix.BPF_K, K: unix.SECCOMP_RET_ALLOW})
	}
	prog = append(prog, unix.SockFilter{Code: unix.BPF_RET | unix.BPF_K, K: unix.SECCOMP_RET_ERRNO | uint32(unix.ENOSYS)})
	if !seccomp.Allows(prog, int(callRead.nr()), [6]uint64{}) {
		t.Fatal("the cage is wrong")
	}
	s := l.script()
	s.do(callPrctl, name(unix.PR_SET_NO_NEW_PRIVS, ""), num(1), num(0), num(0), num(0))
	s.load(&program{filter: prog, noNew: true})
	s.ack()
	l.send(t, s)
	l.words(t)
}

// mangle is a script of n ops that means nothing, in the right or a damaged form.
func mangle(seed uint64) []byte {
	r := rand.New(rand.NewPCG(seed, 1))
	n := r.IntN(20)
	b := make([]byte, headLen+n*opLen+r.IntN(200))
	for i := range b {
		b[i] = byte(r.Uint32())
	}
	binary.LittleEndian.PutUint32(b, uint32(n))
	binary.LittleEndian.PutUint32(b[4:], magic)
	for i := range n {
		o := b[headLen+i*opLen:]
		if r.IntN(4) > 0 { // mostly calls that return, with results inside the area, so that the script goes on
			binary.LittleEndian.PutUint16(o, callGetpid.nr())
			o[3] &= byte(r.IntN(2)) * 0x3f
			binary.LittleEndian.PutUint32(o[4:], areaBase+uint32(r.IntN(0x2000)))
			binary.LittleEndian.PutUint32(o[12:], r.Uint32()>>r.IntN(32))
			for k := range 6 {
				binary.LittleEndian.PutUint64(o[16+8*k:], areaBase+uint64(r.IntN(0x2000)))
			}
		}
	}
	return b
}

func tryMangled(t testing.TB, m machine, msg []byte) {
	t.Helper()
	l := m.start(t)
	l.cage(t)
	if err := l.wire.send(packet{data: msg}); err != nil {
		return // larger than a message can be
	}
	l.close()
	l.exit(t) // by EOF, a report, or a signal; but it ends
}

func TestMangled(t *testing.T) {
	m := machines(t)[0]
	for seed := range uint64(400) {
		tryMangled(t, m, mangle(seed))
	}
}

func FuzzMangled(f *testing.F) {
	m := machines(f)[0]
	for seed := range uint64(8) {
		f.Add(mangle(seed))
	}
	f.Fuzz(func(t *testing.T, msg []byte) { tryMangled(t, m, msg) })
}

// init on: the first process reaps, forwards signals, and ends with the status of the program.
func TestInitLoop(t *testing.T) {
	for what, c := range map[string]struct {
		argv []string
		code int
		sig  syscall.Signal
	}{
		"exit":     {[]string{"/bin/busybox", "sh", "-c", "exit 7"}, 7, 0},
		"signal":   {[]string{"/bin/busybox", "sh", "-c", "kill -9 $$"}, 137, 0},
		"reap":     {[]string{"/bin/busybox", "sh", "-c", "(busybox true &); (busybox sleep 0.05 &); busybox sleep 0.1; exit 3"}, 3, 0},
		"forward":  {[]string{"/bin/busybox", "sh", "-c", "trap 'exit 5' TERM; echo go; while :; do busybox sleep 0.01; done"}, 5, unix.SIGTERM},
		"terminal": {[]string{"/bin/busybox", "sleep", "10"}, 128 + 2, unix.SIGINT},
	} {
		onEach(t, func(t *testing.T, l *lab) {
			if _, err := os.Stat("/bin/busybox"); err != nil {
				t.Skip("needs /bin/busybox: ", err)
			}
			r, w, err := os.Pipe()
			must(t, err)
			s := l.script()
			s.do(callDup3, s.fd(w, "pipe"), num(1), num(0))
			s.do(callCloseRange, num(4), name(0xffffffff, "~0"), num(0))
			s.do(callFcntl, num(3), name(unix.F_SETFD, "F_SETFD"), name(unix.FD_CLOEXEC, "FD_CLOEXEC"))
			p := &program{Process: Process{Args: c.argv, Env: []string{"PATH=/bin"}}, init: true}
			s.tail(p, s.str(c.argv[0]), s.strings(c.argv, "argv"), s.strings(p.Env, "env"))
			l.send(t, s)
			w.Close()
			if _, err := l.recv(); err != io.EOF {
				t.Fatal("no end of file after execve: ", err)
			}
			if what == "forward" {
				var b [3]byte
				io.ReadFull(r, b[:])
			}
			if c.sig != 0 {
				l.cmd.Process.Signal(c.sig)
			}
			if code := l.exit(t); code != c.code {
				t.Errorf("%s: exit %d, want %d", what, code, c.code)
			}
		})
	}
}
