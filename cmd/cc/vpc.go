package main

import (
	"fmt"
	"math/rand/v2"

	"github.com/containercloud/cc/words"
)

var vpcCreate = verb{
	noun: "vpc", name: "create", args: "[NAME]", short: "make a private network",
	long:     `It prints the name. Without a name, one is made.`,
	examples: []string{"cc vpc create --cidr 10.1.0.0/24 --name foo", "cc vpc create --cidr 10.2.0.0/24 --nat off --isolate on inner"},
	flags: append([]flag{
		{long: "cidr", arg: "CIDR", doc: "addresses: 10.1.0.0/24"},
		{long: "name", arg: "NAME", doc: "its name"},
		{long: "gateway", arg: "ADDRESS", doc: "this host's address in it (the first)"},
	}, vpcFlags...),
	max: 1,
	run: runVPCCreate,
}

// vpcFlags are the settings that can change while the network is in use.
var vpcFlags = []flag{
	{long: "mtu", arg: "BYTES", doc: "largest packet"},
	{long: "nat", arg: "on|off", doc: "containers reach the outside", from: "on off"},
	{long: "isolate", arg: "on|off", doc: "containers do not see each other", from: "on off"},
	{long: "label", short: "l", arg: "KEY=VALUE", doc: "label, repeatable"},
}

// vpcSettings are the options that are settings of a VPC.
var vpcSettings = []string{"cidr", "gateway", "mtu", "nat", "isolate"}

func runVPCCreate(c *call) error {
	name := c.opt.get("name", "")
	if len(c.args) == 1 {
		if name != "" && name != c.args[0] {
			return usagef("two names: %s and %s", name, c.args[0])
		}
		name = c.args[0]
	}
	if c.opt.get("cidr", "") == "" {
		return usagef("vpc create needs --cidr").withHint("cc vpc create --cidr 10.1.0.0/24 --name foo")
	}
	if name == "" {
		name = fmt.Sprintf("vpc-%08x", rand.Uint32())
	}
	name, err := c.objectName("vpc", name)
	if err != nil {
		return err
	}
	var settings []words.Opt
	for _, key := range vpcSettings {
		if v := c.opt.get(key, ""); v != "" {
			settings = append(settings, words.Opt{Key: key, Value: v})
		}
	}
	if err := c.makeVPC(name, settings, c.opt.list("label")); err != nil {
		return err
	}
	switch {
	case c.tree.dry:
	case c.opt.on("json"):
		return writeJSON(c.out, map[string]any{"name": name, "id": c.tree.value("vpc/" + name + "/id")})
	default:
		c.say(name)
	}
	return nil
}

// makeVPC makes a VPC or nothing, with these settings and labels of the form KEY=VALUE.
func (c *call) makeVPC(name string, settings []words.Opt, labels []string) error {
	m := words.Message{Verb: "create", Opts: append([]words.Opt{{Key: "name", Value: name}}, settings...)}
	for _, l := range labels {
		m.Opts = append(m.Opts, words.Opt{Key: "label", Value: l})
	}
	return c.tree.explain(c.tree.fs.WriteFile("vpc/ctl", m.String()+"\n", false), "create vpc/"+name)
}

// bare is the file system below a trace.
func bare(f FS) FS {
	if t, ok := f.(*traceFS); ok {
		return t.next
	}
	return f
}

var vpcList = verb{
	noun: "vpc", name: "list", also: []string{"vpc ls"}, short: "list private networks",
	flags: tableFlags,
	run:   runVPCList,
}

func runVPCList(c *call) error {
	t, err := c.vpcTable()
	if err != nil {
		return err
	}
	return c.print(t)
}

func (c *call) vpcTable() (*table, error) {
	text, err := c.tree.read("vpc/index")
	if err != nil {
		return nil, err
	}
	t := &table{noun: "vpcs", columns: []column{
		{name: "name"}, {name: "cidr"}, {name: "gateway"}, {name: "state"}, {name: "containers", kind: count},
		{name: "age", kind: age}, {name: "id", wide: true},
	}}
	for _, l := range tableLines(text) {
		w := fields(l, 7) // NAME ID STATE CIDR GATEWAY CONTAINERS CREATED
		t.add(w[0], w[3], w[4], w[2], w[5], w[6], w[1])
	}
	return t, nil
}

var vpcUpdate = verb{
	noun: "vpc", name: "update", args: "ID", short: "change settings of a private network",
	long:     `Several settings change together or not at all. cidr and gateway are fixed.`,
	examples: []string{"cc vpc update --nat off --isolate on foo"},
	flags:    vpcFlags,
	min:      1, max: 1, objects: "vpc",
	run: func(c *call) error {
		dir, err := c.object("vpc", c.args[0])
		if err != nil {
			return err
		}
		return c.update(dir, vpcFlags, "cc vpc update --nat off "+c.args[0])
	},
}

var vpcDelete = verb{
	noun: "vpc", name: "delete", also: []string{"vpc rm"}, args: "ID...", short: "delete private networks",
	long: `
Names that nothing has, or that were deleted before, are noted and as they should be. When one of them has containers, none
is deleted.`,
	examples: []string{"cc vpc delete foo bar"},
	min:      1, max: -1, objects: "vpc",
	run: func(c *call) error {
		return c.delete("vpc", usedBy, c.tree.fs.Remove)
	},
}
