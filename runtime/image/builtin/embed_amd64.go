package builtin

import "embed"

//go:embed builtin_amd64.t*
var files embed.FS
