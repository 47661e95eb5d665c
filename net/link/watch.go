package link

import (
	"encoding/binary"
	"errors"

	"github.com/mdlayher/netlink"
	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"

	"github.com/containercloud/cc/fault"
)

// Watch calls gone for every link that leaves the host, whoever removed it, until stop is called; stop returns
// when no call runs any more. lost says that the kernel had more to tell than there was room for.
func (h *Host) Watch(gone func(name string), lost func()) (stop func() error, err error) {
	c, err := netlink.Dial(unix.NETLINK_ROUTE, &netlink.Config{Groups: unix.RTMGRP_LINK})
	if err != nil {
		return nil, fault.Wrap(err, "cannot watch links")
	}
	_ = c.SetReadBuffer(1 << 20)
	if err := c.SetBPF(onlyDeletions()); err != nil {
		return nil, errors.Join(fault.Wrap(err, "cannot watch links"), c.Close())
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			msgs, err := c.Receive()
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
					gone(parseLink(m.Data).Name)
				}
			}
		}
	}()
	return func() error {
		err := c.Close()
		<-done
		return err
	}, nil
}

// onlyDeletions keeps the kernel from waking us for the ten messages that each new veth makes.
func onlyDeletions() []bpf.RawInstruction {
	var typ [2]byte
	ne.PutUint16(typ[:], unix.RTM_DELLINK)
	prog, err := bpf.Assemble([]bpf.Instruction{
		bpf.LoadAbsolute{Off: 4, Size: 2}, // nlmsg_type; BPF reads big endian
		bpf.JumpIf{Cond: bpf.JumpEqual, Val: uint32(binary.BigEndian.Uint16(typ[:])), SkipFalse: 1},
		bpf.RetConstant{Val: 1 << 20},
		bpf.RetConstant{Val: 0},
	})
	if err != nil {
		panic(err) // a constant program
	}
	return prog
}
