package builtin

import "embed"

//go:embed builtin_arm64.t*
var files embed.FS
