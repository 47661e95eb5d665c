package image

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/containercloud/cc/fault"
	"github.com/containercloud/cc/runtime/image/imagetest"
)

// secured lets only user u with password p in, by basic authentication or by a token from realm.
func secured(realm *string) func(http.Handler) http.Handler {
	return func(h http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			u, p, _ := r.BasicAuth()
			switch {
			case strings.HasPrefix(r.URL.Path, "/token"):
				if u != "u" || p != "p" {
					http.Error(w, "", http.StatusUnauthorized)
					return
				}
				json.NewEncoder(w).Encode(map[string]string{"token": "t0ken"})
			case realm != nil && r.Header.Get("Authorization") == "Bearer t0ken", realm == nil && u == "u" && p == "p", r.Method != http.MethodGet && r.Method != http.MethodHead:
				h.ServeHTTP(w, r)
			case r.URL.Path != "/v2/" && r.Header.Get("X-Setup") != "":
				h.ServeHTTP(w, r)
			default:
				if realm != nil {
					w.Header().Set("WWW-Authenticate", fmt.Sprintf(`Bearer realm=%q,service="s"`, *realm))
				} else {
					w.Header().Set("WWW-Authenticate", `Basic realm="r"`)
				}
				http.Error(w, "", http.StatusUnauthorized)
			}
		})
	}
}

func home(t *testing.T, auths string) string {
	t.Helper()
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, ".docker"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, ".docker/config.json"), []byte(auths), 0o600); err != nil {
		t.Fatal(err)
	}
	return dir
}

func TestCredentials(t *testing.T) {
	img := imagetest.Image(v1.Config{}, imagetest.Tar(imagetest.File("f", "x")))
	auth := base64.StdEncoding.EncodeToString([]byte("u:p"))
	for _, bearer := range []bool{false, true} {
		var open2 atomic.Bool // while the image is pushed
		var realm string
		var rp *string
		if bearer {
			rp = &realm
		}
		reg := imagetest.NewRegistry(t, func(h http.Handler) http.Handler {
			locked := secured(rp)(h)
			return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if open2.Load() {
					h.ServeHTTP(w, r)
					return
				}
				locked.ServeHTTP(w, r)
			})
		})
		realm = "http://" + reg.Host + "/token"
		open2.Store(true)
		ref := reg.Push(t, "a", img)
		open2.Store(false)
		uid := uint32(os.Getuid())
		for _, c := range []struct {
			name  string
			login Login
			kind  fault.Kind // Internal: succeeds
		}{
			{"none", Login{}, fault.Denied},
			{"auth", Login{home(t, `{"auths":{"`+reg.Host+`":{"auth":"`+auth+`"}}}`), uid}, fault.Internal},
			{"user and password, https key", Login{home(t, `{"auths":{"https://`+reg.Host+`":{"username":"u","password":"p"}}}`), uid}, fault.Internal},
			{"for this repository", Login{home(t, `{"auths":{"`+reg.Host+`":{"auth":"eDp5"},"`+reg.Host+`/a":{"auth":"`+auth+`"}}}`), uid}, fault.Internal},
			{"wrong password", Login{home(t, `{"auths":{"`+reg.Host+`":{"username":"u","password":"x"}}}`), uid}, fault.Denied},
			{"for another registry", Login{home(t, `{"auths":{"other:5000":{"auth":"`+auth+`"}}}`), uid}, fault.Denied},
			{"no config", Login{t.TempDir(), uid}, fault.Denied},
			{"helper", Login{home(t, `{"auths":{"`+reg.Host+`":{}},"credsStore":"desktop"}`), uid}, fault.Unsupported},
			{"not JSON", Login{home(t, `{`), uid}, fault.Invalid},
			{"somebody else's file", Login{home(t, `{"auths":{"`+reg.Host+`":{"auth":"`+auth+`"}}}`), 4711}, fault.Denied},
		} {
			t.Run(fmt.Sprintf("bearer %v/%s", bearer, c.name), func(t *testing.T) {
				s := open(t, t.TempDir())
				_, err := s.Pull(context.Background(), ref, PullOptions{Login: c.login}, nil)
				if c.kind == fault.Internal && err != nil || c.kind != fault.Internal && !fault.Is(err, c.kind) {
					t.Errorf("%v", err)
				}
			})
		}
	}
}

