package image

import (
	"crypto/sha256"
	"encoding/hex"
	"regexp"
	"strings"

	"github.com/google/go-containerregistry/pkg/name"

	"github.com/containercloud/cc/fault"
)

// maxRef bounds a reference: registry, 255 bytes of repository, 128 of tag, a digest.
const maxRef = 1024

// reference is a checked image name. canonical is the same for all spellings: "bb", "bb:latest",
// "docker.io/library/bb" are one image.
type reference struct {
	given     string
	canonical string
	ref       name.Reference
}

// parseRef checks a name. Nothing in it can be a path: the grammar is that of the distribution specification.
func parseRef(given string, insecure bool) (reference, error) {
	if len(given) > maxRef {
		return reference{}, fault.New(fault.Invalid, "bad image name of %d bytes", len(given))
	}
	if given == Builtin || given == Host {
		return reference{}, fault.New(fault.Fixed, "image %s is part of the daemon", given)
	}
	opts := []name.Option{name.WeakValidation}
	if insecure {
		opts = append(opts, name.Insecure)
	}
	r, err := name.ParseReference(given, opts...)
	if err != nil {
		return reference{}, fault.New(fault.Invalid, "bad image name %q: %v", given, err).
			WithHint("[REGISTRY[:PORT]/]NAME[:TAG][@sha256:DIGEST], lower case")
	}
	if h := r.Context().RegistryStr(); !host.MatchString(h) {
		return reference{}, fault.New(fault.Invalid, "bad image name %q: registry %q", given, h)
	}
	for _, c := range strings.Split(r.Context().RepositoryStr(), "/") {
		if !component.MatchString(c) { // the library lets ".." through, into the registry's URL
			return reference{}, fault.New(fault.Invalid, "bad image name %q: component %q", given, c)
		}
	}
	return reference{given, r.Name(), r}, nil
}

// CheckName refuses what can never be an image's name: what Find understands is a reference, a digest or the beginning
// of one, builtin or host.
func CheckName(given string) error {
	if _, digest := digestPrefix(given); digest || given == Builtin || given == Host {
		return nil
	}
	_, err := parseRef(given, false)
	return err
}

// host is a DNS name, an IPv4 address or an IPv6 address in brackets, with or without a port.
var host = regexp.MustCompile(`^([a-zA-Z0-9]([a-zA-Z0-9-]*[a-zA-Z0-9])?(\.[a-zA-Z0-9]([a-zA-Z0-9-]*[a-zA-Z0-9])?)*|\[[0-9a-fA-F:.]+\])(:[0-9]{1,5})?$`)

// component of a repository's name, as the distribution specification has it.
var component = regexp.MustCompile(`^[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*$`)

// key is the file name of a canonical name.
func refKey(canonical string) string {
	sum := sha256.Sum256([]byte(canonical))
	return hex.EncodeToString(sum[:])
}

var hexDigits = regexp.MustCompile(`^[0-9a-f]+$`)

// minPrefix is how many digits a digest's prefix needs; fewer are too easily a name's typo.
const minPrefix = 4

// digestPrefix returns the hex digits of "sha256:HEX" or of a bare prefix.
func digestPrefix(ref string) (string, bool) {
	h := strings.TrimPrefix(ref, "sha256:")
	if len(h) < minPrefix || len(h) > 64 || !hexDigits.MatchString(h) {
		return "", false
	}
	return h, true
}

// digest tells whether the name names content and not a place that content is put in.
func (r reference) digest() bool {
	_, ok := r.ref.(name.Digest)
	return ok
}
