package words

import (
	"math"
	"math/big"
	"strconv"
	"strings"
	"time"

	"github.com/containercloud/cc/fault"
)

// Max is "max", no limit: of a size in bytes.
const Max = math.MaxInt64

// Size reads bytes: 512, 64K, 1.5G, 2GiB, 10MB (powers of 1024 all), max. Fractions of a byte are dropped.
// A number that does not fit is fault.Range.
func Size(s string) (int64, error) {
	s = strings.TrimSpace(s)
	if s == "max" {
		return Max, nil
	}
	digits := strings.TrimRight(s, "bBiIkKmMgGtTpPeE")
	shift, ok := sizeSuffix(strings.ToLower(s[len(digits):]))
	if !ok || !isDecimal(digits) {
		return 0, fault.New(fault.Invalid, "%q is not a size", s).WithHint("write 512, 64K, 1.5G or max")
	}
	n, ok := new(big.Rat).SetString(digits)
	if !ok {
		return 0, fault.New(fault.Invalid, "%q is not a size", s)
	}
	n.Mul(n, new(big.Rat).SetInt64(1<<shift))
	bytes := new(big.Int).Quo(n.Num(), n.Denom())
	if !bytes.IsInt64() {
		return 0, fault.New(fault.Range, "%q is more than %d bytes", s, int64(math.MaxInt64))
	}
	return bytes.Int64(), nil
}

// sizeSuffix returns the power of two of k, kb, kib ...
func sizeSuffix(s string) (shift uint, ok bool) {
	if s == "" || s == "b" {
		return 0, true
	}
	i := strings.IndexByte("kmgtpe", s[0])
	if i < 0 || s[1:] != "" && s[1:] != "b" && s[1:] != "i" && s[1:] != "ib" {
		return 0, false
	}
	return uint(i+1) * 10, true
}

// isDecimal accepts 12, 1.5, .5 and 5. with at most 32 characters.
func isDecimal(s string) bool {
	digits, dots := 0, 0
	for i := 0; i < len(s); i++ {
		switch {
		case '0' <= s[i] && s[i] <= '9':
			digits++
		case s[i] == '.':
			dots++
		default:
			return false
		}
	}
	return digits > 0 && dots <= 1 && len(s) <= 32
}

// FormatSize prints bytes as the tree does: plain, or max.
func FormatSize(n int64) string {
	if n == Max {
		return "max"
	}
	return strconv.FormatInt(n, 10)
}

// Duration reads 90s, 5m, 2h, 1h30m, 1.5h, 500ms, 7d, and a plain number of seconds. It is never negative.
func Duration(s string) (time.Duration, error) {
	bad := func() error {
		return fault.New(fault.Invalid, "%q is not a duration", s).WithHint("write 500ms, 90s, 5m, 2h or 7d")
	}
	t := strings.TrimSpace(s)
	if isDecimal(t) {
		t += "s"
	}
	if days, ok := strings.CutSuffix(t, "d"); ok {
		if !isDecimal(days) {
			return 0, bad()
		}
		f, err := strconv.ParseFloat(days, 64)
		if err != nil || f*24 > float64(math.MaxInt64/time.Hour) {
			return 0, fault.New(fault.Range, "%q is too long", s)
		}
		return time.Duration(f * float64(24*time.Hour)), nil
	}
	d, err := time.ParseDuration(t)
	if err != nil || d < 0 || strings.ContainsAny(t, "+-") {
		return 0, bad()
	}
	return d, nil
}

// FormatDuration prints d in the largest unit that divides it: 90s, 5m, 2h.
func FormatDuration(d time.Duration) string {
	for _, u := range []struct {
		unit time.Duration
		name string
	}{{time.Hour, "h"}, {time.Minute, "m"}, {time.Second, "s"}, {time.Millisecond, "ms"}, {time.Microsecond, "us"}} {
		if d != 0 && d%u.unit == 0 {
			return strconv.FormatInt(int64(d/u.unit), 10) + u.name
		}
	}
	if d == 0 {
		return "0s"
	}
	return strconv.FormatInt(int64(d), 10) + "ns"
}

// Switch reads on or off, and 1, 0, true, false, yes, no.
func Switch(s string) (bool, error) {
	switch strings.ToLower(strings.TrimSpace(s)) {
	case "on", "1", "true", "yes":
		return true, nil
	case "off", "0", "false", "no":
		return false, nil
	}
	return false, fault.New(fault.Invalid, "%q is neither on nor off", s)
}

// FormatSwitch prints on or off.
func FormatSwitch(on bool) string {
	if on {
		return "on"
	}
	return "off"
}
