package image

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/containercloud/cc/fault"
	"github.com/containercloud/cc/runtime/image/imagetest"
)

// noise is content that does not compress.
func noise(seed uint64, n int) string {
	b := make([]byte, n)
	rand.NewChaCha8([32]byte{byte(seed), byte(seed >> 8)}).Read(b)
	return string(b)
}

func blobPath(r *http.Request) bool {
	return r.Method == http.MethodGet && strings.Contains(r.URL.Path, "/blobs/")
}

// cutter ends every answer to a blob request after some bytes, and counts what it sent.
type cutter struct {
	http.Handler
	after  int
	ranges bool // honour Range
	sent   atomic.Int64
	cuts   atomic.Int64
}

func (c *cutter) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if !blobPath(r) {
		c.Handler.ServeHTTP(w, r)
		return
	}
	if !c.ranges {
		r.Header.Del("Range")
	}
	c.Handler.ServeHTTP(&cutWriter{ResponseWriter: w, c: c, left: c.after}, r)
}

type cutWriter struct {
	http.ResponseWriter
	c    *cutter
	left int
}

func (w *cutWriter) Write(p []byte) (int, error) {
	n, err := w.ResponseWriter.Write(p[:min(len(p), w.left)])
	w.left -= n
	w.c.sent.Add(int64(n))
	if err == nil && n < len(p) {
		w.c.cuts.Add(1)
		w.ResponseWriter.(http.Flusher).Flush()
		panic(http.ErrAbortHandler)
	}
	return n, err
}

// TestResume pulls over connections that break all the time: while bytes arrive the pull goes on, and it asks only for
// what is missing.
func TestResume(t *testing.T) {
	img := imagetest.Image(v1.Config{}, imagetest.Tar(imagetest.File("f", noise(1, 3<<20))))
	for _, ranges := range []bool{true, false} {
		t.Run(fmt.Sprintf("ranges %v", ranges), func(t *testing.T) {
			c := &cutter{after: 700 << 10, ranges: ranges}
			if !ranges {
				c.after = 4 << 20 // a registry without ranges must get through at once
			}
			reg := imagetest.NewRegistry(t, func(h http.Handler) http.Handler { c.Handler = h; return c })
			ref := reg.Push(t, "a", img)
			s := open(t, t.TempDir())
			got, err := s.Pull(context.Background(), ref, PullOptions{}, nil)
			if err != nil {
				t.Fatal(err)
			}
			if read(t, got, "f") != noise(1, 3<<20) {
				t.Error("wrong content")
			}
			if ranges && (c.cuts.Load() < 4 || c.sent.Load() > 3500<<10) {
				t.Errorf("%d cuts, %d bytes sent", c.cuts.Load(), c.sent.Load())
			}
		})
	}
}

// TestResumeAcrossStores breaks off a pull for good, opens the store anew and pulls the rest; then again with kept
// bytes that are wrong.
func TestResumeAcrossStores(t *testing.T) {
	const size = 4 << 20
	var limit atomic.Int64
	limit.Store(1 << 20)
	var sent atomic.Int64
	reg := imagetest.NewRegistry(t, func(h http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if n := limit.Load(); blobPath(r) && n >= 0 && !strings.Contains(r.Header.Get("Range"), "bytes=0-") && r.Header.Get("X") == "" {
				if r.Header.Get("Range") != "" && n > 0 {
					w.WriteHeader(http.StatusForbidden) // for good
					return
				}
				c := &cutter{after: int(n)}
				if n == 0 {
					c.after = 1 << 30
				}
				h.ServeHTTP(&cutWriter{ResponseWriter: w, c: c, left: c.after}, r)
				sent.Add(c.sent.Load())
				return
			}
			h.ServeHTTP(w, r)
		})
	})
	ref := reg.Push(t, "a", imagetest.Image(v1.Config{}, imagetest.Tar(imagetest.File("f", noise(2, size)))))
	dir := t.TempDir()
	s := open(t, dir)
	if _, err := s.Pull(context.Background(), ref, PullOptions{}, nil); err == nil {
		t.Fatal("no error")
	}
	s.Close()
	kept, _ := filepath.Glob(dir + "/partial/*")
	if len(kept) != 1 {
		t.Fatalf("partial: %v", kept)
	}
	if st, _ := os.Stat(kept[0]); st.Size() < 900<<10 {
		t.Fatalf("kept %d bytes", st.Size())
	}
	t.Run("wrong bytes", func(t *testing.T) {
		other := t.TempDir()
		if err := os.CopyFS(other, os.DirFS(dir)); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(other+"/partial/"+filepath.Base(kept[0]), []byte(noise(9, 1<<20)), 0o600); err != nil {
			t.Fatal(err)
		}
		limit.Store(-1)
		s := open(t, other)
		img, err := s.Pull(context.Background(), ref, PullOptions{}, nil)
		if err != nil {
			t.Fatal(err)
		}
		if read(t, img, "f") != noise(2, size) {
			t.Error("wrong content")
		}
	})
	limit.Store(0)
	sent.Store(0)
	s = open(t, dir)
	img, err := s.Pull(context.Background(), ref, PullOptions{}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if read(t, img, "f") != noise(2, size) {
		t.Error("wrong content")
	}
	if n := sent.Load(); n > size-(900<<10)+4096 {
		t.Errorf("fetched %d bytes again", n)
	}
	if kept, _ := filepath.Glob(dir + "/partial/*"); len(kept) != 0 {
		t.Errorf("partial: %v", kept)
	}
}

