package wire

// Stream is one of the two outputs of a process.
type Stream uint8

// The streams, numbered as their descriptors.
const (
	Stdout Stream = 1
	Stderr Stream = 2
)

// Policy is how a log is bounded. Its meaning stands in package drain.
type Policy struct {
	Max    int64
	Block  bool
	Direct bool
}

func (p Policy) put(e *Encoder) { e.I64(p.Max); e.Bool(p.Block); e.Bool(p.Direct) }

func (d *Decoder) policy() Policy {
	p := Policy{Max: d.I64(), Block: d.Bool(), Direct: d.Bool()}
	if p.Max < 0 {
		d.bad = true
	}
	return p
}

// Hello opens a connection, both ways.
//
//	request: the client's version, and whether it wants Exit messages
//	answer:  the keeper's version, pid, and the tag it was started with
type Hello struct {
	Version uint16
	PID     uint32
	Tag     string
	Events  bool
}

func (m Hello) Encode() []byte {
	var e Encoder
	e.U16(m.Version)
	e.U32(m.PID)
	e.Str(m.Tag)
	e.Bool(m.Events)
	return e.B
}

func DecodeHello(b []byte) (m Hello, err error) {
	d := NewDecoder(b)
	m = Hello{d.U16(), d.U32(), d.Str(MaxText), d.Bool()}
	return m, d.Done()
}

// Text is a request that is one string: Upgrade (a tag), Fetch and Hold (a key), Drop (a prefix), Forget and
// Export (an id), List and Holds (the name after which to go on).
type Text struct{ S string }

func (m Text) Encode() []byte {
	var e Encoder
	e.Str(m.S)
	return e.B
}

func DecodeText(b []byte) (m Text, err error) {
	d := NewDecoder(b)
	m.S = d.Str(MaxText)
	return m, d.Done()
}

// Failure is the body of an answer with Failed.
type Failure struct {
	Errno uint32
	Text  string
}

func (m Failure) Encode() []byte {
	var e Encoder
	e.U32(m.Errno)
	e.Str(m.Text[:min(len(m.Text), MaxText)])
	return e.B
}

func DecodeFailure(b []byte) (m Failure, err error) {
	d := NewDecoder(b)
	m = Failure{d.U32(), d.Str(MaxText)}
	return m, d.Done()
}

// Spawn starts a process. Files: the socket, and with Cgroup the cgroup directory. The answer is a Number, the
// pid, with the pidfd.
type Spawn struct {
	ID     string
	Flags  uint64
	Base   uint32
	Size   uint32
	Cgroup bool
}

func (m Spawn) Encode() []byte {
	var e Encoder
	e.Str(m.ID)
	e.U64(m.Flags)
	e.U32(m.Base)
	e.U32(m.Size)
	e.Bool(m.Cgroup)
	return e.B
}

func DecodeSpawn(b []byte) (m Spawn, err error) {
	d := NewDecoder(b)
	m = Spawn{d.ID(), d.U64(), d.U32(), d.U32(), d.Bool()}
	return m, d.Done()
}

// Watch names a process that somebody else started, and says at once what it is when Adopt.ID is not
// empty (Adopt.From is not used). Files: its pidfd, then those of Adopt.
type Watch struct {
	ID    string
	PID   uint32
	Adopt Adopt
}

func (m Watch) Encode() []byte {
	var e Encoder
	e.Str(m.ID)
	e.U32(m.PID)
	e.Bool(m.Adopt.ID != "")
	if m.Adopt.ID != "" {
		e.B = append(e.B, m.Adopt.Encode()...)
	}
	return e.B
}

func DecodeWatch(b []byte) (m Watch, err error) {
	d := NewDecoder(b)
	m.ID, m.PID = d.ID(), d.U32()
	if d.Bool() {
		m.Adopt, err = DecodeAdopt(d.b)
		if err == nil && m.Adopt.ID != m.ID {
			err = ErrMalformed
		}
		d.b = nil
	}
	if err == nil {
		err = d.Done()
	}
	return m, err
}

// Log is one stream in an Adopt. Pipe is false for a direct log, which has none.
type Log struct {
	Stream Stream
	Pipe   bool
	Policy Policy
}

// Adopt says what a process is: From gets the name ID (when it is not empty and differs), with Keep it
// outlives ccd, and the rest of the descriptors is handed over. Files, in this order and only where said:
// the directory for the exit record, the directory for logs, a pipe per log that has one, a descriptor per
// key of Holds. It is also the answer to Export, whose files begin with the pidfd.
type Adopt struct {
	From, ID    string
	Keep        bool
	Dir, LogDir bool
	Logs        []Log
	Holds       []string
}

func (m Adopt) Encode() []byte {
	var e Encoder
	e.Str(m.From)
	e.Str(m.ID)
	e.Bool(m.Keep)
	e.Bool(m.Dir)
	e.Bool(m.LogDir)
	e.U8(uint8(len(m.Logs)))
	for _, l := range m.Logs {
		e.U8(uint8(l.Stream))
		e.Bool(l.Pipe)
		l.Policy.put(&e)
	}
	e.U8(uint8(len(m.Holds)))
	for _, k := range m.Holds {
		e.Str(k)
	}
	return e.B
}

