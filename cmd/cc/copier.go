package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"slices"
)

// copier copies a file or a tree from one root to another. What is in a container was made by the container:
// it is only ever reached through a Root, which no link leaves.
type copier struct {
	from, to    Root
	owners      bool
	inContainer bool // the target is: root owns what arrives there
	dirs        []dirDone
	skipped     []error // what could not be read, or is not ours to change: the rest is copied
}

// skip takes note of an entry that its rights keep from us, and returns every other error.
func (k *copier) skip(err error) error {
	if errors.Is(err, fs.ErrPermission) {
		k.skipped = append(k.skipped, err)
		return nil
	}
	return err
}

// dirDone is a directory whose mode and time are set when everything is in it.
type dirDone struct {
	name string
	info fs.FileInfo
}

// copyTo copies source to target, or into it when it is a directory.
func (k *copier) copyTo(source, target, base string, mustBeDir bool) error {
	info, err := k.from.Lstat(source)
	if err != nil {
		return err
	}
	if mode, err := k.to.Stat(target); err == nil && mode.IsDir() {
		target = path.Join(target, base)
	} else if mustBeDir && !info.IsDir() {
		return &fs.PathError{Op: "copy to", Path: target, Err: errors.New("no such directory")}
	}
	if err := k.copy(source, target, info); err != nil {
		return err
	}
	return k.finish()
}

// finish sets the modes and times of directories.
func (k *copier) finish() error {
	for _, d := range slices.Backward(k.dirs) { // the innermost first
		if err := k.to.Chmod(d.name, d.info.Mode()); err != nil {
			return err
		}
		if err := k.to.Touch(d.name, d.info.ModTime()); err != nil {
			return err
		}
	}
	return nil
}

func (k *copier) copy(source, target string, info fs.FileInfo) error {
	switch info.Mode().Type() {
	case fs.ModeDir:
		return k.copyDir(source, target, info)
	case fs.ModeSymlink:
		link, err := k.from.Readlink(source)
		if err != nil {
			return err
		}
		if err := k.to.Symlink(link, target); err != nil {
			return err
		}
		return k.own(target, info)
	case 0:
		return k.copyFile(source, target, info)
	}
	return nil // devices, sockets and fifos are not copied
}

func (k *copier) copyDir(source, target string, info fs.FileInfo) error {
	if err := k.mkdir(target, info); err != nil {
		return err
	}
	names, err := k.from.List(source)
	if err != nil {
		return err
	}
	for _, name := range names {
		from := path.Join(source, name)
		child, err := k.from.Lstat(from)
		if errors.Is(err, fs.ErrNotExist) {
			continue // deleted while we copied
		}
		if err != nil {
			return err
		}
		if err := k.skip(k.copy(from, path.Join(target, name), child)); err != nil {
			return err
		}
	}
	return nil
}

// mkdir makes a directory that others may not enter before it is complete.
func (k *copier) mkdir(name string, info fs.FileInfo) error {
	if err := k.to.Mkdir(name, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	k.dirs = append(k.dirs, dirDone{name, info})
	return k.own(name, info)
}

func (k *copier) copyFile(source, target string, info fs.FileInfo) error {
	in, err := k.from.Open(source)
	if err != nil {
		return err
	}
	defer in.Close()
	return k.write(in, target, info)
}

// write makes a file of a stream, with the mode, time and owner that info says.
func (k *copier) write(in io.Reader, target string, info fs.FileInfo) error {
	out, err := k.to.Create(target, 0o600)
	if err != nil {
		return err
	}
	if _, err := io.CopyBuffer(struct{ io.Writer }{out}, struct{ io.Reader }{in}, make([]byte, 256<<10)); err != nil {
		return errors.Join(err, out.Close())
	}
	if err := out.Close(); err != nil {
		return err
	}
	if err := k.own(target, info); err != nil {
		return err
	}
	if err := k.to.Chmod(target, info.Mode()); err != nil {
		return err
	}
	return k.to.Touch(target, info.ModTime())
}

// own gives a copy to whom it belongs.
func (k *copier) own(name string, info fs.FileInfo) error {
	uid, gid := 0, 0
	if k.owners {
		uid, gid = owner(info)
	} else if !k.inContainer {
		return nil // the caller's
	}
	return k.to.Chown(name, uid, gid)
}

// fail names the verb in the error of a copy, and in those of what it skipped.
func (k *copier) fail(err error) error {
	var errs []error
	for _, err := range append(k.skipped, err) {
		if err != nil {
			no := errnoOf(err)
			errs = append(errs, &failure{code: exitOf(no, ""), errno: no, text: fmt.Sprintf("cannot copy: %v", err)})
		}
	}
	return join(errs)
}
