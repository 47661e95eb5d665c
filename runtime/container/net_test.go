package container

import (
	"context"
	"errors"
	"log/slog"
	"net/netip"
	"path/filepath"

	"github.com/containercloud/cc/net/vpc"
	"github.com/containercloud/cc/store"
)

// testNet is real networks, in the tests' network namespace.
type testNet struct {
	*vpc.Manager
	store store.Store
}

func openNet(ctx context.Context, p place, log *slog.Logger) (*testNet, error) {
	s, err := store.Open(filepath.Join(p.State, "cc.db"))
	if err != nil {
		return nil, err
	}
	m, err := vpc.Open(ctx, vpc.Config{Instance: p.Instance, Store: s, Log: log})
	if err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return &testNet{m, s}, nil
}

func (n *testNet) networks() Networks { return n.Manager }
func (n *testNet) close() error       { return errors.Join(n.Manager.Close(), n.store.Close()) }

func (n *testNet) down(ctx context.Context) error {
	for _, v := range n.List() {
		if err := n.Delete(ctx, v); err != nil {
			return err
		}
	}
	return errors.Join(n.Manager.Down(ctx), n.store.Close())
}

// vpc makes a network.
func (n *testNet) vpc(ctx context.Context, name, cidr string) (*vpc.VPC, error) {
	v, err := n.Create(ctx, name, 0, 0)
	if err != nil {
		return nil, err
	}
	return v, v.Update(ctx, func(s *vpc.Spec) error {
		s.CIDR = netip.MustParsePrefix(cidr)
		return nil
	})
}
