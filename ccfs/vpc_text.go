package ccfs

import (
	"net"
	"net/netip"
	"strconv"
	"strings"

	"github.com/containercloud/cc/ccfs/tree"
	"github.com/containercloud/cc/fault"
	"github.com/containercloud/cc/net/vpc"
	"github.com/containercloud/cc/runtime/container"
	"github.com/containercloud/cc/words"
)

func vpcStatus(r *tree.Request) []words.Opt {
	s := theVPC(r).Status()
	var list []words.Opt
	add := func(key, value string) {
		if value != "" {
			list = append(list, words.Opt{Key: key, Value: value})
		}
	}
	add("reason", s.Reason)
	add("bridge", s.Bridge)
	add("gateway", formatAddr(s.Gateway))
	add("leases", strconv.Itoa(s.Leases))
	add("warm", strconv.Itoa(s.Warm))
	for _, n := range s.Notes {
		add("note", n)
	}
	return list
}

func vpcMetrics(r *tree.Request) ([]byte, error) {
	v := theVPC(r)
	up := 0.0
	if v.Status().State == vpc.Ready {
		up = 1
	}
	labels := [][2]string{{"vpc", v.Meta().Name}}
	return prometheus([]container.Sample{
		{Name: "cc_vpc_up", Help: "1 when the network is there.", Type: "gauge", Labels: labels, Value: up},
		{Name: "cc_vpc_leases", Help: "Addresses in use, those of warm parts too.", Type: "gauge", Labels: labels, Value: float64(len(v.Leases()))},
	}), nil
}

func formatReserve(list []vpc.Reservation) string {
	lines := make([]string, len(list))
	for i, r := range list {
		who := r.Container
		if who == "" {
			who = r.MAC.String()
		}
		lines[i] = strings.TrimSuffix(row(r.IP.String(), who), "\n")
	}
	return strings.Join(lines, "\n")
}

func parseReserve(text string) ([]vpc.Reservation, error) {
	var list []vpc.Reservation
	for _, line := range words.Lines(text) {
		w, err := words.Split(line)
		if err != nil {
			return nil, err
		}
		if len(w) != 2 {
			return nil, fault.New(fault.Invalid, "%q is not ADDRESS CONTAINER|MAC|-", line)
		}
		r := vpc.Reservation{}
		if r.IP, err = netip.ParseAddr(w[0]); err != nil {
			return nil, fault.New(fault.Invalid, "%q is no address", w[0])
		}
		if mac, err := net.ParseMAC(w[1]); err == nil {
			r.MAC = mac
		} else if w[1] != "-" {
			r.Container = w[1]
		}
		list = append(list, r)
	}
	return list, nil
}
