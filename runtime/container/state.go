package container

import (
	"time"

	"github.com/containercloud/cc/fault"
)

// State is one word of a container's life.
//
//	         start            execve            exit 0, or no policy
//	defined ------> creating -------> running ----------------------> exited
//	                  |  ^             |  ^  |                           |
//	         fault    |  |       pause |  |  | stop          start       |
//	        +---------+  |             v  |  v               (creating)<-+
//	        v            |          paused | stopping ---exit---> exited
//	      failed         |                 |
//	        |            | back-off        | exit, and the policy says again
//	 start  |            +-- restarting <--+
//	        v                    |
//	     creating                +--stop--> exited
//
// Failed is a start that came to nothing and that no policy repeats, or a record that cannot be read.
// Every change goes through Container.toLocked, which looks it up in the table below; only adoption, before anybody can see the
// container, sets what it finds.
type State string

const (
	Defined    State = "defined"
	Creating   State = "creating"
	Running    State = "running"
	Paused     State = "paused"
	Restarting State = "restarting"
	Stopping   State = "stopping"
	Exited     State = "exited"
	Failed     State = "failed"

	// Gone is no state of a container but what Wait returns when it was deleted.
	Gone State = "gone"
)

// arrows are the legal changes: from -> to.
var arrows = map[State][]State{
	Defined:    {Creating, Failed},
	Creating:   {Running, Failed, Restarting, Exited},
	Running:    {Paused, Stopping, Restarting, Exited},
	Paused:     {Running, Stopping, Restarting, Exited},
	Restarting: {Creating, Exited, Failed},
	Stopping:   {Exited},
	Exited:     {Creating},
	Failed:     {Creating, Defined},
}

// States are all words in the order of a life.
var States = []State{Defined, Creating, Running, Paused, Restarting, Stopping, Exited, Failed}

// Can reports whether the change is legal.
func (s State) Can(to State) bool {
	for _, t := range arrows[s] {
		if t == to {
			return true
		}
	}
	return false
}

// Alive reports whether the container has processes.
func (s State) Alive() bool { return s == Running || s == Paused || s == Stopping }

// Ended reports whether the container does not run and no one is about to start it.
func (s State) Ended() bool { return s == Exited || s == Failed }

// Active reports whether the container holds resources of the host, or soon will.
func (s State) Active() bool { return s.Alive() || s == Creating || s == Restarting }

// verbs says in which states a verb of ctl is accepted.
var verbs = map[string]func(State) bool{
	"start":   func(s State) bool { return s == Defined || s.Ended() || s == Restarting },
	"stop":    func(s State) bool { return true }, // of something that does not run: done already
	"kill":    func(s State) bool { return s.Alive() || s == Restarting },
	"restart": func(s State) bool { return s != Creating },
	"pause":   func(s State) bool { return s == Running },
	"resume":  func(s State) bool { return s == Paused },
	"signal":  func(s State) bool { return s.Alive() },
	"resize":  func(s State) bool { return s.Alive() },
	"eof":     func(s State) bool { return s.Alive() },
	"delete":  func(s State) bool { return true },
}

// Legal reports whether the ctl verb is accepted in state s.
func (s State) Legal(verb string) bool {
	legal, known := verbs[verb]
	return known && legal(s)
}

// Verbs are the words of a container's ctl file in the order of the manual.
var Verbs = []string{"start", "stop", "kill", "restart", "pause", "resume", "signal", "resize", "eof", "delete"}

// change is one transition, as it goes to watchers, the journal and the log.
type change struct {
	From, To State
	Reason   string
	Time     time.Time
}

// toLocked is the one way from state to state. It wakes whoever waits; the caller tells the world (Manager.told)
// after it let go of the lock.
func (c *Container) toLocked(to State, reason string) (change, error) {
	from := c.st.State
	if !from.Can(to) {
		return change{}, fault.New(fault.Busy, "container %s is %s: it cannot become %s", c.meta.Name, from, to)
	}
	ch := change{from, to, reason, time.Now().UTC()}
	c.st.State, c.st.Reason, c.st.Since = to, reason, ch.Time
	close(c.moved)
	c.moved = make(chan struct{})
	return ch, nil
}
