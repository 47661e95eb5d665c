package main

import "strings"

var psVerb = verb{
	name: "ps", also: []string{"container list", "container ls", "list", "ls"}, short: "list containers",
	long: `Those that run, or with --all every one, and the exit codes of those that ended. In a pipe cells are cut by tabs,
there is no header, and an empty cell is a "-".`,
	examples: []string{"cc ps -a", "cc ps -q | xargs cc stop", "cc ps --json", "cc ps --columns name,ip"},
	flags: append([]flag{
		{long: "all", short: "a", doc: "also those that do not run"},
		{long: "label", short: "l", arg: "KEY[=VALUE]", doc: "only with this label"},
		{long: "vpc", arg: "VPC", doc: "only in this VPC", from: "vpc"},
	}, tableFlags...),
	run: runPs,
}

// containerRow is what lists show of a container.
type containerRow struct {
	name, id, state, since, image, vpc, ip, exit, restarts, created, command string
}

func runPs(c *call) error {
	rows, err := c.containerRows()
	if err != nil {
		return err
	}
	t := &table{noun: "containers", columns: []column{
		{name: "name"}, {name: "image"}, {name: "command", kind: text}, {name: "state"}, {name: "since", kind: age}, {name: "vpc"}, {name: "ip"},
		{name: "exit", kind: count, wide: !c.opt.on("all")}, {name: "restarts", kind: count, wide: true},
		{name: "created", kind: age, wide: true}, {name: "id", wide: true},
	}}
	for _, r := range rows {
		if c.listed(r) {
			t.add(r.name, r.image, r.command, r.state, r.since, r.vpc, r.ip, r.exit, r.restarts, r.created, r.id)
		}
	}
	return c.print(t)
}

// listed applies the options that choose among containers.
func (c *call) listed(r containerRow) bool {
	if !c.opt.on("all") && !running(r.state) {
		return false
	}
	if vpc := c.opt.get("vpc", r.vpc); vpc != r.vpc {
		return false
	}
	for _, l := range c.opt.list("label") {
		key, value, valued := strings.Cut(l, "=")
		labels := c.tree.keys("container/" + r.name + "/labels")
		if !labels.has(key) || valued && labels.get(key) != value {
			return false
		}
	}
	return true
}

func (k keyed) has(key string) bool {
	for _, o := range k {
		if o.Key == key {
			return true
		}
	}
	return false
}

// containerRows reads all containers.
func (c *call) containerRows() ([]containerRow, error) {
	text, err := c.tree.read("container/index")
	if err != nil {
		return nil, err
	}
	var rows []containerRow
	for _, l := range tableLines(text) {
		w := fields(l, 11) // NAME ID STATE SINCE IMAGE VPC IP EXIT RESTARTS CREATED COMMAND
		rows = append(rows, containerRow{w[0], w[1], w[2], w[3], w[4], w[5], w[6], w[7], w[8], w[9], w[10]})
	}
	return rows, nil
}
