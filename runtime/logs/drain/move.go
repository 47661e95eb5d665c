package drain

import (
	"time"

	"golang.org/x/sys/unix"
)

// move takes one pipeful into the file, and cuts the head before when it would become too much. EAGAIN: the pipe is empty.
// ENOSPC: a blocking policy waits for the disk. EBUSY: a blocking policy waits for room. Everything
// else is dealt with here.
func (s *Stream) move(now time.Time) (int64, error) {
	n, err := s.room()
	if err != nil {
		return 0, err
	}
	off := s.end - s.header.Base
	n, err = s.copy(off, int(n))
	switch {
	case err == nil && n == 0:
		s.endPipe()
		return 0, nil
	case err == nil:
		s.took(now, n)
		return n, nil
	case err == unix.EAGAIN:
		return 0, err
	case s.policy.Load().Block:
		return 0, unix.ENOSPC
	}
	return s.makeDo(now)
}

// room returns how many bytes may be moved now.
func (s *Stream) room() (int64, error) {
	p := s.policy.Load()
	limit := p.max()
	n := min(pipeSize, limit/4)
	left := limit - (s.end - s.header.Head)
	if left < n {
		if p.Block {
			if n = left; n <= 0 {
				return 0, unix.EBUSY
			}
		} else if waiting, err := unix.IoctlGetInt(s.pipe, unix.TIOCINQ); err == nil {
			n = min(n, max(int64(waiting), 1))
			s.bound(n)
		}
	}
	if s.end-s.header.Base+n > s.limit {
		s.roll(s.end - min(s.end-s.header.Head, limit/2))
	}
	return n, nil
}

// makeDo is for a file that takes no more, the disk being full: give up the older half of what this log keeps, and if that
// does not help, what is in the pipe. A container never waits for a disk.
func (s *Stream) makeDo(now time.Time) (int64, error) {
	if kept := s.end - s.header.Head; kept > 64<<10 && s.cutAt(s.lineAfter(s.end-kept/2)) == nil {
		off := s.end - s.header.Base
		if n, err := s.copy(off, int(min(pipeSize, s.policy.Load().max()/4))); err == nil && n > 0 {
			s.took(now, n)
			return n, nil
		}
	}
	n := s.discard()
	if n < 0 {
		return 0, unix.EAGAIN
	}
	return n, nil
}

// discard throws away what is in the pipe: the number of bytes, 0 at its end, -1 when it is empty.
func (s *Stream) discard() int64 {
	null, err := unix.Open(nullPath, unix.O_WRONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return -1
	}
	defer unix.Close(null)
	var n int64
	if s.terminal {
		n, err = s.read(nil, 0, 64<<10)
	} else {
		n, err = splice(s.pipe, null, nil, pipeSize)
	}
	if err != nil {
		return -1
	}
	if n == 0 {
		s.endPipe()
		return 0
	}
	s.received.Add(n)
	s.dropped.Add(n)
	s.header.Received += n
	s.header.Dropped += n
	s.writeHeader()
	return n
}

// copy moves up to n bytes to an offset of the file.
func (s *Stream) copy(off int64, n int) (int64, error) {
	if s.terminal {
		return s.read(&off, s.file, n)
	}
	return splice(s.pipe, s.file, &off, n)
}

// read is splice for the master of a terminal, which is no pipe. Its end is EIO, when nobody has the terminal open any
// more. What was read and cannot be written is dropped.
func (s *Stream) read(off *int64, to, n int) (int64, error) {
	var space [16 << 10]byte
	var got int
	var err error
	for {
		if got, err = unix.Read(s.pipe, space[:min(n, len(space))]); err != unix.EINTR {
			break
		}
	}
	if err == unix.EIO {
		return 0, nil
	}
	if err != nil || got == 0 || off == nil {
		return int64(got), err
	}
	for b := space[:got]; len(b) > 0; {
		w, err := unix.Pwrite(to, b, *off)
		if err != nil {
			s.received.Add(int64(len(b)))
			s.dropped.Add(int64(len(b)))
			s.header.Received += int64(len(b))
			s.header.Dropped += int64(len(b))
			got -= len(b)
			s.writeHeader()
			break
		}
		b = b[w:]
		*off += int64(w)
	}
	if got == 0 {
		return 0, unix.EAGAIN
	}
	return int64(got), nil
}

func splice(from, to int, off *int64, n int) (int64, error) {
	for {
		got, err := unix.Splice(from, nil, to, off, n, unix.SPLICE_F_NONBLOCK|unix.SPLICE_F_MOVE)
		if err != unix.EINTR {
			return got, err
		}
	}
}

// took notes n new bytes.
func (s *Stream) took(now time.Time, n int64) {
	start := s.end
	s.end += n
	s.received.Add(n)
	s.header.Received += n
	s.mark(Record{start, now.UnixNano()})
}

// mark appends a record unless the last one says nearly the same.
func (s *Stream) mark(r Record) {
	if s.records > s.header.First && r.Time-s.last.Time < int64(every) && r.Offset-s.last.Offset < apart {
		return
	}
	r.Time = max(r.Time, s.last.Time) // the clock may be set back, the index stays in order
	if n, err := unix.Pwrite(s.index, r.encode(), Records+s.records*RecordSize); err != nil || n != RecordSize {
		return // a full disk costs precision, nothing else
	}
	s.last = r
	s.records++
}

// bound drops the oldest quarter when more than Max would be kept with n more bytes.
func (s *Stream) bound(n int64) {
	p := s.policy.Load()
	if p.Block || s.end-s.header.Head+n <= p.max() || s.noPunch && p.Direct {
		return
	}
	keep := p.max() - p.max()/4
	if s.noPunch {
		keep = p.max() / 2
	}
	s.cutAt(s.lineAfter(s.end - keep))
}

// lookAtFile is the step of a direct log: see how far it has grown, and look again the sooner the more it did.
func (s *Stream) lookAtFile(now time.Time) {
	var st unix.Stat_t
	if err := unix.Fstat(s.file, &st); err != nil {
		return
	}
	end := s.header.Base + st.Size
	switch {
	case end < s.end: // truncated by its writer
		s.end = end
		s.header.Head = min(s.header.Head, end)
		s.header.Cuts++
		s.writeHeader()
	case end > s.end:
		s.idle = every
		s.took(now, end-s.end)
		s.bound(0)
	default:
		s.idle = min(max(2*s.idle, every), 50*every)
	}
	s.worker.rest(s, now.Add(s.idle))
}
