package main

import (
	"archive/tar"
	"errors"
	"io"
	"io/fs"
	"path"
)

// tar writes source as an archive whose names begin with its last element.
func (k *copier) tar(w io.Writer, source string) error {
	out := tar.NewWriter(w)
	base := path.Base(source)
	if base == "/" {
		base = "."
	}
	info, err := k.from.Lstat(source)
	if err == nil {
		err = k.tarOne(out, source, base, info)
	}
	return errors.Join(err, out.Close())
}

func (k *copier) tarOne(out *tar.Writer, source, name string, info fs.FileInfo) error {
	link := ""
	var err error
	switch info.Mode().Type() {
	case fs.ModeSymlink:
		if link, err = k.from.Readlink(source); err != nil {
			return err
		}
	case 0, fs.ModeDir:
	default:
		return nil
	}
	h, err := tar.FileInfoHeader(info, link)
	if err != nil {
		return err
	}
	h.Name = name
	var in io.ReadCloser
	if info.IsDir() {
		h.Name += "/"
	} else if link == "" { // before its header: an archive has no header without a file
		if in, err = k.from.Open(source); err != nil {
			return err
		}
		defer in.Close()
	}
	h.Uid, h.Gid = owner(info)
	h.Uname, h.Gname, h.Format = "", "", tar.FormatPAX
	if err := out.WriteHeader(h); err != nil || info.Mode()&fs.ModeSymlink != 0 {
		return err
	}
	if info.IsDir() {
		return k.tarDir(out, source, name)
	}
	// A file that grows or shrinks meanwhile must not break the archive.
	n, err := io.Copy(out, io.LimitReader(in, h.Size))
	if err == nil && n < h.Size {
		_, err = io.CopyN(out, zeros{}, h.Size-n)
	}
	return err
}

func (k *copier) tarDir(out *tar.Writer, source, name string) error {
	names, err := k.from.List(source)
	if err != nil {
		return err
	}
	for _, child := range names {
		at := path.Join(source, child)
		info, err := k.from.Lstat(at)
		if err != nil {
			continue
		}
		if err := k.skip(k.tarOne(out, at, path.Join(name, child), info)); err != nil {
			return err
		}
	}
	return nil
}

// zeros reads as zeros for ever.
type zeros struct{}

func (zeros) Read(p []byte) (int, error) { clear(p); return len(p), nil }

// untar unpacks an archive below target, which must be a directory.
func (k *copier) untar(r io.Reader, target string) error {
	in := tar.NewReader(r)
	for {
		h, err := in.Next()
		if err == io.EOF {
			return k.finish()
		}
		if err != nil {
			return err
		}
		name := path.Join(target, path.Clean("/"+h.Name))
		info := h.FileInfo()
		switch h.Typeflag {
		case tar.TypeDir:
			err = k.mkdir(name, info)
		case tar.TypeReg:
			err = k.write(in, name, info)
		case tar.TypeSymlink:
			if err = k.to.Symlink(h.Linkname, name); err == nil {
				err = k.own(name, info)
			}
		}
		if err != nil {
			return err
		}
	}
}
