package image

import (
	"encoding/json"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/containercloud/cc/runtime/image/unpack"
)

// layerRecord stands beside a layer's tree.
type layerRecord struct {
	unpack.Record
	Tar  int64  `json:"tar"`  // bytes of the uncompressed tar
	Boot string `json:"boot"` // boot id of the machine when it was made
}

// rootRecord stands beside a root's tree.
type rootRecord struct {
	Boot   string   `json:"boot"`
	Layers []string `json:"layers"` // diffIDs, hex
}

// imageRecord makes blobs, layers and a root an image.
type imageRecord struct {
	Manifest string         `json:"manifest"` // hex of the digest
	Config   string         `json:"config"`   // hex
	Layers   []Layer        `json:"layers"`
	Size     int64          `json:"size"`
	Added    time.Time      `json:"added"`
	Skipped  unpack.Skipped `json:"skipped,omitzero"`
}

// refRecord is one name.
type refRecord struct {
	Given     string `json:"given"`
	Canonical string `json:"canonical"`
	Manifest  string `json:"manifest"`        // hex
	Index     string `json:"index,omitempty"` // hex of the multi-platform index that it was chosen from
}

// image is an imageRecord in memory, with the config decoded.
type image struct {
	imageRecord
	file v1.ConfigFile
	root string
}

func decode[T any](raw []byte) (T, error) {
	var v T
	err := json.Unmarshal(raw, &v)
	return v, err
}

func encode(v any) []byte {
	raw, err := json.MarshalIndent(v, "", "\t")
	if err != nil {
		panic(err) // plain structs of strings and numbers
	}
	return append(raw, '\n')
}
