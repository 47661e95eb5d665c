package image

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"net"
	"net/http"
	"os"
	"path"
	"strings"
	"syscall"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/containercloud/cc/fault"
)

// stall is how long a download may give nothing before it is asked for again.
const stall = time.Minute

// blob reads one blob from a registry as if nothing ever broke: first what an earlier attempt left in partial/,
// then from the registry, asking again from where it stopped as long as bytes arrive. The last Read
// gives io.EOF only when size and digest are right; not one byte more than the announced size and one is read.
type blob struct {
	ctx     context.Context
	reg     *registry
	want    v1.Descriptor
	count   func(int)
	partial *os.File // nil when another job writes it
	name    string
	drop    func(name string)

	kept  int64 // bytes of partial not read yet, from pos
	pos   int64
	sum   hash.Hash
	body  io.ReadCloser
	watch *time.Timer // ends the request when it gives nothing
	stop  context.CancelFunc
	bare  int // attempts since the last byte
	pause time.Duration
	fresh bool // everything came in this attempt: a wrong digest is the registry's
	end   error
}

// openBlob is the blobSource of registries.
func (s *Store) openBlob(reg *registry, d v1.Descriptor) blobSource {
	return func(ctx context.Context, count func(int)) (io.ReadCloser, error) {
		b := &blob{
			ctx: ctx, reg: reg, want: d, count: count, sum: sha256.New(), fresh: true, pause: firstPause,
			name: path.Join("partial", d.Digest.Hex), drop: func(name string) { s.root.Remove(name) },
		}
		return b, s.keepPartial(b)
	}
}

// keepPartial opens the file that makes a download resumable, unless another job has it.
func (s *Store) keepPartial(b *blob) error {
	f, err := s.root.OpenFile(b.name, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return err
	}
	if syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB) != nil {
		return f.Close()
	}
	st, err := f.Stat()
	if err != nil {
		f.Close()
		return err
	}
	b.partial, b.kept = f, st.Size()
	if b.kept > b.want.Size {
		b.kept = 0
		if err := f.Truncate(0); err != nil {
			f.Close()
			return err
		}
	}
	b.fresh = b.kept == 0
	return nil
}

func (b *blob) Read(p []byte) (int, error) {
	if b.end != nil {
		return 0, b.end
	}
	n, err := b.read(p)
	b.sum.Write(p[:n])
	b.pos += int64(n)
	if b.pos > b.want.Size {
		err = fault.New(fault.Invalid, "blob %s refused: more than the announced %d bytes", b.want.Digest, b.want.Size)
	}
	if err == io.EOF {
		err = b.check()
	}
	if err != nil {
		b.end = err
	}
	return n, err
}

func (b *blob) read(p []byte) (int, error) {
	if b.kept > 0 {
		n, err := b.partial.ReadAt(p[:min(int64(len(p)), b.kept)], b.pos)
		b.kept -= int64(n)
		if n > 0 {
			b.count(n)
			return n, nil
		}
		return 0, err
	}
	for {
		if b.body == nil {
			if b.pos == b.want.Size && b.bare == 0 && b.pos > 0 {
				return 0, io.EOF // all of it was kept
			}
			if err := b.ask(); err != nil {
				return 0, err
			}
		}
		left := b.want.Size + 1 - b.pos
		n, err := b.body.Read(p[:min(int64(len(p)), left)])
		if n > 0 {
			return n, b.arrived(p[:n])
		}
		if err == nil {
			continue
		}
		if err == io.EOF && b.pos >= b.want.Size {
			return 0, io.EOF
		}
		b.hangUp()
		if err := b.again(err); err != nil {
			return 0, err
		}
	}
}

// arrived keeps bytes for a later attempt. A disk that is full must not end a download that needs no more space.
func (b *blob) arrived(p []byte) error {
	b.bare, b.pause = 0, firstPause
	b.watch.Reset(stall)
	b.count(len(p))
	if b.partial == nil {
		return nil
	}
	if _, err := b.partial.WriteAt(p, b.pos); err != nil {
		b.closePartial()
	}
	return nil
}

