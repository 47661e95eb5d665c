package tree

import (
	"context"
	"strconv"
	"strings"
	"sync"

	"github.com/containercloud/cc/event"
	"github.com/containercloud/cc/fault"
	"github.com/containercloud/cc/words"
)

// FormatEvent is a line of an events file: `REV TIME KIND OBJECT key=value ...`, with the object's id last.
func FormatEvent(e event.Event) string {
	ws := []string{strconv.FormatUint(e.Rev, 10), FormatTime(e.Time), e.Kind, e.Object}
	for _, f := range e.Fields {
		ws = append(ws, f.Key+"="+f.Value)
	}
	if e.ID != "" {
		ws = append(ws, "id="+e.ID)
	}
	return words.Join(ws) + "\n"
}

// eventsRow is the finite file: the last events.
func eventsRow(log *event.Log) File {
	return File{
		Name: "events", Kind: Table, Mode: 0o444, Volatile: true,
		Doc: "The last 1000 events: REV TIME KIND OBJECT key=value. REV goes on over restarts of the daemon; id= tells objects of one name apart.",
		Read: func(*Request) ([]byte, error) {
			var b strings.Builder
			list, _ := log.Since(0)
			for _, e := range list {
				b.WriteString(FormatEvent(e))
			}
			return []byte(b.String()), nil
		},
	}
}

// eventStream is live/events: of everything, or of the object whose directory it is in.
func eventStream(log *event.Log, nameOf func(*Request) string) File {
	return File{
		Name: "events", Kind: Stream, Mode: 0o666, Volatile: true, Syntax: "[since=REV] [kind=KIND] [object=PATH]",
		Doc: "Events from now on, a line each. A line written first through the same descriptor chooses: since=REV begins " +
			"behind that event, kind= and object= leave others out. `overflow N` says that N events came too fast.",
		Stream: func(r *Request) (Conn, error) {
			s := &eventConn{log: log, rev: log.Rev()}
			if nameOf != nil {
				id, _ := identity(r.Object)
				s.id, s.name = string(id), nameOf(r)
			}
			s.Conn = Records(s.next)
			return s, nil
		},
	}
}

// eventConn is one reader of events.
type eventConn struct {
	Conn
	log  *event.Log
	id   string // of the only object; "" for all
	name string // how events without an id name it

	mu           sync.Mutex
	rev          uint64
	kind, object string
}

// next blocks until there are events that the reader wants, and returns all of them.
func (s *eventConn) next(ctx context.Context, nonblock bool) ([]byte, error) {
	for {
		s.mu.Lock()
		rev := s.rev
		s.mu.Unlock()
		if nonblock && s.log.Rev() <= rev {
			return nil, fault.New(fault.NoData, "no event yet")
		}
		list, lost, err := s.log.Wait(ctx, rev)
		if err != nil {
			return nil, err
		}
		if text := s.format(list, lost); text != "" {
			return []byte(text), nil
		}
	}
}

func (s *eventConn) format(list []event.Event, lost uint64) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	var b strings.Builder
	if lost > 0 {
		b.WriteString("overflow " + strconv.FormatUint(lost, 10) + "\n")
	}
	for _, e := range list {
		s.rev = e.Rev
		if s.concerns(e) && (s.kind == "" || e.Kind == s.kind) && (s.object == "" || e.Object == s.object) {
			b.WriteString(FormatEvent(e))
		}
	}
	return b.String()
}

func (s *eventConn) concerns(e event.Event) bool {
	return s.id == "" || e.ID == s.id || e.ID == "" && e.Object == s.name
}

// Write takes the reader's choice.
func (s *eventConn) Write(_ context.Context, p []byte) (int, error) {
	m, err := words.Parse("choose " + strings.TrimSpace(string(p)))
	if err != nil {
		return 0, err
	}
	if len(m.Args) > 0 || m.HasCmd {
		return 0, fault.New(fault.Invalid, "write since=REV, kind=KIND or object=PATH")
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, o := range m.Opts {
		switch o.Key {
		case "since":
			if s.rev, err = strconv.ParseUint(o.Value, 10, 64); err != nil {
				return 0, fault.New(fault.Invalid, "since=%s is not a number", o.Value)
			}
		case "kind":
			s.kind = o.Value
		case "object":
			s.object = strings.Trim(o.Value, "/")
		default:
			return 0, fault.New(fault.Invalid, "no choice %q", o.Key)
		}
	}
	return len(p), nil
}
