package linktest

import (
	"bytes"
	"net"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func htons(v uint16) uint16 { return v<<8 | v>>8 }

// packetSocket opens an AF_PACKET socket on a link of the calling thread's namespace.
func packetSocket(link string, protocol uint16) (fd, index int, err error) {
	i, err := net.InterfaceByName(link)
	if err != nil {
		return 0, 0, err
	}
	if fd, err = unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, int(htons(protocol))); err != nil {
		return 0, 0, err
	}
	return fd, i.Index, unix.Bind(fd, &unix.SockaddrLinklayer{Protocol: htons(protocol), Ifindex: i.Index})
}

// Send puts a whole frame on a link of the namespace.
func (n *NS) Send(t testing.TB, link string, frame []byte) {
	t.Helper()
	if err := n.Do(func() error { return Send(link, frame) }); err != nil {
		t.Fatal(err)
	}
}

// Send puts a whole frame on a link of the calling thread's namespace.
func Send(link string, frame []byte) error {
	fd, _, err := packetSocket(link, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	_, err = unix.Write(fd, frame)
	return err
}

// Flood puts a frame on a link of the namespace again and again, from the moment the link is there, until stop
// is set. It returns how many went out.
func (n *NS) Flood(link string, frame []byte, stop *atomic.Bool) (sent int64) {
	_ = n.Do(func() error {
		fd := -1
		for !stop.Load() {
			if fd < 0 {
				var err error
				if fd, _, err = packetSocket(link, 0); err != nil {
					fd = -1
					continue
				}
				defer unix.Close(fd)
			}
			if _, err := unix.Write(fd, frame); err == nil {
				sent++
			}
		}
		return nil
	})
	return sent
}

// Sniffer counts frames that hold a mark.
type Sniffer struct {
	name string
	mark []byte
	n    atomic.Int64
	last atomic.Pointer[[]byte]
}

// Sniff counts the frames with the mark that arrive at a link of the namespace, until the test ends.
func (n *NS) Sniff(t testing.TB, name, link string, mark []byte) *Sniffer {
	t.Helper()
	var s *Sniffer
	if err := n.Do(func() (err error) { s, err = sniff(t, name, link, mark); return err }); err != nil {
		t.Fatal(err)
	}
	return s
}

// SniffHost is Sniff in the host namespace.
func SniffHost(t testing.TB, name, link string, mark []byte) *Sniffer {
	t.Helper()
	s, err := sniff(t, name, link, mark)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func sniff(t testing.TB, name, link string, mark []byte) (*Sniffer, error) {
	fd, _, err := packetSocket(link, unix.ETH_P_ALL)
	if err != nil {
		return nil, err
	}
	tv := unix.NsecToTimeval(int64(20 * time.Millisecond))
	if err := unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &tv); err != nil {
		return nil, err
	}
	s := &Sniffer{name: name, mark: mark}
	stop, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		s.read(fd, stop)
	}()
	t.Cleanup(func() { close(stop); <-done; unix.Close(fd) })
	return s, nil
}

func (s *Sniffer) read(fd int, stop <-chan struct{}) {
	buf := make([]byte, 70000)
	for {
		select {
		case <-stop:
			return
		default:
		}
		n, from, err := unix.Recvfrom(fd, buf, 0)
		if err != nil || !bytes.Contains(buf[:n], s.mark) {
			continue
		}
		if ll, ok := from.(*unix.SockaddrLinklayer); ok && ll.Pkttype == unix.PACKET_OUTGOING {
			continue
		}
		frame := bytes.Clone(buf[:n])
		s.last.Store(&frame)
		s.n.Add(1)
	}
}

// Name is what the test calls the place.
func (s *Sniffer) Name() string { return s.name }

// Count is how many frames have come.
func (s *Sniffer) Count() int64 { return s.n.Load() }

// Wait waits until that many frames have come in all; false when they do not.
func (s *Sniffer) Wait(n int64, patience time.Duration) bool {
	for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(time.Millisecond) {
		if s.Count() >= n {
			return true
		}
	}
	return false
}
