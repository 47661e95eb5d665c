package main

import (
	"strings"
	"testing"
)

func TestLogs(t *testing.T) {
	f := newFake()
	f.container("web", "exited")
	f.put("container/web/stdout", "one\ntwo\nthree\n")
	f.put("container/web/stderr", "")
	f.put("container/web/live/stdout", "one\ntwo\nthree\nfour\n")
	f.put("container/web/live/stderr", "")
	f.put("container/web/log.json", `{"stream":"stdout","time":"2026-01-02T03:04:05Z","line":"one"}
{"stream":"stdout","time":"2026-01-02T04:04:05Z","line":"two"}
{"stream":"stdout","time":"2026-01-02T05:04:05Z","line":"three"}
`)
	for args, want := range map[string]string{
		"":                                "one\ntwo\nthree\n",
		"-n 1":                            "three\n",
		"-n 2":                            "two\nthree\n",
		"-n 9":                            "one\ntwo\nthree\n",
		"-n 0":                            "",
		"--tail all":                      "one\ntwo\nthree\n",
		"-f":                              "one\ntwo\nthree\nfour\n",
		"-f -n 1":                         "three\nfour\n",
		"-f -n 0":                         "four\n",
		"-t -n 1":                         "2026-01-02T05:04:05.000Z three\n",
		"--since 2026-01-02T04:00:00Z":    "two\nthree\n",
		"--since 2026-01-02T04:30:00Z -f": "three\nfour\n",
	} {
		argv := append([]string{"logs"}, strings.Fields(args)...)
		if code, out, errs := f.cc(t, append(argv, "web")...); code != 0 || out != want {
			t.Errorf("logs %s: %d %q %q, want %q", args, code, out, errs, want)
		}
	}
	if code, _, _ := f.cc(t, "logs", "-n", "x", "web"); code != exitUsage {
		t.Errorf("bad number: %d", code)
	}
}

// TestLogsInOrder: short logs of both streams come in the order of their lines.
func TestLogsInOrder(t *testing.T) {
	f := newFake()
	f.container("web", "exited")
	f.put("container/web/stdout", "a\nc\n")
	f.put("container/web/stderr", "b\n")
	f.put("container/web/log.json", `{"stream":"stdout","time":"2026-01-02T03:04:05Z","line":"a"}
{"stream":"stderr","time":"2026-01-02T03:04:06Z","line":"b"}
{"stream":"stdout","time":"2026-01-02T03:04:07Z","line":"c"}
`)
	var both strings.Builder
	if code := run([]string{"logs", "web"}, strings.NewReader(""), &both, &both, func(string) FS { return f }); code != 0 || both.String() != "a\nb\nc\n" {
		t.Errorf("%d %q", code, both.String())
	}
}

// TestLogsTimed: of each stream the last lines, as text and as JSON.
func TestLogsTimed(t *testing.T) {
	f := newFake()
	f.container("web", "exited")
	f.put("container/web/stdout", "a\nc\n")
	f.put("container/web/stderr", "b\n")
	f.put("container/web/live/stdout", "a\nc\nd\nend")
	f.put("container/web/live/stderr", "b\n")
	f.put("container/web/log.json", `{"stream":"stdout","time":"2026-01-02T03:04:05Z","line":"a"}
{"stream":"stderr","time":"2026-01-02T03:04:06Z","line":"b"}
{"stream":"stdout","time":"2026-01-02T03:04:07Z","line":"c"}
`)
	if _, out, errs := f.cc(t, "logs", "-n", "1", "-t", "web"); !strings.HasSuffix(out, "Z c\n") || !strings.HasSuffix(errs, "Z b\n") {
		t.Errorf("%q %q", out, errs)
	}
	want := `{"line":"b","stream":"stderr","time":"2026-01-02T03:04:06Z","v":1}
{"line":"c","stream":"stdout","time":"2026-01-02T03:04:07Z","v":1}
`
	if _, out, errs := f.cc(t, "logs", "-n", "1", "--json", "web"); out != want || errs != "" {
		t.Errorf("%q %q", out, errs)
	}
	_, out, _ := f.cc(t, "logs", "-f", "-n", "1", "--json", "web")
	if rest, ok := strings.CutPrefix(out, want); !ok || strings.Count(rest, "\n") != 2 || !strings.Contains(rest, `{"line":"end","stream":"stdout"`) {
		t.Errorf("%q", out)
	}
}

// TestTailOverBlocks: the last lines of a log that is longer than one block.
func TestTailOverBlocks(t *testing.T) {
	f := newFake()
	f.container("web", "exited")
	long := strings.Repeat("0123456789abcdef\n", 10000)
	f.put("container/web/stdout", long+"end")
	f.put("container/web/stderr", "")
	if _, out, _ := f.cc(t, "logs", "-n", "6000", "web"); out != long[len(long)-5999*17:]+"end" {
		t.Errorf("%d bytes", len(out))
	}
}

func TestEvents(t *testing.T) {
	f := newFake()
	f.container("web", "running")
	f.put("events", "1 2026-01-02T03:04:05Z created container/web\n2 2026-01-02T03:04:06Z created vpc/foo cidr=10.1.0.0/24\n")
	f.put("live/events", "2 2026-01-02T03:04:06Z created vpc/foo cidr=10.1.0.0/24\n3 2026-01-02T03:04:07Z started container/web pid=7\n")
	if _, out, _ := f.cc(t, "events", "-f", "--since", "2026-01-01T00:00:00Z"); strings.Count(out, "\n") != 3 {
		t.Errorf("each once: %q", out)
	}
	if _, out, _ := f.cc(t, "events", "-f"); out != "" {
		t.Errorf("history without --since: %q", out)
	}
	if _, out, _ := f.cc(t, "events", "--json", "web"); out != `{"fields":{},"kind":"created","object":"container/web","rev":1,"time":"2026-01-02T03:04:05Z","v":1}`+"\n" {
		t.Errorf("json: %q", out)
	}
	if _, out, _ := f.cc(t, "events", "web"); out != "1 2026-01-02T03:04:05Z created container/web\n" {
		t.Errorf("%q", out)
	}
	if _, out, _ := f.cc(t, "status", "web"); !strings.Contains(out, "event\t2026-01-02T03:04:05Z created\n") || !strings.Contains(out, "state\trunning\n") {
		t.Errorf("%q", out)
	}
}

// TestStatusOfANewOne: what happened to an older object of the name is not its story.
func TestStatusOfANewOne(t *testing.T) {
	f := newFake()
	f.container("web", "running")
	f.put("container/web/created", "2026-01-02T03:04:06Z\n")
	f.put("events", "1 2026-01-02T03:04:05Z exited container/web\n2 2026-01-02T03:04:06Z created container/web\n")
	if _, out, _ := f.cc(t, "status", "web"); strings.Contains(out, "exited") || !strings.Contains(out, "event\t2026-01-02T03:04:06Z created\n") {
		t.Errorf("%q", out)
	}
}
