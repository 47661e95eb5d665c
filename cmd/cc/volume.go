package main

var volumeCreate = verb{
	noun: "volume", name: "create", args: "[NAME]", short: "make a volume (not in this release)", hidden: true,
	long:  `Volumes are not in this release: where the tree has no /cc/volume, this verb says so.`,
	flags: []flag{{long: "size", arg: "SIZE", doc: "10G"}, {long: "name", arg: "NAME", doc: "its name"}},
	max:   1,
	run:   func(c *call) error { return c.noVolumes() },
}

var volumeList = verb{
	noun: "volume", name: "list", also: []string{"volume ls"}, short: "list volumes (not in this release)", hidden: true,
	run: func(c *call) error { return c.noVolumes() },
}

var volumeDelete = verb{
	noun: "volume", name: "delete", also: []string{"volume rm"}, args: "ID...", short: "delete volumes (not in this release)", hidden: true,
	min: 1, max: -1,
	run: func(c *call) error { return c.noVolumes() },
}

// noVolumes says plainly that this release has no volumes.
func (c *call) noVolumes() error {
	if err := c.tree.mustLive(); err != nil {
		return err
	}
	return notYet("volumes", "volumes").
		withHint("a directory of this host can be mounted (cc run --mount /srv/data:/data), and /app is kept until the container is deleted")
}
