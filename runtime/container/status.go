package container

import (
	"net/netip"
	"time"

	"github.com/containercloud/cc/object"
)

// Status is what is: a snapshot that shares nothing with the container.
type Status struct {
	State    State     `json:"state"`
	Since    time.Time `json:"since"`            // of the state
	Reason   string    `json:"reason,omitempty"` // why it failed, restarts or was stopped
	Wanted   bool      `json:"wanted,omitempty"` // a user started it and did not stop it since
	Restarts int       `json:"restarts,omitempty"`
	Started  time.Time `json:"started,omitzero"`
	Exit     *Exit     `json:"exit,omitempty"` // of the last run, if one ended

	PID    int          `json:"pid,omitempty"` // on the host; 0 when nothing runs
	Digest string       `json:"digest,omitempty"`
	IP     netip.Prefix `json:"ip,omitzero"`
	MAC    string       `json:"mac,omitempty"`
	VPC    string       `json:"vpc,omitempty"`
	Image  string       `json:"-"` // of what runs, as its spec named it at the start
	Next   []string     `json:"-"` // settings that have changed since then and count at the next start

	Warm  bool     `json:"-"`               // armed: the next start is one message
	Notes []string `json:"notes,omitempty"` // what a setting cannot do on this host, in sentences
}

// Brief is what an index shows of a container, of which it lists thousands at every stat.
type Brief struct {
	ID         object.ID
	Name       string
	Created    time.Time
	State      State
	Since      time.Time
	Restarts   int
	Exit       *Exit
	IP         netip.Prefix
	Image, VPC string   // with which it runs, whatever is set for the next start
	Args       []string // shared: not to be changed
}

// Brief copies nothing.
func (c *Container) Brief() Brief {
	c.mu.Lock()
	defer c.mu.Unlock()
	b := Brief{
		ID: c.id, Name: c.meta.Name, Created: c.meta.Created, State: c.st.State, Since: c.st.Since, Restarts: c.st.Restarts,
		Exit: c.st.Exit, IP: c.st.IP, Image: c.spec.Image, VPC: c.spec.VPC, Args: c.spec.Args,
	}
	if r := c.bodyAliveLocked(); r != nil {
		b.Image, b.VPC = r.rec.Spec.Image, c.st.VPC
	}
	return b
}

// Exit is how a run ended.
type Exit struct {
	Code   int       `json:"code"`             // exit code, or 128 + the signal's number; -1 when nobody saw it
	Signal string    `json:"signal,omitempty"` // SIGKILL ...; empty for an exit
	OOM    bool      `json:"oom,omitempty"`
	Time   time.Time `json:"time"`
}
