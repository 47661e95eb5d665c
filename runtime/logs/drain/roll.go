package drain

import "golang.org/x/sys/unix"

// roll copies what comes after a log offset into new files and puts them in the place of the old. A reader that
// holds the old ones goes on reading them, and changes over when the header's Ino has changed.
func (s *Stream) roll(head int64) error {
	file, err := s.scratch("")
	if err != nil {
		return err
	}
	index, err := s.scratch(".idx")
	if err != nil {
		s.unscratch(file, "")
		return err
	}
	old, oldIndex, header, records := s.file, s.index, s.header, s.records
	if err = s.copyTo(file, index, head); err == nil {
		err = s.swap()
	}
	if err != nil {
		s.file, s.index, s.header, s.records = old, oldIndex, header, records
		s.unscratch(file, "")
		s.unscratch(index, ".idx")
		return err
	}
	unix.Close(old)
	unix.Close(oldIndex)
	return nil
}

func (s *Stream) scratch(suffix string) (int, error) {
	name := "." + s.name + suffix
	unix.Unlinkat(s.dir, name, 0)
	return unix.Openat(s.dir, name, openFlags|unix.O_EXCL, 0o600)
}

func (s *Stream) unscratch(fd int, suffix string) {
	unix.Close(fd)
	unix.Unlinkat(s.dir, "."+s.name+suffix, 0)
}

// copyTo fills the new files and makes them s's.
func (s *Stream) copyTo(file, index int, head int64) error {
	if err := copyRange(file, s.file, head-s.header.Base, s.end-head); err != nil {
		return err
	}
	var st unix.Stat_t
	if err := unix.Fstat(file, &st); err != nil {
		return err
	}
	first := s.oldestRecord(head)
	if err := copyRange(index, s.index, Records+first*RecordSize, (s.records-first)*RecordSize); err != nil {
		return err
	}
	if err := shift(index, s.records-first); err != nil {
		return err
	}
	s.file, s.index = file, index
	s.records -= first
	s.header.Ino, s.header.Base, s.header.Head, s.header.First = st.Ino, head, head, 0
	s.header.Cuts++
	return s.writeHeader()
}

// shift moves n records from the beginning of a new index to where they belong.
func shift(index int, n int64) error {
	b := make([]byte, n*RecordSize)
	if _, err := unix.Pread(index, b, 0); err != nil {
		return err
	}
	if _, err := unix.Pwrite(index, b, Records); err != nil {
		return err
	}
	_, err := unix.Pwrite(index, make([]byte, min(n*RecordSize, Records)), 0)
	return err
}

func (s *Stream) swap() error {
	if err := unix.Renameat(s.dir, "."+s.name+".idx", s.dir, s.name+".idx"); err != nil {
		return err
	}
	return unix.Renameat(s.dir, "."+s.name, s.dir, s.name)
}

// copyRange copies n bytes of src from off on to the beginning of dst.
func copyRange(dst, src int, off, n int64) error {
	b := make([]byte, min(n, 256<<10))
	for done := int64(0); done < n; {
		got, err := unix.Pread(src, b[:min(n-done, int64(len(b)))], off+done)
		if err != nil {
			return err
		}
		if got == 0 {
			return unix.EIO
		}
		for w := 0; w < got; {
			k, err := unix.Pwrite(dst, b[w:got], done+int64(w))
			if err != nil {
				return err
			}
			w += k
		}
		done += int64(got)
	}
	return nil
}
