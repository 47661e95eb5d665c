package object

import "testing"

func TestMark(t *testing.T) {
	if a, b := Mark("cc"), Mark("two"); a != "cc" || b != "cc-two" {
		t.Errorf("the marks are %q and %q", a, b)
	}
}
