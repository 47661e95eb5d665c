package image

import (
	"context"
	"fmt"
	"io"
	"runtime/debug"
	"strings"

	"github.com/containercloud/cc/fault"
)

// needBuiltin makes sure that the userland of this daemon's version is unpacked. Open tries it first; when the disk was
// full then, whoever needs it tries again. An older version's stays for whoever uses it and goes with the next GC.
func (s *Store) needBuiltin() error {
	if s.embedded == nil {
		return fault.New(fault.NotFound, "no image builtin in this daemon").WithHint("make build")
	}
	s.mu.Lock()
	have := s.builtin != ""
	s.mu.Unlock()
	if have {
		return nil
	}
	return fault.Wrap(s.once(s.ctx, Builtin, s.loadBuiltin), "cannot unpack image builtin")
}

// builtinMark is the file that says which userland is unpacked, and as which image.
const builtinMark = "builtin"

func (s *Store) loadBuiltin(ctx context.Context) error {
	key, err := tailKey(s.embedded)
	if err != nil {
		return err
	}
	manifest := ""
	if raw, err := s.root.ReadFile(builtinMark); err == nil {
		if was, m, _ := strings.Cut(strings.TrimSpace(string(raw)), " "); was == key {
			manifest = m
		}
	}
	s.mu.Lock()
	have := s.images[manifest] != nil
	s.mu.Unlock()
	if !have {
		defer debug.FreeOSMemory() // see end
		c := rootfsConfig([]string{"PATH=/bin", "HOME=/root"}, "sh")
		img, err := s.importAs(ctx, io.NewSectionReader(s.embedded, 0, s.embedded.Size()), c, nil, &Progress{})
		if err != nil {
			return err
		}
		manifest = img.manifest
		if err := s.writeFile(builtinMark, []byte(key+" "+manifest+"\n")); err != nil {
			return err
		}
	}
	s.mu.Lock()
	s.builtin = manifest
	s.mu.Unlock()
	return nil
}

// tailKey tells one embedded userland from another by its size and its last bytes, where zstd and gzip put a checksum of
// the content: hashing all of it would read five megabytes of the program into memory at every start.
func tailKey(r *io.SectionReader) (string, error) {
	tail := make([]byte, min(r.Size(), 4096))
	if _, err := r.ReadAt(tail, r.Size()-int64(len(tail))); err != nil && err != io.EOF {
		return "", err
	}
	return fmt.Sprintf("%d-%s", r.Size(), digestOf(tail)), nil
}
