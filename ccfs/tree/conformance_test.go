package tree_test

import (
	"io"
	"log/slog"
	"testing"
	"time"

	"github.com/containercloud/cc/ccfs/tree"
	"github.com/containercloud/cc/ccfs/treetest"
)

var quiet = slog.New(slog.NewTextHandler(io.Discard, nil))

// TestConformance tries the engine without a door.
func TestConformance(t *testing.T) {
	s := treetest.New(t.TempDir(), tree.Options{Log: quiet, Deadline: 2 * time.Second})
	defer s.Tree.Close()
	treetest.Run(t, treetest.Env{
		FS: treetest.InProcess(s.Tree, tree.Caller{}),
		As: func(uid, gid int) treetest.FS {
			return treetest.InProcess(s.Tree, tree.Caller{UID: uint32(uid), GID: uint32(gid)})
		},
	})
}