func DecodeAdopt(b []byte) (m Adopt, err error) {
	d := NewDecoder(b)
	m.From, m.ID = d.Str(MaxID), d.ID()
	m.Keep, m.Dir, m.LogDir = d.Bool(), d.Bool(), d.Bool()
	n := int(d.U8())
	if n > 2 {
		return m, ErrMalformed
	}
	for range n {
		l := Log{Stream(d.U8()), d.Bool(), d.policy()}
		if l.Stream != Stdout && l.Stream != Stderr {
			return m, ErrMalformed
		}
		m.Logs = append(m.Logs, l)
	}
	if n = int(d.U8()); n > MaxHolds {
		return m, ErrMalformed
	}
	for range n {
		m.Holds = append(m.Holds, d.ID())
	}
	return m, d.Done()
}

// Files is how many descriptors the message says it comes with, without a pidfd.
func (m Adopt) Files() int {
	n := len(m.Holds)
	for _, l := range m.Logs {
		if l.Pipe {
			n++
		}
	}
	if m.Dir {
		n++
	}
	if m.LogDir {
		n++
	}
	return n
}

// SetPolicy changes the policy of both logs of a process.
type SetPolicy struct {
	ID     string
	Policy Policy
}

func (m SetPolicy) Encode() []byte {
	var e Encoder
	e.Str(m.ID)
	m.Policy.put(&e)
	return e.B
}

func DecodeSetPolicy(b []byte) (m SetPolicy, err error) {
	d := NewDecoder(b)
	m = SetPolicy{d.ID(), d.policy()}
	return m, d.Done()
}

// Number is a body of one number: the answer to Spawn (a pid) and the request Ack (a serial).
type Number struct{ N uint64 }

func (m Number) Encode() []byte {
	var e Encoder
	e.U64(m.N)
	return e.B
}

func DecodeNumber(b []byte) (m Number, err error) {
	d := NewDecoder(b)
	m.N = d.U64()
	return m, d.Done()
}

// Exit tells of the end of a process.
type Exit struct {
	Serial uint64
	ID     string
	PID    uint32
	Start  uint64 // start time of the process in clock ticks after boot, proc_pid_stat(5) field 22; 0 unknown
	Kept   bool
	Known  bool   // false: nobody could tell the status
	Status uint32 // as wait(2) gives it
	Time   int64  // when the keeper learned of it, ns after 1970
	User   int64  // CPU time of it and its waited-for children, us
	System int64
	MaxRSS int64 // KiB
}

func (m Exit) Encode() []byte {
	var e Encoder
	m.Put(&e)
	return e.B
}

// Put appends the message to e.
func (m Exit) Put(e *Encoder) {
	e.U64(m.Serial)
	e.Str(m.ID)
	e.U32(m.PID)
	e.U64(m.Start)
	e.Bool(m.Kept)
	e.Bool(m.Known)
	e.U32(m.Status)
	e.I64(m.Time)
	e.I64(m.User)
	e.I64(m.System)
	e.I64(m.MaxRSS)
}

// Exit takes what Put appended.
func (d *Decoder) Exit() Exit {
	return Exit{d.U64(), d.ID(), d.U32(), d.U64(), d.Bool(), d.Bool(), d.U32(), d.I64(), d.I64(), d.I64(), d.I64()}
}

func DecodeExit(b []byte) (m Exit, err error) {
	d := NewDecoder(b)
	m = d.Exit()
	return m, d.Done()
}

// State is one process in the answer to List.
type State struct {
	ID       string
	PID      uint32
	Start    uint64
	Kept     bool
	Child    bool // the keeper is its parent
	Exited   bool
	Streams  uint8 // bit 1 stdout, bit 2 stderr: logs being written
	Received int64 // bytes the logs took in
	Dropped  int64 // bytes of them thrown away because the disk was full
}

// States answers List: processes in order of id, and whether there are more.
type States struct {
	List []State
	More bool
}

func (m States) Encode() []byte {
	var e Encoder
	e.Bool(m.More)
	e.U16(uint16(len(m.List)))
	for _, s := range m.List {
		e.Str(s.ID)
		e.U32(s.PID)
		e.U64(s.Start)
		e.Bool(s.Kept)
		e.Bool(s.Child)
		e.Bool(s.Exited)
		e.U8(s.Streams)
		e.I64(s.Received)
		e.I64(s.Dropped)
	}
	return e.B
}

func DecodeStates(b []byte) (m States, err error) {
	d := NewDecoder(b)
	m.More = d.Bool()
	for range int(d.U16()) {
		if d.bad {
			break
		}
		m.List = append(m.List, State{d.ID(), d.U32(), d.U64(), d.Bool(), d.Bool(), d.Bool(), d.U8(), d.I64(), d.I64()})
	}
	return m, d.Done()
}

// Names answers Holds: keys in order, and whether there are more.
type Names struct {
	List []string
	More bool
}

func (m Names) Encode() []byte {
	var e Encoder
	e.Bool(m.More)
	e.U16(uint16(len(m.List)))
	for _, s := range m.List {
		e.Str(s)
	}
	return e.B
}

func DecodeNames(b []byte) (m Names, err error) {
	d := NewDecoder(b)
	m.More = d.Bool()
	for range int(d.U16()) {
		if d.bad {
			break
		}
		m.List = append(m.List, d.ID())
	}
	return m, d.Done()
}
