package image

import (
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/google/go-containerregistry/pkg/authn"
	"golang.org/x/sys/unix"

	"github.com/containercloud/cc/fault"
)

// Login says whose docker configuration holds the credentials for a pull. The zero value pulls anonymously; the
// daemon's own HOME and environment are never looked at.
type Login struct {
	Home string // the caller's home directory; empty: anonymous
	UID  uint32 // the caller: the file must be theirs, so that a link to somebody else's opens nothing
}

// maxAuthFile bounds ~/.docker/config.json.
const maxAuthFile = 1 << 20

// dockerConfig is the part of ~/.docker/config.json that holds credentials.
type dockerConfig struct {
	Auths       map[string]authn.AuthConfig `json:"auths"`
	CredsStore  string                      `json:"credsStore"`
	CredHelpers map[string]string           `json:"credHelpers"`
}

// keychain reads the caller's docker configuration, or podman's when there is none.
func (l Login) keychain() (authn.Keychain, error) {
	if l.Home == "" {
		return authn.NewMultiKeychain(), nil
	}
	for _, name := range []string{".docker/config.json", ".config/containers/auth.json"} {
		raw, err := l.read(filepath.Join(l.Home, name))
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, fault.Wrap(err, "cannot read credentials %s", name)
		}
		var c dockerConfig
		if err := json.Unmarshal(raw, &c); err != nil {
			return nil, fault.New(fault.Invalid, "cannot read credentials %s: %w", name, err)
		}
		return c, nil
	}
	return authn.NewMultiKeychain(), nil
}

// read reads a file that must be a regular one and the caller's own. It is looked at before it is opened for
// reading: opening a fifo would block and opening a device may do anything.
func (l Login) read(name string) ([]byte, error) {
	fd, err := unix.Openat2(unix.AT_FDCWD, name, &unix.OpenHow{
		Flags: unix.O_PATH | unix.O_CLOEXEC, Resolve: unix.RESOLVE_NO_MAGICLINKS,
	})
	if err != nil {
		return nil, &fs.PathError{Op: "open", Path: name, Err: err}
	}
	f, err := reopenRegular(fd, maxAuthFile)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	var st unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &st); err != nil {
		return nil, err
	}
	if st.Uid != l.UID {
		return nil, fault.New(fault.Denied, "it belongs to user %d, not to you", st.Uid)
	}
	return readLimited(f, maxAuthFile)
}

// reopenRegular takes over the O_PATH descriptor fd and opens what it is for reading, if it is a regular file of at
// most max bytes.
func reopenRegular(fd int, max int64) (*os.File, error) {
	p := os.NewFile(uintptr(fd), "")
	defer p.Close()
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return nil, err
	}
	if st.Mode&unix.S_IFMT != unix.S_IFREG {
		return nil, fault.New(fault.Invalid, "not a regular file")
	}
	if st.Size > max {
		return nil, fault.New(fault.Invalid, "%d bytes, more than %d", st.Size, max)
	}
	return os.OpenFile(fdPath(fd), os.O_RDONLY|unix.O_NONBLOCK, 0)
}

// Resolve finds the credentials for a registry or repository: the most specific key wins.
func (c dockerConfig) Resolve(target authn.Resource) (authn.Authenticator, error) {
	host := target.RegistryStr()
	keys := []string{}
	for k := target.String(); ; {
		keys = append(keys, k)
		i := strings.LastIndexByte(k, '/')
		if i < 0 {
			break
		}
		k = k[:i]
	}
	keys = append(keys, "https://"+host, "https://"+host+"/", "http://"+host, host+"/", "https://"+host+"/v1/", "https://"+host+"/v2/")
	if host == "index.docker.io" {
		keys = append(keys, authn.DefaultAuthKey, "docker.io")
	}
	for _, k := range keys {
		if a, ok := c.Auths[k]; ok && a != (authn.AuthConfig{}) {
			return authn.FromConfig(a), nil
		}
	}
	if c.CredHelpers[host] != "" || c.CredsStore != "" && c.has(keys) {
		return nil, fault.New(fault.Unsupported, "the credentials for %s are in a helper program, which the daemon does not run", host).
			WithHint("put them into ~/.docker/config.json as auths: podman login --authfile ~/.docker/config.json %s", host)
	}
	return authn.Anonymous, nil
}

// has tells whether the store of a helper program knows one of keys: docker leaves an empty entry for it.
func (c dockerConfig) has(keys []string) bool {
	for _, k := range keys {
		if _, ok := c.Auths[k]; ok {
			return true
		}
	}
	return false
}
