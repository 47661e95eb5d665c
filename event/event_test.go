package event

import (
	"context"
	"testing"
	"time"
)

func TestRingForgetsTheOldest(t *testing.T) {
	var l Log
	for range Max + 5 {
		l.Add("created", "vpc/a", "")
	}
	got, lost := l.Since(2)
	if len(got) != Max || got[0].Rev != 6 || lost != 3 {
		t.Errorf("%d events from %d, %d lost", len(got), got[0].Rev, lost)
	}
}

// The numbers of the next daemon are above those of the one before, even if that was killed.
func TestResume(t *testing.T) {
	var kept uint64
	saved := make(chan uint64, 10)
	var l Log
	l.Resume(0, func(rev uint64) { kept = rev; saved <- rev })
	<-saved
	for range 3 {
		l.Add("created", "vpc/a", "1", "signal", "", "oom", "false")
	}
	if got, _ := l.Since(2); len(got) != 1 || got[0].Rev != 3 || len(got[0].Fields) != 1 {
		t.Errorf("%+v", got)
	}
	last := l.Rev()
	l = Log{}
	l.Resume(kept, func(rev uint64) { saved <- rev })
	if next := <-saved; next <= kept {
		t.Errorf("%d is kept after %d", next, kept)
	}
	l.Add("created", "vpc/b", "")
	got, lost := l.Since(last)
	if len(got) != 1 || got[0].Rev <= last || lost != kept-last {
		t.Errorf("%+v, %d lost", got, lost)
	}
	for range Max {
		l.Add("created", "vpc/c", "")
	}
	if got, _ := l.Since(0); len(got) != Max || got[0].Rev != kept+2 || got[Max-1].Rev != kept+Max+1 {
		t.Errorf("%d events from %d", len(got), got[0].Rev)
	}
	for range block {
		l.Add("created", "vpc/d", "")
	}
	if next := <-saved; next <= l.Rev() {
		t.Errorf("%d is kept at %d", next, l.Rev())
	}
}

func TestWaitWakes(t *testing.T) {
	var l Log
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	go l.Add("started", "container/a", "", "pid", "7")
	got, _, err := l.Wait(ctx, 0)
	if err != nil || len(got) != 1 || got[0].Fields[0] != (Field{"pid", "7"}) {
		t.Fatalf("%v %v", got, err)
	}
	cancel()
	if _, _, err := l.Wait(ctx, 1); err == nil {
		t.Error("a cancelled wait must end")
	}
}
