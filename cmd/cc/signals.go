package main

import (
	"os"
	"os/signal"
	"syscall"

	"golang.org/x/sys/unix"
)

// signals hands what cc receives to the program it is attached to.
type signals struct{ c chan os.Signal }

// catchSignals begins to hold signals back: one that comes while the container is being made reaches it as
// soon as it is there.
func catchSignals() *signals {
	s := &signals{c: make(chan os.Signal, 16)}
	signal.Notify(s.c, syscall.SIGHUP, syscall.SIGINT, syscall.SIGQUIT, syscall.SIGTERM, syscall.SIGUSR1,
		syscall.SIGUSR2, syscall.SIGALRM, syscall.SIGCONT, syscall.SIGWINCH, syscall.SIGPIPE)
	return s
}

func (s *signals) stop() {
	if s != nil {
		signal.Stop(s.c)
	}
}

// forward carries signals to the program until cc ends.
//
//	Ctrl-C  1st: INT to the program   2nd: KILL   3rd: cc leaves it running
func (s *signals) forward(a *attachment, tty bool) {
	if s == nil {
		return
	}
	go func() {
		interrupts := 0
		for sig := range s.c {
			switch sig {
			case syscall.SIGWINCH:
				if tty && a.c.inTTY {
					_ = a.tell("resize " + termSize(a.c.fds[0]))
				}
				continue
			case syscall.SIGCONT:
				continue // cc was stopped, not the program
			case syscall.SIGPIPE:
				continue // the write that met it failed with EPIPE
			case syscall.SIGINT:
				if interrupts++; interrupts == 2 {
					a.c.note("killing %s; Ctrl-C again leaves it alone", a.name)
					sig = syscall.SIGKILL
				} else if interrupts > 2 {
					a.c.note("%s is left as it is", a.name)
					os.Exit(exitInterrupted)
				}
			}
			_ = a.tell("signal " + unix.SignalName(sig.(syscall.Signal))[len("SIG"):])
		}
	}()
}
