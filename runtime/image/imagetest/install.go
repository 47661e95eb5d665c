package imagetest

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/klauspost/compress/gzip"
	"golang.org/x/sys/unix"
)

// install runs apt in an overlay over the base and makes a layer of what changed.
func (b *builder) install(ctx context.Context, base string, img debianImage, out string) error {
	work, err := os.MkdirTemp(b.dir, "install-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(work)
	for name, body := range img.files {
		p := filepath.Join(work, "files", name)
		if err := os.MkdirAll(filepath.Dir(p), 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(p, body, 0o644); err != nil {
			return err
		}
	}
	err = b.run(ctx, `cd "$1"; mkdir -p lower upper work root files; chmod 755 upper; tar -xzf "$2" -C lower
mount -t overlay overlay -o lowerdir=lower,upperdir=upper,workdir=work root
mount -t proc proc root/proc; mount -t tmpfs tmpfs root/dev; mknod -m 666 root/dev/null c 1 3; mknod -m 666 root/dev/urandom c 1 9; mknod -m 666 root/dev/random c 1 8
ln -s /proc/self/fd root/dev/fd; mkdir root/dev/shm; mkdir -p root/usr/share/man/man1
cp -L /etc/resolv.conf root/etc/resolv.conf 2>/dev/null || true
printf '#!/bin/sh\nexit 101\n' > root/usr/sbin/policy-rc.d; chmod 755 root/usr/sbin/policy-rc.d
mount -t tmpfs tmpfs root/tmp
chroot root apt-get -q -y --no-install-recommends -o APT::Sandbox::User=root -o Dpkg::Options::=--force-unsafe-io install $3
cp -a files/. root/
chroot root sh -euc "$4"
umount root/tmp root/dev root/proc
rm -rf root/usr/sbin/policy-rc.d root/var/cache/apt/* root/var/lib/apt/lists root/var/log/apt root/var/log/dpkg.log root/etc/resolv.conf
umount root`, work, base, img.packages, img.script)
	if err != nil {
		return err
	}
	f, err := os.Create(out)
	if err != nil {
		return err
	}
	defer f.Close()
	z, err := gzip.NewWriterLevel(f, gzip.BestSpeed)
	if err != nil {
		return err
	}
	w := tar.NewWriter(z)
	err = errors.Join(diff(w, filepath.Join(work, "upper")), w.Close(), z.Close())
	return errors.Join(err, f.Close())
}

// diff writes an overlay's upper directory as a layer: overlayfs's deletions become whiteouts.
func diff(w *tar.Writer, upper string) error {
	links := map[uint64]string{}
	return filepath.WalkDir(upper, func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name, err := filepath.Rel(upper, p)
		if err != nil || name == "." {
			return err
		}
		st, err := os.Lstat(p)
		if err != nil {
			return err
		}
		sys := st.Sys().(*syscall.Stat_t)
		if st.Mode()&fs.ModeCharDevice != 0 && sys.Rdev == 0 {
			return whiteout(w, filepath.Join(filepath.Dir(name), ".wh."+filepath.Base(name)))
		}
		if err := entry(w, p, name, st, sys, links); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		if d.IsDir() && attribute(p, "trusted.overlay.opaque") == "y" {
			return whiteout(w, filepath.Join(name, ".wh..wh..opq"))
		}
		return nil
	})
}

func whiteout(w *tar.Writer, name string) error {
	return w.WriteHeader(&tar.Header{Name: name, Typeflag: tar.TypeReg, Mode: 0o644})
}

func attribute(p, name string) string {
	buf := make([]byte, 256)
	n, err := unix.Lgetxattr(p, name, buf)
	if err != nil {
		return ""
	}
	return string(buf[:n])
}

func entry(w *tar.Writer, p, name string, st fs.FileInfo, sys *syscall.Stat_t, links map[uint64]string) error {
	if !st.Mode().IsRegular() && !st.IsDir() && st.Mode()&fs.ModeSymlink == 0 {
		return nil
	}
	target := ""
	if st.Mode()&fs.ModeSymlink != 0 {
		var err error
		if target, err = os.Readlink(p); err != nil {
			return err
		}
	}
	h, err := tar.FileInfoHeader(st, target)
	if err != nil {
		return err
	}
	h.Name, h.Uname, h.Gname = name, "", ""
	if st.IsDir() {
		h.Name = strings.TrimSuffix(name, "/") + "/"
	}
	if c := attribute(p, "security.capability"); c != "" {
		h.PAXRecords = map[string]string{"SCHILY.xattr.security.capability": c}
		h.Format = tar.FormatPAX
	}
	if st.Mode().IsRegular() && sys.Nlink > 1 {
		if first, ok := links[sys.Ino]; ok {
			h.Typeflag, h.Linkname, h.Size = tar.TypeLink, first, 0
			return w.WriteHeader(h)
		}
		links[sys.Ino] = name
	}
	if err := w.WriteHeader(h); err != nil || !st.Mode().IsRegular() {
		return err
	}
	f, err := os.Open(p)
	if err != nil {
		return err
	}
	defer f.Close()
	_, err = io.Copy(w, f)
	return err
}