func (b *blob) closePartial() {
	b.drop(b.name)
	b.partial.Close()
	b.partial = nil
}

// ask requests what is missing.
func (b *blob) ask() error {
	for {
		b.bare++
		err := b.request()
		if err == nil {
			return nil
		}
		if err := b.again(err); err != nil {
			return err
		}
	}
}

// again pauses before the next attempt, or gives the reason why there is none.
func (b *blob) again(err error) error {
	if b.ctx.Err() != nil {
		return b.ctx.Err()
	}
	stalled := errors.Is(err, context.Canceled) // by watch
	if b.bare >= attempts || !stalled && !temporary(err) {
		return registryError(err, "cannot get blob %s of %s", b.want.Digest, b.reg.ref)
	}
	pause := b.pause
	b.pause *= 2
	return wait(b.ctx, pause)
}

func (b *blob) request() error {
	ctx, cancel := context.WithCancel(b.ctx)
	watch := time.AfterFunc(stall, cancel)
	fail := func(err error) error { watch.Stop(); cancel(); return err }
	header := http.Header{}
	if b.pos > 0 {
		header.Set("Range", fmt.Sprintf("bytes=%d-%d", b.pos, b.want.Size-1)) // some registries insist on an end
	}
	resp, err := b.reg.get(ctx, b.reg.url("blobs", b.want.Digest.String()), header, http.StatusOK, http.StatusPartialContent)
	if err != nil {
		return fail(err)
	}
	skip := int64(0)
	if b.pos > 0 {
		if resp.StatusCode == http.StatusOK {
			skip = b.pos // a registry without ranges starts anew
		} else if !strings.HasPrefix(resp.Header.Get("Content-Range"), fmt.Sprintf("bytes %d-", b.pos)) {
			resp.Body.Close()
			return fail(fault.New(fault.Invalid, "registry sends the range %q", short(resp.Header.Get("Content-Range"))))
		}
	}
	if total := resp.ContentLength; total >= 0 && total != b.want.Size-b.pos+skip {
		resp.Body.Close()
		return fail(fault.New(fault.Invalid, "blob %s refused: the registry sends %d bytes, announced are %d", b.want.Digest, total-skip+b.pos, b.want.Size))
	}
	if err := discard(resp.Body, skip, watch); err != nil {
		resp.Body.Close()
		return fail(err)
	}
	b.body, b.watch, b.stop = resp.Body, watch, cancel
	return nil
}

// discard skips what is here already.
func discard(r io.Reader, n int64, watch *time.Timer) error {
	for n > 0 {
		m, err := io.CopyN(io.Discard, r, min(n, 1<<20))
		n -= m
		if err != nil {
			return err
		}
		watch.Reset(stall)
	}
	return nil
}

func (b *blob) hangUp() {
	if b.body != nil {
		b.watch.Stop()
		b.body.Close()
		b.stop()
		b.body = nil
	}
}

// check is the verdict at the end of the bytes.
func (b *blob) check() error {
	got := hex.EncodeToString(b.sum.Sum(nil))
	if got == b.want.Digest.Hex {
		return io.EOF
	}
	return fault.New(fault.Invalid, "blob refused: it is sha256:%s, announced %s", got, b.want.Digest)
}

// spoil forgets the kept bytes.
func (b *blob) spoil() {
	b.hangUp()
	if b.partial != nil {
		b.closePartial()
	}
}

// Close ends the download. What arrived stays for the next attempt, unless it was all there and right, or wrong.
func (b *blob) Close() error {
	b.hangUp()
	if b.partial == nil {
		return nil
	}
	if b.end == io.EOF || fault.Is(b.end, fault.Invalid) {
		b.closePartial()
		return nil
	}
	st, err := b.partial.Stat()
	if err == nil && st.Size() == 0 {
		b.drop(b.name)
	}
	return b.partial.Close()
}

func isConnError(err error) bool {
	var op *net.OpError
	return errors.As(err, &op) || errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE) || strings.Contains(err.Error(), "http2: ")
}
