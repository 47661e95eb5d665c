// Package builtin carries the userland of the image `builtin`: u-root's commands and a shell, built from
// source by gen and embedded.
package builtin

import (
	"io"
	"runtime"

	"github.com/containercloud/cc/fault"
)

// Tar opens the root file system, a tar compressed by zstd. It is read where the program lies: nothing of it is copied
// before it is asked for. Without `make builtin` before the build there is none.
func Tar() (*io.SectionReader, error) {
	f, err := files.Open("builtin_" + runtime.GOARCH + ".tar.zst")
	if err != nil {
		return nil, fault.New(fault.NotFound, "this daemon was built without the image builtin").WithHint("make build")
	}
	st, err := f.Stat()
	if err != nil {
		return nil, err
	}
	return io.NewSectionReader(f.(io.ReaderAt), 0, st.Size()), nil
}
