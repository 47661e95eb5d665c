package main

import (
	"bytes"
	"io"
	"sync"
)

// logRing passes the log on and keeps its end for /cc/log.
type logRing struct {
	out io.Writer
	max int

	mu  sync.Mutex
	end []byte
}

func (l *logRing) Write(p []byte) (int, error) {
	l.mu.Lock()
	l.end = append(l.end, p...)
	if n := len(l.end) - l.max; n > l.max { // cut rarely, at a line
		cut := n + bytes.IndexByte(l.end[n:], '\n') + 1
		l.end = append([]byte(nil), l.end[cut:]...)
	}
	l.mu.Unlock()
	return l.out.Write(p)
}

// tail returns the last lines, at most max bytes of them.
func (l *logRing) tail() ([]byte, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	end := l.end
	if n := len(end) - l.max; n > 0 {
		end = end[n+bytes.IndexByte(end[n:], '\n')+1:]
	}
	return bytes.Clone(end), nil
}
