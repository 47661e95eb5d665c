package main

import (
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/containercloud/cc/words"
)

// config is how one daemon differs from another.
type config struct {
	mount, state, run, instance, keeper string
	warm                                int
	manual                              string
	version                             bool
}

// parseFlags reads the command line over the environment over the configuration file.
func parseFlags(args []string, env func(string) string) (config, error) {
	var c config
	f := flag.NewFlagSet("ccd", flag.ContinueOnError)
	f.StringVar(&c.mount, "mount", "/cc", "where the tree is mounted")
	f.StringVar(&c.state, "state", "/var/lib/cc", "what must survive a reboot")
	f.StringVar(&c.run, "run", "/run/cc", "sockets and what may vanish at a reboot")
	f.StringVar(&c.instance, "instance", "cc", "name of this daemon: prefix of every kernel object it makes")
	f.IntVar(&c.warm, "warm", 4, "most containers' worth of warm parts per network and image; 0 turns them off")
	f.StringVar(&c.keeper, "keeper", "", "the cc-keeper binary (default: beside ccd)")
	f.StringVar(&c.manual, "manual", "", "write the manual into this directory and exit")
	f.BoolVar(&c.version, "version", false, "print the version and exit")
	file := f.String("config", "/etc/cc/ccd.conf", "lines of `FLAG VALUE`")
	if err := f.Parse(args); err != nil {
		return c, err
	}
	if f.NArg() > 0 {
		return c, fmt.Errorf("what is %q? it takes flags only; see ccd --help", f.Arg(0))
	}
	given := map[string]bool{}
	f.Visit(func(g *flag.Flag) { given[g.Name] = true })
	if v := env("CC_CONFIG"); v != "" && !given["config"] {
		*file, given["config"] = v, true
	}
	settings, err := readConfig(*file, given["config"])
	if err != nil {
		return c, err
	}
	for _, o := range settings {
		if f.Lookup(o.Key) == nil || o.Key == "config" || o.Key == "manual" || o.Key == "version" {
			return c, fmt.Errorf("%s: unknown setting %q", *file, o.Key)
		}
	}
	var errs []error
	f.VisitAll(func(g *flag.Flag) {
		if given[g.Name] || g.Name == "config" {
			return
		}
		for _, o := range settings {
			if o.Key == g.Name {
				errs = append(errs, f.Set(g.Name, o.Value))
			}
		}
		if v := env("CC_" + strings.ToUpper(g.Name)); v != "" {
			errs = append(errs, f.Set(g.Name, v))
		}
	})
	return c, errors.Join(append(errs, c.check())...)
}

// readConfig reads `FLAG VALUE` lines. Without a file there are none, unless someone named it.
func readConfig(file string, named bool) ([]words.Opt, error) {
	text, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) && !named {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var list []words.Opt
	for _, line := range words.Lines(string(text)) {
		w, err := words.Split(line)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", file, err)
		}
		switch len(w) {
		case 0:
		case 2:
			list = append(list, words.Opt{Key: w[0], Value: w[1]})
		default:
			return nil, fmt.Errorf("%s: %q is not FLAG VALUE", file, line)
		}
	}
	return list, nil
}

// check makes paths absolute and refuses what cannot name kernel objects.
func (c *config) check() error {
	for _, dir := range []*string{&c.mount, &c.state, &c.run} {
		abs, err := filepath.Abs(*dir)
		if err != nil {
			return err
		}
		*dir = abs
	}
	if c.warm < 0 || c.warm > 256 {
		return fmt.Errorf("--warm %d is outside of 0 to 256", c.warm)
	}
	if len(c.instance) == 0 || len(c.instance) > 32 || strings.Trim(c.instance, "abcdefghijklmnopqrstuvwxyz0123456789-") != "" {
		return fmt.Errorf("--instance %q: use 1 to 32 of a-z, 0-9 and -", c.instance)
	}
	return nil
}
