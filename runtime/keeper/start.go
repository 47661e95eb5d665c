package keeper

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/containercloud/cc/fault"
)

// Files in the Run directory.
const (
	sockName = "keeper.sock"
	lockName = "keeper.lock"
	logName  = "keeper.log"
)

// maxLog is the size at which the keeper's own log begins anew when a keeper starts.
const maxLog = 1 << 20

// dial connects to the living keeper, or starts one. Who has the lock starts it; the keeper inherits the
// lock and the listening socket, so a client that does not get the lock can connect, now or in a moment.
func dial(ctx context.Context, o Options) (*net.UnixConn, error) {
	dir, err := unix.Open(o.Run, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, fault.Wrap(&os.PathError{Op: "open", Path: o.Run, Err: err}, "cannot start the keeper")
	}
	defer unix.Close(dir)
	wait := time.Millisecond
	for {
		started, err := startIfNone(dir, o)
		if err != nil {
			return nil, fault.Wrap(err, "cannot start the keeper")
		}
		conn, err := net.DialUnix("unixpacket", nil, &net.UnixAddr{Name: fdPath(dir, sockName), Net: "unixpacket"})
		if err == nil {
			return conn, nil
		}
		if started {
			return nil, fault.Wrap(err, "cannot reach the keeper just started")
		}
		t := time.NewTimer(wait)
		select {
		case <-t.C:
			wait = min(2*wait, 50*time.Millisecond)
		case <-ctx.Done():
			t.Stop()
			return nil, fault.Wrap(ctx.Err(), "cannot reach the keeper")
		}
	}
}

// fdPath names a file below a directory descriptor in few characters: a socket's path may have 107.
func fdPath(dir int, name string) string {
	return filepath.Join("/proc/self/fd", itoa(dir), name)
}

func startIfNone(dir int, o Options) (bool, error) {
	lock, err := openIn(dir, lockName, unix.O_RDWR)
	if err != nil {
		return false, err
	}
	defer lock.Close()
	err = unix.Flock(int(lock.Fd()), unix.LOCK_EX|unix.LOCK_NB)
	if err == unix.EWOULDBLOCK {
		return false, nil
	}
	if err != nil {
		return false, os.NewSyscallError("flock", err)
	}
	return true, start(dir, lock, o)
}

func openIn(dir int, name string, flags int) (*os.File, error) {
	fd, err := unix.Openat(dir, name, flags|unix.O_CREAT|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0o600)
	if err != nil {
		return nil, &os.PathError{Op: "open", Path: name, Err: err}
	}
	return os.NewFile(uintptr(fd), name), nil
}

func start(dir int, lock *os.File, o Options) error {
	sock, err := listen(dir)
	if err != nil {
		return err
	}
	defer sock.Close()
	ccinit, err := memfd("ccinit", o.Init)
	if err != nil {
		return err
	}
	defer ccinit.Close()
	log, err := openIn(dir, logName, unix.O_WRONLY|unix.O_APPEND)
	if err != nil {
		return err
	}
	defer log.Close()
	if st, err := log.Stat(); err == nil && st.Size() > maxLog {
		log.Truncate(0)
	}
	run, err := filepath.Abs(o.Run)
	if err != nil {
		return err
	}
	tag, err := tagOf(o.Binary)
	if err != nil {
		return err
	}
	cmd := &exec.Cmd{
		Path:       o.Binary,
		Args:       []string{"cc-keeper", run, tag},
		Env:        []string{},
		Dir:        "/",
		Stdout:     log,
		Stderr:     log,
		ExtraFiles: []*os.File{lock, sock, ccinit}, // daemon.FDLock, FDListen, FDInit
		// A session of its own: no terminal and no process group of ours ends it. A mount namespace of its own: it
		// leaves the host's mounts behind.
		SysProcAttr: &syscall.SysProcAttr{Setsid: true, Cloneflags: syscall.CLONE_NEWNS},
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	go cmd.Wait()
	return nil
}

// listen makes the socket that the keeper inherits. Its mode is set before anyone can connect.
func listen(dir int) (*os.File, error) {
	const fresh = "." + sockName
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return nil, os.NewSyscallError("socket", err)
	}
	unix.Unlinkat(dir, fresh, 0)
	steps := []struct {
		name string
		do   func() error
	}{
		{"bind", func() error { return unix.Bind(fd, &unix.SockaddrUnix{Name: fdPath(dir, fresh)}) }},
		{"chmod", func() error { return unix.Chmod(fdPath(dir, fresh), 0o600) }},
		{"listen", func() error { return unix.Listen(fd, 16) }},
		{"rename", func() error { return unix.Renameat(dir, fresh, dir, sockName) }},
	}
	for _, s := range steps {
		if err := s.do(); err != nil {
			unix.Close(fd)
			return nil, os.NewSyscallError(s.name+" "+sockName, err)
		}
	}
	return os.NewFile(uintptr(fd), sockName), nil
}

func memfd(name string, b []byte) (*os.File, error) {
	fd, err := unix.MemfdCreate(name, unix.MFD_CLOEXEC)
	if err != nil {
		return nil, os.NewSyscallError("memfd_create", err)
	}
	f := os.NewFile(uintptr(fd), name)
	if _, err := f.Write(b); err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

// tagOf names a build of the keeper by its contents.
func tagOf(binary string) (string, error) {
	f, err := os.Open(binary)
	if err != nil {
		return "", err
	}
	defer f.Close()
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return "", err
	}
	return hex.EncodeToString(h.Sum(nil)[:8]), nil
}

// lastWords returns the last line of the keeper's log: why it did not start.
func lastWords(run string) string {
	b, err := os.ReadFile(filepath.Join(run, logName))
	if err != nil {
		return ""
	}
	lines := strings.Split(strings.TrimSpace(string(b)), "\n")
	return lines[len(lines)-1]
}