// TestSharedWork pulls one image many times at once, and images that share a layer: each blob is fetched once. One of
// the waiting pulls is cancelled: the others go on.
func TestSharedWork(t *testing.T) {
	base := imagetest.Tar(imagetest.File("base", noise(3, 2<<20)))
	var fetched sync.Map
	gate := make(chan struct{})
	reg := imagetest.NewRegistry(t, func(h http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if blobPath(r) && r.Header.Get("User-Agent") != "" {
				n, _ := fetched.LoadOrStore(r.URL.Path[strings.LastIndex(r.URL.Path, "/")+1:], new(atomic.Int64))
				n.(*atomic.Int64).Add(1)
				<-gate
			}
			h.ServeHTTP(w, r)
		})
	})
	var refs []string
	for i := range 3 {
		refs = append(refs, reg.Push(t, fmt.Sprintf("app%d", i), imagetest.Image(v1.Config{}, base, imagetest.Tar(imagetest.File("app", fmt.Sprint(i))))))
	}
	s := open(t, t.TempDir())
	first, cancel := context.WithCancel(context.Background())
	errs := make(chan error, 16)
	pull := func(ctx context.Context, ref string) {
		_, err := s.Pull(ctx, ref, PullOptions{}, nil)
		errs <- err
	}
	go pull(first, refs[0]) // leads the work on the shared layer
	waitFor(t, func() bool { return len(s.Jobs()) == 1 })
	for i := range 9 {
		go pull(context.Background(), refs[i%3])
	}
	waitFor(t, func() bool { return len(s.Jobs()) == 10 })
	cancel()
	if err := <-errs; !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled pull: %v", err)
	}
	close(gate)
	for range 9 {
		if err := <-errs; err != nil {
			t.Error(err)
		}
	}
	d := s.List()
	if len(d) != 4 { // host
		t.Errorf("%d images", len(d))
	}
	layer, _ := imagetest.Layer(base).Digest()
	if n, ok := fetched.Load(layer.String()); !ok || n.(*atomic.Int64).Load() != 1 {
		t.Errorf("the shared layer was fetched %v times", n)
	}
	for i, ref := range refs {
		img, err := s.Find(ref)
		if err != nil {
			t.Fatal(err)
		}
		if got := read(t, img, "app"); got != fmt.Sprint(i) {
			t.Errorf("app%d: %s", i, got)
		}
	}
}

func waitFor(t testing.TB, ok func() bool) {
	t.Helper()
	for range 1000 {
		if ok() {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Fatal("it does not happen")
}

// TestFailureIsNotShared: a job that waited for another's work tries its own means when that fails.
func TestFailureIsNotShared(t *testing.T) {
	s := open(t, t.TempDir())
	gate := make(chan struct{})
	var calls atomic.Int64
	lead := make(chan error)
	go func() {
		_, err := s.share(context.Background(), "k", func(context.Context) error { <-gate; return fault.New(fault.Denied, "no") })
		lead <- err
	}()
	waitFor(t, func() bool { s.mu.Lock(); defer s.mu.Unlock(); return s.flights["k"] != nil })
	follow := make(chan error)
	go func() {
		follow <- s.once(context.Background(), "k", func(context.Context) error { calls.Add(1); return nil })
	}()
	waitFor(t, func() bool { s.mu.Lock(); defer s.mu.Unlock(); return s.flights["k"].want == 2 })
	close(gate)
	if err := <-lead; err == nil {
		t.Error("the leader's failure is its own")
	}
	if err := <-follow; err != nil || calls.Load() != 1 {
		t.Errorf("%v after %d own attempts", err, calls.Load())
	}
}
