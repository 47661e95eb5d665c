package nft

import (
	"encoding/binary"

	"github.com/mdlayher/netlink"
	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"
)

// startWatch listens to everybody's changes of rules: `nft flush ruleset`, which many a firewall begins with,
// takes our tables too.
func (t *Table) startWatch() (err error) {
	t.watch, err = netlink.Dial(unix.NETLINK_NETFILTER, nil)
	if err != nil {
		return err
	}
	_ = t.watch.SetReadBuffer(4 << 20)
	if err := t.watch.SetBPF(notFrom(t.port)); err != nil {
		_ = t.watch.Close()
		return err
	}
	if err := t.watch.JoinGroup(unix.NFNLGRP_NFTABLES); err != nil {
		_ = t.watch.Close()
		return err
	}
	t.watchDone = make(chan struct{})
	wake := make(chan struct{}, 1)
	go func() {
		defer close(wake)
		t.listen(wake)
	}()
	go func() {
		defer close(t.watchDone)
		for range wake { // what comes meanwhile is one more round, however much it is
			t.defend()
		}
	}()
	return nil
}

// notFrom keeps the kernel from waking us for our own changes, which are many. All messages of a datagram are
// of one transaction.
func notFrom(port uint32) []bpf.RawInstruction {
	prog, err := bpf.Assemble([]bpf.Instruction{
		bpf.LoadAbsolute{Off: 12, Size: 4}, // nlmsg_pid; BPF reads big endian
		bpf.JumpIf{Cond: bpf.JumpEqual, Val: binary.BigEndian.Uint32(native(port)), SkipFalse: 1},
		bpf.RetConstant{Val: 0},
		bpf.RetConstant{Val: 1 << 20},
	})
	if err != nil {
		panic(err) // a constant program
	}
	return prog
}

func (t *Table) listen(wake chan<- struct{}) {
	for {
		msgs, err := t.watch.Receive()
		if err != nil && !isOverrun(err) {
			return // closed
		}
		if err == nil && !t.concerns(msgs) {
			continue
		}
		select {
		case wake <- struct{}{}:
		default:
		}
	}
}

// defend repairs what others broke. While nothing was Set there is nothing to defend.
func (t *Table) defend() {
	t.mu.Lock()
	defer t.mu.Unlock()
	if !t.live {
		return
	}
	switch repaired, err := t.repairLocked(); {
	case err != nil:
		t.log.Error("packet rules were changed by others and cannot be repaired", "table", t.rules.inet.Name, "error", err)
	case repaired:
		t.log.Warn("packet rules were changed by others and are repaired", "table", t.rules.inet.Name)
	}
}

// concerns reports whether one of the messages is another's change of our tables. In all of them the first
// attribute is the table's name (NFTA_TABLE_NAME, NFTA_CHAIN_TABLE, NFTA_RULE_TABLE ... are all 1).
func (t *Table) concerns(msgs []netlink.Message) bool {
	for _, m := range msgs {
		if m.Header.PID == t.port || m.Header.Type>>8 != unix.NFNL_SUBSYS_NFTABLES || m.Header.Type&0xff == unix.NFT_MSG_NEWGEN || len(m.Data) < 4 {
			continue
		}
		ad, err := netlink.NewAttributeDecoder(m.Data[4:])
		if err != nil {
			continue
		}
		for ad.Next() {
			if ad.Type() == unix.NFTA_TABLE_NAME {
				if ad.String() == t.rules.inet.Name {
					return true
				}
				break
			}
		}
	}
	return false
}
