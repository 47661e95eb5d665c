package container

import (
	"bufio"
	"bytes"
	"errors"
	"net/netip"
	"os"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/containercloud/cc/fault"
	"github.com/containercloud/cc/runtime/boot"
)

// etcFiles makes the three files below /etc that every container gets: hosts, hostname, resolv.conf. They are written at every
// start, belong to the container's root, and are bound over whatever the image has there.
//
// They live in a memory file system of the daemon that is mounted nowhere (a container's mounts keep it alive), because
// a file on disk takes 30 us to make and nothing of them has to outlive their container. Where the kernel cannot
// clone a mount that is in no namespace (before 6.15), they are below RUN.
type etcFiles struct {
	dir *os.File

	mu      sync.Mutex
	resolve []byte    // resolv.conf
	read    time.Time // when resolve was made
}

// resolveFor is how long a look at the host's resolver configuration is good.
const resolveFor = 5 * time.Second

// etcNames are the files; hosts is first and the only one with an address in it.
var etcNames = []string{"hosts", "hostname", "resolv.conf"}

func openEtc(below string) (*etcFiles, error) {
	dir, err := memoryDir()
	if err == nil {
		var probe *os.File
		if probe, err = boot.CloneMount(dir, false, boot.IDMap{}); err == nil {
			probe.Close()
			return &etcFiles{dir: dir}, nil
		}
		dir.Close()
	}
	if err := os.MkdirAll(below, 0o700); err != nil {
		return nil, err
	}
	dir, err = openDir(below)
	return &etcFiles{dir: dir}, err
}

// memoryDir is the root of a new tmpfs that is mounted nowhere.
func memoryDir() (*os.File, error) {
	fs, err := unix.Fsopen("tmpfs", unix.FSOPEN_CLOEXEC)
	if err != nil {
		return nil, os.NewSyscallError("fsopen tmpfs", err)
	}
	defer unix.Close(fs)
	for _, o := range [][2]string{{"source", "cc"}, {"mode", "700"}} {
		if err := unix.FsconfigSetString(fs, o[0], o[1]); err != nil {
			return nil, os.NewSyscallError("fsconfig "+o[0], err)
		}
	}
	if err := unix.FsconfigCreate(fs); err != nil {
		return nil, os.NewSyscallError("fsconfig", err)
	}
	fd, err := unix.Fsmount(fs, unix.FSMOUNT_CLOEXEC, unix.MOUNT_ATTR_NODEV|unix.MOUNT_ATTR_NOSUID|unix.MOUNT_ATTR_NOEXEC)
	if err != nil {
		return nil, os.NewSyscallError("fsmount", err)
	}
	return os.NewFile(uintptr(fd), "etc"), nil
}

// mounts makes the files of a container whose root is uid owner on the host, and mounts of them; they are added to files.
func (e *etcFiles) mounts(id, hostname, name string, ip netip.Addr, owner uint32, files *fileList) ([]boot.Mount, error) {
	texts := [][]byte{hostsFile(hostname, name, ip), []byte(hostname + "\n"), e.resolvConf()}
	var list []boot.Mount
	for i, file := range etcNames {
		f, err := e.write(id+"."+file, texts[i], owner)
		if err != nil {
			return nil, err
		}
		mount, err := boot.CloneMount(f, false, boot.IDMap{})
		f.Close()
		if err != nil {
			return nil, err
		}
		files.add(mount)
		list = append(list, boot.Mount{Target: "/etc/" + file, Source: mount, File: true})
	}
	return list, nil
}

// write makes a file anew: what is mounted of an older one lives on with it.
func (e *etcFiles) write(name string, text []byte, owner uint32) (*os.File, error) {
	at, err := rawFD(e.dir)
	if err != nil {
		return nil, err
	}
	if err := unix.Unlinkat(at, name, 0); err != nil && err != unix.ENOENT {
		return nil, &os.PathError{Op: "remove", Path: name, Err: err}
	}
	fd, err := unix.Openat(at, name, unix.O_WRONLY|unix.O_CREAT|unix.O_EXCL|unix.O_CLOEXEC, 0o644)
	if err != nil {
		return nil, &os.PathError{Op: "create", Path: name, Err: err}
	}
	f := os.NewFile(uintptr(fd), name)
	_, err = f.Write(text)
	if err = errors.Join(err, unix.Fchown(fd, int(owner), int(owner))); err != nil {
		f.Close()
		return nil, fault.Wrap(err, "%s", name)
	}
	return f, nil
}

// remove forgets the files of a container.
func (e *etcFiles) remove(id string) {
	at, err := rawFD(e.dir)
	if err != nil {
		return
	}
	for _, file := range etcNames {
		_ = unix.Unlinkat(at, id+"."+file, 0)
	}
}

func (e *etcFiles) resolvConf() []byte {
	e.mu.Lock()
	defer e.mu.Unlock()
	if now := time.Now(); now.Sub(e.read) > resolveFor {
		e.resolve, e.read = resolvConf(), now
	}
	return e.resolve
}

// hostsFile is /etc/hosts: the container's own names on its own address.
func hostsFile(hostname, name string, ip netip.Addr) []byte {
	var b bytes.Buffer
	b.WriteString("127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n")
	own := hostname
	if name != hostname {
		own += " " + name
	}
	if !ip.IsValid() {
		ip = netip.AddrFrom4([4]byte{127, 0, 1, 1})
	}
	b.WriteString(ip.String() + "\t" + own + "\n")
	return b.Bytes()
}

// resolvConf is the host's resolver configuration without what a container cannot reach: name servers on the
// host's loopback. Where only such are named it looks at systemd-resolved's upstream list.
func resolvConf() []byte {
	for _, file := range []string{"/etc/resolv.conf", "/run/systemd/resolve/resolv.conf"} {
		text, err := os.ReadFile(file)
		if err != nil {
			continue
		}
		if out, servers := reachable(text); servers > 0 {
			return out
		}
	}
	return []byte("# the host names no resolver that a container could reach\n")
}

func reachable(text []byte) (out []byte, servers int) {
	var b bytes.Buffer
	in := bufio.NewScanner(bytes.NewReader(text))
	for in.Scan() {
		w := strings.Fields(in.Text())
		if len(w) < 2 || strings.HasPrefix(w[0], "#") || strings.HasPrefix(w[0], ";") {
			continue
		}
		if w[0] == "nameserver" {
			a, err := netip.ParseAddr(w[1])
			if err != nil || a.IsLoopback() || a.IsUnspecified() || a.Zone() != "" {
				continue
			}
			servers++
		}
		b.WriteString(strings.Join(w, " ") + "\n")
	}
	return b.Bytes(), servers
}
