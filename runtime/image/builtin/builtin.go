// Package builtin carries the userland of the image `builtin`: u-root's commands and a shell, built from
// source by gen and embedded.
package builtin

import (
	"runtime"

	"github.com/containercloud/cc/fault"
)

// Tar returns the root file system, a tar compressed by zstd. Without `make builtin` before the build there is none.
func Tar() ([]byte, error) {
	raw, err := files.ReadFile("builtin_" + runtime.GOARCH + ".tar.zst")
	if err != nil {
		return nil, fault.New(fault.NotFound, "this daemon was built without the image builtin").WithHint("make build")
	}
	return raw, nil
}
