// Package logs reads the logs of containers, and makes the pipes they are written through. The writing half is
// package drain, which runs in cc-keeper; the layout of the files stands there.
//
// A View is one open of a log: its offset 0 is the byte that was the oldest when it was opened, and it stays
// that, whatever is cut off meanwhile. A Reader gives lines with their time and stream, for log.json and `--since`.
//
// No path that a container could have touched is followed: log directories are the daemon's own, and every open
// says O_NOFOLLOW all the same (CVE-2026-53489).
package logs

import "github.com/containercloud/cc/runtime/logs/drain"

// Stream is one of the two outputs of a container; its log has that name.
type Stream string

// The streams.
const (
	Stdout Stream = "stdout"
	Stderr Stream = "stderr"
)

// Policy is how a log is bounded; see drain.Policy.
type Policy = drain.Policy

// DefaultMax is how many bytes of a stream are kept when nothing else is said.
const DefaultMax = drain.DefaultMax
