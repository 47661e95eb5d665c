package link

import (
	"encoding/binary"
	"errors"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"

	"github.com/containercloud/cc/fault"
)

// Watch calls gone for every link that leaves the host, whoever removed it, until stop is called; stop returns
// when no call runs any more. lost says that the kernel had more to tell than there was room for.
func (h *Host) Watch(gone func(name string), lost func()) (stop func() error, err error) {
	c, err := nl.Subscribe(unix.NETLINK_ROUTE, unix.RTNLGRP_LINK)
	if err != nil {
		return nil, fault.Wrap(err, "cannot watch links")
	}
	_ = c.SetReceiveBufferSize(1<<20, true)
	prog := onlyDeletions()
	if err := unix.SetsockoptSockFprog(c.GetFd(), unix.SOL_SOCKET, unix.SO_ATTACH_FILTER, &unix.SockFprog{
		Len: uint16(len(prog)), Filter: &prog[0],
	}); err != nil {
		c.Close()
		return nil, fault.Wrap(err, "cannot watch links")
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			msgs, _, err := c.Receive()
			if errors.Is(err, unix.ENOBUFS) {
				lost()
				continue
			}
			if err != nil {
				return // closed
			}
			for _, m := range msgs {
				// The family AF_BRIDGE tells of ports that leave a bridge.
				if m.Header.Type == unix.RTM_DELLINK && len(m.Data) > 0 && m.Data[0] == unix.AF_UNSPEC {
					if l, err := netlink.LinkDeserialize(nil, m.Data); err == nil {
						gone(l.Attrs().Name)
					}
				}
			}
		}
	}()
	return func() error {
		c.Close()
		<-done
		return nil
	}, nil
}

// onlyDeletions keeps the kernel from waking us for the ten messages that each new veth makes. The library's
// LinkSubscribe could neither filter nor go on after an overflow.
func onlyDeletions() []unix.SockFilter {
	var typ [2]byte
	ne.PutUint16(typ[:], unix.RTM_DELLINK)
	return []unix.SockFilter{
		{Code: unix.BPF_LD | unix.BPF_H | unix.BPF_ABS, K: 4}, // nlmsg_type; BPF reads big endian
		{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, K: uint32(binary.BigEndian.Uint16(typ[:])), Jf: 1},
		{Code: unix.BPF_RET | unix.BPF_K, K: 1 << 20},
		{Code: unix.BPF_RET | unix.BPF_K, K: 0},
	}
}
