package tests

import (
	"os"
	"os/exec"
	"regexp"
	"strings"
	"testing"
)

// TestReadme types the README's sessions as they stand, in bash and in dash as users would: the manual cannot lie.
func TestReadme(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("the README's sessions need root")
	}
	text, err := os.ReadFile("../README.md")
	if err != nil {
		t.Fatal(err)
	}
	h, err := newHost(binaries(t), t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer h.close(t)
	if err := h.start(nil); err != nil {
		t.Fatal(err)
	}
	ran := 0
	for _, block := range regexp.MustCompile("(?ms)^```sh\n(.*?)^```").FindAllStringSubmatch(string(text), -1) {
		session := block[1]
		if strings.Contains(session, "make ") { // building, testing and measuring are not part of a session
			continue
		}
		ran++
		for _, shell := range []string{"bash", "dash"} {
			cmd := exec.Command("nsenter", h.enter(shell, "-e", "-c", session)...)
			cmd.Env = append(os.Environ(), "PATH="+h.bin+":"+os.Getenv("PATH"))
			out, err := cmd.CombinedOutput()
			if err != nil {
				t.Errorf("%s: %v\n%s\nprinted:\n%s\n%s", shell, err, session, out, h.logTail())
			}
		}
	}
	if ran < 2 {
		t.Errorf("%d sessions were found in README.md", ran)
	}
}
