package vpc

import (
	"net"
	"net/netip"
	"strconv"
	"time"
)

// State is what has become of a network.
//
//	defined ──cidr set──> ready <──used or changed again── failed
//	   ^                   │ └──────the kernel refuses──────> ^
//	   └───cidr unset──────┘
//	any ──deleted──> gone
type State string

const (
	Defined State = "defined" // it has no addresses yet
	Ready   State = "ready"   // bridge and rules are there
	Failed  State = "failed"  // the kernel refused: Status.Reason
	Gone    State = "gone"
)

// Status is what a network is.
type Status struct {
	State   State
	Reason  string // of failed
	Bridge  string // the host's link; "" before there is one
	CIDR    netip.Prefix
	Gateway netip.Addr
	MTU     int
	Leases  int      // addresses that containers have
	Warm    int      // addresses that parts without a container have
	Notes   []string // what on this host may stop its packets
}

// Status is what the network is now.
func (v *VPC) Status() Status {
	v.m.mu.Lock()
	notes := v.m.notes
	v.m.mu.Unlock()
	v.mu.Lock()
	defer v.mu.Unlock()
	s := Status{State: v.state, Reason: v.reason, CIDR: v.spec.CIDR, Gateway: v.spec.Gateway, MTU: v.spec.MTU}
	if v.state == Ready {
		s.Bridge, s.Notes = v.bridge, notes
	}
	for _, l := range v.leases {
		if l.warm() {
			s.Warm++
		} else {
			s.Leases++
		}
	}
	return s
}

// setState notes a state; the log and the events tell changes.
func (v *VPC) setState(s State, reason string) {
	v.mu.Lock()
	old := v.state
	same := old == s && v.reason == reason
	v.state, v.reason = s, reason
	v.mu.Unlock()
	if same {
		return
	}
	v.m.conf.Log.Info("vpc", "name", v.name, "from", string(old), "to", string(s), "reason", reason)
	if reason != "" {
		v.m.changed(v, string(s), "reason", reason)
	} else {
		v.m.changed(v, string(s))
	}
}

// Lease is an address in use.
type Lease struct {
	IP        netip.Addr
	MAC       net.HardwareAddr
	Container string // its name; "" while the address belongs to a part without a container
	Since     time.Time
}

func formatUint(n uint64) string { return strconv.FormatUint(n, 10) }
