package main

import (
	"fmt"
	"math/rand/v2"
	"strings"
)

var vpcCreate = verb{
	noun: "vpc", name: "create", args: "[NAME]", short: "make a private network",
	long:     `It prints the name. Without a name, one is made.`,
	examples: []string{"cc vpc create --cidr 10.1.0.0/24 --name foo", "cc vpc create --cidr 10.2.0.0/24 --nat off --isolate on inner"},
	flags: []flag{
		{long: "cidr", arg: "CIDR", doc: "addresses: 10.1.0.0/24"},
		{long: "name", arg: "NAME", doc: "its name"},
		{long: "gateway", arg: "ADDRESS", doc: "this host's address in it (the first)"},
		{long: "mtu", arg: "BYTES", doc: "largest packet"},
		{long: "nat", arg: "on|off", doc: "containers reach the outside", from: "on off"},
		{long: "isolate", arg: "on|off", doc: "containers do not see each other", from: "on off"},
		{long: "label", short: "l", arg: "KEY=VALUE", doc: "label, repeatable"},
	},
	max: 1,
	run: runVPCCreate,
}

func runVPCCreate(c *call) error {
	name := c.opt.get("name", "")
	if len(c.args) == 1 {
		if name != "" && name != c.args[0] {
			return usagef("two names: %s and %s", name, c.args[0])
		}
		name = c.args[0]
	}
	cidr := c.opt.get("cidr", "")
	if cidr == "" {
		return usagef("vpc create needs --cidr").withHint("cc vpc create --cidr 10.1.0.0/24 --name foo")
	}
	if name == "" {
		name = fmt.Sprintf("vpc-%08x", rand.Uint32())
	}
	name, err := c.objectName("vpc", name)
	if err != nil {
		return err
	}
	if err := c.makeVPC(name, cidr); err != nil {
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

// makeVPC makes a VPC or nothing. The cidr comes last: with it the network is on the wire.
func (c *call) makeVPC(name, cidr string) error {
	dir := "vpc/" + name
	if err := c.tree.mkdir(dir); err != nil {
		return err
	}
	c.tree.settle(dir)
	err := func() error {
		for _, key := range []string{"gateway", "mtu", "nat", "isolate"} {
			if v := c.opt.get(key, ""); v != "" {
				if err := c.tree.set(dir+"/"+key, v); err != nil {
					return err
				}
			}
		}
		for _, l := range c.opt.list("label") {
			k, v, _ := strings.Cut(l, "=")
			if err := c.tree.add(dir+"/labels", k+" "+v); err != nil {
				return err
			}
		}
		return c.tree.set(dir+"/cidr", cidr)
	}()
	if err != nil {
		_ = c.tree.fs.Remove(dir)
	}
	return err
}

// settle reads a new object once: until then the tree takes a process that made a directory for one that
// copies into it, and hides the settings it has not written (docs/TREE.md, rule 16).
func (t *tree) settle(dir string) {
	if !t.dry {
		_, _ = readAll(bare(t.fs), dir+"/id")
	}
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
	all, err := c.objects("vpc")
	if err != nil {
		return nil, err
	}
	t := &table{noun: "vpcs", columns: []column{
		{name: "name"}, {name: "cidr"}, {name: "gateway"}, {name: "state"}, {name: "containers", kind: count},
		{name: "age", kind: age}, {name: "id", wide: true},
	}}
	for _, e := range all {
		w := e.cells // NAME ID STATE CIDR GATEWAY CONTAINERS CREATED
		if len(w) < 7 {
			dir := "vpc/" + e.name
			w = []string{e.name, e.id, c.tree.state(dir), c.tree.value(dir + "/cidr"), c.tree.value(dir + "/gateway"),
				fmt.Sprint(len(strings.Fields(c.tree.value(dir + "/usedby")))), c.tree.value(dir + "/created")}
		}
		t.add(w[0], w[3], w[4], w[2], w[5], w[6], w[1])
	}
	return t, nil
}

var vpcDelete = verb{
	noun: "vpc", name: "delete", also: []string{"vpc rm"}, args: "ID...", short: "delete private networks",
	long: `
Names that nothing has, or that were deleted before, are as they should be. When one of them has containers, none
is deleted.`,
	examples: []string{"cc vpc delete foo bar"},
	min:      1, max: -1, objects: "vpc",
	run: func(c *call) error {
		return c.delete("vpc", usedBy, c.tree.fs.Remove)
	},
}
