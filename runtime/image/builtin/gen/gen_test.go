package main

import (
	"os"
	"strings"
	"testing"
)

func TestToolsNamesEveryCommand(t *testing.T) {
	raw, err := os.ReadFile("tools.go")
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range programs {
		for _, c := range p.uroot {
			if !strings.Contains(string(raw), "\t_ \"github.com/u-root/u-root/cmds/"+c+"\"\n") {
				t.Errorf("tools.go lacks %s: go mod tidy would drop what it needs", c)
			}
		}
	}
}

func TestNoCommandTwice(t *testing.T) {
	seen := map[string]bool{}
	for _, p := range programs {
		for _, c := range p.commands() {
			if seen[link(c)] {
				t.Errorf("%s twice", link(c))
			}
			seen[link(c)] = true
		}
	}
}
