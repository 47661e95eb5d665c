package main

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

var statusVerb = verb{
	name: "status", args: "[ID...]", short: "show the whole cloud, or one object",
	long: `
Without ID: failures first, then containers, networks, and pulls under way. With ID: state, last error, last events.
An ID is a container, a vpc or a host; container/web and vpc/web tell them apart.`,
	examples: []string{"cc status", "cc status web", "cc status vpc/foo --json"},
	max:      -1, objects: "any",
	run: runStatus,
}

func runStatus(c *call) error {
	if len(c.args) == 0 {
		return c.cloudStatus()
	}
	var errs []error
	var list []map[string]any
	shown := 0
	for _, arg := range c.args {
		dir, err := c.anyObject(arg)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		if c.opt.on("json") {
			list = append(list, c.statusJSON(dir))
			continue
		}
		if shown++; shown > 1 {
			c.say("")
		}
		errs = append(errs, c.objectStatus(dir))
	}
	if c.opt.on("json") {
		if err := writeJSON(c.out, map[string]any{"objects": list}); err != nil {
			return err
		}
	}
	return join(errs)
}

// objectStatus prints one object: what it is, its status, what went wrong last, what happened last.
func (c *call) objectStatus(dir string) error {
	text, err := c.tree.read(dir + "/status")
	if err != nil {
		return err
	}
	lines := [][]string{{"object", dir}, {"id", c.tree.value(dir + "/id")}}
	for _, o := range parseKeys(text) {
		value := o.Value
		if c.outTTY && (o.Key == "since" || o.Key == "started" || o.Key == "created") {
			value += " (" + ago(value) + ")"
		}
		lines = append(lines, []string{o.Key, c.safe(value, c.outTTY)})
	}
	if users := strings.Fields(c.tree.value(dir + "/usedby")); len(users) > 0 {
		lines = append(lines, []string{"usedby", strings.Join(users, " ")})
	}
	if l := lastLine(c.tree.value(dir + "/error")); l != "" {
		lines = append(lines, []string{"error", c.safe(l, c.outTTY)})
	}
	for _, e := range c.eventsOf(dir, 5) {
		lines = append(lines, []string{"event", c.safe(e, c.outTTY)})
	}
	return c.writeLines(lines)
}

func (c *call) statusJSON(dir string) map[string]any {
	m := map[string]any{"object": dir, "id": c.tree.value(dir + "/id")}
	for _, o := range c.tree.keys(dir + "/status") {
		m[o.Key] = o.Value
		switch o.Key {
		case "pid", "exit", "restarts":
			m[o.Key] = jsonValue(count, o.Value)
		}
	}
	if f, when := parseErrorLine(lastLine(c.tree.value(dir + "/error"))); f != nil {
		m["error"] = map[string]any{"time": when, "code": f.word, "message": f.text, "hint": f.hint}
	}
	m["usedby"] = strings.Fields(c.tree.value(dir + "/usedby"))
	m["events"] = c.eventsOf(dir, 5)
	return m
}

// eventsOf are the last n events of an object, `TIME KIND key=value...`. Older events of its name are another
// object's.
func (c *call) eventsOf(dir string, n int) []string {
	list := []string{}
	created, _ := time.Parse(time.RFC3339Nano, c.tree.value(dir+"/created"))
	for _, l := range tableLines(c.tree.value("events")) {
		w := fields(l, 4) // REV TIME KIND OBJECT key=value
		when, _ := time.Parse(time.RFC3339Nano, w[1])
		if w[3] == dir && !when.Before(created) {
			list = append(list, strings.TrimSpace(w[1]+" "+w[2]+" "+strings.Join(w[4:], " ")))
		}
	}
	return list[max(0, len(list)-n):]
}

// stateOrder puts what needs a person first.
var stateOrder = []string{"failed", "restarting", "creating", "stopping", "paused", "running", "exited", "defined"}

// cloudStatus prints everything on one screen.
func (c *call) cloudStatus() error {
	version, err := c.tree.read("version")
	if err != nil {
		return err
	}
	rows, err := c.containerRows()
	if err != nil {
		return err
	}
	slices.SortStableFunc(rows, func(a, b containerRow) int {
		return slices.Index(stateOrder, a.state) - slices.Index(stateOrder, b.state)
	})
	states := map[string]int{}
	t := &table{noun: "containers", columns: []column{
		{name: "name"}, {name: "state"}, {name: "since", kind: age}, {name: "image"}, {name: "vpc"}, {name: "ip"}, {name: "exit", kind: count},
	}}
	for _, r := range rows {
		states[r.state]++
		t.add(r.name, r.state, r.since, r.image, r.vpc, r.ip, r.exit)
	}
	v, err := c.vpcTable()
	if err != nil {
		return err
	}
	jobs := c.jobTable()
	if c.opt.on("json") {
		return writeJSON(c.out, map[string]any{"version": strings.TrimSpace(version), "states": states,
			"containers": t.objects(), "vpcs": v.objects(), "jobs": jobs.objects()})
	}
	c.say(summary("ccd "+strings.TrimPrefix(strings.TrimSpace(version), "ccd "), states, len(v.rows)))
	for _, one := range []*table{t, v, jobs} {
		if len(one.rows) == 0 {
			continue
		}
		if c.outTTY {
			c.say("")
		}
		if err := c.print(one); err != nil {
			return err
		}
	}
	return nil
}

func summary(version string, count map[string]int, vpcs int) string {
	var parts []string
	for _, s := range stateOrder {
		if count[s] > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", count[s], s))
		}
	}
	if len(parts) == 0 {
		parts = []string{"no containers"}
	}
	return fmt.Sprintf("%s: %s; %d vpcs", version, strings.Join(parts, ", "), vpcs)
}
