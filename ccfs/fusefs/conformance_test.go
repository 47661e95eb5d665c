package fusefs

import (
	"os"
	"testing"

	"github.com/containercloud/cc/ccfs/tree"
	"github.com/containercloud/cc/ccfs/treetest"
)

// sampleTree is the tree that treetest knows.
func sampleTree() (*tree.Tree, error) {
	dir, err := os.MkdirTemp(os.Getenv("CC_FUSEFS_SCRATCH"), "sample")
	if err != nil {
		return nil, err
	}
	return treetest.New(dir, tree.Options{}).Tree, nil
}

// sample serves it where every user may come.
func sample(t testing.TB, env ...string) *served {
	t.Helper()
	s := serve(t, "sample", append(env, "CC_FUSEFS_SCRATCH="+t.TempDir())...)
	for _, dir := range []string{s.dir + "/..", s.dir + "/../.."} {
		if err := os.Chmod(dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	return s
}

func TestConformance(t *testing.T) {
	for _, c := range []struct {
		name string
		env  []string
	}{
		{"default", nil},
		{"GOMAXPROCS=1", []string{"GOMAXPROCS=1"}}, // some deadlocks of FUSE servers show only there
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := sample(t, c.env...).dir
			treetest.Run(t, treetest.Env{
				FS: treetest.OS(dir),
				As: func(uid, gid int) treetest.FS { return treetest.OSAs(dir, uid, gid) },
			})
			treetest.RunScripts(t, dir)
		})
	}
}
