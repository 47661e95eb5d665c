package unpack

import (
	"bytes"
	"os"
	"testing"

	"github.com/containercloud/cc/runtime/image/imagetest"
)

// FuzzLayer unpacks any bytes as two layers over each other: nothing outside may change, nothing may crash, and what was
// made can be removed.
func FuzzLayer(f *testing.F) {
	file, dir, sl, hl := imagetest.File, imagetest.Dir, imagetest.Symlink, imagetest.Hardlink
	for _, es := range []entries{
		{file("a/b", "1"), dir("a"), sl("s", "../outside"), file("s/passwd", "x"), hl("h", "a/b")},
		{file("a/.wh.b", ""), file(".wh..wh..opq", ""), hl("x", "y"), sl("a", "/")},
		{file("../x", ""), file("/y", ""), dir("."), sl("lib", "usr/lib"), file("lib/x", "")},
	} {
		f.Add(imagetest.Tar(es...))
	}
	f.Add(paxHeader(map[string]string{"GNU.sparse.major": "1", "GNU.sparse.minor": "0", "GNU.sparse.realsize": "100"}))
	f.Fuzz(func(t *testing.T, raw []byte) {
		base, err := os.MkdirTemp("", "fuzz")
		if err != nil {
			t.Fatal(err)
		}
		defer func() {
			if err := os.RemoveAll(base); err != nil {
				t.Error(err)
			}
		}()
		look := canary(t, base)
		before := look()
		lower := imagetest.Tar(file("y", ""), sl("s", "../outside"), dir("a"), file("a/b", ""))
		try(t, base, Limits{Bytes: 1 << 20, Entries: 200}, lower, bytes.Clone(raw), raw)
		if after := look(); after != before {
			t.Errorf("outside changed:\n%s\nwas:\n%s", after, before)
		}
	})
}
