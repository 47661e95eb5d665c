package image

import (
	"bufio"
	"bytes"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/containercloud/cc/fault"
)

// User is who a container's process runs as.
type User struct {
	UID, GID uint32
	Groups   []uint32 // supplementary, without GID
	Name     string   // empty when the image does not know the number
	Home     string   // "/" when not known
	Shell    string
}

// Bounds of what an image may make us read.
const (
	maxUserFile = 1 << 20
	maxGroups   = 1024
)

// Users finds the user that spec means in a root file system. spec is as in `docker run --user`: empty (root), NAME, UID, and
// after a colon GROUP or GID. Numbers are 0 to 2^31-1; anything else that looks like a number is refused instead
// of being cut down to one that means root (CVE-2024-40635). root is the container's root directory, whose
// content may change meanwhile: each file is opened once, inside the root, and must be a regular one of at
// most 1 MiB. A missing /etc/passwd is fine as long as no name has to be found in it.
//
// Links are followed inside the root (NixOS images have them), but never onto another file system, so that a link
// into the container's /proc or a volume gives an error; opening goes through O_PATH, so that a fifo or device is
// refused without being opened.
func Users(root *os.File, spec string) (User, error) {
	u, err := users(root, spec)
	return u, fault.Wrap(err, "cannot find user %q", short(spec))
}

// Users is the package's function of this name.
func (s *Store) Users(root *os.File, spec string) (User, error) { return Users(root, spec) }

func users(root *os.File, spec string) (User, error) {
	who, group, hasGroup := strings.Cut(spec, ":")
	if spec == "" {
		who = "0"
	}
	if who == "" || hasGroup && group == "" || len(spec) > 512 || strings.ContainsAny(spec, "\n\x00") {
		return User{}, fault.New(fault.Invalid, "bad user").WithHint("NAME, UID, NAME:GROUP or UID:GID")
	}
	uid, number, err := parseID(who)
	if err != nil {
		return User{}, err
	}
	passwd, err := readUserFile(root, "etc/passwd")
	if err != nil {
		return User{}, err
	}
	u := User{UID: uid, Home: "/"}
	if err := u.fromPasswd(passwd, who, number); err != nil {
		return User{}, err
	}
	groups, err := readUserFile(root, "etc/group")
	if err != nil {
		return User{}, err
	}
	if hasGroup {
		return u, u.setGroup(groups, group)
	}
	return u, u.addGroups(groups)
}

// parseID reads a number that may be an id. What looks like a number and is none is an error.
func parseID(s string) (id uint32, number bool, err error) {
	digits := strings.TrimLeft(s, "+-")
	if digits == "" || strings.Trim(digits, "0123456789") != "" {
		return 0, false, nil
	}
	n, err := strconv.ParseUint(s, 10, 31)
	if err != nil {
		return 0, true, fault.New(fault.Invalid, "%q is no user or group id", short(s)).WithHint("0 to 2147483647")
	}
	return uint32(n), true, nil
}

func (u *User) fromPasswd(passwd []byte, who string, number bool) error {
	for line := range lines(passwd) {
		f := strings.Split(line, ":") // name:password:uid:gid:comment:home:shell
		if len(f) < 4 || f[0] == "" {
			continue
		}
		if number {
			if id, ok, err := parseID(f[2]); !ok || err != nil || id != u.UID {
				continue
			}
		} else if f[0] != who {
			continue
		}
		uid, ok, err := parseID(f[2])
		gid, ok2, err2 := parseID(f[3])
		if !ok || !ok2 || err != nil || err2 != nil {
			return fault.New(fault.Invalid, "its line in /etc/passwd has no valid ids")
		}
		u.UID, u.GID, u.Name = uid, gid, f[0]
		if len(f) > 5 && strings.HasPrefix(f[5], "/") {
			u.Home = f[5]
		}
		if len(f) > 6 {
			u.Shell = f[6]
		}
		return nil
	}
	if !number {
		return fault.New(fault.NotFound, "not in the image's /etc/passwd").WithHint("give a number, or a name the image knows")
	}
	return nil
}

// setGroup is for an explicit group: then there are no supplementary ones, as with docker.
func (u *User) setGroup(file []byte, group string) error {
	gid, number, err := parseID(group)
	if err != nil {
		return err
	}
	if number {
		u.GID = gid
		return nil
	}
	for line := range lines(file) {
		f := strings.Split(line, ":") // name:password:gid:members
		if len(f) < 3 || f[0] != group {
			continue
		}
		gid, ok, err := parseID(f[2])
		if !ok || err != nil {
			return fault.New(fault.Invalid, "group %q has no valid id in /etc/group", short(group))
		}
		u.GID = gid
		return nil
	}
	return fault.New(fault.NotFound, "no group %q in the image's /etc/group", short(group))
}

// addGroups collects the groups that the user is a member of by name.
func (u *User) addGroups(file []byte) error {
	if u.Name == "" {
		return nil
	}
	for line := range lines(file) {
		f := strings.Split(line, ":")
		if len(f) < 4 {
			continue
		}
		gid, ok, err := parseID(f[2])
		if !ok || err != nil || gid == u.GID {
			continue
		}
		for _, member := range strings.Split(f[3], ",") {
			if strings.TrimSpace(member) != u.Name {
				continue
			}
			if len(u.Groups) >= maxGroups {
				return fault.New(fault.Invalid, "more than %d groups", maxGroups)
			}
			u.Groups = append(u.Groups, gid)
			break
		}
	}
	return nil
}

// lines goes through a file's lines without comments and blanks.
func lines(raw []byte) func(func(string) bool) {
	return func(yield func(string) bool) {
		sc := bufio.NewScanner(bytes.NewReader(raw))
		sc.Buffer(nil, maxUserFile+1)
		for sc.Scan() {
			line := strings.TrimSpace(sc.Text())
			if line != "" && line[0] != '#' && !yield(line) {
				return
			}
		}
	}
}

// readUserFile reads a file of a root; a missing one is empty.
func readUserFile(root *os.File, name string) ([]byte, error) {
	how := unix.OpenHow{
		Flags:   unix.O_PATH | unix.O_CLOEXEC,
		Resolve: unix.RESOLVE_IN_ROOT | unix.RESOLVE_NO_MAGICLINKS | unix.RESOLVE_NO_XDEV,
	}
	fd, err := unix.Openat2(int(root.Fd()), name, &how)
	for err == unix.EINTR || err == unix.EAGAIN {
		fd, err = unix.Openat2(int(root.Fd()), name, &how)
	}
	if err == unix.ENOENT || err == unix.ENOTDIR {
		return nil, nil
	}
	if err != nil {
		return nil, fault.New(fault.Invalid, "cannot open /%s: %w", name, err)
	}
	f, err := reopenRegular(fd, maxUserFile)
	if err != nil {
		return nil, fault.Wrap(err, "cannot read /%s", name)
	}
	defer f.Close()
	raw, err := readLimited(f, maxUserFile)
	return raw, fault.Wrap(err, "cannot read /%s", name)
}

func fdPath(fd int) string { return "/proc/self/fd/" + strconv.Itoa(fd) }
