package image

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote/transport"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/containercloud/cc/fault"
)

// registry is one repository of one registry, reached for one job.
type registry struct {
	ref    name.Reference
	guard  *guard
	client *http.Client
}

// connect finds out how the registry is spoken to and logs in.
func connect(ctx context.Context, ref name.Reference, insecure bool, keys authn.Keychain) (*registry, error) {
	repo := ref.Context()
	auth, err := keys.Resolve(repo)
	if err != nil {
		return nil, err
	}
	r := &registry{ref: ref, guard: newGuard(repo.RegistryStr(), insecure)}
	var rt http.RoundTripper
	err = retry(ctx, func() error {
		rt, err = transport.NewWithContext(ctx, repo.Registry, auth, r.guard, []string{repo.Scope(transport.PullScope)})
		return err
	})
	if err != nil {
		r.guard.close()
		return nil, registryError(err, "cannot reach registry %s", repo.RegistryStr())
	}
	r.client = &http.Client{Transport: rt, CheckRedirect: func(_ *http.Request, via []*http.Request) error {
		if len(via) > 5 {
			return fault.New(fault.Invalid, "registry %s redirects without end", repo.RegistryStr())
		}
		return nil
	}}
	return r, nil
}

func (r *registry) close() { r.guard.close() }

func (r *registry) url(kind, what string) string {
	repo := r.ref.Context()
	return fmt.Sprintf("https://%s/v2/%s/%s/%s", repo.RegistryStr(), repo.RepositoryStr(), kind, what)
}

var manifestTypes = strings.Join([]string{
	string(types.OCIImageIndex), string(types.OCIManifestSchema1),
	string(types.DockerManifestList), string(types.DockerManifestSchema2),
}, ", ")

// get asks once. The caller closes the body.
func (r *registry) get(ctx context.Context, url string, header http.Header, codes ...int) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, err
	}
	for k, v := range header {
		req.Header[k] = v
	}
	resp, err := r.client.Do(req)
	if err != nil {
		return nil, err
	}
	if err := transport.CheckError(resp, codes...); err != nil {
		resp.Body.Close()
		return nil, err
	}
	return resp, nil
}

// manifest fetches a manifest or index by tag or digest, with the media type the registry gives it.
func (r *registry) manifest(ctx context.Context, what string) (raw []byte, served types.MediaType, err error) {
	err = retry(ctx, func() error {
		resp, err := r.get(ctx, r.url("manifests", what), http.Header{"Accept": {manifestTypes}}, http.StatusOK)
		if err != nil {
			return err
		}
		defer resp.Body.Close()
		served = types.MediaType(strings.TrimSpace(strings.Split(resp.Header.Get("Content-Type"), ";")[0]))
		raw, err = readLimited(resp.Body, maxManifest)
		return err
	})
	return raw, served, registryError(err, "cannot get the manifest of %s", r.ref)
}

// document fetches a small blob whole and checks it.
func (r *registry) document(ctx context.Context, d v1.Descriptor) (raw []byte, err error) {
	err = retry(ctx, func() error {
		resp, err := r.get(ctx, r.url("blobs", d.Digest.String()), nil, http.StatusOK)
		if err != nil {
			return err
		}
		defer resp.Body.Close()
		raw, err = readLimited(resp.Body, d.Size)
		return err
	})
	if err != nil {
		return nil, registryError(err, "cannot get blob %s of %s", d.Digest, r.ref)
	}
	return raw, checkBytes(raw, d.Digest.String(), d.Size)
}

// Attempts at one thing while nothing comes of it, and the pause before the second; it doubles.
const (
	attempts   = 5
	firstPause = 200 * time.Millisecond
	maxPause   = 30 * time.Second
)

// retry repeats do while its failure may pass.
func retry(ctx context.Context, do func() error) error {
	pause := firstPause
	for n := 1; ; n++ {
		err := do()
		if err == nil || n == attempts || !temporary(err) || ctx.Err() != nil {
			return err
		}
		if err := wait(ctx, pause); err != nil {
			return err
		}
		pause *= 2
	}
}

func wait(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(min(d, maxPause))
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// temporary tells failures of the way from answers.
func temporary(err error) bool {
	var f *fault.Error
	var answer *transport.Error
	switch {
	case errors.Is(err, context.Canceled), errors.As(err, &f):
		return false
	case errors.As(err, &answer):
		return answer.Temporary() || answer.StatusCode >= 500 || answer.StatusCode == http.StatusTooManyRequests
	}
	var timeout interface{ Timeout() bool }
	return errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, io.EOF) || errors.As(err, &timeout) || isConnError(err)
}

// registryError makes a registry's answer a sentence of ours.
func registryError(err error, format string, args ...any) error {
	if err == nil {
		return nil
	}
	var answer *transport.Error
	if !errors.As(err, &answer) {
		if fault.KindOf(err) == fault.Internal && isConnError(err) {
			return &fault.Error{Kind: fault.HostDown, Text: fmt.Sprintf(format, args...) + ": " + strings.Map(printable, rootCause(err)), Err: err}
		}
		return fault.Wrap(err, format, args...)
	}
	kind, hint := fault.Internal, ""
	switch answer.StatusCode {
	case http.StatusNotFound:
		kind = fault.NotFound
	case http.StatusUnauthorized, http.StatusForbidden:
		kind, hint = fault.Denied, "docker login, or podman login --authfile ~/.docker/config.json; registries also say this of images that do not exist"
	case http.StatusTooManyRequests:
		kind = fault.Again
	default:
		if answer.StatusCode >= 500 {
			kind = fault.Again
		}
	}
	said := strconv.Itoa(answer.StatusCode) + " " + http.StatusText(answer.StatusCode)
	for _, d := range answer.Errors {
		said += ", " + short(string(d.Code)+": "+d.Message)
		break
	}
	f := fault.New(kind, "%s: the registry answers %s", fmt.Sprintf(format, args...), strings.Map(printable, said))
	if hint != "" {
		f = f.WithHint("%s", hint)
	}
	return f
}

// rootCause is what the network said: the errors around it repeat the address for every scheme that was tried.
func rootCause(err error) string {
	var op *net.OpError
	if errors.As(err, &op) {
		return op.Error()
	}
	return err.Error()
}

// printable keeps a registry's words from moving the reader's cursor.
func printable(r rune) rune {
	if r < ' ' || r == 0x7f || r >= 0x80 && r < 0xa0 {
		return '?'
	}
	return r
}
