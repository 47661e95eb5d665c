package container

import (
	"crypto/sha1"
	"encoding/hex"
	"strconv"
	"strings"
	"time"
)

// autoName is the name of a container nobody named: the first 8 hexadecimal digits of sha1(time + command), as
// brocker named them. try makes another one when the first is taken.
func autoName(at time.Time, args []string, try int) string {
	text := at.UTC().Format(time.RFC3339Nano) + strings.Join(args, " ")
	if try > 0 {
		text += strconv.Itoa(try)
	}
	sum := sha1.Sum([]byte(text))
	return hex.EncodeToString(sum[:4])
}
