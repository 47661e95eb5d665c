package boot

import (
	"encoding/binary"
	"fmt"
)

// sim runs an encoded script as ccinit does, with a function in the place of the kernel. It holds the
// program to more than ccinit itself checks: every number is of the allow-list, every pointer points into
// the area, every jump ends inside the script.
type sim struct {
	arch  string
	mem   map[uint64]uint32 // words that results went to
	msg   []byte
	calls []string
	dead  string // "exit", "fail TAG ERRNO", "exec"
}

// step answers a call; ok false stands for a call that does not return (execve, exit_group, INIT).
type step func(c call, args [6]uint64) (result int64, ok bool)

func numbers(arch string) map[uint16]call {
	m := map[uint16]call{}
	for c := range calls {
		m[call(c).nrOn(arch)] = call(c)
	}
	return m
}

func (s *sim) run(msg []byte, kernel step) error {
	s.msg = msg
	byNumber := numbers(s.arch)
	if len(msg) < headLen || len(msg) > msgMax {
		return fmt.Errorf("message of %d bytes", len(msg))
	}
	n := int(binary.LittleEndian.Uint32(msg))
	end := headLen + n*opLen
	if end > len(msg) || binary.LittleEndian.Uint32(msg[4:]) != magic {
		return fmt.Errorf("bad header")
	}
	for at := headLen; at < end; at += opLen {
		o := msg[at : at+opLen]
		c, known := byNumber[binary.LittleEndian.Uint16(o)]
		if !known {
			return fmt.Errorf("op %d: call %d is not in the list", at/opLen, binary.LittleEndian.Uint16(o))
		}
		flags, indirect := o[2], o[3]
		result := uint64(binary.LittleEndian.Uint32(o[4:]))
		skip := int(binary.LittleEndian.Uint32(o[12:]))
		if at+opLen*(1+skip) > end {
			return fmt.Errorf("op %d (%s) jumps out of the script", at/opLen, c)
		}
		var args [6]uint64
		for i := range args {
			args[i] = binary.LittleEndian.Uint64(o[16+8*i:])
			if indirect&(1<<i) != 0 {
				if err := s.inside(args[i]); err != nil {
					return err
				}
				args[i] = uint64(int64(int32(s.mem[args[i]])))
			}
		}
		if err := s.inside(result); err != nil {
			return err
		}
		s.calls = append(s.calls, c.String())
		r, returns := kernel(c, args)
		if !returns {
			s.dead = c.String()
			return nil
		}
		if s.mem == nil {
			s.mem = map[uint64]uint32{}
		}
		s.mem[result] = uint32(r)
		jumps := r < 0 && flags&jn != 0 || r == 0 && flags&jz != 0 || r > 0 && flags&jp != 0
		switch {
		case r == 0 && flags&fz != 0, r < 0 && !jumps && flags&ig == 0:
			s.dead = fmt.Sprintf("fail %#x", binary.LittleEndian.Uint32(o[8:]))
			return nil
		case jumps:
			at += opLen * skip
		}
	}
	return nil
}

// inside: an address of the registers, the received descriptors, or the message.
func (s *sim) inside(a uint64) error {
	if a >= ctrlBase && a < ctrlBase+4*maxFds || a >= regBase && a < regBase+4*256 || a >= msgBase && a+4 <= msgBase+uint64(len(s.msg)) {
		return nil
	}
	return fmt.Errorf("address %#x is outside the area", a)
}
