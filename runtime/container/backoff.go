package container

import "time"

// Restarts wait 100 ms, then twice as long each time up to a minute; a run of ten seconds counts as healthy and
// begins anew. Docker's numbers; a crash loop costs a start a minute.
const (
	firstBackoff = 100 * time.Millisecond
	lastBackoff  = time.Minute
	healthyRun   = 10 * time.Second
)

// backoff counts the restarts in a row.
type backoff struct{ inRow int }

// again is the wait of a restart that was counted already.
func (b *backoff) again() time.Duration {
	b.inRow = max(b.inRow-1, 0)
	return b.next(0)
}

// next is the wait before the restart that follows a run of length ran.
func (b *backoff) next(ran time.Duration) time.Duration {
	if ran >= healthyRun {
		b.inRow = 0
	}
	d := lastBackoff
	if b.inRow < 10 {
		d = min(firstBackoff<<b.inRow, lastBackoff)
	}
	b.inRow++
	return d
}

// again reports whether the policy asks for another run after e.
func (r Restart) again(e Exit, inRow int) bool {
	switch r.Policy {
	case Always:
		return true
	case OnFailure:
		return e.Code != 0 && (r.Limit == 0 || inRow < r.Limit)
	}
	return false
}
