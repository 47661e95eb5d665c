package link

import (
	"errors"
	"fmt"

	"golang.org/x/sys/unix"

	"github.com/containercloud/cc/fault"
)

// socket is one rtnetlink socket. The kernel does what a message asks before sendto(2) returns, so the
// answers lie ready: nothing here waits but for the kernel's own lock. One user at a time.
//
// Only what every start of a container waits for is written by hand: github.com/vishvananda/netlink, which does all
// else here, sends several messages and look-ups for what is one message or one batch, and moves a link where this
// makes it in place, which costs 10 to 30 ms.
type socket struct {
	fd  int
	seq uint32
	buf []byte
}

// openSocket opens a socket in the calling thread's network namespace.
func openSocket() (*socket, error) {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.NETLINK_ROUTE)
	if err != nil {
		return nil, fault.Wrap(err, "cannot open a netlink socket")
	}
	// Sentences instead of bare numbers (extended acknowledgements), without the request sent back.
	_ = unix.SetsockoptInt(fd, unix.SOL_NETLINK, unix.NETLINK_EXT_ACK, 1)
	_ = unix.SetsockoptInt(fd, unix.SOL_NETLINK, unix.NETLINK_CAP_ACK, 1)
	_ = unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &unix.Timeval{Sec: 30})
	return &socket{fd: fd, buf: make([]byte, 8<<10)}, nil
}

func (s *socket) close() { _ = unix.Close(s.fd) }

// do sends all messages at once and waits for all answers. The kernel goes on after one that fails; the
// first error is returned.
func (s *socket) do(msgs ...*message) error {
	var out []byte
	first := s.seq + 1
	for _, m := range msgs {
		s.seq++
		ne.PutUint16(m.b[6:], ne.Uint16(m.b[6:])|unix.NLM_F_ACK)
		out = append(out, m.finish(s.seq)...)
	}
	if err := s.send(out); err != nil {
		return err
	}
	errs := make([]error, len(msgs))
	for left := len(msgs); left > 0; {
		err := s.receive(func(typ uint16, seq uint32, body []byte) error {
			if i := int(seq - first); i >= 0 && i < len(msgs) && typ == unix.NLMSG_ERROR {
				errs[i] = ackError(msgs[i].what, body)
				left--
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

// find asks for one link, by index or, when that is 0, by name, and returns its index. The kernel brings its carrier up
// to date for the answer (since 6.8) and not up to a second later.
func (s *socket) find(name string, by int) (index int, err error) {
	m := newMessage("find link "+name, unix.RTM_GETLINK, 0, ifinfomsg(by, 0, 0))
	m.u32(unix.IFLA_EXT_MASK, skipStats)
	if by == 0 {
		m.str(unix.IFLA_IFNAME, name)
	}
	s.seq++
	if err := s.send(m.finish(s.seq)); err != nil {
		return 0, err
	}
	for index == 0 && err == nil {
		err = s.receive(func(typ uint16, seq uint32, body []byte) error {
			switch {
			case seq != s.seq:
			case typ == unix.NLMSG_ERROR:
				return ackError(m.what, body)
			case len(body) >= unix.SizeofIfInfomsg:
				index = int(int32(ne.Uint32(body[4:])))
			}
			return nil
		})
	}
	if errors.Is(err, unix.ENODEV) {
		err = fault.New(fault.NotFound, "no link %s", name)
	}
	return index, err
}

// skipStats is RTEXT_FILTER_SKIP_STATS of linux/rtnetlink.h.
const skipStats = 1 << 3

func (s *socket) send(b []byte) error {
	for {
		err := unix.Sendto(s.fd, b, 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK})
		if !errors.Is(err, unix.EINTR) {
			return err
		}
	}
}

// receive reads one datagram and hands its messages to fn; the first error of fn is returned after the last.
func (s *socket) receive(fn func(typ uint16, seq uint32, body []byte) error) (first error) {
	n, _, err := unix.Recvfrom(s.fd, s.buf, 0)
	for errors.Is(err, unix.EINTR) {
		n, _, err = unix.Recvfrom(s.fd, s.buf, 0)
	}
	if err != nil {
		return fmt.Errorf("netlink: %w", err)
	}
	for b := s.buf[:n]; len(b) >= nlHeader; {
		l := int(ne.Uint32(b))
		if l < nlHeader || l > len(b) {
			return fault.New(fault.Internal, "netlink: a message of %d bytes in %d", l, len(b))
		}
		if err := fn(ne.Uint16(b[4:]), ne.Uint32(b[8:]), b[nlHeader:l]); err != nil && first == nil {
			first = err
		}
		b = b[min((l+3)&^3, len(b)):]
	}
	return first
}

// ackError reads struct nlmsgerr: the errno and, behind the header, the kernel's sentence.
func ackError(what string, body []byte) error {
	if len(body) < 4 {
		return fault.New(fault.Internal, "cannot %s: short answer", what)
	}
	no := -int32(ne.Uint32(body))
	if no == 0 {
		return nil
	}
	text := ""
	if len(body) > 4+nlHeader {
		for typ, v := range attrs(body[4+nlHeader:]) {
			if typ == unix.NLMSGERR_ATTR_MSG {
				text = " (" + cstring(v) + ")"
			}
		}
	}
	return fmt.Errorf("cannot %s: %w%s", what, unix.Errno(no), text)
}
