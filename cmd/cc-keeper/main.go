// Command cc-keeper is the parent process of all containers of a host. ccd starts it; it outlives ccd.
package main

import (
	"os"

	"github.com/containercloud/cc/runtime/keeper/daemon"
)

func main() { os.Exit(daemon.Main(os.Args)) }
