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
