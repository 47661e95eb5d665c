package drain

import "golang.org/x/sys/unix"

// rollAt is the length at which a file is replaced although holes work: half of ext4's 16 TiB.
const rollAt = 8 << 40

const openFlags = unix.O_CREAT | unix.O_RDWR | unix.O_NOFOLLOW | unix.O_CLOEXEC | unix.O_NONBLOCK

// open opens or makes the two files and finds where the log ends.
func open(o Options) (*Stream, error) {
	s := &Stream{name: o.Name, dir: o.Dir, pipe: o.Pipe, limit: rollAt, idle: every}
	s.policy.Store(&o.Policy)
	s.received.Store(o.Received)
	s.dropped.Store(o.Dropped)
	if o.Pipe >= 0 {
		if err := unix.SetNonblock(o.Pipe, true); err != nil {
			return nil, err
		}
		var st unix.Stat_t
		if err := unix.Fstat(o.Pipe, &st); err != nil {
			return nil, err
		}
		s.terminal = st.Mode&unix.S_IFMT == unix.S_IFCHR
	}
	var err error
	if s.file, err = openFile(o.Dir, o.Name); err != nil {
		return nil, err
	}
	if s.index, err = openFile(o.Dir, o.Name+".idx"); err != nil {
		unix.Close(s.file)
		return nil, err
	}
	if err = s.resume(); err != nil {
		unix.Close(s.file)
		unix.Close(s.index)
		return nil, err
	}
	return s, nil
}

func openFile(dir int, name string) (int, error) {
	fd, err := unix.Openat(dir, name, openFlags, 0o600)
	if err != nil {
		return -1, err
	}
	var st unix.Stat_t
	if err = unix.Fstat(fd, &st); err == nil && st.Mode&unix.S_IFMT != unix.S_IFREG {
		err = unix.ELOOP
	}
	if err != nil {
		unix.Close(fd)
		return -1, err
	}
	return fd, nil
}

// resume reads the header and continues where the file ends. A header that is missing, damaged, or of another file is
// replaced by one that keeps all of the file.
func (s *Stream) resume() error {
	var st, ist unix.Stat_t
	if err := unix.Fstat(s.file, &st); err != nil {
		return err
	}
	if err := unix.Fstat(s.index, &ist); err != nil {
		return err
	}
	var b [HeaderSize]byte
	n, err := unix.Pread(s.index, b[:], 0)
	if err != nil {
		return err
	}
	h, ok := DecodeHeader(b[:n])
	if !ok || h.Ino != st.Ino || h.Head > h.Base+st.Size {
		h = Header{Ino: st.Ino, Base: h.Base, Head: h.Base, Cuts: h.Cuts + 1, Received: st.Size}
		if !ok {
			h.Base, h.Head, h.Cuts = 0, 0, 0
		}
		if ist.Size > 0 { // ext4 writes a file that was truncated to the disk when it is closed
			if err := unix.Ftruncate(s.index, 0); err != nil {
				return err
			}
			ist.Size = 0
		}
	}
	h.Ended = 0
	s.header = h
	s.end = h.Base + st.Size
	s.records = max(h.First, (ist.Size-Records)/RecordSize, 0)
	if s.records > h.First {
		s.last, _ = ReadRecord(s.index, s.records-1)
	}
	return s.writeHeader()
}

func (s *Stream) writeHeader() error {
	_, err := unix.Pwrite(s.index, s.header.Encode(), 0)
	return err
}

// lineAfter returns the offset after the first end of a line at or after off; off itself when there is none near.
func (s *Stream) lineAfter(off int64) int64 {
	const near = 64 << 10
	b := make([]byte, 4<<10)
	for at := max(off-1, s.header.Head); at < min(off+near, s.end); {
		n, err := unix.Pread(s.file, b, at-s.header.Base)
		if err != nil || n <= 0 {
			break
		}
		for i, c := range b[:n] {
			if c == '\n' {
				return at + int64(i) + 1
			}
		}
		at += int64(n)
	}
	return off
}

// cutAt drops everything before a log offset. Readers learn of it by the header first.
func (s *Stream) cutAt(head int64) error {
	from := s.header.Head
	if head <= from {
		return nil
	}
	if s.noPunch {
		return s.roll(head)
	}
	s.header.Head = head
	s.header.Cuts++
	oldest := s.oldestRecord(head)
	oldFirst := s.header.First
	s.header.First = oldest
	if err := s.writeHeader(); err != nil {
		return err
	}
	const block = 4096
	start := (from - s.header.Base) &^ (block - 1)
	err := punch(s.file, start, head-s.header.Base-start)
	if err == unix.EOPNOTSUPP || err == unix.ENOSYS || err == unix.EPERM {
		s.noPunch = true
		return s.roll(head)
	}
	a, z := (Records+oldFirst*RecordSize)&^(block-1), (Records+oldest*RecordSize)&^(block-1)
	if z > a {
		punch(s.index, a, z-a)
	}
	return err
}

func punch(fd int, off, n int64) error {
	for {
		err := unix.Fallocate(fd, unix.FALLOC_FL_PUNCH_HOLE|unix.FALLOC_FL_KEEP_SIZE, off, n)
		if err != unix.EINTR {
			return err
		}
	}
}

// oldestRecord is the number of the record that tells the time of a log offset.
func (s *Stream) oldestRecord(head int64) int64 {
	n, err := Find(s.index, s.header.First, s.records, func(r Record) bool { return r.Offset <= head })
	if err != nil {
		return s.header.First
	}
	return n
}
