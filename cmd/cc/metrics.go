package main

import (
	"io"
	"strings"
)

var metricsVerb = verb{
	name: "metrics", args: "[ID...]", short: "print metrics in the Prometheus text format",
	examples: []string{"cc metrics", "cc metrics web | grep memory"},
	max:      -1, objects: "any",
	run: func(c *call) error {
		if len(c.args) == 0 {
			return c.printMetrics("metrics")
		}
		var errs []error
		for _, arg := range c.args {
			dir, err := c.anyObject(arg)
			if err == nil {
				err = c.printMetrics(dir + "/metrics")
			}
			errs = append(errs, err)
		}
		return join(errs)
	},
}

// printMetrics prints one metrics file, with --json as name, labels and value.
func (c *call) printMetrics(name string) error {
	text, err := c.tree.read(name)
	if err != nil {
		return err
	}
	if !c.opt.on("json") {
		_, err = io.WriteString(c.out, c.safe(text, c.outTTY))
		return err
	}
	t := &table{noun: "metrics", columns: []column{{name: "name"}, {name: "labels"}, {name: "value", kind: number}}}
	for l := range strings.SplitSeq(text, "\n") {
		if l == "" || l[0] == '#' {
			continue
		}
		i := strings.LastIndexByte(l, ' ')
		series, labels, _ := strings.Cut(l[:max(i, 0)], "{")
		t.add(series, strings.TrimSuffix(labels, "}"), l[i+1:])
	}
	return c.print(t)
}
