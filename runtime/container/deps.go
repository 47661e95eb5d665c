package container

import (
	"context"
	"log/slog"
	"net/netip"
	"os"

	"github.com/containercloud/cc/event"
	"github.com/containercloud/cc/net/vpc"
	"github.com/containercloud/cc/object"
	"github.com/containercloud/cc/runtime/boot"
	"github.com/containercloud/cc/runtime/cgroup"
	"github.com/containercloud/cc/runtime/image"
	"github.com/containercloud/cc/runtime/keeper"
)

// Config is what a Manager works with. Networks, Events and Log may be nil.
type Config struct {
	State    string // the daemon's state directory; containers live in STATE/container
	Run      string // the daemon's directory of things that may vanish at a reboot
	Instance string // prefix of every kernel object
	Images   *image.Store
	Networks Networks
	Keeper   *keeper.Client
	Cgroups  *cgroup.Root
	Events   *event.Log
	Log      *slog.Logger
	IDs      boot.IDMap // the containers' user ids on the host; zero: DefaultIDs
	Warm     int        // most slots kept ready per VPC; 0: none, every start is cold
}

// Networks connects containers; it is *vpc.Manager.
type Networks interface {
	Get(nameOrID string) (*vpc.VPC, error)
	Attach(ctx context.Context, vpc string, netns *os.File, o vpc.AttachOptions) (*vpc.Attachment, error)
	Assign(ctx context.Context, a *vpc.Attachment, container object.ID, name string) error
	Release(ctx context.Context, a *vpc.Attachment) error
	Reserved(vpc, container string) (netip.Addr, bool)
	Restore(ctx context.Context, held []vpc.Held) error
}
