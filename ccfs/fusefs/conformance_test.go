package fusefs

import (
	"errors"

	"github.com/containercloud/cc/ccfs/tree"
)

func sampleTree() (*tree.Tree, error) { return nil, errors.New("no sample") }
