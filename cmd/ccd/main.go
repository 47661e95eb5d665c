// Command ccd is the host daemon of Container Cloud: it mounts the tree at /cc and does what is written there.
//
//	ccd [--mount /cc] [--state /var/lib/cc] [--run /run/cc] [--instance cc] [--config /etc/cc/ccd.conf] [--warm 4]
//
// Each flag has an environment variable (CC_MOUNT, CC_STATE ...) and a line in the configuration file (`mount /cc`);
// a flag wins over the environment, the environment over the file. SIGTERM unmounts and ends the daemon, containers
// stay; `echo shutdown > /cc/ctl` stops them too.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/containercloud/cc/build"
	"github.com/containercloud/cc/ccfs"
	"github.com/containercloud/cc/ccfs/tree"
)

func main() {
	conf, err := parseFlags(os.Args[1:], os.Getenv)
	if errors.Is(err, flag.ErrHelp) {
		return
	}
	if err == nil {
		err = run(conf)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "ccd:", err)
		os.Exit(1)
	}
}

func run(conf config) error {
	switch {
	case conf.version:
		fmt.Println(build.Version())
		return nil
	case conf.manual != "":
		return writeManual(conf.manual)
	}
	if os.Getuid() != 0 {
		return errors.New("it must be root: it makes mounts, networks and namespaces")
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	signal.Ignore(syscall.SIGHUP, syscall.SIGPIPE)
	d := newDaemon(conf)
	if err := d.Open(ctx); err != nil {
		return errors.Join(err, d.Close())
	}
	err := d.Wait(ctx)
	return errors.Join(err, d.Close())
}

// writeManual writes the pages of /cc/doc as files.
func writeManual(dir string) error {
	d := newDaemon(config{})
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	for name, page := range tree.Manual(d.cloud(new(ccfs.Host)).Root()) {
		if err := os.WriteFile(dir+"/"+name+".md", page, 0o644); err != nil {
			return err
		}
	}
	return nil
}
