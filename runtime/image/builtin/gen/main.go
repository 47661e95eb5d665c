// Gen builds the userland of the image builtin: go run ./runtime/image/builtin/gen -arch amd64 -o FILE.tar.zst.
//
// u-root's busybox mode (gobusybox) puts many commands into one program, which starts slower the more packages are
// in it: every package's data is set up and paged in before main. Measured on the reference machine, echo
// takes 1.75 ms out of one program with everything but net/http, 1.23 ms out of the small one, of which
// 1.0 ms is what the Go runtime takes; so there are three programs, grouped by what they need.
package main

import (
	"archive/tar"
	"flag"
	"fmt"
	"log"
	"os"
	"path"
	"path/filepath"
	"sort"
	"time"

	"github.com/klauspost/compress/zstd"
	"github.com/u-root/gobusybox/src/pkg/bb"
	"github.com/u-root/gobusybox/src/pkg/golang"
)

func main() {
	log.SetFlags(0)
	log.SetPrefix("builtin: ")
	arch := flag.String("arch", "", "GOARCH of the userland")
	out := flag.String("o", "", "file to write")
	flag.Parse()
	if *arch == "" || *out == "" {
		log.Fatal("usage: gen -arch ARCH -o FILE.tar.zst")
	}
	if err := run(*arch, *out); err != nil {
		log.Fatal(err)
	}
}

func run(arch, out string) error {
	tmp, err := os.MkdirTemp("", "cc-builtin-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(tmp)
	var files []entry
	for _, p := range programs {
		bin := filepath.Join(tmp, p.name)
		if err := build(arch, bin, filepath.Join(tmp, p.name+"-src"), p.commands()); err != nil {
			return fmt.Errorf("cannot build %s: %w", p.name, err)
		}
		raw, err := os.ReadFile(bin)
		if err != nil {
			return err
		}
		files = append(files, entry{name: "bin/" + p.name, mode: 0o755, body: raw})
		for _, c := range p.commands() {
			files = append(files, entry{name: "bin/" + link(c), link: p.name})
		}
	}
	files = append(files, skeleton...)
	return write(out, files)
}

// quiet hides what gobusybox says about every package.
type quiet struct{}

func (quiet) Printf(string, ...any) {}
func (quiet) Print(...any)          {}

func build(arch, bin, src string, commands []string) error {
	env := golang.Default(golang.WithGOARCH(arch), golang.DisableCGO(), golang.WithBuildTag("goshsmall", "netgo", "osusergo"))
	if err := env.CompilerInit(); err != nil {
		return err
	}
	return bb.BuildBusybox(quiet{}, &bb.Opts{
		Env: env, GenSrcDir: src, CommandPaths: commands, BinaryPath: bin,
		GoBuildOpts: &golang.BuildOpts{EnableInlining: true},
	})
}

// link is the name a command is called by.
func link(pkg string) string {
	switch base := path.Base(pkg); base {
	case "gosh":
		return "sh"
	default:
		return base
	}
}

type entry struct {
	name string
	mode int64
	body []byte
	link string
	dir  bool
}

// write makes the same bytes of the same programs: fixed times and order.
func write(out string, files []entry) error {
	sort.Slice(files, func(i, j int) bool { return files[i].name < files[j].name })
	tmp := out + ".new"
	f, err := os.Create(tmp)
	if err != nil {
		return err
	}
	defer os.Remove(tmp)
	defer f.Close()
	z, err := zstd.NewWriter(f, zstd.WithEncoderLevel(zstd.SpeedBestCompression), zstd.WithEncoderConcurrency(1))
	if err != nil {
		return err
	}
	w := tar.NewWriter(z)
	for _, e := range files {
		if err := add(w, e); err != nil {
			return fmt.Errorf("%s: %w", e.name, err)
		}
	}
	if err := w.Close(); err != nil {
		return err
	}
	if err := z.Close(); err != nil {
		return err
	}
	if err := f.Close(); err != nil {
		return err
	}
	return os.Rename(tmp, out)
}

func add(w *tar.Writer, e entry) error {
	h := &tar.Header{Name: e.name, Mode: e.mode, Size: int64(len(e.body)), Typeflag: tar.TypeReg, ModTime: time.Unix(1700000000, 0)}
	switch {
	case e.dir:
		h.Typeflag = tar.TypeDir
	case e.link != "":
		h.Typeflag, h.Linkname, h.Mode = tar.TypeSymlink, e.link, 0o777
	}
	if err := w.WriteHeader(h); err != nil {
		return err
	}
	_, err := w.Write(e.body)
	return err
}