// TestCredentialFileTricks: what a user can put in the place of their config file.
func TestCredentialFileTricks(t *testing.T) {
	secret := home(t, `{"auths":{"r":{"auth":"eDp5"}}}`)
	for name, make := range map[string]func(path string) error{
		"link to another's file": func(p string) error { return os.Symlink(secret+"/.docker/config.json", p) },
		"fifo":                   func(p string) error { return syscall.Mkfifo(p, 0o666) },
		"directory":              func(p string) error { return os.Mkdir(p, 0o777) },
		"device":                 func(p string) error { return os.Symlink("/dev/zero", p) },
		"magic link":             func(p string) error { return os.Symlink("/proc/self/fd/0", p) },
		"large": func(p string) error {
			return os.WriteFile(p, []byte(strings.Repeat(" ", 2<<20)), 0o666)
		},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			os.Mkdir(dir+"/.docker", 0o777)
			if err := make(dir + "/.docker/config.json"); err != nil {
				t.Fatal(err)
			}
			if _, err := (Login{dir, 4711}).keychain(); err == nil {
				t.Error("no error")
			}
		})
	}
}

// TestRedirectKeepsCredentials: a registry's redirect to its storage gets no password, and is followed.
func TestRedirectKeepsCredentials(t *testing.T) {
	var leaked atomic.Int64
	var blobs http.Handler
	storage := imagetest.Serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "" || r.Header.Get("Cookie") != "" {
			leaked.Add(1)
		}
		blobs.ServeHTTP(w, r)
	}), nil)
	var pushed atomic.Bool
	reg := imagetest.NewRegistry(t, func(h http.Handler) http.Handler {
		blobs = h
		locked := secured(nil)(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if blobPath(r) {
				http.Redirect(w, r, "http://"+storage.Host+r.URL.Path, http.StatusTemporaryRedirect)
				return
			}
			h.ServeHTTP(w, r)
		}))
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if pushed.Load() {
				locked.ServeHTTP(w, r)
				return
			}
			h.ServeHTTP(w, r)
		})
	})
	ref := reg.Push(t, "a", imagetest.Image(v1.Config{}, imagetest.Tar(imagetest.File("f", "x"))))
	pushed.Store(true)
	s := open(t, t.TempDir())
	login := Login{home(t, `{"auths":{"`+reg.Host+`":{"username":"u","password":"p"}}}`), uint32(os.Getuid())}
	if _, err := s.Pull(context.Background(), ref, PullOptions{Login: login}, nil); err != nil {
		t.Fatal(err)
	}
	if leaked.Load() != 0 {
		t.Error("the redirect's target got the credentials")
	}
}

// TestGuard: who may be talked to, and how. Nothing is dialled.
func TestGuard(t *testing.T) {
	for _, c := range []struct {
		home     string
		insecure bool
		url      string
		ok       bool
	}{
		{"registry:5000", false, "http://registry:5000/v2/", false},
		{"registry:5000", true, "http://registry:5000/v2/", true},
		{"10.0.0.1:5000", false, "http://10.0.0.1:5000/v2/", false}, // the library would
		{"127.9.9.9:5000", false, "http://127.9.9.9:5000/v2/", true},
		{"[::1]:5000", false, "http://[::1]:5000/v2/", true},
		{"localhost:5000", false, "http://localhost:5000/v2/", true},
		{"localhost:5000", false, "http://elsewhere/v2/", false},
		{"registry:5000", false, "http://elsewhere/", false},
		{"registry:5000", true, "ftp://registry:5000/", false},
		{"registry:5000", false, "https://169.254.169.254/", false},
		{"registry:5000", true, "http://169.254.169.254/", false},
		{"registry:5000", true, "http://[fe80::1]/", false},
		{"registry:5000", true, "http://127.0.0.1:1/", false},
		{"registry:5000", true, "http://[::ffff:127.0.0.1]:1/", false},
		{"registry:5000", true, "http://0.0.0.0:1/", false},
		{"169.254.169.254", true, "http://169.254.169.254/v2/", false},
	} {
		g := newGuard(c.home, c.insecure)
		ctx, cancel := context.WithCancel(context.Background())
		req, _ := http.NewRequestWithContext(ctx, http.MethodGet, c.url, nil)
		if c.ok {
			cancel() // refused comes before cancelled
		}
		_, err := g.RoundTrip(req)
		cancel()
		if denied := fault.Is(err, fault.Denied); denied == c.ok {
			t.Errorf("%s insecure=%v: %s: %v", c.home, c.insecure, c.url, err)
		}
	}
}
