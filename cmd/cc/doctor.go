package main

import (
	"bytes"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"time"
)

var doctorVerb = verb{
	name: "doctor", short: "look for what is wrong: mount, daemon, unit, permission",
	long: `
The checks go in this order, and the first that fails says what to do.`,
	run: runDoctor,
}

// check is one thing the doctor looked at.
type check struct {
	name, detail string
	bad          bool
	hint         string
}

func runDoctor(c *call) error {
	checks := c.tree.checkup()
	t := &table{noun: "checks", columns: []column{{name: "check"}, {name: "result"}, {name: "detail"}}}
	var first *check
	for i, one := range checks {
		result := "ok"
		if one.bad {
			result = "failed"
			if first == nil {
				first = &checks[i]
			}
		}
		t.add(one.name, result, one.detail)
	}
	if err := c.print(t); err != nil {
		return err
	}
	if first == nil {
		return nil
	}
	code := exitUnreachable
	if first.name == "permission" {
		code = exitForbidden
	}
	return failedf(code, "%s: %s", first.name, first.detail).withHint("%s", first.hint)
}

// checkup looks at the mount, the daemon, the unit and the caller's permission, in that order.
func (t *tree) checkup() []check {
	mount := t.checkMount()
	daemon := t.checkDaemon(mount.bad)
	list := []check{mount, daemon}
	if unit, ok := checkUnit(daemon.bad); ok {
		list = append(list, unit)
	}
	if !daemon.bad {
		list = append(list, t.checkPermission())
	}
	return list
}

func (t *tree) checkMount() check {
	c := check{name: "mount", bad: true, hint: startHint(t.root)}
	kind, source := mountAt(t.root)
	switch _, err := os.Stat(t.root); {
	case err != nil && !is(err, syscall.ENOTCONN, syscall.ECONNABORTED, syscall.EACCES):
		c.detail = t.root + " does not exist"
	case kind == "":
		c.detail = "nothing is mounted at " + t.root
	case !strings.HasPrefix(kind, "fuse"):
		c.detail = t.root + " is a " + kind + ", not a tree of Container Cloud"
	default:
		c.bad, c.detail = false, source+" at "+t.root
	}
	return c
}

// mountAt returns what is mounted at a directory: the last mount there is the one that shows.
func mountAt(dir string) (kind, source string) {
	text, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return "", ""
	}
	for l := range bytes.SplitSeq(text, []byte("\n")) {
		before, after, _ := strings.Cut(string(l), " - ")
		a, b := strings.Fields(before), strings.Fields(after)
		if len(a) > 4 && len(b) > 1 && a[4] == dir {
			kind, source = b[0], b[1]
		}
	}
	return kind, source
}

func (t *tree) checkDaemon(noMount bool) check {
	c := check{name: "daemon", bad: true, hint: startHint(t.root)}
	if noMount {
		c.detail = "no tree, so nobody to ask"
		return c
	}
	type answer struct {
		text string
		err  error
	}
	got := make(chan answer, 1)
	go func() {
		b, err := readAll(t.fs, "version")
		got <- answer{strings.TrimSpace(string(b)), err}
	}()
	alarm := time.NewTimer(3 * time.Second)
	defer alarm.Stop()
	select {
	case a := <-got:
		if a.err != nil {
			c.detail = "it does not answer: " + strerror(a.err, errnoOf(a.err))
			if is(a.err, syscall.ENOTCONN, syscall.ECONNABORTED) {
				c.detail = "it has ended; containers run on"
			}
			return c
		}
		c.bad, c.detail = false, "answers: "+a.text
	case <-alarm.C:
		c.detail = "it hangs: no answer within 3 seconds"
		c.hint = "journalctl -u ccd"
	}
	return c
}

// checkUnit asks systemd, where there is one and it knows the unit.
func checkUnit(daemonBad bool) (check, bool) {
	if _, err := os.Stat("/run/systemd/system"); err != nil {
		return check{}, false
	}
	out, err := exec.Command("systemctl", "is-active", "ccd").Output()
	state := strings.TrimSpace(string(out))
	if state == "" && err != nil || !hasUnit() {
		return check{}, false
	}
	return check{name: "unit", detail: "ccd.service is " + state, bad: daemonBad && state != "active", hint: "systemctl start ccd"}, true
}

func hasUnit() bool {
	for _, dir := range []string{"/etc/systemd/system", "/usr/local/lib/systemd/system", "/usr/lib/systemd/system", "/lib/systemd/system"} {
		if _, err := os.Stat(dir + "/ccd.service"); err == nil {
			return true
		}
	}
	return false
}

func (t *tree) checkPermission() check {
	dir := t.root + "/container"
	c := check{name: "permission", hint: "run cc as root, or have root allow it: chgrp GROUP " + dir + " " + dir + "/ctl " + dir + "/new"}
	who := strings.Join(strings.Fields(t.value("self/whoami")), " ")
	f, err := t.fs.Open("container/ctl", syscall.O_RDWR)
	if err != nil {
		c.bad, c.detail = true, "you may not make containers: "+strerror(err, errnoOf(err))
		return c
	}
	_ = f.Close()
	c.detail = "you may make containers"
	if who != "" {
		c.detail += " (" + who + ")"
	}
	return c
}

func startHint(root string) string {
	if hasUnit() {
		return "systemctl start ccd"
	}
	if root != "/cc" {
		return "ccd --mount " + root
	}
	return "make up in the source directory, or ccd"
}

// diagnose is the failure when no tree answers: one sentence, one command.
func (t *tree) diagnose(no syscall.Errno) error {
	for _, c := range t.checkup() {
		if c.bad && c.name != "permission" {
			return (&failure{code: exitUnreachable, errno: no, text: "no daemon answers: " + c.detail}).withHint("%s", c.hint)
		}
	}
	return &failure{code: exitUnreachable, errno: no, text: "the daemon went away and is back; the last operation did not happen"}
}
