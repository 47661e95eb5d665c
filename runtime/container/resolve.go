package container

import (
	"path"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/containercloud/cc/fault"
)

// defaultPath is the PATH of a program whose image and spec name none: Docker's.
const defaultPath = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

// command is the words to execute: the entrypoint, then args or the image's command (Docker's rule: a spec
// that replaces the entrypoint drops the image's command too).
func command(s Spec, img v1.Config) ([]string, error) {
	entry, args := img.Entrypoint, img.Cmd
	if len(s.Entrypoint) > 0 {
		entry, args = s.Entrypoint, nil
		if len(entry) == 1 && entry[0] == "" {
			entry = nil
		}
	}
	if len(s.Args) > 0 {
		args = s.Args
	}
	words := append(append([]string(nil), entry...), args...)
	if len(words) == 0 || words[0] == "" {
		return nil, fault.New(fault.Invalid, "image %s names no command and args is empty", s.Image).
			WithHint("write the program into args, one word a line")
	}
	return words, checkWords(words)
}

// environment merges what every program gets, the image's and the spec's, the later over the earlier. Nothing
// comes from the daemon's own environment; an image's entry without "=" is refused, because other runtimes
// take its value from there (CVE-2026-57231).
func environment(s Spec, img v1.Config, hostname, home string) ([]string, error) {
	base := []string{"PATH=" + defaultPath, "HOSTNAME=" + hostname, "HOME=" + home}
	if s.TTY.On() {
		base = append(base, "TERM=xterm")
	}
	for _, e := range img.Env {
		if name, _, ok := strings.Cut(e, "="); !ok || name == "" {
			return nil, fault.New(fault.Invalid, "image %s: environment entry %q has no name and value", s.Image, e)
		}
	}
	if err := checkWords(img.Env); err != nil {
		return nil, err
	}
	return mergeEnv(base, img.Env, s.Env), nil
}

// mergeEnv joins lists of NAME=VALUE; a later value takes the place of an earlier one.
func mergeEnv(lists ...[]string) []string {
	var out []string
	at := map[string]int{}
	for _, list := range lists {
		for _, e := range list {
			name, _, _ := strings.Cut(e, "=")
			if i, ok := at[name]; ok {
				out[i] = e
				continue
			}
			at[name] = len(out)
			out = append(out, e)
		}
	}
	return out
}

// workdir is where the program begins.
func workdir(s Spec, img v1.Config) (string, error) {
	dir := s.Dir
	if dir == "" {
		dir = img.WorkingDir
	}
	if dir == "" {
		return "/", nil
	}
	if !path.IsAbs(dir) {
		dir = "/" + dir
	}
	dir = path.Clean(dir)
	if len(dir) > 4095 || strings.ContainsAny(dir, "\x00") {
		return "", fault.New(fault.Invalid, "%q is no directory", dir)
	}
	return dir, nil
}

// userOf is the user's text form: the spec's, the image's, or root.
func userOf(s Spec, img v1.Config) (string, error) {
	user := s.User
	if user == "" {
		user = img.User
	}
	return user, checkUserForm(user)
}
